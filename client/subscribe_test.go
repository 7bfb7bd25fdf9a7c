package client_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// desk answers as the store does for one feed subscription, whose events are at the positions 1 to last.
type desk struct {
	mu       sync.Mutex
	last     int64
	position int64
	version  int64
	status   string
	reason   string
	by       string // transport
	acks     []int64
	asked    []int64 // after which positions the feed was asked
	feed     func(after int64) bool
	ack      func(w http.ResponseWriter) bool
	changed  chan struct{} // closed and made anew when an acknowledgement came
}

func newDesk(last int64) *desk {
	return &desk{last: last, version: 1, status: client.SubscriptionActive, by: client.TransportFeed, changed: make(chan struct{})}
}

func (d *desk) document() map[string]any {
	return map[string]any{
		"id": "s-1", "name": "erp", "transport": d.by, "status": d.status, "reason": d.reason, "position": d.position, "version": d.version, "types": []string{},
		"business_types": []string{},
	}
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/subscriptions/s-1":
		answer(w, http.StatusOK, d.document())
	case "POST /v1/subscriptions/s-1/ack":
		d.acknowledge(w, r)
	case "GET /v1/feed":
		d.page(w, r)
	default:
		problem(w, http.StatusNotFound, "not_found", r.URL.Path)
	}
}

func (d *desk) acknowledge(w http.ResponseWriter, r *http.Request) {
	if d.ack != nil && !d.ack(w) {
		return
	}
	if r.Header.Get("If-Match") != strconv.Quote(strconv.FormatInt(d.version, 10)) {
		problem(w, http.StatusPreconditionFailed, "version_mismatch", "it was changed")
		return
	}
	var body struct{ Position int64 }
	_ = json.NewDecoder(r.Body).Decode(&body)
	d.acks = append(d.acks, body.Position)
	d.position = max(d.position, body.Position)
	if d.position == d.last && d.reason != "" { // its party has read what the broker no longer has
		d.reason, d.version = "", 2
	}
	close(d.changed)
	d.changed = make(chan struct{})
	answer(w, http.StatusOK, d.document())
}

func (d *desk) page(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	d.asked = append(d.asked, after)
	if d.status != client.SubscriptionActive {
		problem(w, http.StatusConflict, "conflict", "the subscription is paused")
		return
	}
	if d.feed != nil && !d.feed(after) {
		problem(w, http.StatusServiceUnavailable, "unavailable", "away")
		return
	}
	events := []any{}
	for p := after + 1; p <= min(d.last, after+10); p++ {
		events = append(events, event(p))
	}
	if len(events) == 0 && r.URL.Query().Has("subscription") { // who reads what the broker no longer has waits for nothing new
		d.mu.Unlock()
		<-r.Context().Done()
		d.mu.Lock()
		return
	}
	answer(w, http.StatusOK, map[string]any{"events": events, "scanned_to": after + int64(len(events))})
}

// stored waits until a position is acknowledged.
func (d *desk) stored(t *testing.T, position int64) {
	t.Helper()
	for {
		d.mu.Lock()
		there, changed := d.position >= position, d.changed
		d.mu.Unlock()
		if there {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("it was never acknowledged")
		}
	}
}

func (d *desk) locked(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
}

// receive hears a subscription until the position, or until the loop ends by itself.
func receive(t *testing.T, c *client.Client, until int64, options ...client.EventOption) (heard []int64, err error) {
	t.Helper()
	for d, err := range c.Subscribe(t.Context(), "s-1", options...) {
		if err != nil {
			return heard, err
		}
		heard = append(heard, d.Position)
		if d.Position == until {
			require.NoError(t, d.Ack(t.Context()))
			break
		}
	}
	return heard, nil
}

func TestLoopAcknowledgesBehindItsBody(t *testing.T) {
	t.Parallel()
	d := newDesk(25)
	c, _ := setup(t, d.ServeHTTP)
	heard, err := receive(t, c, 25, client.AckEvery(10, time.Hour))
	require.NoError(t, err)
	require.Len(t, heard, 25)
	for _, acked := range d.acks {
		require.LessOrEqual(t, acked, int64(25))
	}
	require.Equal(t, int64(25), d.position)
	require.LessOrEqual(t, len(d.acks), 4, "not one by one: %v", d.acks)
	d.last = 30
	heard, err = receive(t, c, 30)
	require.NoError(t, err)
	require.Equal(t, []int64{26, 27, 28, 29, 30}, heard, "another loop goes on where the first one was")
}

func TestEventInWhoseBodyTheLoopIsLeftComesAgain(t *testing.T) {
	t.Parallel()
	d := newDesk(5)
	c, _ := setup(t, d.ServeHTTP)
	for e, err := range c.Subscribe(t.Context(), "s-1") {
		require.NoError(t, err)
		if e.Position == 3 {
			break // it might have failed
		}
	}
	require.Equal(t, int64(2), d.position)
	heard, err := receive(t, c, 5)
	require.NoError(t, err)
	require.Equal(t, []int64{3, 4, 5}, heard)
}

func TestPositionIsStoredSoonThoughNothingFollows(t *testing.T) {
	t.Parallel()
	d := newDesk(3)
	c, _ := setup(t, d.ServeHTTP)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		for _, err := range c.Subscribe(ctx, "s-1", client.AckEvery(1000, time.Millisecond)) {
			if err != nil {
				ended <- err
			}
		}
		close(ended)
	}()
	d.stored(t, 3)
	stop()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestWithManualAckTheLoopSaysWhatIsDealtWith(t *testing.T) {
	t.Parallel()
	d := newDesk(12)
	c, _ := setup(t, d.ServeHTTP)
	for e, err := range c.Subscribe(t.Context(), "s-1", client.ManualAck()) {
		require.NoError(t, err)
		if e.Position == 7 {
			require.NoError(t, e.Ack(t.Context()))
			require.Equal(t, []int64{7}, d.acks, "at once")
		}
		if e.Position == 12 {
			break
		}
	}
	require.Equal(t, int64(7), d.position)
}

func TestSubscriptionThatIsMovedIsReadFromThere(t *testing.T) {
	t.Parallel()
	d := newDesk(8)
	c, _ := setup(t, d.ServeHTTP)
	var heard []int64
	moved := false
	for e, err := range c.Subscribe(t.Context(), "s-1", client.AckEvery(1, time.Hour)) {
		require.NoError(t, err)
		heard = append(heard, e.Position)
		if e.Position == 8 && !moved {
			moved = true
			d.locked(func() { d.position, d.version = 2, d.version+1 })
		} else if e.Position == 8 {
			break
		}
	}
	require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 3, 4, 5, 6, 7, 8}, heard)
}

// TestIdleReaderHearsThatItWasMoved: nothing comes that it could acknowledge.
func TestIdleReaderHearsThatItWasMoved(t *testing.T) {
	t.Parallel()
	d := newDesk(3)
	c, _ := setup(t, d.ServeHTTP)
	c.SetLook(time.Millisecond)
	heard := make(chan int64)
	go func() {
		for e, err := range c.Subscribe(t.Context(), "s-1", client.AckEvery(1, time.Hour)) {
			if err != nil {
				return
			}
			heard <- e.Position
		}
	}()
	for _, want := range []int64{1, 2, 3} {
		require.Equal(t, want, <-heard)
	}
	d.stored(t, 3)
	d.locked(func() { d.position, d.version = 1, 2 })
	for _, want := range []int64{2, 3} {
		require.Equal(t, want, <-heard)
	}
}

func TestPausedSubscriptionIsWaitedFor(t *testing.T) {
	t.Parallel()
	d := newDesk(4)
	c, s := setup(t, d.ServeHTTP)
	d.status = client.SubscriptionPaused
	waited := 0
	c.SetWait(func(ctx context.Context, pause time.Duration) error {
		if waited++; waited == 5 {
			d.locked(func() { d.status = client.SubscriptionActive })
		}
		return s.pause(ctx, pause)
	})
	heard, err := receive(t, c, 4)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 3, 4}, heard)
	require.Equal(t, 5, waited)
	require.Len(t, d.asked, 1, "nothing is asked of the feed meanwhile")
}

// TestPausedWhileItIsRead: the feed refuses it, and nothing comes twice when it goes on.
func TestPausedWhileItIsRead(t *testing.T) {
	t.Parallel()
	d := newDesk(20)
	c, s := setup(t, d.ServeHTTP)
	d.feed = func(after int64) bool {
		if after == 10 && d.version == 1 {
			d.status, d.version = client.SubscriptionPaused, 2
			return false
		}
		return true
	}
	c.SetWait(func(ctx context.Context, pause time.Duration) error {
		d.locked(func() {
			if d.status == client.SubscriptionPaused && len(s.pauses) > 3 {
				d.status = client.SubscriptionActive
			}
		})
		return s.pause(ctx, pause)
	})
	heard, err := receive(t, c, 20)
	require.NoError(t, err)
	require.Subset(t, heard, []int64{1, 10, 11, 20})
	require.GreaterOrEqual(t, len(heard), 20)
}

func TestBrokenFeedOfASubscriptionIsWaitedOut(t *testing.T) {
	t.Parallel()
	d := newDesk(30)
	c, s := setup(t, d.ServeHTTP)
	failures := 0
	d.feed = func(int64) bool { failures++; return failures%2 == 0 }
	heard, err := receive(t, c, 30, client.AckEvery(1000, time.Hour))
	require.NoError(t, err)
	require.Len(t, heard, 30, "nothing is missing and nothing comes twice")
	require.NotEmpty(t, s.pauses)
}

// TestWhatTheBrokerNoLongerHasComesFromTheFeed: the store says so by the reason of an active subscription, until its party has read it.
func TestWhatTheBrokerNoLongerHasComesFromTheFeed(t *testing.T) {
	t.Parallel()
	d := newDesk(25)
	d.by, d.reason = client.TransportNATS, "the next events are no longer in the stream"
	c, _ := setup(t, d.ServeHTTP)
	heard, err := receive(t, c, 0, client.AckEvery(5, time.Hour))
	require.ErrorIs(t, err, client.ErrTransport, "then it is the broker's turn, whose address this client does not know")
	require.Len(t, heard, 25)
}

func TestWhatCannotBeStoredEndsTheLoop(t *testing.T) {
	t.Parallel()
	d := newDesk(50)
	d.ack = func(w http.ResponseWriter) bool {
		problem(w, http.StatusForbidden, "forbidden", "the scope is missing")
		return false
	}
	c, _ := setup(t, d.ServeHTTP)
	_, err := receive(t, c, 0, client.AckEvery(1, time.Hour))
	require.True(t, client.HasCode(err, "forbidden"), "%v", err)
	_, err = func() (heard []int64, err error) {
		for _, err := range c.Subscribe(t.Context(), "gone") {
			return nil, err
		}
		return nil, nil
	}()
	require.True(t, client.HasCode(err, client.CodeNotFound), "%v", err)
}
