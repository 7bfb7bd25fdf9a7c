package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/seeded"
)

// Bulk is a transaction that is sent whole, in one write, and answered once: statements without parameters and rows to COPY first,
// statements with parameters after them. COPY in binary form costs the server about half of what the same rows cost as arrays to
// unnest, and the sender no copies of them (measured: docs/benchmarks.md).
//
// The protocol lets the rows follow the COPY statement at once: the server ignores those of a COPY that it did not come to, because
// a statement before it failed (PostgreSQL documentation, "Message Flow", COPY Operations).
//
// A Bulk is for one goroutine and one Commit; it must not be used after it.
type Bulk struct {
	query   []byte // statements without parameters, separated by semicolons
	rows    []byte // the messages that follow them
	first   int    // how many statements query has
	copies  int    // how many of them are COPY
	columns int16  // of the COPY that is open
	start   int    // of its CopyData message in rows; -1 while none is open
	queries []bulkQuery
}

type bulkQuery struct {
	sql  string
	args []any
}

// maxKept is the largest buffer, in bytes, that is kept to be used again.
const maxKept = 4 << 20

//nolint:gochecknoglobals // memory to use again, which holds no state
var bulks = sync.Pool{New: func() any { return &Bulk{start: -1} }}

// NewBulk makes an empty one.
func NewBulk() *Bulk {
	b, ok := bulks.Get().(*Bulk)
	if !ok {
		b = &Bulk{start: -1}
	}
	return b
}

func (b *Bulk) release() {
	if cap(b.rows) > maxKept {
		b.rows = nil
	}
	clear(b.queries)
	*b = Bulk{query: b.query[:0], rows: b.rows[:0], queries: b.queries[:0], start: -1}
	bulks.Put(b)
}

// Exec adds a statement without parameters. Whatever varies in it must be a number, or text that cannot hold a quote.
func (b *Bulk) Exec(format string, args ...any) {
	b.end()
	b.statement()
	b.query = fmt.Appendf(b.query, format, args...)
}

func (b *Bulk) statement() {
	if len(b.query) > 0 {
		b.query = append(b.query, ';')
	}
	b.first++
}

// Copy begins a COPY into columns of a table, "orders (id, tenant)". Rows follow: Row, then a value for each column.
func (b *Bulk) Copy(target string, columns int) {
	b.end()
	b.statement()
	b.copies++
	b.query = append(b.query, "COPY "...)
	b.query = append(b.query, target...)
	b.query = append(b.query, " FROM STDIN (FORMAT binary)"...)
	b.columns, b.start = int16(columns), len(b.rows) //nolint:gosec // a table has 1,600 columns at most
	b.rows = append(b.rows, 'd', 0, 0, 0, 0)
	b.rows = append(b.rows, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
}

// end closes the COPY that is open.
func (b *Bulk) end() {
	if b.start < 0 {
		return
	}
	b.rows = append(b.rows, 0xff, 0xff) // no row follows
	length := len(b.rows) - b.start - 1
	binary.BigEndian.PutUint32(b.rows[b.start+1:], uint32(length)) //nolint:gosec // far below 2^32
	b.rows = append(b.rows, 'c', 0, 0, 0, 4)
	b.start = -1
}

// Row begins a row.
func (b *Bulk) Row() { b.rows = binary.BigEndian.AppendUint16(b.rows, uint16(b.columns)) } //nolint:gosec // not negative

func (b *Bulk) length(n int) { b.rows = binary.BigEndian.AppendUint32(b.rows, uint32(n)) } //nolint:gosec // far below 2^32

// Null is a value of any type.
func (b *Bulk) Null() { b.rows = append(b.rows, 0xff, 0xff, 0xff, 0xff) }

// Text is a value of type text.
func (b *Bulk) Text(s string) {
	b.length(len(s))
	b.rows = append(b.rows, s...)
}

// TextOrNull is Text, NULL where it is empty.
func (b *Bulk) TextOrNull(s string) {
	if s == "" {
		b.Null()
		return
	}
	b.Text(s)
}

// Bytes is a value of type bytea.
func (b *Bulk) Bytes(v []byte) {
	b.length(len(v))
	b.rows = append(b.rows, v...)
}

// Int8 is a value of type bigint.
func (b *Bulk) Int8(n int64) {
	b.length(8)
	b.rows = binary.BigEndian.AppendUint64(b.rows, uint64(n)) //nolint:gosec // two's complement, as Postgres wants it
}

// Int4 is a value of type integer.
func (b *Bulk) Int4(n int32) {
	b.length(4)
	b.rows = binary.BigEndian.AppendUint32(b.rows, uint32(n)) //nolint:gosec // two's complement
}

// JSONB is a value of type jsonb.
func (b *Bulk) JSONB(v []byte) {
	b.length(len(v) + 1)
	b.rows = append(b.rows, 1) // the version of the binary form
	b.rows = append(b.rows, v...)
}

// UUID is a value of type uuid.
func (b *Bulk) UUID(id [16]byte) {
	b.length(len(id))
	b.rows = append(b.rows, id[:]...)
}

// Time is a value of type timestamptz, cut to microseconds.
func (b *Bulk) Time(t time.Time) {
	const epoch = 946_684_800_000_000 // 2000-01-01 in microseconds since 1970
	b.Int8(t.UnixMicro() - epoch)
}

// The object ids of element types, as Postgres has them built in.
const (
	oidInt8 = 20
	oidInt4 = 23
)

// array writes the head of a one-dimensional array without NULLs.
func (b *Bulk) array(oid uint32, n, size int) {
	if n == 0 {
		b.length(12)
		b.rows = append(b.rows, 0, 0, 0, 0, 0, 0, 0, 0)
		b.rows = binary.BigEndian.AppendUint32(b.rows, oid)
		return
	}
	b.length(20 + n*(4+size))
	b.rows = append(b.rows, 0, 0, 0, 1, 0, 0, 0, 0)
	b.rows = binary.BigEndian.AppendUint32(b.rows, oid)
	b.length(n)
	b.rows = append(b.rows, 0, 0, 0, 1)
}

// Int8Array is a value of type bigint[].
func (b *Bulk) Int8Array(n int, at func(i int) int64) {
	b.array(oidInt8, n, 8)
	for i := range n {
		b.Int8(at(i))
	}
}

// Int4Array is a value of type integer[].
func (b *Bulk) Int4Array(all []int32) {
	b.array(oidInt4, len(all), 4)
	for _, n := range all {
		b.Int4(n)
	}
}

// Query adds a statement with parameters. It runs after all those without, in the order of the calls.
func (b *Bulk) Query(sql string, args ...any) {
	b.queries = append(b.queries, bulkQuery{sql, args})
}

// Copies is how many COPY statements there are.
func (b *Bulk) Copies() int { return b.copies }

// Queries is how many statements with parameters there are.
func (b *Bulk) Queries() int { return len(b.queries) }

// Len is how many statements there are.
func (b *Bulk) Len() int { return b.first + len(b.queries) }

// Commit runs all statements as one transaction: all of it is stored, or nothing. ctx bounds only the acquiring of a connection: what
// was sent is waited for. passed is how many statements the server took before the one that it refused, counting those without
// parameters first. The error wraps ErrOutcomeUnknown where the transaction may have been stored all the same.
func (b *Bulk) Commit(ctx context.Context, pool *pgxpool.Pool) (passed int, err error) {
	defer b.release()
	if b.Len() == 0 {
		return 0, errEmptyBatch
	}
	b.end()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("acquire connection: %w", err)
	}
	defer conn.Release()
	if seeded.On(seeded.CommitDeadline) {
		within, cancel := context.WithTimeout(ctx, 15*time.Millisecond)
		defer cancel()
		return b.commitOn(within, conn.Conn(), idle)
	}
	return b.commitOn(context.WithoutCancel(ctx), conn.Conn(), idle)
}

// CommitIn runs all statements in a transaction that is open on the connection and commits it, or rolls it back. It returns what Commit
// does.
func (b *Bulk) CommitIn(ctx context.Context, conn *pgx.Conn) (passed int, err error) {
	defer b.release()
	if b.Len() == 0 {
		return 0, errEmptyBatch
	}
	b.end()
	return b.commitOn(context.WithoutCancel(ctx), conn, begun)
}

func (b *Bulk) commitOn(ctx context.Context, conn *pgx.Conn, state txState) (passed int, err error) {
	m, err := b.message(ctx, conn, state)
	if err != nil {
		return b.first + m.prepared, fmt.Errorf("prepare: %w", err)
	}
	passed, err = exchange(ctx, conn, m)
	passed = min(max(passed-m.extra, 0), b.Len())
	if err != nil {
		return passed, batchError(err)
	}
	return passed, keptWaiting(conn.PgConn())
}
