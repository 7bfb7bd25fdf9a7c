package check_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/chaos/check"
)

// object is a line of any file of a run.
type object = map[string]any

func number(v any) int64 {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return i
}

// lines reads a file of a run, compressed or not; write replaces it.
func lines(t *testing.T, name string) []object {
	t.Helper()
	raw, err := os.ReadFile(name) //nolint:gosec // made by this test
	require.NoError(t, err)
	var in io.Reader = bytes.NewReader(raw)
	if strings.HasSuffix(name, ".gz") {
		in, err = gzip.NewReader(in)
		require.NoError(t, err)
	}
	var all []object
	dec := json.NewDecoder(bufio.NewReader(in))
	dec.UseNumber()
	for dec.More() {
		var o object
		require.NoError(t, dec.Decode(&o))
		all = append(all, o)
	}
	return all
}

func write(t *testing.T, name string, all []object) {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for _, o := range all {
		require.NoError(t, enc.Encode(o))
	}
	if strings.HasSuffix(name, ".gz") {
		var packed bytes.Buffer
		gz := gzip.NewWriter(&packed)
		_, err := gz.Write(out.Bytes())
		require.NoError(t, err)
		require.NoError(t, gz.Close())
		out = packed
	}
	require.NoError(t, os.WriteFile(name, out.Bytes(), 0o600))
}

// corruption is something that must not be, done to what was recorded and read.
type corruption struct {
	name      string
	file      string // in the run's folder
	change    func(t *testing.T, all []object) []object
	invariant int
	path      string // of the violation
}

func collected(name string) string { return filepath.Join("collected", name+".jsonl.gz") }

const historyFile = "history-0001.jsonl"

// set changes a member of the middle one of the lines that suit.
func set(suits func(object) bool, change func(object)) func(*testing.T, []object) []object {
	return func(t *testing.T, all []object) []object {
		t.Helper()
		change(one(t, all, suits))
		return all
	}
}

func one(t *testing.T, all []object, suits func(object) bool) object {
	t.Helper()
	var found []object
	for _, o := range all {
		if suits(o) {
			found = append(found, o)
		}
	}
	require.NotEmpty(t, found, "no line to corrupt")
	return found[len(found)/2]
}

func middle(object) bool { return true }

func drop(_ *testing.T, all []object) []object {
	return append(all[:len(all)/2:len(all)/2], all[len(all)/2+1:]...)
}

func swap(_ *testing.T, all []object) []object {
	i := len(all) / 2
	all[i], all[i+1] = all[i+1], all[i]
	return all
}

func double(_ *testing.T, all []object) []object {
	return append(all[:len(all)/2:len(all)/2], all[len(all)/2-1:]...)
}

// answered are acknowledged operations of a kind, with an HTTP status.
func answered(kind string, status int64) func(object) bool {
	return func(o object) bool {
		return o["k"] == kind && o["out"] == "ok" && number(o["code"]) == status && o["again"] == nil
	}
}

// showing are lists that show any order, of a status; empty: of any.
func showing(status string) func(object) bool {
	return func(o object) bool {
		return answered("list", 200)(o) && o["items"] != nil && (status == "" || o["mark"] == status)
	}
}

// repeat appends a copy of an operation, as another one.
func repeat(suits func(object) bool) func(*testing.T, []object) []object {
	return again(suits, func(object) {})
}

// again appends a changed copy of an operation, as another one that came after all.
func again(suits func(object) bool, change func(object)) func(*testing.T, []object) []object {
	return func(t *testing.T, all []object) []object {
		t.Helper()
		other := object{}
		for name, value := range one(t, all, suits) {
			other[name] = value
		}
		other["id"], other["call"], other["ret"] = 1<<50, 1<<60, 1<<60+1
		change(other)
		return append(all, other)
	}
}

// lone changes an acknowledged operation that is the only one with its value of a member.
func lone(kind, member string, change func(object)) func(*testing.T, []object) []object {
	return func(t *testing.T, all []object) []object {
		t.Helper()
		ids := map[any]map[int64]bool{}
		for _, o := range all {
			if ids[o[member]] == nil {
				ids[o[member]] = map[int64]bool{}
			}
			ids[o[member]][number(o["id"])] = true
		}
		change(one(t, all, func(o object) bool { return answered(kind, 201)(o) && len(ids[o[member]]) == 1 }))
		return all
	}
}

// refuse makes of an operation one that was refused.
func refuse(status int, problem string) func(object) {
	return func(o object) { o["out"], o["code"], o["problem"] = "refused", status, problem }
}

// logged appends an event made of another, as somebody would who can write to the log.
func logged(eventType string, change func(event object)) func(*testing.T, []object) []object {
	return func(t *testing.T, all []object) []object {
		t.Helper()
		last := all[len(all)-1]
		from := one(t, all, func(o object) bool { return strings.Contains(string(body(t, o)), `"type":"`+eventType+`"`) })
		var event object
		require.NoError(t, json.Unmarshal(body(t, from), &event))
		change(event)
		changed, err := json.Marshal(event)
		require.NoError(t, err)
		position := number(last["p"]) + 1
		digest, err := hex.DecodeString(last["d"].(string))
		require.NoError(t, err)
		sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(digest, uint64(position)), changed...)) //nolint:gosec // positions are never negative
		return append(all, object{"p": position, "s": from["s"], "d": hex.EncodeToString(sum[:]), "b": base64.StdEncoding.EncodeToString(changed)})
	}
}

func body(t *testing.T, row object) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(row["b"].(string))
	require.NoError(t, err)
	return raw
}

func corruptions() []corruption {
	keep := func(object) {}
	return []corruption{
		{"a lost write", historyFile, set(answered("submit", 201), func(o object) { o["ref"] = "web/lost" }), 1, "submit"},
		{"an acknowledged amendment that was lost", historyFile, set(answered("amend", 200), func(o object) { o["mark"] = "lost" }), 1, "amend"},
		{"an acknowledged result that was lost", historyFile, set(answered("result", 201), func(o object) { o["mark"] = "r-lost" }), 1, "result"},
		{"an acknowledged adjustment that was lost", historyFile, set(answered("stock", 201), func(o object) { o["mark"] = "s-lost" }), 1, "stock"},
		{"a record that was lost", collected("records"), set(func(o object) bool { return o["system"] == "outside" }, func(o object) { o["revision"] = 0 }), 1, "auxiliary records"},
		{"a refused write that took effect", historyFile, set(answered("amend", 200), func(o object) { o["out"], o["code"] = "refused", 412 }), 1, "amend"},
		{"a change of a version that it was not made for", historyFile, set(answered("amend", 200), func(o object) { o["if"] = number(o["if"]) - 1 }), 1, "amend"},
		{"an order that was refused and is there", historyFile, lone("submit", "ref", refuse(503, "overloaded")), 1, "submit"},
		{"an adjustment that was refused and is there", historyFile, lone("stock", "mark", refuse(503, "overloaded")), 1, "stock"},
		{"other content than was acknowledged", historyFile, set(answered("submit", 201), func(o object) { o["mark"] = "other" }), 1, "submit"},
		{"an order seen before it was submitted", historyFile, func(t *testing.T, all []object) []object {
			t.Helper()
			o := one(t, all, func(o object) bool { return o["k"] == "replay" && o["out"] == "ok" && number(o["code"]) == 200 })
			o["call"], o["ret"] = 1, 2
			return all
		}, 1, "order"},
		{"a conflict where there was no order", historyFile, set(func(o object) bool { return o["k"] == "conflict" && o["out"] == "refused" }, func(o object) { o["call"], o["ret"] = 1, 2 }), 1, "order"},
		{"a hole in the log", collected("log"), drop, 2, "log"},
		{"two rows of the log in each other's place", collected("log"), swap, 2, "log"},
		{"a changed byte in the log", collected("log"), set(middle, func(o object) {
			raw, _ := base64.StdEncoding.DecodeString(o["b"].(string))
			raw[len(raw)/2] ^= 1
			o["b"] = base64.StdEncoding.EncodeToString(raw)
		}), 2, "log"},
		{"a later write with an earlier position", historyFile, set(answered("submit", 201), func(o object) { o["call"], o["ret"] = 1, 2 }), 2, "log"},
		{"a message missing in the stream", collected("stream-1"), drop, 3, "stream nats-1"},
		{"a changed message in the stream", collected("stream-1"), set(middle, func(o object) { o["h"] = strings.Repeat("0", 64) }), 3, "stream nats-1"},
		{"two messages in each other's place", collected("stream-1"), swap, 3, "stream nats-1"},
		{"another digest on a standby", collected("standby-1"), set(middle, func(o object) { o["d"] = strings.Repeat("0", 64) }), 3, "standby 1"},
		{"a receipt twice", filepath.Join("receipts", "unit-sse.jsonl"), double, 3, "receipts of unit-sse"},
		{"a receipt that is missing", filepath.Join("receipts", "unit-nats.jsonl"), drop, 3, "receipts of unit-nats"},
		{"a receipt of something else", filepath.Join("receipts", "unit-webhook.jsonl"), set(middle, func(o object) { o["digest"] = "other" }), 3, "receipts of unit-webhook"},
		{"a view with another status", collected("view-read-1"), set(middle, func(o object) { o["status"] = "expired" }), 4, "view read-1"},
		{"a view with other counters", collected("view-read-1"), set(middle, func(o object) { o["quantities"] = "1 99 0 0 0 0;" }), 4, "view read-1"},
		{"an order missing in a view", collected("view-read-1"), drop, 4, "view read-1"},
		{"a task with another status", collected("inbox-read-1"), set(middle, func(o object) { o["status"] = "expired" }), 4, "inbox read-1"},
		{"an order in the list of another status", historyFile, set(showing("completed"), func(o object) { o["mark"] = "routed" }), 4, "list"},
		{"another total over HTTP", collected("http-read-1"), set(middle, func(o object) { o["total"] = -1 }), 4, "http read-1"},
		{"an event missing in the timeline", collected("timeline-read-1"), drop, 3, "timeline read-1"},
		{"an order of the write side at another version", collected("orders-primary"), set(middle, func(o object) { o["version"] = 99 }), 4, "orders primary"},
		{"an order acknowledged as new twice", historyFile, repeat(answered("submit", 201)), 5, "submit"},
		{"an order placed twice", collected("log"), logged("order.placed", func(e object) { e["order_id"] = "00000000-0000-7000-8000-000000000000" }), 5, "log"},
		{"an adjustment applied twice", collected("log"), logged("stock.adjusted", keep), 5, "log"},
		{"another answer under the same key", historyFile, set(func(o object) bool { return o["k"] == "again" && o["out"] == "ok" }, func(o object) { o["pos"] = number(o["pos"]) + 1 }), 5, "again"},
		{"a result acknowledged as new twice", historyFile, repeat(answered("result", 201)), 6, "result"},
		{"a result applied twice", collected("log"), logged("task.result_posted", keep), 6, "log"},
		{"a result refused that was acknowledged", historyFile, again(answered("result", 201), refuse(409, "task_state")), 6, "result"},
		{"an announced order that is not found without its position", historyFile, set(func(o object) bool {
			return answered("pull", 200)(o) && number(o["heard"]) > 0
		}, func(o object) { o["out"], o["code"], o["pos"] = "refused", 404, 0 }), 7, "pull"},
		{"a stale read", historyFile, set(func(o object) bool {
			return answered("read", 200)(o) && number(o["token"]) > 0 && number(o["v"]) > 1
		}, func(o object) { o["v"] = 0 }), 7, "read"},
		{"an answer of before what was asked for", historyFile, set(func(o object) bool { return answered("list", 200)(o) && number(o["token"]) > 0 }, func(o object) { o["pos"] = number(o["token"]) - 1 }), 7, "list"},
		{"an announced order that is not found", historyFile, set(answered("pull", 200), func(o object) { o["out"], o["code"] = "refused", 404 }), 7, "pull"},
		{"an older version behind an announcement", historyFile, set(answered("pull", 200), func(o object) { o["told"] = 1000 }), 7, "pull"},
		{"another tenant's order", historyFile, set(func(o object) bool { return o["k"] == "foreign" }, func(o object) { o["out"], o["code"] = "ok", 200 }), 8, "foreign"},
		{"another tenant's order in a list", historyFile, set(showing(""), func(o object) { o["t"] = "shop-z" }), 8, "list"},
		{"another tenant's order over HTTP", collected("http-read-1"), set(middle, func(o object) { o["for"] = "shop-z" }), 8, "http read-1"},
		{"another tenant's event", filepath.Join("receipts", "shop-a.jsonl"), set(middle, func(o object) { o["tenant"] = "shop-b" }), 8, "receipts of shop-a"},
		{"an event in another tenant's timeline", collected("timeline-read-1"), set(middle, func(o object) { o["t"] = "shop-z" }), 8, "timeline read-1"},
		{"an event under another subject", collected("log"), set(middle, func(o object) { o["s"] = "orders.shop-z.x.-.order.placed" }), 8, "log"},
		{"goods from nowhere", collected("stock"), set(middle, func(o object) { o["on_hand"] = number(o["on_hand"]) + 1 }), 9, "auxiliary stock"},
		{"a reservation that was forgotten", collected("stock"), set(middle, func(o object) { o["reserved"] = number(o["reserved"]) + 1 }), 9, "auxiliary stock"},
		{"a party that is not told any more", filepath.Join("receipts", "unit-feed.jsonl"), func(_ *testing.T, all []object) []object { return all[:len(all)/2] }, 10, "receipts of unit-feed"},
	}
}

// One run is recorded for all: the checker finds nothing wrong with it, and then finds each thing that is made wrong.
func TestACleanRunPassesAndEachViolationIsCaught(t *testing.T) {
	t.Parallel()
	clean := record(t)
	requireClean(t, clean)
	for _, c := range corruptions() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "run")
			require.NoError(t, os.CopyFS(dir, os.DirFS(clean)))
			name := filepath.Join(dir, c.file)
			write(t, name, c.change(t, lines(t, name)))
			requireCaught(t, dir, c.invariant, c.path)
		})
	}
	t.Run("a copy that lags", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "run")
		require.NoError(t, os.CopyFS(dir, os.DirFS(clean)))
		name := filepath.Join(dir, "collected", "copies.json")
		raw, err := os.ReadFile(name) //nolint:gosec // made by this test
		require.NoError(t, err)
		var m object
		require.NoError(t, json.Unmarshal(raw, &m))
		for _, c := range m["copies"].([]any) {
			if copied := c.(object); copied["kind"] == "order_view" {
				copied["within"] = -1
			}
		}
		raw, err = json.Marshal(m)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, raw, 0o600))
		requireCaught(t, dir, 10, "view read-1")
	})
}

func requireCaught(t *testing.T, dir string, invariant int, path string) {
	t.Helper()
	report, err := check.Offline(dir)
	require.NoError(t, err)
	for _, v := range report.Violations {
		if v.Invariant == invariant && strings.Contains(v.Path, path) {
			return
		}
	}
	require.Failf(t, "not caught", "invariant %d on %q; found: %+v", invariant, path, report.Violations)
}
