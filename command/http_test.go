package command

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// tokens knows clients by tokens that are their names: "user:demo", "provider:acme".
type tokens struct{}

func (tokens) Authenticate(_ context.Context, bearer string) (auth.Identity, error) {
	kind, name, ok := strings.Cut(bearer, ":")
	if !ok {
		return auth.Identity{}, fault.New(fault.Unauthorized, "no token of ours")
	}
	who := auth.Identity{ClientID: bearer, Kind: auth.Kind(kind), Scopes: auth.DefaultScopes(auth.Kind(kind))}
	if who.Kind == auth.KindUser {
		who.Tenant = name
	} else {
		who.Provider = name
	}
	return who, nil
}

func (tokens) Check(auth.Identity) error { return nil }

// site is the write side's routes over a committer on a database of its own.
type site struct {
	*bench
	server *httptest.Server
}

func setupSite(t *testing.T) *site {
	t.Helper()
	s := &site{bench: setup(t)}
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(t, err)
	httpapi.Mount(e, tokens{}, Routes(s.committer, nil))
	s.server = httptest.NewServer(e)
	t.Cleanup(s.server.Close)
	return s
}

// answered is what a request was answered with.
type answered struct {
	status int
	header http.Header
}

// send sends a request. headers are names and values by turns.
func (s *site) send(method, path, token, body string, headers ...string) (answered, []byte) {
	s.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path, reader)
	require.NoError(s.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.server.Client().Do(req)
	require.NoError(s.t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return answered{res.StatusCode, res.Header}, answer
}

const user = "user:demo"

func (s *site) submitted(ref string) (path, etag string, o *events.Order) {
	s.t.Helper()
	res, body := s.send(http.MethodPost, "/v1/orders", user, order(ref))
	require.Equal(s.t, 201, res.status, "%s", body)
	return res.header.Get("Location"), res.header.Get("ETag"), decoded(s.t, body)
}

func TestChangingAnOrderNeedsItsVersion(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	path, etag, _ := s.submitted("r-1")
	for _, request := range [][3]string{{http.MethodPatch, path, `{"shipping":1}`}, {http.MethodPost, path + "/cancel", `{}`}} {
		for version, want := range map[string]int{"": 428, `"99"`: 412, `"x"`: 412, "7": 400} {
			var headers []string
			if version != "" {
				headers = []string{"If-Match", version}
			}
			res, body := s.send(request[0], request[1], user, request[2], headers...)
			require.Equal(t, want, res.status, "%s %s %s", request[0], version, body)
		}
		res, _ := s.send(request[0], request[1], "user:other", request[2], "If-Match", "*")
		require.Equal(t, 404, res.status)
		res, _ = s.send(request[0], request[1], "provider:acme", request[2], "If-Match", "*")
		require.Equal(t, 403, res.status)
	}
	res, body := s.send(http.MethodPatch, path, user, `{"shipping":1}`, "If-Match", etag, "Content-Type", "application/merge-patch+json")
	require.Equal(t, 200, res.status, "%s", body)
	require.Equal(t, `"2"`, res.header.Get("ETag"))
	require.NotEmpty(t, res.header.Get("Order-Position"))
	require.Equal(t, int64(1), decoded(t, body).Shipping)
	res, body = s.send(http.MethodPatch, path, user, `{"shipping":2}`, "If-Match", etag)
	require.Equal(t, 412, res.status)
	require.Contains(t, string(body), `"version":2`)
	res, _ = s.send(http.MethodPatch, path, user, `{"shipping":2}`, "If-Match", "*", "Content-Type", "text/plain")
	require.Equal(t, 415, res.status)
	res, body = s.send(http.MethodPost, path+"/cancel", user, "", "If-Match", `"2"`)
	require.Equal(t, 200, res.status, "%s", body)
	require.Equal(t, events.OrderStatusCancelled, decoded(t, body).Status)
	res, _ = s.send(http.MethodPost, path+"/cancel", user, `{"reason":"r","message":"m"}`, "If-Match", `"2"`)
	require.Equal(t, "true", res.header.Get("Idempotency-Replayed"))
	res, body = s.send(http.MethodPatch, path, user, `{"shipping":2}`, "If-Match", "*")
	require.Equal(t, 409, res.status)
	require.Contains(t, string(body), `"order_status":"cancelled"`)
	s.verified()
}

func TestAnAmendmentSentAgainUnderItsKeyIsReplayed(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	path, etag, _ := s.submitted("r-1")
	amend := func() (answered, []byte) {
		return s.send(http.MethodPatch, path, user, `{"customer":{"name":"Ada"}}`, "If-Match", etag, "Idempotency-Key", "k-1")
	}
	first, body := amend()
	require.Equal(t, 200, first.status, "%s", body)
	second, again := amend()
	require.Equal(t, 200, second.status, "though the version has moved on")
	require.Equal(t, "true", second.header.Get("Idempotency-Replayed"))
	require.Equal(t, string(body), string(again))
	res, body := s.send(http.MethodPost, "/v1/orders", user, order("r-1"))
	require.Equal(t, 200, res.status, "what was submitted stays what it was: %s", body)
	require.Equal(t, "Ada", decoded(t, body).Customer.Name)
}

func TestProvidersHoldResumeAndDelegateOverHTTP(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	s.register("acme", "retail.erp")
	s.register("store", "wms")
	_, _, o := s.submitted("r-1")
	act := func(provider, task, action, body string) (int, *events.Task) {
		res, answer := s.send(http.MethodPost, "/v1/tasks/"+task+"/"+action, "provider:"+provider, body)
		if res.status >= 300 {
			return res.status, nil
		}
		require.NotEmpty(t, res.header.Get("ETag"))
		return res.status, taskDecoded(t, answer)
	}
	id := o.Tasks[0].ID
	status, task := act("acme", id, "hold", `{"reason_code":"no_stock","message":"Monday"}`)
	require.Equal(t, 200, status)
	require.Equal(t, events.TaskOnHold, task.Status)
	require.Equal(t, "no_stock", task.Hold.ReasonCode)
	status, _ = act("acme", id, "accept", "")
	require.Equal(t, 409, status)
	status, task = act("acme", id, "resume", "")
	require.Equal(t, 200, status)
	require.Equal(t, events.TaskStatusOffered, task.Status)
	for body, want := range map[string]int{
		`{"business_type":"paint"}`: 422, `{}`: 422, `{"business_type":"retail.erp"}`: 409, `{"business_type":"wms","lines":[{"line_id":"7","quantity":1}]}`: 422,
		`{"business_type":"wms","lines":[{"line_id":"1","quantity":1},{"line_id":"1","quantity":1}]}`: 422,
		`{"business_type":"wms","payload":{"n":"4111111111111111"}}`:                                  422, `{"business_type":"wms","why":1}`: 400,
	} {
		status, _ = act("acme", id, "delegate", body)
		require.Equal(t, want, status, body)
	}
	status, task = act("acme", id, "delegate", `{"business_type":"wms","payload":{"pick":7},"note":"please"}`)
	require.Equal(t, 200, status)
	child := task.Delegations[0].TaskID
	status, _ = act("acme", child, "accept", "")
	require.Equal(t, 404, status, "the delegate's task is the delegate's alone")
	status, task = act("store", child, "result", `{"result_id":"1","outcome":"completed","payload":{"bin":"7"}}`)
	require.Equal(t, 201, status)
	require.Equal(t, events.TaskStatusCompleted, task.Status)
	status, task = act("acme", id, "result", `{"result_id":"1","outcome":"completed"}`)
	require.Equal(t, 201, status)
	require.JSONEq(t, `{"bin":"7"}`, string(task.Delegations[0].Answers[0].Payload))
	s.verified()
}

func TestTheStateMachineIsPublic(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	res, body := s.send(http.MethodGet, "/v1/state-machine", "", "")
	require.Equal(t, 200, res.status)
	require.Equal(t, "public, max-age=3600, stale-while-revalidate=86400", res.header.Get("Cache-Control"))
	var m events.Machine
	require.NoError(t, json.Unmarshal(body, &m))
	require.Equal(t, events.Describe(), m)
}

// A key answers what was answered first, also where the request sent again would find nothing to do.
func TestAKeyGivesTheFirstAnswerOfEachCommand(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	s.register("acme", "retail.erp")
	path, _, o := s.submitted("r-1")
	task := "/v1/tasks/" + o.Tasks[0].ID
	for i, request := range [][4]string{
		{http.MethodPatch, path, user, `{"shipping":7}`},
		{http.MethodPost, task + "/hold", "provider:acme", `{"reason_code":"no_stock"}`},
		{http.MethodPost, task + "/resume", "provider:acme", `{}`},
		{http.MethodPost, task + "/accept", "provider:acme", `{}`},
		{http.MethodPost, path + "/cancel", user, `{"reason":"r"}`},
	} {
		headers := []string{"Idempotency-Key", "key-" + strconv.Itoa(i), "If-Match", "*"}
		first, want := s.send(request[0], request[1], request[2], request[3], headers...)
		require.Equal(t, 200, first.status, "%s %s", request[1], want)
		require.Empty(t, first.header.Get("Idempotency-Replayed"))
		moved, _ := s.send(http.MethodPatch, path, user, `{"customer":{"name":"`+strconv.Itoa(i)+`"}}`, "If-Match", "*")
		require.Equal(t, 200, moved.status, "the order moves on")
		again, got := s.send(request[0], request[1], request[2], request[3], headers...)
		require.Equal(t, 200, again.status)
		require.Equal(t, string(want), string(got), request[1])
		require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	}
	res, _ := s.send(http.MethodPatch, path, user, `{"shipping":8}`, "If-Match", "*", "Idempotency-Key", "key-0")
	require.Equal(t, 422, res.status, "the key is another request's")
	s.verified()
}
