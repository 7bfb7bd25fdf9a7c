package command

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

func TestPlacedOrderIsRoutedAndOffered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register("acme", "retail.erp")
	answer, o := b.place("r-1")
	require.Equal(t, 201, answer.Status)
	require.Equal(t, "/v1/orders/"+o.ID, answer.Location)
	require.Equal(t, `"2"`, answer.ETag)
	require.Equal(t, events.OrderRouted, o.Status)
	require.Equal(t, int64(3*250+1000-100+171+490), o.Total)
	require.Len(t, o.Tasks, 1)
	require.Equal(t, "acme", o.Tasks[0].Provider)
	require.Equal(t, answer.Position, o.SyncStatus[0].Position)
	require.Equal(t, int64(3), o.Lines[0].Quantities.Assigned)
	require.Equal(t, int64(3), b.tip.Position()) // provider.changed, order.placed, task.offered
	require.Equal(t, int64(3), b.verified().Events)
}

func TestSameReferenceIsReplayedOrConflicts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, first := b.place("r-1")
	again, o := b.place("r-1")
	require.Equal(t, 200, again.Status)
	require.True(t, again.Replayed)
	require.Equal(t, first.ID, o.ID)

	other := submission(t, "demo", `{"channel":"web","external_ref":"r-1","business_type":"retail.erp","currency":"EUR","lines":[{"sku":"A-1","quantity":4,"unit_price":250}]}`)
	_, err := b.committer.Submit(t.Context(), other, nil)
	require.Equal(t, fault.OrderConflict, fault.CodeOf(err))

	elsewhere, err := b.committer.Submit(t.Context(), submission(t, "tenant-2", order("r-1")), nil)
	require.NoError(t, err)
	require.Equal(t, 201, elsewhere.Status)
	require.Equal(t, int64(2), b.verified().Orders)
}

// Invariant 5: a command is applied once, however often and however simultaneously it is sent.
func TestConcurrentDuplicatesAreOneOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, second := b.node()
	const senders, refs = 16, 20
	ids := make([]sync.Map, refs)
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			node := b.committer
			if i%2 == 1 {
				node = second
			}
			for ref := range refs {
				answer, err := node.Submit(context.Background(), submission(t, "demo", order(fmt.Sprint("dup-", ref))), nil)
				if err != nil {
					t.Errorf("submit: %v", err)
					return
				}
				ids[ref].Store(answer.OrderID, answer.Status)
			}
		})
	}
	wg.Wait()
	for ref := range ids {
		n := 0
		ids[ref].Range(func(any, any) bool { n++; return true })
		require.Equal(t, 1, n, "reference %d has one order", ref)
	}
	require.Equal(t, int64(refs), b.verified().Orders)
}

// Invariants 1 and 2: with several committers racing on one log, each acknowledged order is in it, and its positions are 1..N in
// commit order without a hole.
func TestRacingCommittersKeepPositionsWithoutHoles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register("acme", "retail.erp")
	_, second := b.node()
	_, third := b.node()
	var mu sync.Mutex
	acknowledged := map[string]int64{}
	var wg sync.WaitGroup
	for n, node := range []*Committer{b.committer, second, third} {
		for sender := range 8 {
			wg.Go(func() {
				for i := range 15 {
					answer, err := node.Submit(context.Background(), submission(t, "demo", order(fmt.Sprintf("%d-%d-%d", n, sender, i))), nil)
					if err != nil {
						t.Errorf("submit: %v", err)
						return
					}
					mu.Lock()
					acknowledged[answer.OrderID] = answer.Position
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	v := b.verified()
	require.Equal(t, int64(3*8*15), v.Orders)
	require.Equal(t, int64(1+2*3*8*15), v.Events)
	rows, err := b.pool.Query(t.Context(), `SELECT id::text, position FROM orders`)
	require.NoError(t, err)
	stored := map[string]int64{}
	var id string
	var position int64
	_, err = pgx.ForEachRow(rows, []any{&id, &position}, func() error { stored[id] = position; return nil })
	require.NoError(t, err)
	require.Equal(t, acknowledged, stored)
}

// TestNodesThatAppendTogetherSeldomCollide shows that a second node does not cost the first its rounds: once they have met, each holds
// the head while it decides.
func TestNodesThatAppendTogetherSeldomCollide(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, other := b.node()
	b.register("acme", "retail.erp")
	const clients, each = 32, 60
	var all sync.WaitGroup
	for i := range clients {
		node := b.committer
		if i%2 == 1 {
			node = other
		}
		all.Go(func() {
			for n := range each {
				_, err := node.Submit(t.Context(), submission(t, "demo", order(fmt.Sprintf("%d-%d", i, n))), nil)
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
	require.Equal(t, int64(clients*each), b.verified().Orders)
	// Each collision is followed by 64 rounds without one. A round has one command at least.
	collisions := b.committer.collisions.Load() + other.collisions.Load()
	require.LessOrEqual(t, collisions, int64(2*(clients*each/lockedFor+1)))
	require.Positive(t, collisions, "the nodes never met: this shows nothing")
}

// TestRefusalIsDecidedOnTheLastState has a node refuse what another node's event allows, if it looked at what it remembers alone.
func TestRefusalIsDecidedOnTheLastState(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, other := b.node()
	b.register("acme", "retail.erp")
	_, placed := b.place("one")
	task := placed.Tasks[0].ID
	accept := func(c *Committer) (Answer, error) {
		return c.Submit(t.Context(), &AcceptTask{onTask{Provider: "acme", TaskID: task}}, nil)
	}
	_, err := accept(b.committer)
	require.NoError(t, err)
	_, err = other.Submit(t.Context(), result(t, "acme", task, `{"result_id":"r","outcome":"completed"}`), nil)
	require.NoError(t, err)
	// The first node remembers the task as accepted, and would answer this as a repeated one.
	_, err = accept(b.committer)
	require.Equal(t, fault.TaskState, fault.CodeOf(err))
}

func TestResultIsAppliedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register("acme", "retail.erp")
	_, o := b.place("r-1")
	const body = `{"result_id":"res-1","outcome":"completed","payload":{"invoice":"7"}}`
	var wg sync.WaitGroup
	statuses := make([]int, 8)
	for i := range statuses {
		wg.Go(func() {
			answer, err := b.committer.Submit(context.Background(), result(t, "acme", o.Tasks[0].ID, body), nil)
			if err != nil {
				t.Errorf("result: %v", err)
			}
			statuses[i] = answer.Status
		})
	}
	wg.Wait()
	created := 0
	for _, s := range statuses {
		if s == 201 {
			created++
		}
	}
	require.Equal(t, 1, created)
	_, now := b.place("r-1")
	require.Equal(t, events.OrderStatusCompleted, now.Status)
	require.Equal(t, events.Fulfilled, now.FulfillmentStatus)
	require.Len(t, now.Results, 1)
	require.Equal(t, events.Synced, now.SyncStatus[0].Status)
	for _, line := range now.Lines {
		require.Equal(t, line.Quantity, line.Quantities.Fulfilled)
	}

	_, err := b.committer.Submit(t.Context(), result(t, "acme", o.Tasks[0].ID, `{"result_id":"res-1","outcome":"failed"}`), nil)
	require.Equal(t, fault.ResultConflict, fault.CodeOf(err))
	_, err = b.committer.Submit(t.Context(), result(t, "acme", o.Tasks[0].ID, `{"result_id":"res-2","outcome":"completed"}`), nil)
	require.Equal(t, fault.TaskState, fault.CodeOf(err))
	_, err = b.committer.Submit(t.Context(), result(t, "other", o.Tasks[0].ID, body), nil)
	require.Equal(t, fault.NotFound, fault.CodeOf(err))
	b.verified()
}

func TestPartialResultsAddUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register("acme", "retail.erp")
	_, o := b.place("r-1")
	task := o.Tasks[0].ID
	accepted, err := b.committer.Submit(t.Context(), &AcceptTask{onTask{Provider: "acme", TaskID: task}}, nil)
	require.NoError(t, err)
	require.Equal(t, events.TaskStatusAccepted, taskDecoded(t, accepted.Body).Status)
	_, now := b.place("r-1")
	require.Equal(t, events.OrderProcessing, now.Status)

	_, err = b.committer.Submit(t.Context(), result(t, "acme", task, `{"result_id":"1","outcome":"partial","lines":[{"line_id":"1","quantity":2}]}`), nil)
	require.NoError(t, err)
	_, now = b.place("r-1")
	require.Equal(t, events.OrderPartiallyCompleted, now.Status)
	require.Equal(t, events.Partial, now.FulfillmentStatus)

	_, err = b.committer.Submit(t.Context(), result(t, "acme", task, `{"result_id":"2","outcome":"partial","lines":[{"line_id":"1","quantity":2}]}`), nil)
	require.Equal(t, fault.Invalid, fault.CodeOf(err), "one unit is left, not two")
	_, err = b.committer.Submit(t.Context(), result(t, "acme", task, `{"result_id":"2","outcome":"completed","lines":[{"line_id":"2","quantity":1}]}`), nil)
	require.Equal(t, fault.Invalid, fault.CodeOf(err), "a completed task accounts for all")

	_, err = b.committer.Submit(t.Context(), result(t, "acme", task,
		`{"result_id":"3","outcome":"completed","lines":[{"line_id":"1","quantity":1,"outcome":"rejected"},{"line_id":"2","quantity":1}]}`), nil)
	require.NoError(t, err)
	_, now = b.place("r-1")
	require.Equal(t, events.OrderStatusCompleted, now.Status)
	require.Equal(t, events.Quantities{Ordered: 3, Assigned: 3, Accepted: 3, Fulfilled: 2, Rejected: 1}, now.Lines[0].Quantities)
	b.verified()
}

func TestRejectedTaskGoesToTheNextCandidate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register("a", "retail.erp")
	b.register("b", "retail.erp")
	_, o := b.place("r-1")
	first := o.Tasks[0]
	reject := &RejectTask{onTask: onTask{Provider: first.Provider, TaskID: first.ID}, Rejection: events.Rejection{ReasonCode: "no_capacity"}}
	_, err := b.committer.Submit(t.Context(), reject, nil)
	require.NoError(t, err)
	_, now := b.place("r-1")
	require.Len(t, now.Tasks, 2)
	require.NotEqual(t, first.Provider, now.Tasks[1].Provider)
	require.Equal(t, 2, now.Tasks[1].Attempt)
	require.Equal(t, int64(3), now.Lines[0].Quantities.Assigned)
	second := now.Tasks[1]
	_, err = b.committer.Submit(t.Context(), &RejectTask{onTask: onTask{Provider: second.Provider, TaskID: second.ID}, Rejection: events.Rejection{ReasonCode: "no"}}, nil)
	require.NoError(t, err)
	_, now = b.place("r-1")
	require.Equal(t, events.OrderActionRequired, now.Status)
	require.Zero(t, now.Lines[0].Quantities.Assigned)
	b.verified()
}

func TestUnroutedOrderIsOfferedWhenAProviderRegisters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	run(t, NewHousekeeper(b.committer))
	_, o := b.place("r-1")
	require.Equal(t, events.OrderUnrouted, o.Status)
	require.NoError(t, b.tip.Wait(t.Context(), 1))
	b.register("acme", "retail.erp")
	require.NoError(t, b.tip.Wait(t.Context(), 3)) // order.placed, provider.changed, task.offered
	_, now := b.place("r-1")
	require.Equal(t, events.OrderRouted, now.Status)
	require.Equal(t, "acme", now.Tasks[0].Provider)
	b.verified()
}

func TestIdempotencyKeyReplaysTheFirstAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register("acme", "retail.erp")
	key := &Key{Client: "c", Key: "k", Fingerprint: sha256.Sum256([]byte("1"))}
	first, err := b.committer.Submit(t.Context(), submission(t, "demo", order("r-1")), key)
	require.NoError(t, err)
	o := decoded(t, first.Body)
	_, err = b.committer.Submit(t.Context(), result(t, "acme", o.Tasks[0].ID, `{"result_id":"1","outcome":"completed"}`), nil)
	require.NoError(t, err)

	again, err := b.committer.Submit(t.Context(), submission(t, "demo", order("r-1")), key)
	require.NoError(t, err)
	require.True(t, again.Replayed)
	again.Replayed = false
	require.Equal(t, first, again, "the first answer, byte for byte, though the order has moved on")

	_, err = b.committer.Submit(t.Context(), submission(t, "demo", order("r-2")), &Key{Client: "c", Key: "k", Fingerprint: sha256.Sum256([]byte("2"))})
	require.Equal(t, fault.KeyReused, fault.CodeOf(err))
	mine, err := b.committer.Submit(t.Context(), submission(t, "demo", order("r-2")), &Key{Client: "d", Key: "k", Fingerprint: sha256.Sum256([]byte("2"))})
	require.NoError(t, err)
	require.Equal(t, 201, mine.Status, "another client's key is another key")
}

// Invariant 1: the answer to a commit that never arrives neither loses the order nor stores it twice.
func TestLostCommitAnswerIsResolvedByTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.place("before")
	var cuts cutter
	cfg := b.pool.Config()
	cfg.ConnConfig.DialFunc = cuts.dial
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b.committer.store.pool = pool // before any command reaches the committer again
	for i := range 5 {
		cuts.arm("advance_log_head")
		answer, err := b.committer.Submit(t.Context(), submission(t, "demo", order(fmt.Sprint("cut-", i))), nil)
		require.NoError(t, err)
		require.Equal(t, 201, answer.Status)
	}
	require.GreaterOrEqual(t, cuts.count(), 5)
	require.Equal(t, int64(6), b.verified().Orders)
}

// cutter dials connections of which it drops the server's answer to a statement, after the server has it.
type cutter struct {
	mu    sync.Mutex
	after string
	cuts  int
}

func (c *cutter) arm(statement string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = statement
}

func (c *cutter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: conn, cutter: c}, nil
}

type cutConn struct {
	net.Conn
	cutter *cutter
	cut    bool
}

var errCut = errors.New("connection cut by the test")

// Write lets the statement through. What is armed is the append of a round, told by the bytes of its parameters: a batch that is
// longer than any other message.
func (c *cutConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.cutter.mu.Lock()
	defer c.cutter.mu.Unlock()
	if c.cutter.after != "" && len(b) > 1500 {
		c.cutter.after, c.cut = "", true
		c.cutter.cuts++
	}
	return n, err
}

// Read waits for the server's answer, so that the statement was carried out, and drops it.
func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.cut && err == nil {
		_ = c.Conn.Close()
		return 0, errCut
	}
	return n, err
}
