package command

import (
	"cmp"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const card = "4111 1111 1111 1111"

// refusal is a request that is not taken, and the answer to it.
type refusal struct {
	name, body string
	status     int
	says       string
}

// everyBody is refused wherever a body is read: the numbers are those of the cases of the security review.
func everyBody(text string) []refusal {
	refused := []refusal{
		{"45 duplicate keys", `{"NAME":"a","NAME":"a"}`, 400, "duplicate_key"},
		{"49 depth", strings.Repeat(`{"NAME":`, 40) + "1" + strings.Repeat("}", 40), 400, ""},
		{"50 size", `{"NAME":"` + strings.Repeat("x", 2<<20) + `"}`, 413, ""},
		{"53 unknown field", `{"nobody_knows":1}`, 400, "unknown_field"},
		{"45 case-variant key", `{"Name":"a"}`, 400, ""},
		{"trailing data", `{} {}`, 400, ""},
		{"no object", `[]`, 422, ""},
	}
	if text != "" {
		refused = append(refused, refusal{"46 NUL", `{"NAME":"a\u0000b"}`, 422, ""}, refusal{"46 invalid UTF-8", "{\"NAME\":\"\xff\"}", 422, ""})
	}
	for i := range refused {
		refused[i].body = strings.ReplaceAll(refused[i].body, "NAME", cmp.Or(text, "nobody"))
	}
	return refused
}

// guardedWrite is a write on an order or task, and what it refuses of its own. text names a member that is free text.
type guardedWrite struct {
	method, path, token, text string
	own                       []refusal
}

func writesOnOrder(path, other string) []guardedWrite {
	return []guardedWrite{
		{http.MethodPatch, path, user, "customer", []refusal{
			{"32 tenant", `{"tenant":"other"}`, 422, "/tenant"},
			{"33 id", `{"id":"` + other + `"}`, 422, "/id"},
			{"34 status", `{"status":"completed"}`, 422, "/status"},
			{"34 position", `{"position":1}`, 422, "/position"},
			{"34 version", `{"version":1}`, 422, "/version"},
			{"34 cancellation", `{"cancellation":{"status":"done"}}`, 422, "/cancellation"},
			{"48 fractions of a minor unit", `{"shipping":1.5}`, 422, "/shipping"},
			{"47 shipping below zero", `{"shipping":-1}`, 422, "/shipping"},
			{"34 wrong total", `{"total":1}`, 422, "/total"},
			{"34 a line's total", `{"lines":[{"line_id":"1","sku":"A","quantity":1,"unit_price":1,"total":9}]}`, 422, "/lines/0/total"},
			{"47 quantity 0", `{"lines":[{"line_id":"1","sku":"A","quantity":0,"unit_price":1}]}`, 422, "/lines/0/quantity"},
			{"47 quantity -1", `{"lines":[{"line_id":"1","sku":"A","quantity":-1,"unit_price":1}]}`, 422, "/lines/0/quantity"},
			{"47 quantity 1e3", `{"lines":[{"line_id":"1","sku":"A","quantity":1e3,"unit_price":1}]}`, 422, "/lines/0/quantity"},
			{"47 quantity 2^63", `{"lines":[{"line_id":"1","sku":"A","quantity":9223372036854775808,"unit_price":1}]}`, 422, "/lines/0/quantity"},
			{"47 overflow", `{"lines":[{"line_id":"1","sku":"A","quantity":1000000,"unit_price":9223372036854775807}]}`, 422, "/lines/0"},
			{"46 NUL in attributes", `{"attributes":{"a":"b\u0000"}}`, 422, "/attributes"},
			{"46 invalid UTF-8 in the customer", "{\"customer\":{\"name\":\"\xff\"}}", 422, ""},
			{"54 card in the customer", `{"customer":{"name":"` + card + `"}}`, 422, "/customer/name"},
			{"54 card in attributes", `{"attributes":{"note":"` + card + `"}}`, 422, "/attributes"},
			{"54 card in a line", `{"lines":[{"line_id":"1","sku":"A","name":"` + card + `","quantity":1,"unit_price":1}]}`, 422, "/lines/0/name"},
		}},
		{http.MethodPost, path + "/cancel", user, "message", []refusal{
			{"32 tenant", `{"tenant":"other"}`, 400, "unknown_field"},
			{"34 status", `{"status":"cancelled"}`, 400, "unknown_field"},
			{"54 card in the reason", `{"reason":"` + card + `"}`, 422, "/reason"},
			{"54 card in the message", `{"message":"` + card + `"}`, 422, "/message"},
		}},
	}
}

func writesOnTask(task, other string) []guardedWrite {
	return []guardedWrite{
		{http.MethodPost, task + "/accept", "provider:acme", "", []refusal{{"34 status", `{"status":"accepted"}`, 400, "unknown_field"}}},
		{http.MethodPost, task + "/resume", "provider:acme", "", []refusal{{"33 id", `{"task_id":"` + other + `"}`, 400, "unknown_field"}}},
		{http.MethodPost, task + "/reject", "provider:acme", "message", []refusal{
			{"32 provider", `{"provider":"other","reason_code":"x"}`, 400, "unknown_field"},
			{"54 card", `{"reason_code":"x","message":"` + card + `"}`, 422, "/message"},
		}},
		{http.MethodPost, task + "/hold", "provider:acme", "message", []refusal{
			{"33 id", `{"task_id":"` + other + `","reason_code":"x"}`, 400, "unknown_field"},
			{"54 card", `{"reason_code":"x","message":"` + card + `"}`, 422, "/message"},
		}},
		{http.MethodPost, task + "/delegate", "provider:acme", "note", []refusal{
			{"32 provider", `{"provider":"other","business_type":"x"}`, 400, "unknown_field"},
			{"44 business type", `{"business_type":"*"}`, 422, "/business_type"},
			{"44 business type", `{"business_type":"a.>"}`, 422, "/business_type"},
			{"44 line", `{"business_type":"x","lines":[{"line_id":"a.b","quantity":1}]}`, 422, "/lines/0/line_id"},
			{"47 quantity", `{"business_type":"x","lines":[{"line_id":"1","quantity":0}]}`, 422, "/lines/0/quantity"},
			{"54 card in the note", `{"business_type":"x","note":"` + card + `"}`, 422, "/note"},
			{"54 card in the payload", `{"business_type":"x","payload":{"a":"` + card + `"}}`, 422, "/payload"},
		}},
		{http.MethodPost, task + "/result", "provider:acme", "result_id", []refusal{
			{"33 task", `{"task_id":"` + other + `","result_id":"r","outcome":"completed"}`, 422, "/task_id"},
			{"32 provider", `{"provider":"other","result_id":"r","outcome":"completed"}`, 422, "/provider"},
			{"34 late", `{"late":true,"result_id":"r","outcome":"completed"}`, 422, "/late"},
		}},
	}
}

func TestWritesOnOrdersAndTasksRefuseWhatIsNotMeantForThem(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	s.register("acme", "retail.erp")
	path, etag, o := s.submitted("r-1")
	const other = "01890000-0000-7000-8000-000000000000"
	for _, route := range append(writesOnOrder(path, other), writesOnTask("/v1/tasks/"+o.Tasks[0].ID, other)...) {
		for _, r := range append(everyBody(route.text), route.own...) {
			res, answer := s.send(route.method, route.path, route.token, r.body, "If-Match", "*")
			require.Equal(t, r.status, res.status, "%s %s: %s: %.300s", route.method, route.path, r.name, answer)
			require.Contains(t, string(answer), r.says, "%s %s: %s", route.method, route.path, r.name)
			require.NotContains(t, string(answer), "4111")
		}
		res, _ := s.send(route.method, route.path, route.token, `{}`, "If-Match", "*", "Content-Type", "text/plain")
		require.Equal(t, 415, res.status, "52 media type of %s", route.path)
		res, _ = s.send(http.MethodDelete, route.path, route.token, "")
		require.Equal(t, 405, res.status, "60 unused method of %s", route.path)
		res, _ = s.send(route.method, route.path, "", `{}`, "If-Match", "*")
		require.Equal(t, 401, res.status, "1 no token at %s", route.path)
	}
	res, body := s.send(http.MethodPatch, path, user, `{"shipping":1}`, "If-Match", etag)
	require.Equal(t, 200, res.status, "nothing of it was done: %s", body)
	s.verified()
}

// 38, 55 and 57: a key is its client's own, and an amendment under it is made once, however many send it at a time.
func TestAKeyIsItsClientsOwnAndAmendsOnce(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	path, _, _ := s.submitted("r-1")
	res, body := s.send(http.MethodPost, "/v1/orders", "user:other", order("r-1"))
	require.Equal(t, 201, res.status, "%s", body)
	theirs := res.header.Get("Location")
	const senders = 8
	var bodies [senders]string
	var replays atomic.Int64
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			res, body := s.send(http.MethodPatch, path, user, `{"shipping":1}`, "If-Match", "*", "Idempotency-Key", "k")
			assert.Equal(t, 200, res.status, "%s", body)
			if res.header.Get("Idempotency-Replayed") == "true" {
				replays.Add(1)
			}
			bodies[i] = string(body)
		})
	}
	all.Wait()
	require.Equal(t, int64(senders-1), replays.Load())
	for _, one := range bodies {
		require.Equal(t, bodies[0], one)
	}
	require.Equal(t, int64(2), decoded(t, []byte(bodies[0])).Version)
	res, body = s.send(http.MethodPatch, theirs, "user:other", `{"shipping":9}`, "If-Match", "*", "Idempotency-Key", "k")
	require.Equal(t, 200, res.status, "%s", body)
	require.Empty(t, res.header.Get("Idempotency-Replayed"))
	require.Equal(t, int64(9), decoded(t, body).Shipping)
	s.verified()
}

// 44: an id that reaches a subject or a query is an id.
func TestIDsOfWritesAreIDs(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	for _, id := range []string{"*", "%3E", "a.b", "%0d%0aX-A:b", "%00", strings.Repeat("a", 300), "' OR 1=1--"} {
		id = strings.ReplaceAll(id, " ", "%20")
		for _, tc := range [][3]string{
			{http.MethodPatch, "/v1/orders/" + id, user},
			{http.MethodPost, "/v1/orders/" + id + "/cancel", user},
			{http.MethodPost, "/v1/tasks/" + id + "/hold", "provider:acme"},
			{http.MethodPost, "/v1/tasks/" + id + "/resume", "provider:acme"},
			{http.MethodPost, "/v1/tasks/" + id + "/delegate", "provider:acme"},
		} {
			res, body := s.send(tc[0], tc[1], tc[2], `{}`, "If-Match", "*")
			require.Equal(t, 422, res.status, "%s: %s", tc[1], body)
		}
	}
	for tag, status := range map[string]int{`"1", "2"`: 400, `"*"`: 412, `""`: 400, `"-1"`: 412, `"99999999999999999999"`: 412, `"1`: 400} {
		path, _, _ := s.submitted("tag-" + strings.Trim(strings.Map(letters, tag), "-"))
		res, body := s.send(http.MethodPatch, path, user, `{"shipping":1}`, "If-Match", tag)
		require.Equal(t, status, res.status, "If-Match: %s: %s", tag, body)
	}
}

func letters(r rune) rune { return 'a' + r%26 }
