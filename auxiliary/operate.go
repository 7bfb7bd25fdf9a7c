package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

// The states of a system, as people see them.
const (
	systemRunning    = "running"
	systemRebuilding = "rebuilding" // what it handled before is computed again
	systemPaused     = "paused"
	systemStopped    = "stopped" // at an event that it cannot apply
	systemAway       = "away"    // no process runs it
)

// awayAfter is how long nobody has run a system that is called away: three of its beats.
const awayAfter = 15 * time.Second

// SystemReport is how one system is, as its database tells.
type SystemReport struct {
	System   string     `json:"system"`
	State    string     `json:"state"` // running, rebuilding, paused, stopped or away
	Position int64      `json:"position"`
	Lag      int64      `json:"lag"`
	Stopped  string     `json:"stopped,omitempty"` // at which event, and why
	Queued   int64      `json:"queued"`            // outside effects to be made
	Dead     int64      `json:"dead"`              // outside effects given up
	SeenAt   *time.Time `json:"seen_at,omitempty"` // when a process last said that it runs the system
	Actions  []Action   `json:"actions,omitempty"` // what people did to it, newest first; of one system alone

	paused, rebuild bool
	quietTo         int64
}

// Action is what somebody did to a system.
type Action struct {
	At      time.Time `json:"at"`
	Who     string    `json:"who"`
	Action  string    `json:"action"`
	Subject string    `json:"subject,omitempty"` // the dead letter
	Reason  string    `json:"reason,omitempty"`
}

const selectReports = `
SELECT c.system, c.position, c.stopped, c.paused, c.rebuild, c.quiet_to, c.seen_at,
       (SELECT count(*) FROM outbox WHERE system = c.system AND state = 'queued'),
       (SELECT count(*) FROM outbox WHERE system = c.system AND state = 'dead')
FROM checkpoints c WHERE $1 = '' OR c.system = $1 ORDER BY c.system`

// reports tells how the systems are, or the named one; end is the last position there is.
func reports(ctx context.Context, pool *pgxpool.Pool, system string, end int64, now time.Time) ([]SystemReport, error) {
	rows, err := pool.Query(ctx, selectReports, system)
	if err != nil {
		return nil, fmt.Errorf("read systems: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r SystemReport, err error) {
		err = row.Scan(&r.System, &r.Position, &r.Stopped, &r.paused, &r.rebuild, &r.quietTo, &r.SeenAt, &r.Queued, &r.Dead)
		r.Lag = max(end-r.Position, 0)
		r.State = r.state(now)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("read systems: %w", err)
	}
	if system != "" && len(found) == 0 {
		return nil, fault.New(fault.NotFound, "no such system")
	}
	return found, nil
}

func (r *SystemReport) state(now time.Time) string {
	switch {
	case r.paused:
		return systemPaused
	case r.SeenAt == nil, now.Sub(*r.SeenAt) > awayAfter:
		return systemAway
	case r.Stopped != "":
		return systemStopped
	case r.rebuild, r.Position < r.quietTo:
		return systemRebuilding
	}
	return systemRunning
}

const selectActions = `SELECT at, who, action, subject, reason FROM system_actions WHERE system = $1 ORDER BY id DESC LIMIT 50`

func actions(ctx context.Context, pool *pgxpool.Pool, system string) ([]Action, error) {
	rows, err := pool.Query(ctx, selectActions, system)
	if err != nil {
		return nil, fmt.Errorf("read actions: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Action])
	if err != nil {
		return nil, fmt.Errorf("read actions: %w", err)
	}
	return found, nil
}

// instruction is what somebody wants done.
type instruction struct {
	Action
	system string
}

const insertAction = `INSERT INTO system_actions (at, who, system, action, subject, reason) VALUES ($1, $2, $3, $4, $5, $6)`

const lockSystem = `SELECT position, stopped FROM checkpoints WHERE system = $1 FOR UPDATE`

// operate does what is asked of a system, in one transaction with the note of who asked. Whoever runs the system notices within a
// second.
func operate(ctx context.Context, pool *pgxpool.Pool, i instruction) error {
	return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		var position int64
		var stopped string
		err := tx.QueryRow(ctx, lockSystem, i.system).Scan(&position, &stopped)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.New(fault.NotFound, "no such system")
		}
		if err != nil {
			return fmt.Errorf("lock system: %w", err)
		}
		if err := i.carryOut(ctx, tx, position, stopped); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertAction, i.At, i.Who, i.system, i.Action.Action, i.Subject, i.Reason); err != nil {
			return fmt.Errorf("note action: %w", err)
		}
		return nil
	})
}

const (
	pauseSystem   = `UPDATE checkpoints SET paused = true, control = control + 1 WHERE system = $1`
	resumeSystem  = `UPDATE checkpoints SET paused = false, control = control + 1 WHERE system = $1`
	rebuildSystem = `UPDATE checkpoints SET rebuild = true, control = control + 1 WHERE system = $1`
	wakeSystem    = `UPDATE checkpoints SET stopped = '', control = control + 1 WHERE system = $1`
)

func (i *instruction) carryOut(ctx context.Context, tx pgx.Tx, position int64, stopped string) error {
	exec := func(sql string) error {
		if _, err := tx.Exec(ctx, sql, i.system); err != nil {
			return fmt.Errorf("%s system: %w", i.Action.Action, err)
		}
		return nil
	}
	switch i.Action.Action {
	case "pause":
		return exec(pauseSystem)
	case "resume":
		return exec(resumeSystem)
	case "rebuild":
		return exec(rebuildSystem)
	}
	at, channel, err := letterOf(i.Subject)
	if err != nil {
		return err
	}
	if channel != "" {
		return i.effect(ctx, tx, at, channel)
	}
	if stopped != "" && at == position+1 {
		if i.Action.Action == "discard" {
			if err := i.skip(ctx, tx, at, stopped); err != nil {
				return err
			}
		}
		return exec(wakeSystem)
	}
	if i.Action.Action == "discard" {
		return errNoLetter()
	}
	// An event that was left out belongs between others: all is computed again.
	tag, err := tx.Exec(ctx, deleteSkipped, i.system, at)
	if err != nil {
		return fmt.Errorf("take skipped event back: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errNoLetter()
	}
	return exec(rebuildSystem)
}

func errNoLetter() error { return fault.New(fault.NotFound, "no such dead letter") }

// letterOf reads "17", an event, or "17.mail", an effect of it.
func letterOf(id string) (position int64, channel string, err error) {
	number, channel, _ := strings.Cut(id, ".")
	position, err = strconv.ParseInt(number, 10, 64)
	if err != nil || position < 1 {
		return 0, "", errNoLetter()
	}
	return position, channel, nil
}

const insertSkipped = `INSERT INTO skipped_events (system, position, failure, reason, at) VALUES ($1, $2, $3, $4, $5)`

const deleteSkipped = `DELETE FROM skipped_events WHERE system = $1 AND position = $2`

const selectSkipped = `SELECT position FROM skipped_events WHERE system = $1`

func (i *instruction) skip(ctx context.Context, tx pgx.Tx, position int64, failure string) error {
	if i.Reason == "" {
		return fault.InvalidFields([]fault.Field{{Pointer: "/reason", Detail: "is needed to leave an event out"}})
	}
	if _, err := tx.Exec(ctx, insertSkipped, i.system, position, failure, i.Reason, i.At); err != nil {
		return fmt.Errorf("skip event: %w", err)
	}
	return nil
}

// skippedEvents are those that a person let the system go past.
func skippedEvents(ctx context.Context, pool *pgxpool.Pool, system string) (map[int64]bool, error) {
	rows, err := pool.Query(ctx, selectSkipped, system)
	if err != nil {
		return nil, fmt.Errorf("read skipped events: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("read skipped events: %w", err)
	}
	all := make(map[int64]bool, len(found))
	for _, position := range found {
		all[position] = true
	}
	return all, nil
}

const retryEffect = `
UPDATE outbox SET state = 'queued', attempts = 0, next_at = $4, claimed_until = NULL, changed_at = $4
WHERE system = $1 AND position = $2 AND channel = $3 AND state = 'dead' RETURNING order_id::text`

const discardEffect = `
UPDATE outbox SET state = 'discarded', payload = NULL, changed_at = $4
WHERE system = $1 AND position = $2 AND channel = $3 AND state = 'dead' RETURNING order_id::text`

func (i *instruction) effect(ctx context.Context, tx pgx.Tx, position int64, channel string) error {
	sql := retryEffect
	if i.Action.Action == "discard" {
		sql = discardEffect
	}
	var order string
	err := tx.QueryRow(ctx, sql, i.system, position, channel, i.At).Scan(&order)
	if errors.Is(err, pgx.ErrNoRows) {
		return errNoLetter()
	}
	if err != nil {
		return fmt.Errorf("%s effect: %w", i.Action.Action, err)
	}
	if i.system == NoticesName { // whose records tell what became of each effect
		return refreshNotices(ctx, tx, []string{order}, i.At)
	}
	return nil
}

// DeadLetter is what a system could not do: apply an event, or make an outside effect of one.
type DeadLetter struct {
	ID       string    `json:"id"`   // "17" for event 17, "17.mail" for a mail of it
	Kind     string    `json:"kind"` // event or effect
	State    string    `json:"state"`
	Position int64     `json:"position"`
	OrderID  string    `json:"order_id,omitempty"`
	Attempts int64     `json:"attempts,omitempty"`
	Failure  string    `json:"failure"`
	Reason   string    `json:"reason,omitempty"` // for which a person left the event out
	At       time.Time `json:"at"`
}

// maxLetters bounds a list; the first by position are given.
const maxLetters = 500

const selectLetters = `
SELECT id, kind, state, position, order_id, attempts, failure, reason, at FROM (
    SELECT (position + 1)::text AS id, 'event' AS kind, 'stopped' AS state, position + 1 AS position, '' AS order_id, 0::bigint AS attempts,
           stopped AS failure, '' AS reason, coalesce(seen_at, now()) AS at
    FROM checkpoints WHERE system = $1 AND stopped <> ''
    UNION ALL
    SELECT position::text, 'event', 'discarded', position, '', 0, failure, reason, at FROM skipped_events WHERE system = $1
    UNION ALL
    SELECT position || '.' || channel, 'effect', state, position, order_id::text, attempts, failure, '', changed_at
    FROM outbox WHERE system = $1 AND state = 'dead') l
ORDER BY position, id LIMIT $2`

func deadLetters(ctx context.Context, pool *pgxpool.Pool, system string) ([]DeadLetter, error) {
	rows, err := pool.Query(ctx, selectLetters, system, maxLetters)
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[DeadLetter])
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return found, nil
}
