package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/web"
)

// apiDocument is what the tests read of the document.
type apiDocument struct {
	Paths      map[string]map[string]apiOperation `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Enum []string `json:"enum"`
		} `json:"schemas"`
	} `json:"components"`
}

type apiOperation struct {
	ID         string                `json:"operationId"`
	Tags       []string              `json:"tags"`
	Summary    string                `json:"summary"`
	Security   []map[string][]string `json:"security"`
	Kinds      []auth.Kind           `json:"x-kinds"`
	Resource   string                `json:"x-resource"`
	Parameters []map[string]any      `json:"parameters"`
	Body       struct {
		Content map[string]json.RawMessage `json:"content"`
	} `json:"requestBody"`
	Responses map[string]json.RawMessage `json:"responses"`
}

func readAPI(t *testing.T) *apiDocument {
	t.Helper()
	body, err := web.OpenAPI()
	require.NoError(t, err)
	doc := &apiDocument{}
	require.NoError(t, json.Unmarshal(body, doc))
	return doc
}

// allRoutes are the routes of a node with every role, which is not started and reaches no database.
func allRoutes(t *testing.T) []httpapi.Route {
	t.Helper()
	nowhere, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none")
	require.NoError(t, err)
	t.Cleanup(nowhere.Close)
	n := &node{roles: allRoles(), pools: pools{write: nowhere, read: nowhere, heard: nowhere, auxiliary: nowhere, records: nowhere}, webhooks: &webhooks{}}
	routes, err := n.routes(make([]byte, 32))
	require.NoError(t, err)
	return routes
}

// access is who may use an operation.
type access struct {
	Scope string
	Kinds []auth.Kind
}

// The document has each route that a node mounts with its scope and kinds of clients, and no other.
func TestDocumentHasEveryRoute(t *testing.T) {
	t.Parallel()
	inCode, inDocument := map[string]access{}, map[string]access{}
	param := regexp.MustCompile(`:(\w+)`)
	for _, r := range allRoutes(t) {
		name := r.Method + " " + param.ReplaceAllString(r.Path, "{$1}")
		require.NotContains(t, inCode, name, "is mounted twice")
		inCode[name] = access{r.Scope, slices.Sorted(slices.Values(r.Kinds))}
	}
	ids := map[string]bool{}
	for path, operations := range readAPI(t).Paths {
		for method, op := range operations {
			a := access{Kinds: slices.Sorted(slices.Values(op.Kinds))}
			if len(op.Security) > 0 {
				require.Len(t, op.Security, 2, "%s: a token, or a signature in its place", path)
				require.Len(t, op.Security[0]["oauth2"], 1, path)
				require.Contains(t, op.Security[1], "orderSignature", path)
				a.Scope = op.Security[0]["oauth2"][0]
			}
			name := strings.ToUpper(method) + " " + path
			inDocument[name] = a
			assert.False(t, op.ID == "" || ids[op.ID], "%s has the operation id %q", name, op.ID)
			assert.True(t, op.Summary != "" && len(op.Tags) == 1, name)
			ids[op.ID] = true
		}
	}
	assert.Equal(t, slices.Sorted(maps.Keys(inCode)), slices.Sorted(maps.Keys(inDocument)))
	assert.Equal(t, inCode, inDocument)
}

// Each event type is in both documents, and neither has one that there is not.
func TestDocumentsHaveEveryEventType(t *testing.T) {
	t.Parallel()
	var types []string
	for _, one := range events.Types() {
		types = append(types, string(one))
	}
	slices.Sort(types)
	assert.ElementsMatch(t, types, readAPI(t).Components.Schemas["EventType"].Enum)

	body, err := web.AsyncAPI()
	require.NoError(t, err)
	var doc struct {
		Channels map[string]struct {
			Messages map[string]map[string]string `json:"messages"`
		} `json:"channels"`
		Components struct {
			Messages map[string]struct {
				Name string `json:"name"`
			} `json:"messages"`
		} `json:"components"`
	}
	require.NoError(t, json.Unmarshal(body, &doc))
	var told []string
	for _, message := range doc.Channels["stream"].Messages {
		name := strings.TrimPrefix(message["$ref"], "#/components/messages/")
		told = append(told, doc.Components.Messages[name].Name)
	}
	assert.ElementsMatch(t, types, told)
}

// The documents and the page are the same for everybody, are asked for once, and bring all that they need.
func TestDocumentsAreServed(t *testing.T) {
	t.Parallel()
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(t, err)
	routes, err := web.Routes()
	require.NoError(t, err)
	httpapi.Mount(e, nil, routes)
	get := func(path, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		answer := httptest.NewRecorder()
		e.ServeHTTP(answer, r)
		return answer
	}
	for _, path := range []string{"/openapi.json", "/asyncapi.json", "/docs", "/docs/rapidoc.js"} {
		first := get(path, "")
		require.Equal(t, http.StatusOK, first.Code, path)
		assert.Contains(t, first.Header().Get("Cache-Control"), "public", path)
		again := get(path, first.Header().Get("ETag"))
		assert.Equal(t, http.StatusNotModified, again.Code, path)
		assert.Empty(t, again.Body.Bytes(), path)
		if strings.HasSuffix(path, ".json") {
			assert.True(t, json.Valid(first.Body.Bytes()), path)
		}
	}
	page := get("/docs", "")
	assert.NotRegexp(t, `(?:src|href)="(?:https?:)?//`, page.Body.String(), "nothing comes from elsewhere")
	assert.Contains(t, page.Header().Get("Content-Security-Policy"), "script-src 'self'")
}
