package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/auth"
)

// operation is one of the document that the running program serves.
type operation struct {
	apiOperation
	method, path string
}

func (o operation) name() string  { return o.method + " " + o.path }
func (o operation) public() bool  { return len(o.Security) == 0 }
func (o operation) media() string { return mediaOf(o.Body.Content) }
func (o operation) streams() bool {
	return strings.Contains(string(o.Responses["200"]), "text/event-stream")
}

func (o operation) operators() bool { return slices.Equal(o.Kinds, []auth.Kind{auth.KindOperator}) }

func (o operation) takes(p string) bool {
	return slices.ContainsFunc(o.Parameters, func(have map[string]any) bool {
		ref, _ := have["$ref"].(string)
		return ref == "#/components/parameters/"+p
	})
}

// scope is the one that a token has to carry.
func (o operation) scope() string {
	for _, way := range o.Security {
		if scopes := way["oauth2"]; len(scopes) > 0 {
			return scopes[0]
		}
	}
	return ""
}

// mediaOf prefers JSON, where a body may be of several types.
func mediaOf(content map[string]json.RawMessage) string {
	if _, ok := content["application/json"]; ok {
		return "application/json"
	}
	for _, media := range slices.Sorted(maps.Keys(content)) {
		return media
	}
	return ""
}

// operations are all of the document as it is served: what reads before what changes, and what deletes last.
func (d *doors) operations() []operation {
	d.t.Helper()
	var doc apiDocument
	call(d.t, http.MethodGet, d.at.HTTP+"/openapi.json", "", "", "", &doc)
	var all []operation
	for path, methods := range doc.Paths {
		for method, op := range methods {
			all = append(all, operation{op, strings.ToUpper(method), path})
		}
	}
	last := func(o operation) int { return slices.Index([]string{"DELETE"}, o.method) }
	slices.SortFunc(all, func(a, b operation) int {
		return cmp.Or(cmp.Compare(last(a), last(b)), strings.Compare(a.name(), b.name()))
	})
	return all
}

// tried is an answer, and what of its headers may not tell one reason for it from another.
type tried struct {
	status        int
	body, headers string
}

// attempt asks for an operation as somebody. Of a stream it reads up to the first thing of this party's own.
func (m *matrix) attempt(o operation, who identity, path string) tried {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 20*time.Second)
	defer cancel()
	var body io.Reader
	media := o.media()
	if media != "" {
		body = strings.NewReader(m.bodyFor(o, media))
	}
	req, err := http.NewRequestWithContext(ctx, o.method, m.at.HTTP+path, body)
	require.NoError(m.t, err)
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	req.Header.Set("If-Match", "*")
	if who.token != "" {
		req.Header.Set("Authorization", "Bearer "+who.token)
	}
	answer, err := m.http.Do(req)
	require.NoError(m.t, err, "%s: %s", o.name(), who.name)
	defer func() { _ = answer.Body.Close() }()
	got := tried{status: answer.StatusCode, headers: tellTales(answer.Header)}
	if o.operators() && o.method != http.MethodGet && got.status != http.StatusUnauthorized && got.status != http.StatusForbidden {
		m.written[answer.Header.Get("X-Request-Id")] = fmt.Sprintf("%s: %d ", o.name(), got.status)
	}
	assert.Contains(m.t, o.Responses, strconv.Itoa(got.status), "%s: %s: a status that the document does not have", o.name(), who.name)
	got.body = m.readAnswer(o, who, answer)
	return got
}

// readAnswer reads all, but of a stream no more than what shows that it has begun.
func (m *matrix) readAnswer(o operation, who identity, answer *http.Response) string {
	m.t.Helper()
	if !o.streams() || answer.StatusCode != http.StatusOK {
		read, err := io.ReadAll(answer.Body)
		require.NoError(m.t, err, o.name())
		return string(read)
	}
	var seen strings.Builder
	if !who.stranger {
		return ""
	}
	for part := make([]byte, 32<<10); !slices.ContainsFunc(m.hers, func(own string) bool { return strings.Contains(seen.String(), own) }); {
		n, err := answer.Body.Read(part)
		seen.Write(part[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(m.t, err, "%s: %s sees nothing of its own, but: %s", o.name(), who.name, seen.String())
	}
	return seen.String()
}

// tellTales are an answer's headers without those that differ from one answer to the next of the same kind.
func tellTales(h http.Header) string {
	h = h.Clone()
	for _, name := range []string{"Date", "X-Request-Id", "Order-Position", "Ratelimit", "Ratelimit-Remaining", "Ratelimit-Reset"} {
		if h.Get(name) != "" {
			h.Set(name, "…")
		}
	}
	var all strings.Builder
	_ = h.Write(&all)
	return all.String()
}

// everyOperationAndIdentity: the document says who may do what, and the running program answers so. What is somebody else's is answered,
// byte for byte, as what does not exist, and is in nobody else's answers.
func everyOperationAndIdentity(d *doors) {
	m := d.matrix()
	operations := d.operations()
	require.Greater(d.t, len(operations), 80)
	hidden, sealed := 0, 0
	for _, o := range operations {
		if o.public() {
			got := m.attempt(o, identity{name: "nobody"}, m.pathOf(o, identity{}, true))
			require.Less(d.t, got.status, 500, o.name())
			require.NotEqual(d.t, http.StatusForbidden, got.status, o.name())
			continue
		}
		require.Equal(d.t, strings.Contains(o.path, "{") && !o.operators(), o.Resource != "", "%s: the document has to say whose it is", o.name())
		m.doorIsShut(o)
		for _, who := range m.allowed(o) {
			hidden += m.strangerSeesNothing(o, who)
			sealed += m.cursorIsTheOwners(o, who)
		}
	}
	require.Greater(d.t, hidden, 80, "comparisons of what is another's with what there is not")
	require.Greater(d.t, sealed, 5, "cursors of another")
	for _, o := range operations {
		m.ownersComeIn(o)
	}
	m.writesAreListed()
}

// writesAreListed: the audit trail has each of the admin writes that were let in.
func (m *matrix) writesAreListed() {
	m.t.Helper()
	listed := map[string]string{}
	for e, err := range m.operator().ListAudit(m.t.Context(), client.AuditFilter{ClientID: m.as.Operator.ClientID}) {
		require.NoError(m.t, err)
		listed[e.RequestID] = strconv.Itoa(e.Status)
	}
	require.Greater(m.t, len(m.written), 15)
	for request, answered := range m.written {
		require.Contains(m.t, answered, " "+listed[request]+" ", "is not in the audit trail, or with %q", listed[request])
	}
}

// doorIsShut: nobody is 401, a client of another kind 403, and so is one of the right kind with every scope but the one.
func (m *matrix) doorIsShut(o operation) {
	m.t.Helper()
	nobody := m.attempt(o, identity{name: "nobody"}, m.pathOf(o, identity{}, true))
	require.Equal(m.t, http.StatusUnauthorized, nobody.status, "%s: nobody", o.name())
	require.Contains(m.t, nobody.headers, "Www-Authenticate: Bearer", o.name())
	for _, who := range m.identities {
		if !slices.Contains(o.Kinds, who.kind) {
			require.Equal(m.t, http.StatusForbidden, m.attempt(o, who, m.pathOf(o, who, true)).status, "%s: %s", o.name(), who.name)
			continue
		}
		without := m.without(who, o.scope())
		got := m.attempt(o, without, m.pathOf(o, without, true))
		require.Equal(m.t, http.StatusForbidden, got.status, "%s: %s", o.name(), without.name)
		require.Contains(m.t, got.headers, `error="insufficient_scope"`, o.name())
	}
}

// strangerSeesNothing compares, for one that may ask but owns nothing of it, what there is with what there is not.
func (m *matrix) strangerSeesNothing(o operation, who identity) int {
	m.t.Helper()
	n := 0
	if o.Resource != "" && !m.owns(o, who) {
		there, missing := m.attempt(o, who, m.pathOf(o, who, true)), m.attempt(o, who, m.pathOf(o, who, false))
		require.Equal(m.t, http.StatusNotFound, missing.status, "%s: %s: %s", o.name(), who.name, missing.body)
		require.Equal(m.t, missing, there, "%s: %s can tell another's from what there is not", o.name(), who.name)
		n++
	}
	if !who.stranger || o.operators() {
		return n
	}
	got := m.attempt(o, who, m.pathOf(o, who, true))
	for _, canary := range m.canaries {
		require.NotContains(m.t, got.body, canary, "%s: %s", o.name(), who.name)
	}
	for parameter, names := range map[string][2]string{"tenant": {"demo", "nobodys"}, "subscription": {m.ids["subscription"], nobodysID}} {
		if !o.takes(parameter) {
			continue
		}
		theirs, nobodys := m.attempt(o, who, m.withQuery(o, who, parameter, names[0])), m.attempt(o, who, m.withQuery(o, who, parameter, names[1]))
		require.GreaterOrEqual(m.t, nobodys.status, 400, "%s: %s", o.name(), who.name)
		require.Equal(m.t, nobodys, theirs, "%s: %s names another's %s", o.name(), who.name, parameter)
		n++
	}
	return n
}

// withQuery is a path with one parameter more.
func (m *matrix) withQuery(o operation, who identity, name, value string) string {
	path := m.pathOf(o, who, true)
	if name == "subscription" { // it says where to begin, too
		path = o.path
	}
	if strings.Contains(path, "?") {
		return path + "&" + name + "=" + url.QueryEscape(value)
	}
	return path + "?" + name + "=" + url.QueryEscape(value)
}

// cursorIsTheOwners: the next page of one party is no page of another.
func (m *matrix) cursorIsTheOwners(o operation, who identity) int {
	m.t.Helper()
	owner, ok := m.own[who.kind]
	if !ok || !who.stranger || o.Resource != "" || !o.takes("cursor") {
		return 0
	}
	var page struct{ Next string }
	first := m.attempt(o, owner, m.withQuery(o, owner, "limit", "1"))
	require.Equal(m.t, http.StatusOK, first.status, "%s: %s", o.name(), first.body)
	require.NoError(m.t, json.Unmarshal([]byte(first.body), &page))
	if page.Next == "" {
		return 0 // this party has less than two of it
	}
	again := m.attempt(o, owner, m.withQuery(o, owner, "cursor", page.Next))
	require.Equal(m.t, http.StatusOK, again.status, "%s: it is the owner's: %s", o.name(), again.body)
	theirs, made := m.attempt(o, who, m.withQuery(o, who, "cursor", page.Next)), m.attempt(o, who, m.withQuery(o, who, "cursor", "AAAA"))
	require.Equal(m.t, http.StatusBadRequest, theirs.status, "%s: %s", o.name(), who.name)
	require.Equal(m.t, made, theirs, o.name())
	return 1
}

// ownersComeIn: what strangers were refused is there, and those whose it is are let in.
func (m *matrix) ownersComeIn(o operation) {
	m.t.Helper()
	for _, who := range m.allowed(o) {
		if who.stranger || !m.owns(o, who) {
			continue
		}
		got := m.attempt(o, who, m.pathOf(o, who, true))
		shut := []int{http.StatusUnauthorized, http.StatusForbidden}
		if o.Resource != "" {
			shut = append(shut, http.StatusNotFound)
		}
		require.NotContains(m.t, shut, got.status, "%s: %s: %s", o.name(), who.name, got.body)
		require.Less(m.t, got.status, 500, "%s: %s: %s", o.name(), who.name, got.body)
	}
}
