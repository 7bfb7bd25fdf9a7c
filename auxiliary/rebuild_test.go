package auxiliary

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

func TestARebuildSendsNothingAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all := someOrders(8, 80)
	h.append(all...)
	to := &target{Target: h.folder()}
	r := h.runner(quick(), h.notices(to))
	start(t, r)
	h.reached(r, NoticesName, h.position)
	h.drained()
	before := h.records()
	require.Len(t, before, 80)
	sent := len(to.count)

	// A rebuild is also right where the outbox was pruned.
	_, err := h.aux.Exec(t.Context(), `DELETE FROM outbox WHERE position = (SELECT min(position) FROM outbox)`)
	require.NoError(t, err)
	var pruned int64
	require.NoError(t, h.aux.QueryRow(t.Context(), `SELECT min(position) FROM outbox`).Scan(&pruned))
	require.NoError(t, Rebuild(t.Context(), h.aux, h.notices(to)))
	more := someOrders(9, 10)
	h.append(more...)
	h.eventually("it is at the end again", []any{h.position}, `SELECT position = $1 FROM checkpoints`)
	h.drained()
	h.verified()
	assert.Len(t, to.count, sent+wanted(more), "only new events are told")
	for position, n := range to.count {
		assert.Equal(t, 1, n, "mail of event %d", position)
	}
	after, suppressed := h.records(), 0
	for id, was := range before {
		is := after[id]
		require.Len(t, is.Notices, len(was.Notices))
		for i := range was.Notices {
			if is.Notices[i].State == stateSuppressed {
				suppressed++
				is.Notices[i].State = stateSent
			}
		}
		assert.Equal(t, was, is)
	}
	assert.Equal(t, 1, suppressed, "the one whose sending is no longer known")
}

// What is queued when a rebuild begins is sent while the records are made anew, and each sees the other's work.
func TestARebuildSendsWhatWasStillQueued(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all := someOrders(10, 100)
	h.append(all...)
	pace := quick()
	pace.Resend = Backoff{First: testWithin, Most: testWithin}
	r := h.runner(pace, &silent{h.notices(h.folder())})
	stop := start(t, r)
	h.reached(r, NoticesName, h.position)
	h.eventually("all were tried", nil, `SELECT NOT EXISTS (SELECT FROM outbox WHERE failure = '')`)
	stop()
	_, err := h.aux.Exec(t.Context(), `UPDATE outbox SET next_at = now()`)
	require.NoError(t, err)

	to := &target{Target: h.folder()}
	pace = quick()
	pace.Batch = 5
	r = h.runner(pace, h.notices(to))
	rebuild := sync.OnceValue(func() error { return Rebuild(t.Context(), h.aux, h.notices(to)) })
	to.before = func(int64) error { return rebuild() }
	start(t, r)
	h.drained()
	h.eventually("it is at the end again", []any{h.position}, `SELECT position = $1 AND quiet_to = $1 FROM checkpoints`)
	assert.Len(t, to.count, wanted(all))
	for position, n := range to.count {
		assert.Equal(t, 1, n, "mail of event %d", position)
	}
	h.verified()
}

// On a new database beside a log that was handled before, nobody is told again.
func TestStartsQuietly(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old := placed(&events.Customer{Email: "a@example.com"})
	h.append(old, placed(&events.Customer{Email: "b@example.com"}), closing(old, events.OrderCompleted, ""))
	r, err := Wire(Deps{
		Pool: h.aux, JS: h.js, Log: h.log, Logger: slog.New(slog.DiscardHandler), Clock: time.Now, Metrics: prometheus.NewRegistry(),
		Mail: MailConfig{From: "shop@example.com", Dir: h.mail, QuietTo: 2},
	})
	require.NoError(t, err)
	start(t, r)
	h.reached(r, NoticesName, 3)
	h.drained()
	assert.Equal(t, []string{"3.eml"}, h.mails())
	assert.Contains(t, h.record(old.OrderID), `"state":"suppressed"`)
	h.verified()
}
