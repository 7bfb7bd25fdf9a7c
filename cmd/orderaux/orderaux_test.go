package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/natstest"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// asProgram makes the test binary run the program itself, so that a test can kill it.
const asProgram = "ORDERAUX_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run())
	}
	os.Exit(pgtest.Run(m))
}

const testWithin = 90 * time.Second

// place is a log with its stream, and what the program needs.
type place struct {
	t      *testing.T
	env    []string
	mail   string
	auxURL string
	write  *pgxpool.Pool
	aux    *pgxpool.Pool
	js     jetstream.JetStream
	last   int64
	chain  [32]byte
	within time.Duration // for everything to be handled
}

func newPlace(t *testing.T) *place {
	t.Helper()
	srv := natstest.Run(t)
	js, err := jetstream.New(natstest.Connect(t, srv))
	require.NoError(t, err)
	_, err = stream.Ensure(t.Context(), js, stream.Limits{})
	require.NoError(t, err)
	auxURL, writeURL := pgtest.EmptyURL(t), pgtest.URL(t, migrations.Write, "write")
	p := &place{t: t, js: js, auxURL: auxURL, within: testWithin, mail: filepath.Join(t.TempDir(), "mail")}
	p.write, p.aux = p.pool(writeURL), p.pool(auxURL)
	p.env = append(
		os.Environ(), asProgram+"=1", "ORDERSTORE_POSTGRES_AUXILIARY="+auxURL, "ORDERSTORE_POSTGRES_WRITE="+writeURL,
		"ORDERSTORE_NATS="+srv.URL(), "ORDERSTORE_METRICS=127.0.0.1:0", "ORDERSTORE_MAIL_DIR="+p.mail,
	)
	return p
}

func (p *place) pool(url string) *pgxpool.Pool {
	p.t.Helper()
	pool, err := postgres.Open(p.t.Context(), url, postgres.PoolConfig{Name: "test", MaxConns: 2})
	require.NoError(p.t, err)
	p.t.Cleanup(pool.Close)
	return pool
}

// append writes events to the log and to the stream.
func (p *place) append(all ...events.Event) {
	p.t.Helper()
	rows := make([][]any, 0, len(all))
	for i := range all {
		e := &all[i]
		body, err := e.Encode()
		require.NoError(p.t, err)
		p.last++
		p.chain = stream.Chain(p.chain, p.last, body)
		digest := p.chain
		rows = append(rows, []any{p.last, e.Time, e.Subject(), body, digest[:]})
		msg := nats.NewMsg(e.Subject())
		msg.Data = body
		msg.Header.Set(stream.HeaderDigest, hex.EncodeToString(digest[:]))
		_, err = p.js.PublishMsgAsync(msg, jetstream.WithExpectLastSequence(uint64(p.last-1)))
		require.NoError(p.t, err)
	}
	_, err := p.write.CopyFrom(p.t.Context(), pgx.Identifier{"order_events"},
		[]string{"position", "recorded_at", "subject", "event", "digest"}, pgx.CopyFromRows(rows))
	require.NoError(p.t, err)
	<-p.js.PublishAsyncComplete()
}

// place writes orders; each second is completed at once.
func (p *place) place(orders int) {
	p.t.Helper()
	var all []events.Event
	for i := range orders {
		e := events.New(events.OrderPlaced, time.Now(), &events.Placed{
			Channel: "web", ExternalRef: fmt.Sprint(p.last, "-", i), Region: "default", Currency: "EUR", Total: 100,
			Lines:    []events.PlacedLine{{LineID: "1", SKU: "s", Quantity: 1, UnitPrice: 100, Total: 100}},
			Customer: &events.Customer{Name: "Zoë 日本", Email: "zoe@example.com"},
		})
		e.Tenant, e.BusinessType, e.OrderID, e.OrderVersion = "demo", "retail", uuid.Must(uuid.NewV7()).String(), 1
		all = append(all, e)
		if i%2 == 0 {
			done := events.New(events.OrderCompleted, time.Now(), &events.Closed{})
			done.Tenant, done.BusinessType, done.OrderID, done.OrderVersion = e.Tenant, e.BusinessType, e.OrderID, 2
			all = append(all, done)
		}
	}
	p.append(all...)
}

// program is the running orderaux.
type program struct {
	cmd     *exec.Cmd
	metrics string
	ended   chan error
}

// run starts the program and waits until it says that the systems run.
func (p *place) run() *program {
	p.t.Helper()
	self, err := os.Executable()
	require.NoError(p.t, err)
	g := &program{cmd: exec.CommandContext(context.WithoutCancel(p.t.Context()), self), ended: make(chan error, 1)}
	g.cmd.Env = p.env
	out, err := g.cmd.StderrPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, g.cmd.Start())
	ready := make(chan string, 1)
	go func() {
		d := json.NewDecoder(out)
		for {
			var line struct{ Msg, Metrics string }
			if d.Decode(&line) != nil {
				break
			}
			if line.Metrics != "" {
				ready <- line.Metrics
			}
		}
		_, _ = io.Copy(io.Discard, out)
		g.ended <- g.cmd.Wait()
	}()
	p.t.Cleanup(func() { _ = g.cmd.Process.Kill() })
	select {
	case g.metrics = <-ready:
	case err := <-g.ended:
		p.t.Fatalf("it ended at once: %v", err)
	case <-time.After(testWithin):
		p.t.Fatal("it did not start")
	}
	return g
}

func (g *program) end(t *testing.T, with os.Signal) error {
	t.Helper()
	require.NoError(t, g.cmd.Process.Signal(with))
	select {
	case err := <-g.ended:
		return err
	case <-time.After(testWithin):
		t.Fatal("it did not end")
		return nil
	}
}

func (g *program) get(t *testing.T, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.metrics+path, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

func (p *place) mails() int {
	dir, err := os.Open(p.mail)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	require.NoError(p.t, err)
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	require.NoError(p.t, err)
	n := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".eml") {
			n++
		}
	}
	return n
}

const handledSQL = `SELECT bool_and(position = $1) AND NOT EXISTS (SELECT FROM outbox WHERE state = 'queued') FROM checkpoints`

// settled waits until everything is handled and sent.
func (p *place) settled() {
	p.t.Helper()
	require.Eventually(p.t, p.handled, p.within, 10*time.Millisecond)
}

func TestRunsDrainsAndStarts(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.place(20)
	g := p.run()
	p.settled()
	assert.Equal(t, 30, p.mails())
	status, body := g.get(t, "/healthz")
	assert.Equal(t, http.StatusOK, status)
	assert.JSONEq(t, `{"status":"ok","version":"dev"}`, body)
	status, body = g.get(t, "/readyz")
	assert.Equal(t, http.StatusOK, status, body)
	assert.Contains(t, body, `"system notices":"ok"`)
	_, body = g.get(t, "/metrics")
	assert.Contains(t, body, `orderstore_auxiliary_position{system="notices"} 30`)
	assert.Contains(t, body, `orderstore_auxiliary_deliveries_total{outcome="sent",system="notices"} 30`)
	require.NoError(t, g.end(t, syscall.SIGTERM))

	p.place(2)
	g = p.run()
	p.settled()
	assert.Equal(t, 33, p.mails())
	require.NoError(t, g.end(t, os.Interrupt))
}

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	err := (&config{Metrics: "nowhere", MailFrom: "nobody", MailAfter: -1}).Validate()
	for _, fault := range []string{"POSTGRES_AUXILIARY is not set", "NATS is not set", "nowhere", "sender address", "nowhere to go", "negative"} {
		require.ErrorContains(t, err, fault)
	}
	good := config{PostgresAuxiliary: "a", NATS: "n", Metrics: ":9091", MailFrom: "a@example.com", MailDir: "m"}
	require.NoError(t, good.Validate())
	good.SMTPURL = "smtp://user:secret@host/path"
	require.ErrorContains(t, good.Validate(), "SMTP URL")
	assert.NotContains(t, good.Validate().Error(), "secret")
}
