package auxiliary

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// desk is where an operator steers the systems of a house.
type desk struct {
	h    *house
	http http.Handler
}

func (h *house) desk(more ...httpapi.Route) *desk {
	h.t.Helper()
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(h.t, err)
	operator := auth.Identity{ClientID: "ops", Kind: auth.KindOperator, Scopes: auth.DefaultScopes(auth.KindOperator)}
	user := auth.Identity{ClientID: "u", Kind: auth.KindUser, Tenant: "demo", Scopes: auth.DefaultScopes(auth.KindUser)}
	httpapi.Mount(e, tokens{"ops": operator, "user": user}, append(more, OperateRoutes(OperateDeps{
		Pool: h.aux, Now: time.Now, End: func(context.Context) (int64, error) { return h.position, nil },
	})...))
	return &desk{h: h, http: e}
}

func (d *desk) ask(token, method, path, body string) (int, string) {
	d.h.t.Helper()
	var content io.Reader = http.NoBody
	if body != "" {
		content = strings.NewReader(body)
	}
	req := httptest.NewRequestWithContext(d.h.t.Context(), method, path, content)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	d.http.ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

// done asks as the operator and reads the answer.
func (d *desk) done(method, path, body string, into any) {
	d.h.t.Helper()
	status, answer := d.ask("ops", method, path, body)
	require.Equal(d.h.t, http.StatusOK, status, answer)
	require.NoError(d.h.t, json.Unmarshal([]byte(answer), into))
}

// is waits until the system is in a state.
func (d *desk) is(system, state string) SystemReport {
	d.h.t.Helper()
	var r SystemReport
	waitFor(d.h.t, d.h.t.Context(), func() bool {
		d.done(http.MethodGet, "/v1/admin/auxiliary/"+system, "", &r)
		return r.State == state
	})
	return r
}

func (d *desk) letters(system string) []DeadLetter {
	d.h.t.Helper()
	var list struct{ Items []DeadLetter }
	d.done(http.MethodGet, "/v1/admin/auxiliary/"+system+"/dead-letters", "", &list)
	return list.Items
}

func TestOperatorPausesResumesAndRebuilds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all := someOrders(21, 30)
	h.append(all...)
	to := &target{Target: h.folder()}
	r := h.runner(quick(), h.notices(to))
	start(t, r)
	h.reached(r, NoticesName, h.position)
	h.drained()
	d := h.desk()
	d.is(NoticesName, systemRunning)

	var report SystemReport
	d.done(http.MethodPost, "/v1/admin/auxiliary/notices/pause", `{"reason":"the mail server moves"}`, &report)
	assert.Equal(t, systemPaused, report.State)
	at := h.position
	more := someOrders(22, 10)
	h.append(more...)
	waitFor(t, t.Context(), func() bool { return r.Status()[0].Paused })
	report = d.is(NoticesName, systemPaused)
	assert.Equal(t, at, report.Position, "from the answer on nothing is handled")
	assert.EqualValues(t, len(more), report.Lag)
	assert.Len(t, to.count, wanted(all))

	// A rebuild that is asked for while it is paused is there when it goes on, and tells nobody again.
	d.done(http.MethodPost, "/v1/admin/auxiliary/notices/rebuild", "", &report)
	h.eventually("it is taken back to the beginning", []any{at},
		`SELECT position = 0 AND quiet_to = $1 AND NOT rebuild AND paused FROM checkpoints`)
	d.done(http.MethodPost, "/v1/admin/auxiliary/notices/resume", "", &report)
	h.eventually("it is at the end again", []any{h.position}, `SELECT position = $1 FROM checkpoints`)
	h.drained()
	h.verified()
	report = d.is(NoticesName, systemRunning)
	assert.Zero(t, report.Lag)
	require.Len(t, report.Actions, 3)
	assert.Equal(t, []string{"resume", "rebuild", "pause"}, []string{report.Actions[0].Action, report.Actions[1].Action, report.Actions[2].Action})
	assert.Equal(t, "ops", report.Actions[2].Who)
	assert.Equal(t, "the mail server moves", report.Actions[2].Reason)
	assert.Len(t, to.count, wanted(all)+wanted(more))
	for position, n := range to.count {
		assert.Equal(t, 1, n, "mail of event %d", position)
	}
	status, _ := d.ask("ops", http.MethodPost, "/v1/admin/auxiliary/unknown/pause", "")
	assert.Equal(t, http.StatusNotFound, status)
	status, _ = d.ask("user", http.MethodGet, "/v1/admin/auxiliary", "")
	assert.Equal(t, http.StatusForbidden, status)
}

// An event that a system cannot apply is left out when a person says so, and taken in by a rebuild when a person says that.
func TestOperatorLeavesAnEventOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.append(someOrders(23, 20)...)
	s := &picky{name: "picky", at: 7, how: func() error { return errors.New("it has no such thing") }}
	pace := quick()
	pace.StoppedWait = testWithin // it goes on because it is told to
	r := h.runner(pace, s)
	stop := start(t, r)
	d := h.desk()
	h.reached(r, "picky", 6)
	report := d.is("picky", systemStopped)
	assert.EqualValues(t, 6, report.Position)
	letters := d.letters("picky")
	require.Len(t, letters, 1)
	assert.Equal(t, "7 event stopped", letters[0].ID+" "+letters[0].Kind+" "+letters[0].State)
	assert.Contains(t, letters[0].Failure, "it has no such thing")

	status, body := d.ask("ops", http.MethodPost, "/v1/admin/auxiliary/picky/dead-letters/7/discard", "")
	assert.Equal(t, http.StatusUnprocessableEntity, status, body)
	status, _ = d.ask("ops", http.MethodPost, "/v1/admin/auxiliary/picky/dead-letters/8/discard", `{"reason":"x"}`)
	assert.Equal(t, http.StatusNotFound, status, "only the event at which it stands")
	d.done(http.MethodPost, "/v1/admin/auxiliary/picky/dead-letters/7/discard", `{"reason":"a test order"}`, &report)
	h.reached(r, "picky", h.position)
	letters = d.letters("picky")
	require.Len(t, letters, 1)
	assert.Equal(t, "7 discarded a test order", letters[0].ID+" "+letters[0].State+" "+letters[0].Reason)

	s.healed.Store(true)
	d.done(http.MethodPost, "/v1/admin/auxiliary/picky/dead-letters/7/retry", "", &report)
	h.eventually("it begins anew", nil, `SELECT quiet_to > 0 AND position = quiet_to FROM checkpoints`)
	stop()
	assert.Empty(t, d.letters("picky"))
	n := int(h.position)
	require.Len(t, s.seen, 2*n-1)
	assert.NotContains(t, s.seen[:n-1], int64(7))
	assert.Contains(t, s.seen[n-1:], int64(7))
}

func TestOperatorRetriesAndDiscardsDeadEffects(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := placed(&events.Customer{Email: "a@example.com"}), placed(&events.Customer{Email: "b@example.com"})
	h.append(a, b)
	var works atomic.Bool
	to := &target{Target: h.folder(), before: func(int64) error {
		if works.Load() {
			return nil
		}
		return Undeliverable(errors.New("no such mailbox"))
	}}
	r := h.runner(quick(), h.notices(to))
	start(t, r)
	h.reached(r, NoticesName, 2)
	d := h.desk()
	waitFor(t, t.Context(), func() bool { return len(d.letters(NoticesName)) == 2 })
	letters := d.letters(NoticesName)
	assert.Equal(t, "1.mail effect dead", letters[0].ID+" "+letters[0].Kind+" "+letters[0].State)
	assert.Equal(t, a.OrderID, letters[0].OrderID)
	works.Store(true)
	var report SystemReport
	d.done(http.MethodPost, "/v1/admin/auxiliary/notices/dead-letters/1.mail/retry", "", &report)
	d.done(http.MethodPost, "/v1/admin/auxiliary/notices/dead-letters/2.mail/discard", "", &report)
	h.eventually("the one is sent, the other never", nil,
		`SELECT string_agg(state, ' ' ORDER BY position) = 'sent discarded' FROM outbox`)
	h.verified()
	assert.Contains(t, h.record(b.OrderID), `"state":"discarded"`)
	assert.Equal(t, []string{"1.eml"}, h.mails())
	assert.Empty(t, d.letters(NoticesName))
	status, _ := d.ask("ops", http.MethodPost, "/v1/admin/auxiliary/notices/dead-letters/2.mail/retry", "")
	assert.Equal(t, http.StatusNotFound, status)
}
