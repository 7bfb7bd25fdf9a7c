package command

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// varying is what two stores do not have in common: ids, and times.
var varying = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[0-9:.]+Z`)

// told numbers what varies by where it is first met.
type told struct{ names map[string]string }

func (n *told) plain(body []byte) string {
	return varying.ReplaceAllStringFunc(string(body), func(s string) string {
		if s[4] == '-' {
			return "a time"
		}
		if n.names[s] == "" {
			n.names[s] = fmt.Sprintf("id %d", len(n.names)+1)
		}
		return n.names[s]
	})
}

// What is kept in memory is decided and answered as what is kept in a database.
func TestMemoryAnswersAsTheCommitterDoes(t *testing.T) {
	t.Parallel()
	stored := setupSite(t)
	var heard []events.Appended
	kept := &site{bench: stored.bench}
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(t, err)
	httpapi.Mount(e, tokens{}, Routes(NewMemory(time.Now, func(facts []events.Appended) { heard = append(heard, facts...) }), nil))
	kept.server = httptest.NewServer(e)
	t.Cleanup(kept.server.Close)

	sites := []*site{stored, kept}
	names := []*told{{map[string]string{}}, {map[string]string{}}}
	both := func(method string, paths [2]string, token, body string, headers ...string) [2][]byte {
		t.Helper()
		var raw [2][]byte
		var said [2]string
		for i, s := range sites {
			res, answer := s.send(method, paths[i], token, body, headers...)
			raw[i] = answer
			said[i] = fmt.Sprintln(res.status, res.header.Get("ETag"), res.header.Get("Order-Position"), res.header.Get("Idempotency-Replayed"),
				res.header.Get("Retry-After"), res.header.Get("Content-Type"), names[i].plain(answer))
		}
		require.Equal(t, said[0], said[1], "%s %s", method, paths[0])
		return raw
	}
	same := func(path string) [2]string { return [2]string{path, path} }
	put, post, patch := http.MethodPut, http.MethodPost, http.MethodPatch

	both(put, same("/v1/admin/tenants/demo"), "operator:one", `{"name":"Demo"}`)
	for range 2 {
		both(put, same("/v1/admin/providers/acme"), "operator:one", `{"business_types":["retail.erp"],"regions":[],"max_load":9}`)
	}
	both(put, same("/v1/admin/routes/retail.erp"), "operator:one", `{"policy":"least_loaded","regions":[],"accept_within":60,"complete_within":0,"max_attempts":3}`)

	place := func(ref string) (orders, tasks [2]string) {
		raw := both(post, same("/v1/orders"), user, order(ref), "Idempotency-Key", "k-"+ref)
		for i := range raw {
			o := decoded(t, raw[i])
			orders[i], tasks[i] = "/v1/orders/"+o.ID, "/v1/tasks/"+o.Tasks[0].ID
		}
		return orders, tasks
	}
	on := func(paths [2]string, action string) [2]string { return [2]string{paths[0] + action, paths[1] + action} }

	_, tasks := place("r-1")
	place("r-1")
	both(post, same("/v1/orders"), user, `{"channel":"web","external_ref":"r-1","business_type":"retail.erp","currency":"EUR","lines":[{"sku":"X","quantity":1,"unit_price":1}]}`)
	both(post, same("/v1/orders"), user, order("r-2"), "Idempotency-Key", "k-r-1")
	both(post, same("/v1/orders"), user, `{"channel":"WEB"}`)
	both(post, on(tasks, "/accept"), "provider:other", "")
	both(post, on(tasks, "/accept"), "provider:acme", "", "If-Match", `"9"`)
	both(post, on(tasks, "/accept"), "provider:acme", "")
	both(post, on(tasks, "/hold"), "provider:acme", `{"reason_code":"no_pens"}`)
	both(post, on(tasks, "/resume"), "provider:acme", "")
	both(post, on(tasks, "/result"), "provider:acme", `{"result_id":"a","outcome":"partial","lines":[{"line_id":"1","quantity":9}]}`)
	both(post, on(tasks, "/result"), "provider:acme", `{"result_id":"a","outcome":"partial","lines":[{"line_id":"1","quantity":2}]}`)
	both(post, on(tasks, "/result"), "provider:acme", `{"result_id":"a","outcome":"partial","lines":[{"line_id":"1","quantity":2}]}`)
	both(post, on(tasks, "/result"), "provider:acme", `{"result_id":"a","outcome":"partial","lines":[{"line_id":"1","quantity":1}]}`)
	both(post, on(tasks, "/result"), "provider:acme", `{"result_id":"b","outcome":"completed"}`)
	both(post, on(tasks, "/accept"), "provider:acme", "")

	orders, tasks := place("r-3")
	both(patch, orders, user, `{"lines":[{"line_id":"1","sku":"A-1","quantity":7,"unit_price":250}]}`, "If-Match", `"1"`)
	amended := both(patch, orders, user, `{"lines":[{"line_id":"1","sku":"A-1","quantity":7,"unit_price":250}]}`, "If-Match", `"2"`)
	both(post, on(tasks, "/accept"), "provider:acme", "")
	for i := range amended {
		tasks[i] = "/v1/tasks/" + decoded(t, amended[i]).Tasks[1].ID
	}
	both(post, on(tasks, "/accept"), "provider:acme", "")
	both(post, on(orders, "/cancel"), user, `{}`, "If-Match", "*")
	both(post, on(tasks, "/accept"), "provider:acme", "")
	both(post, on(tasks, "/result"), "provider:acme", `{"result_id":"c","outcome":"completed"}`)

	_, tasks = place("r-4")
	both(post, on(tasks, "/reject"), "provider:acme", `{"reason_code":"no","blocking":true}`)

	both(put, same("/v1/providers/me/load"), "provider:acme", `{"load":0.5,"capacity":4}`) // a committer hears of it from its watcher

	// What it told, in order, folds into what it answered last.
	var last *events.Order
	folded := map[string]*events.Order{}
	for i, fact := range heard {
		require.Equal(t, int64(i+1), fact.Event.Position)
		if id := fact.Event.OrderID; id != "" {
			folded[id], err = events.Apply(folded[id], fact.Event)
			require.NoError(t, err)
			if last = folded[id]; fact.Document != nil {
				body, err := last.Encode()
				require.NoError(t, err)
				require.Equal(t, string(body), string(fact.Document))
			}
		}
	}
	require.Equal(t, events.OrderActionRequired, last.Status)
	require.Equal(t, stored.verified().Position, int64(len(heard)))
}
