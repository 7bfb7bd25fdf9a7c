package httpapi_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// faultCodes reads every code out of package fault's source, so that none can be forgotten here.
func faultCodes(t *testing.T) []fault.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "fault", "fault.go"), nil, 0)
	require.NoError(t, err)
	var codes []fault.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Code" {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		require.True(t, ok)
		code, err := strconv.Unquote(literal.Value)
		require.NoError(t, err)
		codes = append(codes, fault.Code(code))
		return true
	})
	require.Greater(t, len(codes), 20)
	return codes
}

// golden compares with testdata/<name>; UPDATE_GOLDEN=1 writes it anew.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, append(got, '\n'), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got)+"\n")
}

// The statuses are written down beside the codes in package fault; these are the same, read from there by eye.
func TestProblemOfEveryCode(t *testing.T) {
	t.Parallel()
	status := map[fault.Code]int{
		fault.Malformed: 400, fault.UnknownField: 400, fault.DuplicateKey: 400, fault.BadCursor: 400, fault.BadParameter: 400,
		fault.Unauthorized: 401, fault.Forbidden: 403, fault.NotFound: 404, fault.MethodNotAllowed: 405,
		fault.Conflict: 409, fault.OrderConflict: 409, fault.TaskState: 409, fault.OrderState: 409, fault.ResultConflict: 409,
		fault.StaleRevision: 409, fault.DelegationCycle: 409, fault.DelegationDepth: 409, fault.VersionMismatch: 412, fault.TooLarge: 413, fault.UnsupportedMedia: 415,
		fault.Invalid: 422, fault.KeyReused: 422, fault.PreconditionMissing: 428, fault.TooManyRequests: 429, fault.Internal: 500,
		fault.Unavailable: 503, fault.OutcomeUnknown: 503, fault.NotReached: 503, fault.Overloaded: 503,
	}
	for _, code := range faultCodes(t) {
		got, body := httpapi.ProblemOf(fault.New(code, "what happened"))
		require.Equal(t, status[code], got, code)
		golden(t, filepath.Join("problems", string(code)+".json"), body)
	}
}

func TestProblemMembers(t *testing.T) {
	t.Parallel()
	e := fault.InvalidFields([]fault.Field{{Pointer: "/lines/0/sku", Detail: `must not hold "<b>"`}, {Pointer: "", Detail: "must be an object"}}).
		With("supported_actions", []string{"accept", "reject"}).With("position", int64(9007199254740993)).With("a", map[string]any{"z": 1, "b": nil})
	_, body := httpapi.ProblemOf(fmt.Errorf("place order: %w", e))
	golden(t, filepath.Join("problems", "with_members.json"), body)
}

// A member that JSON cannot hold costs the members, not the answer.
func TestProblemWithoutImpossibleMembers(t *testing.T) {
	t.Parallel()
	status, body := httpapi.ProblemOf(fault.New(fault.TaskState, "done already").With("f", func() {}))
	require.Equal(t, http.StatusConflict, status)
	require.JSONEq(t, `{"type":"/problems/task_state","title":"The task's status does not allow this","status":409,"detail":"done already"}`, string(body))
	_, body = httpapi.ProblemOf(fault.New(fault.TaskState, "done already").With("status", 1))
	require.True(t, jsontext.Value(body).IsValid(), "%s", body)
	require.Contains(t, string(body), `"status":409`)
}

// Case 63: whatever goes wrong inside shows as the same bytes.
func TestProblemHidesInternalErrors(t *testing.T) {
	t.Parallel()
	_, plain := httpapi.ProblemOf(errors.New(`pq: relation "secret_table" does not exist at /srv/app.go:12`))
	golden(t, filepath.Join("problems", "unexpected.json"), plain)
	status, wrapped := httpapi.ProblemOf(fmt.Errorf("commit: %w", os.ErrPermission))
	require.Equal(t, http.StatusInternalServerError, status)
	require.Equal(t, plain, wrapped)
	_, caused := httpapi.ProblemOf(fault.Wrap(errors.New("SELECT password"), fault.Unavailable, "try again"))
	require.NotContains(t, string(caused), "password")
	_, unknown := httpapi.ProblemOf(&fault.Error{Code: "made_up", Message: "x"})
	require.Contains(t, string(unknown), `"status":500`)
}

func TestWriteProblemHeaders(t *testing.T) {
	t.Parallel()
	cases := []struct {
		err        error
		retryAfter string
	}{
		{fault.New(fault.TooManyRequests, "x"), "1"},
		{fault.New(fault.TooManyRequests, "x").Retry(time.Millisecond), "1"},
		{fault.New(fault.TooManyRequests, "x").Retry(59*time.Second + time.Nanosecond), "60"},
		{fault.New(fault.Overloaded, "x"), "1"},
		{fault.New(fault.NotReached, "x").Retry(2 * time.Second), "2"},
		{fault.New(fault.Unavailable, "x").Retry(-time.Second), "1"},
		{fault.New(fault.Conflict, "x").Retry(1500 * time.Millisecond), "2"},
		{fault.New(fault.Conflict, "x"), ""},
		{errors.New("x"), ""},
	}
	for _, c := range cases {
		rec := httptest.NewRecorder()
		ctx := echo.New().NewContext(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), rec)
		require.NoError(t, httpapi.WriteProblem(ctx, c.err))
		require.Equal(t, c.retryAfter, rec.Header().Get("Retry-After"), "%v", c.err)
		require.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
		require.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
	}

	rec := httptest.NewRecorder()
	ctx := echo.New().NewContext(httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/", nil), rec)
	require.NoError(t, httpapi.WriteProblem(ctx, fault.New(fault.Unauthorized, "x")))
	require.Equal(t, http.StatusUnauthorized, rec.Code)
	require.Contains(t, rec.Header().Get("WWW-Authenticate"), "Bearer")
	require.Empty(t, rec.Body.String())
}
