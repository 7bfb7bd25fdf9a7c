package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jmoiron/sqlx"

	"github.com/orderstore/orderstore/internal/disclose"
)

const (
	// The auxiliary database may take that long for an order's records; then the order comes without them.
	auxiliaryTimeout = 2 * time.Second
	// After it has failed so many times in a row it is left alone that long, so that a database which hangs does not slow each
	// order down. One failure alone may be a moment's stall.
	auxiliaryFailures = 3
	auxiliaryRest     = time.Second
	// An order may have that many records; what is beyond is not shown.
	maxRecords = 1000
)

var errNoAuxiliary = errors.New("the auxiliary database is away")

// auxiliary reads what auxiliary systems stored about orders.
type auxiliary struct {
	db   *sqlx.DB // nil: there is none
	now  func() time.Time
	rest atomic.Int64 // until then it is not asked, in nanoseconds since 1970
	bad  atomic.Int64 // failures in a row
}

func newAuxiliary(pool *pgxpool.Pool, now func() time.Time) *auxiliary {
	a := &auxiliary{now: now}
	if pool != nil {
		a.db = open(pool)
	}
	return a
}

// recordRow is a row of records.
type recordRow struct {
	OrderID       string    `db:"order_id"`
	System        string    `db:"system"`
	Kind          string    `db:"kind"`
	RecordID      string    `db:"record_id"`
	Revision      int64     `db:"revision"`
	SchemaVersion int       `db:"schema_version"`
	Payload       []byte    `db:"payload"`
	Position      int64     `db:"position"`
	UpdatedAt     time.Time `db:"updated_at"`
}

// systemRow is a row of checkpoints: a system of ours that follows the log.
type systemRow struct {
	System   string `db:"system"`
	Position int64  `db:"position"`
	Stopped  string `db:"stopped"`
}

const selectRecords = `
SELECT order_id::text, system, kind, record_id, revision, schema_version, payload, position, updated_at
FROM records WHERE order_id = $1 ORDER BY system, record_id LIMIT $2`

const selectSystems = `SELECT system, position, stopped FROM checkpoints ORDER BY system`

// records is what the auxiliary database knows about one order.
type records struct {
	rows    []recordRow
	systems []systemRow
	outside []string  // systems that may write about the order, whether or not they did
	at      time.Time // when it was read
}

// of reads an order's records. The caller has seen that the order is the client's.
func (a *auxiliary) of(ctx context.Context, id uuid.UUID) (records, error) {
	if a.db == nil || a.now().UnixNano() < a.rest.Load() {
		return records{}, errNoAuxiliary
	}
	within, cancel := context.WithTimeout(ctx, auxiliaryTimeout)
	defer cancel()
	var found records
	// The systems first: a record that comes in between is then shown with a system that is said to be behind, never the
	// other way round.
	err := sqlx.SelectContext(within, a.db, &found.systems, selectSystems)
	if err == nil {
		err = sqlx.SelectContext(within, a.db, &found.rows, selectRecords, id.String(), maxRecords)
	}
	if err != nil {
		if ctx.Err() == nil && a.bad.Add(1) >= auxiliaryFailures {
			a.rest.Store(a.now().Add(auxiliaryRest).UnixNano())
		}
		return records{}, fmt.Errorf("read auxiliary records: %w", err)
	}
	a.bad.Store(0)
	found.at = a.now()
	return found, nil
}

// record is a record as it is answered.
type record struct {
	OrderID       string          `json:"order_id"`
	System        string          `json:"system"`
	Kind          string          `json:"kind"`
	RecordID      string          `json:"record_id"`
	Revision      int64           `json:"revision"`
	SchemaVersion int             `json:"schema_version"`
	Payload       json.RawMessage `json:"payload"`
	Position      int64           `json:"position"`
	UpdatedAt     time.Time       `json:"updated_at"`
	AgeMS         int64           `json:"age_ms"` // since it was stored, when the order was read
}

// documents are the records as they are answered, with their age or, to be compared, without.
func (r records) documents(aged bool) [][]byte {
	out := make([][]byte, 0, len(r.rows))
	for _, row := range r.rows {
		answered := row.answer()
		if aged {
			answered.AgeMS = max(r.at.Sub(row.UpdatedAt).Milliseconds(), 0)
		}
		document, err := json.Marshal(answered)
		if err != nil {
			// A payload that is no JSON: the record is shown without it.
			answered.Payload = json.RawMessage("null")
			document, _ = json.Marshal(answered)
		}
		out = append(out, document)
	}
	return out
}

func (r recordRow) answer() record {
	return record{
		OrderID: r.OrderID, System: r.System, Kind: r.Kind, RecordID: r.RecordID, Revision: r.Revision,
		SchemaVersion: r.SchemaVersion, Payload: r.Payload, Position: r.Position, UpdatedAt: r.UpdatedAt.UTC(),
	}
}

// syncEntry is how far one auxiliary system is with the order.
type syncEntry struct {
	Party    string    `json:"party"`
	Kind     string    `json:"kind"`
	Status   string    `json:"status"`
	Since    time.Time `json:"since"`
	Position int64     `json:"position"`
}

// syncStatus tells for each system how far it is: those that follow the log by their checkpoint, others by what they stored,
// be it nothing yet.
func (r records) syncStatus(o *order) []syncEntry {
	stored := map[string]syncEntry{}
	for _, row := range r.rows {
		e := stored[row.System]
		if row.Position > e.Position {
			e.Position = row.Position
		}
		if row.UpdatedAt.After(e.Since) {
			e.Since = row.UpdatedAt.UTC()
		}
		stored[row.System] = e
	}
	entries := make([]syncEntry, 0, len(r.systems)+len(stored))
	for _, system := range r.systems {
		e, has := stored[system.System]
		delete(stored, system.System)
		if !has {
			e.Since = o.updatedAt.UTC()
		}
		e.Party, e.Kind, e.Position = system.System, "auxiliary", min(system.Position, o.position)
		e.Status = statusOf(system.Position >= o.position, has, system.Stopped != "")
		entries = append(entries, e)
	}
	for _, name := range r.outside {
		if _, has := stored[name]; !has && !slices.ContainsFunc(r.systems, func(s systemRow) bool { return s.System == name }) {
			stored[name] = syncEntry{Since: o.updatedAt.UTC()}
		}
	}
	for name, e := range stored {
		e.Party, e.Kind = name, "auxiliary"
		e.Status = statusOf(e.Position >= o.position, e.Position > 0, false)
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b syncEntry) int { return strings.Compare(a.Party, b.Party) })
	return entries
}

func statusOf(reached, stored, stopped bool) string {
	switch {
	case reached:
		return "synced"
	case stopped:
		return "failed"
	case stored:
		return "syncing"
	}
	return "pending"
}

// withSyncStatus adds entries to the sync_status of an order document.
func withSyncStatus(array []byte, entries []syncEntry) ([]byte, error) {
	elements, err := disclose.Elements(array)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		element, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
	}
	return disclose.Array(elements), nil
}
