package command

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// bench is a write side on a database of its own.
type bench struct {
	t         *testing.T
	pool      *pgxpool.Pool
	tip       *stream.Tip
	committer *Committer
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, pool: pgtest.Database(t, migrations.Write, "write")}
	b.tip, b.committer = b.node()
	return b
}

// node starts a committer on the bench's database, as another process would.
func (b *bench) node() (*stream.Tip, *Committer) {
	tip := &stream.Tip{}
	c := NewCommitter(Config{Pool: b.pool, Tip: tip, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	run(b.t, c)
	return tip, c
}

// run runs a worker until the test ends.
func run(t *testing.T, w interface {
	Run(ctx context.Context) error
},
) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

// order is a valid submission.
func order(ref string) string {
	return fmt.Sprintf(`{"channel":"web","external_ref":%q,"business_type":"retail.erp","currency":"EUR",
		"lines":[{"sku":"A-1","name":"Pen","quantity":3,"unit_price":250},{"sku":"B-2","quantity":1,"unit_price":1000,"discount":100,"tax":171}],
		"shipping":490,"customer":{"name":"阿明","email":"ming@example.com"}}`, ref)
}

func submission(t *testing.T, tenant, body string) *PlaceOrder {
	t.Helper()
	s, err := decodeOrder([]byte(body), tenant)
	require.NoError(t, err)
	return &PlaceOrder{Submission: *s}
}

func (b *bench) place(ref string) (Answer, *events.Order) {
	b.t.Helper()
	answer, err := b.committer.Submit(b.t.Context(), submission(b.t, "demo", order(ref)), nil)
	require.NoError(b.t, err)
	return answer, decoded(b.t, answer.Body)
}

func decoded(t *testing.T, body []byte) *events.Order {
	t.Helper()
	o, err := events.DecodeOrder(body)
	require.NoError(t, err)
	return o
}

func (b *bench) register(id string, businessTypes ...string) {
	b.t.Helper()
	p := &events.Provider{ID: id, BusinessTypes: businessTypes, Regions: []string{}}
	_, err := b.committer.Submit(b.t.Context(), &Register{Kind: kindProvider, ID: id, Type: events.ProviderChanged, Provider: id, Document: p}, nil)
	require.NoError(b.t, err)
}

// result is a result of a provider for a task.
func result(t *testing.T, provider, taskID, body string) *PostResult {
	t.Helper()
	c := &PostResult{onTask: onTask{Provider: provider, TaskID: taskID}}
	require.NoError(t, decodeResult([]byte(body), c))
	return c
}

func taskDecoded(t *testing.T, body []byte) *events.Task {
	t.Helper()
	task := new(events.Task)
	require.NoError(t, json.Unmarshal(body, task))
	return task
}

// verified checks the whole log against itself and the stored states.
func (b *bench) verified() *Verification {
	b.t.Helper()
	v, err := Verify(context.Background(), b.pool, func(int64) {})
	require.NoError(b.t, err)
	require.Empty(b.t, v.Difference)
	return v
}
