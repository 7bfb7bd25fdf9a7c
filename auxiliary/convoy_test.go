package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clerk writes down which events it applied and in which transaction.
type clerk struct {
	name   string
	fails  int64 // at this event
	healed atomic.Bool
}

func (s *clerk) Name() string { return s.name }

func (s *clerk) Apply(ctx context.Context, tx pgx.Tx, batch Batch) error {
	for i := range batch.Events {
		_, err := tx.Exec(ctx, `INSERT INTO clerks VALUES ($1, $2, pg_current_xact_id()::text::bigint)`, s.name, batch.Events[i].Position)
		if err != nil {
			return err
		}
		if batch.Events[i].Position == s.fails && !s.healed.Load() {
			return errors.New("it has no such thing")
		}
	}
	return nil
}

func (s *clerk) Reset(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `DELETE FROM clerks WHERE system = $1`, s.name)
	return err
}

// clerks makes five of them, of which the third fails at an event.
func (h *house) clerks(fails int64) []*clerk {
	h.t.Helper()
	_, err := h.aux.Exec(h.t.Context(), `CREATE TABLE clerks (system text, position bigint, xact bigint, PRIMARY KEY (system, position))`)
	require.NoError(h.t, err)
	all := make([]*clerk, 5)
	for i := range all {
		all[i] = &clerk{name: fmt.Sprint("clerk", i+1)}
	}
	all[2].fails = fails
	return all
}

func (h *house) go5(all []*clerk) *Runner {
	h.t.Helper()
	systems := make([]System, len(all))
	for i := range all {
		systems[i] = all[i]
	}
	r := h.runner(quick(), systems...)
	start(h.t, r)
	return r
}

// shared tells in how many transactions some systems applied an event, and how many of them did.
func (h *house) shared(position int64, systems ...string) (transactions, applied int) {
	h.t.Helper()
	err := h.aux.QueryRow(h.t.Context(), `SELECT count(DISTINCT xact), count(*) FROM clerks WHERE position = $1 AND system = ANY ($2)`,
		position, systems).Scan(&transactions, &applied)
	require.NoError(h.t, err)
	return transactions, applied
}

// untilTogether appends events until all systems apply one in the same transaction.
func (h *house) untilTogether(r *Runner, systems ...string) {
	h.t.Helper()
	for try := 0; ; try++ {
		require.Less(h.t, try, 200, "they find together")
		h.append(placed(nil))
		for _, s := range systems {
			h.reached(r, s, h.position)
		}
		if transactions, applied := h.shared(h.position, systems...); transactions == 1 && applied == len(systems) {
			return
		}
	}
}

// Systems at one position share a transaction. The third of them fails: the four others go on together, and it is with them again
// once it can apply the event.
func TestSystemsThatGoTogetherFailAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const fails = 300
	all := h.clerks(fails)
	r := h.go5(all)
	others, everyone := []string{"clerk1", "clerk2", "clerk4", "clerk5"}, []string{"clerk1", "clerk2", "clerk3", "clerk4", "clerk5"}
	h.untilTogether(r, everyone...)
	require.Less(t, h.position, int64(fails))
	h.append(someOrders(41, 300)...)
	for _, s := range others {
		h.reached(r, s, h.position)
	}
	h.eventually("the third stands before the event", []any{fails - 1},
		`SELECT position = $1 AND stopped LIKE 'event 300 (%): it has no such thing' FROM checkpoints WHERE system = 'clerk3'`)
	h.untilTogether(r, others...)
	assert.Equal(t, fails-1, h.count(`SELECT count(*) FROM clerks WHERE system = 'clerk3'`), "nothing of what it failed at is kept")

	all[2].healed.Store(true)
	h.reached(r, "clerk3", h.position)
	h.untilTogether(r, everyone...)
	assert.EqualValues(t, 5*h.position, h.count(`SELECT count(*) FROM clerks`), "each applied each event once")
	assert.Equal(t, 1, h.count(`SELECT count(DISTINCT (position, digest)) FROM checkpoints`))
}

// Who holds one system's checkpoint, pauses it or sends it back holds up none of the others.
func TestSystemsThatGoTogetherDoNotWaitForOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.go5(h.clerks(0))
	others, everyone := []string{"clerk1", "clerk2", "clerk4", "clerk5"}, []string{"clerk1", "clerk2", "clerk3", "clerk4", "clerk5"}
	h.untilTogether(r, everyone...)
	holder, err := h.aux.Begin(t.Context())
	require.NoError(t, err)
	_, err = holder.Exec(t.Context(), `SELECT FROM checkpoints WHERE system = 'clerk3' FOR UPDATE`)
	require.NoError(t, err)
	at := h.position
	h.untilTogether(r, others...)
	assert.EqualValues(t, at, h.count(`SELECT position FROM checkpoints WHERE system = 'clerk3'`))
	require.NoError(t, holder.Rollback(t.Context()))
	h.untilTogether(r, everyone...)

	d := h.desk()
	var report SystemReport
	d.done("POST", "/v1/admin/auxiliary/clerk3/pause", "", &report)
	at = h.position
	h.untilTogether(r, others...)
	assert.EqualValues(t, at, h.count(`SELECT position FROM checkpoints WHERE system = 'clerk3'`), "from the answer on nothing is handled")
	h.append(someOrders(42, 200)...)
	d.done("POST", "/v1/admin/auxiliary/clerk3/rebuild", "", &report)
	d.done("POST", "/v1/admin/auxiliary/clerk3/resume", "", &report)
	h.eventually("it has begun anew", nil, `SELECT quiet_to > 0 AND position >= quiet_to FROM checkpoints WHERE system = 'clerk3'`)
	h.untilTogether(r, everyone...)
	assert.EqualValues(t, 5*h.position, h.count(`SELECT count(*) FROM clerks`), "each applied each event once")
}
