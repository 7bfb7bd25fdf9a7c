package auxiliary

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/webhook"
)

// gateway is a tenant's receiver: it answers as it is told and keeps what it took.
type gateway struct {
	*httptest.Server

	mu     sync.Mutex
	status func(attempt int) int
	calls  map[string][]string // bodies by webhook-id
	taken  []http.Header
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{calls: map[string][]string{}, status: func(int) int { return http.StatusNoContent }}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g.mu.Lock()
		defer g.mu.Unlock()
		id := r.Header.Get("Webhook-Id")
		g.calls[id] = append(g.calls[id], string(body))
		g.taken = append(g.taken, r.Header)
		w.WriteHeader(g.status(len(g.calls[id])))
	}))
	t.Cleanup(g.Close)
	return g
}

// loopback lets a test's receiver be called.
func loopback() webhook.GuardConfig {
	return webhook.GuardConfig{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func (h *house) calling(to Target) *Notices {
	h.t.Helper()
	hooks, err := NewHooks(HooksConfig{Guard: loopback()})
	require.NoError(h.t, err)
	s, err := NewNotices(NoticesConfig{From: "shop@example.com", To: to, Pool: h.aux, Hooks: hooks})
	require.NoError(h.t, err)
	return s
}

func (h *house) noticeDesk() *desk {
	h.t.Helper()
	guard, err := webhook.NewGuard(loopback())
	require.NoError(h.t, err)
	return h.desk(NoticeRoutes(NoticeDeps{Pool: h.aux, Guard: guard, Now: time.Now})...)
}

const noticesOfDemo = "/v1/admin/tenants/demo/notices"

func TestNoticesByWebhookAndPerEvent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	early := placed(&events.Customer{Email: "early@example.com"})
	h.append(early)
	r := h.runner(quick(), h.calling(h.folder()))
	stop := start(t, r)
	h.reached(r, NoticesName, 1)
	h.drained()

	g, d := newGateway(t), h.noticeDesk()
	g.status = func(attempt int) int { // the first attempt at each message is refused
		if attempt == 1 {
			return http.StatusInternalServerError
		}
		return http.StatusNoContent
	}
	status, body := d.ask("ops", http.MethodPut, noticesOfDemo,
		`{"mail_events":["order.completed"],"webhook":{"url":"`+g.URL+`","events":["order.placed","order.cancelled"]}}`)
	require.Equal(t, http.StatusCreated, status, body)
	var set noticesDocument
	require.NoError(t, json.Unmarshal([]byte(body), &set))
	assert.EqualValues(t, 1, set.After, "what was told before is not told otherwise")
	require.NotEmpty(t, set.Webhook.Secret)

	told := placed(&events.Customer{Name: "王小明", Phone: "+49 30 1"})
	nobody := placed(&events.Customer{Name: "Nobody"})
	cancelled := closing(early, events.OrderCancelled, "")
	cancelled.Data = &events.OrderCancellation{Reason: "changed my mind"}
	h.append(told, nobody, cancelled, closing(told, events.OrderCompleted, ""))
	h.reached(r, NoticesName, h.position)
	h.drained()
	report := h.verified()
	assert.EqualValues(t, 1, report.Sent)
	assert.EqualValues(t, 2, report.Called)
	assert.JSONEq(t, `{"notices":[
		{"event":"order.placed","position":2,"state":"quiet","reason":"switched_off","at":"2026-03-01T12:00:00Z"},
		{"event":"order.placed","position":2,"channel":"webhook","state":"sent","at":"2026-03-01T12:00:00Z"},
		{"event":"order.completed","position":5,"state":"quiet","reason":"no_address","at":"2026-03-01T12:01:00Z"}]}`, h.record(told.OrderID))
	assert.Contains(t, h.record(nobody.OrderID), `"channel":"webhook","state":"quiet","reason":"no_address"`)
	assert.Equal(t, []string{"1.eml"}, h.mails())

	g.mu.Lock()
	calls, taken := g.calls, g.taken
	g.mu.Unlock()
	require.Len(t, calls, 2)
	require.Len(t, calls["notice_2"], 2)
	assert.Equal(t, calls["notice_2"][0], calls["notice_2"][1], "an attempt again is the same message")
	assert.JSONEq(t, `{"specversion":"1.0","id":"notice_2","type":"notice.order.placed","source":"`+events.Source+`","subject":"`+told.OrderID+`",
		"time":"2026-03-01T12:00:00Z","position":2,"tenant":"demo","dataref":"/v1/orders/`+told.OrderID+`?position=2",
		"data":{"channel":"web","external_ref":"`+told.Data.(*events.Placed).ExternalRef+`","customer":{"name":"王小明","phone":"+49 30 1"},
		"currency":"USD","total":2599,"title":"We have your order `+told.Data.(*events.Placed).ExternalRef+`",
		"text":`+quoted(t, told)+`}}`, calls["notice_2"][0])
	assert.Contains(t, calls["notice_4"][0], `"reason":"changed my mind"`)
	verifier, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{set.Webhook.Secret}})
	require.NoError(t, err)
	for _, header := range taken {
		body := calls[header.Get("Webhook-Id")][0]
		_, err := verifier.Verify(header, []byte(body))
		require.NoError(t, err)
	}

	// A rebuild calls nobody again, and tells by what was set when each event was told.
	stop()
	_, err = h.aux.Exec(t.Context(), `DELETE FROM outbox WHERE position IN (2, 1)`)
	require.NoError(t, err)
	require.NoError(t, Rebuild(t.Context(), h.aux, h.calling(nil)))
	again := h.runner(quick(), h.calling(h.folder()))
	start(t, again)
	h.reached(again, NoticesName, h.position)
	h.drained()
	h.verified()
	g.mu.Lock()
	assert.Len(t, g.calls["notice_2"], 2, "an outbox that forgot it makes no second call")
	g.mu.Unlock()
	assert.Contains(t, h.record(told.OrderID), `"channel":"webhook","state":"suppressed"`)
}

// quoted is the text that the shipped template makes of an order, as JSON.
func quoted(t *testing.T, placed events.Event) string {
	t.Helper()
	p := placed.Data.(*events.Placed)
	text, err := json.Marshal("Hello " + p.Customer.Name + ",\n\nthank you for your order " + p.ExternalRef +
		". We have it and will see to it.\n\n  2 x Cup: 20.00 USD\n  Shipping: 5.99 USD\n\nTotal: 25.99 USD\n")
	require.NoError(t, err)
	return string(text)
}

// A webhook that never answers holds no mail up; one that goes nowhere is a dead letter.
func TestAWebhookThatHangsHoldsUpNoMail(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(release) })
	d := h.noticeDesk()
	status, body := d.ask("ops", http.MethodPut, noticesOfDemo, `{"webhook":{"url":"`+hanging.URL+`"}}`)
	require.Equal(t, http.StatusCreated, status, body)
	for range 20 {
		h.append(placed(&events.Customer{Email: "a@example.com"}))
	}
	r := h.runner(quick(), h.calling(h.folder()))
	start(t, r)
	h.eventually("all mails are sent while no call is", nil,
		`SELECT count(*) FILTER (WHERE channel = 'mail' AND state = 'sent') = 20 AND bool_and(state = 'queued') FILTER (WHERE channel = 'webhook') FROM outbox`)

	status, body = d.ask("ops", http.MethodPut, noticesOfDemo, `{}`)
	require.Equal(t, http.StatusOK, status, body)
}

func TestNoticesAreInTheTenantsWords(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.noticeDesk()
	template := noticesOfDemo + "/templates/order.placed/"
	for language, text := range map[string]string{"de": "Danke, {{.Name}}!", "zh-Hant": "謝謝 {{range .Lines}}{{.Name}}{{end}}"} {
		body, err := json.Marshal(map[string]string{"subject": "[" + language + "] {{.Ref}}", "text": text, "html": "<p>" + text + "</p>"})
		require.NoError(t, err)
		status, answer := d.ask("ops", http.MethodPut, template+language, string(body))
		require.Equal(t, http.StatusCreated, status, answer)
	}
	order := func(attributes string) events.Event {
		e := placed(&events.Customer{Name: "<Ann>", Email: "ann@example.com"})
		if attributes != "" {
			e.Data.(*events.Placed).Attributes = json.RawMessage(attributes)
		}
		return e
	}
	h.append(order(`{"language":"de_AT.UTF-8"}`), order(`{"locale":"zh-Hant-TW"}`), order(`{"language":"fr"}`), order(""), order(`{"language":7}`))
	r := h.runner(quick(), h.notices(h.folder()))
	start(t, r)
	h.reached(r, NoticesName, h.position)
	h.drained()
	want := []string{"[de]", "[zh-Hant]", "We have", "We have", "We have"}
	for i, begins := range want {
		m := h.mailOf(int64(i + 1))
		assert.True(t, strings.HasPrefix(m.subject, begins), "%d: %s", i+1, m.subject)
	}
	m := h.mailOf(1)
	assert.Equal(t, "Danke, <Ann>!", m.text)
	assert.Equal(t, "<p>Danke, &lt;Ann&gt;!</p>", m.html, "a customer writes no HTML")
	assert.Equal(t, "謝謝 Cup", h.mailOf(2).text)

	// The tenant's language is for customers who named none, or one that there are no words in.
	status, body := d.ask("ops", http.MethodPut, noticesOfDemo, `{"language":"DE"}`)
	require.Equal(t, http.StatusCreated, status, body)
	stopped := h.position
	h.append(order(`{"language":"fr"}`))
	fresh := h.runner(quick(), h.notices(h.folder()))
	start(t, fresh)
	h.eventually("it is sent", []any{stopped + 1}, `SELECT coalesce(bool_and(state = 'sent'), false) FROM outbox WHERE position = $1`)
	// Whichever of the two runners sent it: its words may be a second old.
	assert.Contains(t, []string{"[de] ", "We have your order "}, prefix(h.mailOf(stopped+1).subject, "[de] ", "We have your order "))
	h.verified()
}

func prefix(s string, of ...string) string {
	i := slices.IndexFunc(of, func(p string) bool { return strings.HasPrefix(s, p) })
	if i < 0 {
		return s
	}
	return of[i]
}

func TestNoticeSettingsAreLookedAt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.noticeDesk()
	template := noticesOfDemo + "/templates/order.placed/de"
	refused := map[string][2]string{ // body by path, and what the answer names
		`{"mail_events":["order.lost"]}`:                                                                   {noticesOfDemo, "/mail_events/0"},
		`{"language":"not a language"}`:                                                                    {noticesOfDemo, "/language"},
		`{"webhook":{"url":"http://10.0.0.7/x"}}`:                                                          {noticesOfDemo, "/webhook/url"},
		`{"webhook":{"events":[]}}`:                                                                        {noticesOfDemo, "/webhook/url"},
		`{"subject":"{{.Ref}}","text":"{{.Password}}"}`:                                                    {template, "Password"},
		`{"subject":"{{.Ref","text":"x"}`:                                                                  {template, "/subject"},
		`{"subject":"{{.Reason}}","text":"x"}`:                                                             {template, "no subject"},
		`{"subject":"x","text":"{{range 1000000000}}{{end}}"}`:                                             {template, "/text"},
		`{"subject":"x","text":"{{printf \"%999999999d\" 1}}"}`:                                            {template, "printf"},
		`{"subject":"x","text":"x","html":"{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}"}`:  {template, "/html"},
		`{"subject":"x","text":"{{range .Lines}}{{range $.Lines}}{{range $.Lines}}{{end}}{{end}}{{end}}"}`: {template, "within a range"},
		`{"subject":"x","text":"x","html":"<script>var a = {{.Name}}</script><a href=\"{{.Name}}\" {{if .Name}}onclick='{{end}}'>"}`: {template, "/html"},
	}
	for body, want := range refused {
		status, answer := d.ask("ops", http.MethodPut, want[0], body)
		assert.Equal(t, http.StatusUnprocessableEntity, status, "%s: %s", body, answer)
		assert.Contains(t, answer, want[1], body)
	}
	status, _ := d.ask("ops", http.MethodPut, noticesOfDemo+"/templates/order.lost/de", `{"subject":"x","text":"x"}`)
	assert.Equal(t, http.StatusNotFound, status)
	status, _ = d.ask("user", http.MethodGet, noticesOfDemo, "")
	assert.Equal(t, http.StatusForbidden, status)

	var unset noticesDocument
	d.done(http.MethodGet, noticesOfDemo, "", &unset)
	assert.Equal(t, "en", unset.Language)
	assert.Len(t, unset.Mail, len(noticeEvents()))
	g := newGateway(t)
	status, body := d.ask("ops", http.MethodPut, noticesOfDemo, `{"webhook":{"url":"`+g.URL+`"}}`)
	require.Equal(t, http.StatusCreated, status, body)
	require.Contains(t, body, "whsec_")
	var again noticesDocument
	d.done(http.MethodPut, noticesOfDemo, `{"webhook":{"url":"`+g.URL+`"}}`, &again)
	assert.Empty(t, again.Webhook.Secret, "shown once")
	d.done(http.MethodPut, noticesOfDemo, `{"webhook":{"url":"`+g.URL+`","rotate_secret":true}}`, &again)
	assert.NotEmpty(t, again.Webhook.Secret)

	status, body = d.ask("ops", http.MethodPut, template, `{"subject":"{{.Ref}}","text":"x"}`)
	require.Equal(t, http.StatusCreated, status, body)
	var list struct{ Items []templateDocument }
	d.done(http.MethodGet, noticesOfDemo+"/templates", "", &list)
	require.Len(t, list.Items, 1)
	status, _ = d.ask("ops", http.MethodDelete, template, "")
	assert.Equal(t, http.StatusNoContent, status)
	status, _ = d.ask("ops", http.MethodGet, template, "")
	assert.Equal(t, http.StatusNotFound, status)
}
