package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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

	"github.com/orderstore/orderstore/auxiliary"
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
}

func newPlace(t *testing.T) *place {
	t.Helper()
	srv := natstest.Run(t)
	js, err := jetstream.New(natstest.Connect(t, srv))
	require.NoError(t, err)
	_, err = stream.Ensure(t.Context(), js, stream.Limits{})
	require.NoError(t, err)
	auxURL, writeURL := pgtest.EmptyURL(t), pgtest.URL(t, migrations.Write, "write")
	p := &place{t: t, js: js, auxURL: auxURL, mail: filepath.Join(t.TempDir(), "mail")}
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

// place writes orders to the log and to the stream; each second is completed at once.
func (p *place) place(orders int) {
	p.t.Helper()
	var rows [][]any
	add := func(e events.Event) {
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
	for i := range orders {
		e := events.New(events.OrderPlaced, time.Now(), &events.Placed{
			Channel: "web", ExternalRef: fmt.Sprint(p.last), Region: "default", Currency: "EUR", Total: 100,
			Lines:    []events.PlacedLine{{LineID: "1", SKU: "s", Quantity: 1, UnitPrice: 100, Total: 100}},
			Customer: &events.Customer{Name: "Zoë 日本", Email: "zoe@example.com"},
		})
		e.Tenant, e.BusinessType, e.OrderID, e.OrderVersion = "demo", "retail", uuid.Must(uuid.NewV7()).String(), 1
		add(e)
		if i%2 == 0 {
			done := events.New(events.OrderCompleted, time.Now(), &events.Closed{})
			done.Tenant, done.BusinessType, done.OrderID, done.OrderVersion = e.Tenant, e.BusinessType, e.OrderID, 2
			add(done)
		}
	}
	_, err := p.write.CopyFrom(p.t.Context(), pgx.Identifier{"order_events"},
		[]string{"position", "recorded_at", "subject", "event", "digest"}, pgx.CopyFromRows(rows))
	require.NoError(p.t, err)
	<-p.js.PublishAsyncComplete()
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
	found, err := filepath.Glob(filepath.Join(p.mail, "*.eml"))
	require.NoError(p.t, err)
	return len(found)
}

const handledSQL = `SELECT bool_and(position = $1) AND NOT EXISTS (SELECT FROM outbox WHERE state = 'queued') FROM checkpoints`

// settled waits until everything is handled and sent.
func (p *place) settled() {
	p.t.Helper()
	require.Eventually(p.t, p.handled, testWithin, 10*time.Millisecond)
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

// chaosOrders is how many orders the kill test runs: ORDERSTORE_CHAOS_ORDERS, or so many that it is quick.
func chaosOrders(t *testing.T) int {
	t.Helper()
	text := os.Getenv("ORDERSTORE_CHAOS_ORDERS")
	if text == "" {
		return 1000
	}
	orders, err := strconv.Atoi(text)
	require.NoError(t, err)
	require.GreaterOrEqual(t, orders, 100)
	return orders
}

// receiver takes the webhooks of a tenant.
type receiver struct {
	*httptest.Server

	mu     sync.Mutex
	bodies map[string]string // by webhook-id
	again  int               // messages that came more than once
	other  int               // of these, with another body
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{bodies: map[string]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // killed in the middle of it
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		id := req.Header.Get("Webhook-Id")
		if was, twice := r.bodies[id]; twice {
			r.again++
			if was != string(body) {
				r.other++
			}
		}
		r.bodies[id] = string(body)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

// hook has each placed order told by a webhook too, as an operator's PUT does.
func (p *place) hook(url string) {
	p.t.Helper()
	require.NoError(p.t, postgres.Migrate(p.t.Context(), p.auxURL, migrations.Auxiliary, "auxiliary"))
	_, err := p.aux.Exec(p.t.Context(), `
		INSERT INTO notice_settings VALUES ('demo', 0, 'en', '{order.placed,order.completed}', '{order.placed}', $1, $2, now())`,
		url, "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	require.NoError(p.t, err)
}

// kill -9 at random points while orders flow: records are a fresh fold of the log, each event is told once by mail, and by webhook
// at least once with the same id and body.
func TestChaosKilledAtRandomPoints(t *testing.T) {
	t.Parallel()
	p, calls := newPlace(t), newReceiver(t)
	p.env = append(p.env, "ORDERSTORE_WEBHOOK_ALLOWED_NETWORKS=127.0.0.0/8")
	p.hook(calls.URL)
	orders := chaosOrders(t)
	kills := max(6, orders/500)
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	left := orders - orders/kills
	p.place(orders - left)
	for range kills {
		g := p.run()
		n := min(left, orders/kills)
		p.place(n)
		left -= n
		enough := p.mails() + r.IntN(orders/kills)
		require.Eventually(t, func() bool { return p.mails() >= enough || p.handled() }, testWithin, time.Millisecond)
		require.Error(t, g.end(t, syscall.SIGKILL))
	}
	p.place(left)
	p.run()
	p.settled()

	report, err := auxiliary.Verify(t.Context(), p.aux, stream.NewLog(p.write))
	require.NoError(t, err)
	require.True(t, report.Clean(), strings.Join(report.Details, "\n"))
	stock, err := auxiliary.VerifyStock(t.Context(), p.aux, stream.NewLog(p.write))
	require.NoError(t, err)
	require.True(t, stock.Clean(), strings.Join(stock.Details, "\n"))
	var held int64
	require.NoError(t, p.aux.QueryRow(t.Context(), `SELECT reserved FROM stock WHERE sku = 's'`).Scan(&held))
	require.EqualValues(t, orders, held, "no line is counted twice")
	told := p.last
	assert.EqualValues(t, orders, report.Orders)
	assert.Equal(t, told, report.Sent)
	assert.EqualValues(t, orders, report.Called)
	assert.EqualValues(t, told, p.mails(), "one file an event")
	calls.mu.Lock()
	assert.Len(t, calls.bodies, orders)
	assert.Zero(t, calls.other, "what comes again is the same")
	t.Logf("%d kills, %d of %d calls came again", kills, calls.again, orders)
	calls.mu.Unlock()
	p.checkMails(int(told))
}

// handled tells whether all that was placed is handled and sent.
func (p *place) handled() bool {
	var done bool
	err := p.aux.QueryRow(p.t.Context(), handledSQL, p.last).Scan(&done)
	return err == nil && done
}

// checkMails looks whether each mail is whole and of the event that its name says.
func (p *place) checkMails(told int) {
	p.t.Helper()
	ids := map[string]bool{}
	files, err := os.ReadDir(p.mail)
	require.NoError(p.t, err)
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".eml" {
			continue // the part of a file that a kill left behind
		}
		body, err := os.ReadFile(filepath.Join(p.mail, f.Name()))
		require.NoError(p.t, err)
		msg, err := netmail.ReadMessage(bytes.NewReader(body))
		require.NoError(p.t, err, f.Name())
		id := msg.Header.Get("Message-ID")
		require.Equal(p.t, strings.TrimSuffix(f.Name(), ".eml"), strings.Split(id, ".")[1], "the id names the event")
		ids[id] = true
		require.Contains(p.t, string(body), "</html>", "the mail is whole")
	}
	assert.Len(p.t, ids, told)
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
