package projection

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/postgres"
)

// skips are the positions of events that a generation of a view goes past, because an operator said so. Of an event that is skipped
// an order takes over what its header says, so that its later events can follow.
type skips map[int64]bool

func (s skips) any(facts []fact) bool {
	for position := range s {
		if n := len(facts); n > 0 && position >= facts[0].Position && position <= facts[n-1].Position {
			return true
		}
	}
	return false
}

// foldSkips are the events that the orders are folded without, from which the views are made. ok is false where none of them is.
func foldSkips(views []view) (s skips, ok bool) {
	for _, v := range views {
		if v.needs == needOrder {
			return v.skips, true
		}
	}
	return nil, false
}

// sameFold tells whether views can be made from the same orders.
func sameFold(a, b []view) bool {
	as, aFolds := foldSkips(a)
	bs, bFolds := foldSkips(b)
	return !aFolds || !bFolds || maps.Equal(as, bs)
}

// foldKey is equal for views that can be made from the same orders.
func foldKey(v view) string {
	s, _ := foldSkips([]view{v})
	return fmt.Sprint(slices.Sorted(maps.Keys(s)))
}

const selectSkips = `SELECT position FROM skips WHERE view = $1 AND generation = $2`

func loadSkips(ctx context.Context, db querier, name string, generation int64) (skips, error) {
	rows, err := db.Query(ctx, selectSkips, name, generation)
	if err != nil {
		return nil, fmt.Errorf("read skips: %w", err)
	}
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("read skips: %w", err)
	}
	s := skips{}
	for _, position := range positions {
		s[position] = true
	}
	return s, nil
}

// Actions that the audit holds.
const (
	ActionSkip   = "skip"
	ActionSwitch = "switch"
	ActionDrop   = "drop"
)

// Audit is something that an operator did to a read database.
type Audit struct {
	At       time.Time
	Who      string
	Action   string // one of the Action constants
	View     string
	Position int64
	Reason   string
}

const insertAudit = `INSERT INTO audit (at, who, action, view, position, reason) VALUES ($1, $2, $3, $4, $5, $6)`

func (a *Audit) write(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, insertAudit, a.At, a.Who, a.Action, a.View, a.Position, a.Reason); err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	return nil
}

const selectAudit = `SELECT at, who, action, view, position, reason FROM audit ORDER BY id`

// Audits gives all that was done to a read database, the oldest first.
func Audits(ctx context.Context, pool *pgxpool.Pool) ([]Audit, error) { return readAudits(ctx, pool) }

func readAudits(ctx context.Context, db querier) ([]Audit, error) {
	rows, err := db.Query(ctx, selectAudit)
	if err != nil {
		return nil, fmt.Errorf("read audit: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Audit])
	if err != nil {
		return nil, fmt.Errorf("read audit: %w", err)
	}
	return all, nil
}

// SkipRequest asks for a view to go past the event that it is stopped at.
type SkipRequest struct {
	View     string
	Position int64 // of the event
	Who      string
	Reason   string
	At       time.Time
}

// errNoReason says that an event is to be skipped without a word why.
var errNoReason = errors.New("say why the event is skipped: the audit keeps it")

const selectStopped = `SELECT position, stopped, generation FROM checkpoints WHERE view = $1 FOR UPDATE`

const insertSkip = `INSERT INTO skips (view, generation, position) VALUES ($1, $2, $3)`

// Skip lets a view go past the event that it is stopped at, and notes who wanted that and why. A running projection goes on within
// moments. It refuses any event but the one that the view is stopped at.
func Skip(ctx context.Context, pool *pgxpool.Pool, r SkipRequest) error {
	if !slices.Contains(Views(), r.View) {
		return noView(r.View)
	}
	if r.Reason == "" {
		return errNoReason
	}
	return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		var at checkpoint
		err := tx.QueryRow(ctx, selectStopped, r.View).Scan(&at.position, &at.stopped, &at.generation)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("view %s has not begun", r.View)
		case err != nil:
			return fmt.Errorf("read checkpoint: %w", err)
		case at.stopped == "":
			return fmt.Errorf("view %s is not stopped: it is at %d and goes on", r.View, at.position)
		case at.position+1 != r.Position:
			return fmt.Errorf("view %s is stopped at %d, not at %d: %s", r.View, at.position+1, r.Position, at.stopped)
		}
		if _, err := tx.Exec(ctx, insertSkip, r.View, at.generation, r.Position); err != nil {
			return fmt.Errorf("skip event %d: %w", r.Position, err)
		}
		if _, err := tx.Exec(ctx, updateStopped, []string{r.View}, ""); err != nil {
			return fmt.Errorf("skip event %d: %w", r.Position, err)
		}
		a := Audit{At: r.At, Who: r.Who, Action: ActionSkip, View: r.View, Position: r.Position, Reason: r.Reason}
		return a.write(ctx, tx)
	})
}

func noView(name string) error { return fmt.Errorf("there is no view %q: there are %v", name, Views()) }
