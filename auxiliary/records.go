package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

// Record is what a system stored about an order.
type Record struct {
	OrderID       uuid.UUID      `json:"order_id"`
	System        string         `json:"system"`
	Kind          string         `json:"kind"`
	RecordID      string         `json:"record_id"`
	Revision      int64          `json:"revision"`
	SchemaVersion int64          `json:"schema_version"`
	Payload       jsontext.Value `json:"payload"`
	Position      int64          `json:"position"` // the order's, which the record reflects
	UpdatedAt     time.Time      `json:"updated_at"`

	tenant   string
	expected int64 // revision that must be stored; 0: any or none; anyRevision: some
}

const anyRevision = -1

// One statement decides: the row is locked by the conflict, and of two writers with the same revision the second finds it
// taken.
const putRecord = `
INSERT INTO records AS r (order_id, system, record_id, tenant, kind, revision, schema_version, payload, position, updated_at)
SELECT $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::bigint, $7::int, $8::bytea, $9::bigint, $10::timestamptz
WHERE $11::bigint = 0 OR EXISTS (
    SELECT FROM records WHERE order_id = $1 AND system = $2 AND record_id = $3 AND $11 IN (revision, -1))
ON CONFLICT (order_id, system, record_id) DO UPDATE
SET kind = excluded.kind, revision = excluded.revision, schema_version = excluded.schema_version, payload = excluded.payload,
    position = greatest(r.position, excluded.position), updated_at = excluded.updated_at
WHERE r.revision < excluded.revision AND $11 IN (r.revision, 0, -1)
RETURNING xmax = 0, position`

// xmax is 0 in a row that was inserted and not updated.

const selectRecord = `
SELECT kind, revision, schema_version, payload, position, updated_at
FROM records WHERE order_id = $1 AND system = $2 AND record_id = $3`

// put stores a record, in one round trip, and gives it as it is stored; created says that it was not there before. A revision that is
// not above the stored one is fault.StaleRevision, unless it is the stored one with the same content; where another revision is expected
// than is stored it is fault.VersionMismatch.
func put(ctx context.Context, pool *pgxpool.Pool, r Record) (stored Record, created bool, err error) {
	stored = r
	taken := false
	batch := &pgx.Batch{}
	batch.Queue(putRecord, r.OrderID, r.System, r.RecordID, r.tenant, r.Kind, r.Revision, r.SchemaVersion,
		[]byte(r.Payload), r.Position, r.UpdatedAt, r.expected).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&created, &stored.Position}, func() error {
			taken = true
			return nil
		})
		return err
	})
	if err := postgres.CommitBatch(ctx, pool, batch); err != nil {
		return Record{}, false, fmt.Errorf("store record: %w", err)
	}
	if taken {
		return stored, created, nil
	}
	stored, err = sameRecord(ctx, pool, r)
	return stored, false, err
}

// sameRecord gives the record that kept another one out, if the two say the same. Revisions only grow, so that a change meanwhile makes
// no refusal wrong.
func sameRecord(ctx context.Context, pool *pgxpool.Pool, r Record) (Record, error) {
	stored := r
	var payload []byte
	err := pool.QueryRow(ctx, selectRecord, r.OrderID, r.System, r.RecordID).Scan(&stored.Kind, &stored.Revision,
		&stored.SchemaVersion, &payload, &stored.Position, &stored.UpdatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return Record{}, fault.New(fault.VersionMismatch, "there is no such record yet, and If-Match asks for one")
	}
	if err != nil {
		return Record{}, fmt.Errorf("read record: %w", err)
	}
	if stored.Payload = payload; stored.Revision == r.Revision && sameContent(&stored, &r) {
		return stored, nil
	}
	if r.expected > 0 && r.expected != stored.Revision {
		return Record{}, fault.New(fault.VersionMismatch, "revision %d is stored, If-Match asks for %d", stored.Revision, r.expected).
			With("revision", stored.Revision)
	}
	return Record{}, fault.New(fault.StaleRevision, "revision %d is stored, a change needs a higher one", stored.Revision).
		With("revision", stored.Revision)
}

func sameContent(a, b *Record) bool {
	return a.Kind == b.Kind && a.SchemaVersion == b.SchemaVersion && string(a.Payload) == string(b.Payload)
}
