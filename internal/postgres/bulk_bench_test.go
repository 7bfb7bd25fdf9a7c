package postgres_test

import (
	"strconv"
	"testing"
	"testing/fstest"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
)

func rowsSchema() fstest.MapFS {
	return fstest.MapFS{"write/0001_create_rows.sql": {Data: []byte(`-- +goose Up
create table rows (id uuid primary key, n bigint not null, name text not null, body bytea not null);
`)}}
}

const unnestRows = `
insert into rows (id, n, name, body)
select i::uuid, n, t, b from unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[]) as u (i, n, t, b)`

// BenchmarkBulk compares a transaction of rows of 800 bytes sent as COPY with the same sent as arrays to unnest.
func BenchmarkBulk(b *testing.B) {
	pool := pgtest.Database(b, rowsSchema(), "write")
	body := make([]byte, 800)
	for _, n := range []int{1, 16, 256} {
		b.Run("copy/"+strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				bulk := postgres.NewBulk()
				bulk.Copy("rows (id, n, name, body)", 4)
				for i := range n {
					bulk.Row()
					bulk.UUID(uuid.Must(uuid.NewV7()))
					bulk.Int8(int64(i))
					bulk.Text("a name")
					bulk.Bytes(body)
				}
				if _, err := bulk.Commit(b.Context(), pool); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
		b.Run("unnest/"+strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				ids, numbers, names, bodies := make([]string, n), make([]int64, n), make([]string, n), make([][]byte, n)
				for i := range n {
					ids[i], numbers[i], names[i], bodies[i] = uuid.Must(uuid.NewV7()).String(), int64(i), "a name", body
				}
				batch := &pgx.Batch{}
				batch.Queue(unnestRows, ids, numbers, names, bodies)
				if err := postgres.CommitBatch(b.Context(), pool, batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
