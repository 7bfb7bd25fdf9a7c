// Package httpapi is what all HTTP routes share: the route table with its scopes, strict JSON reading, problem documents,
// positions, entity tags, cursors and server-sent events.
package httpapi

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
)

// ProblemType is the media type of RFC 9457.
const ProblemType = "application/problem+json"

// kindOfProblem is what a code looks like to HTTP.
type kindOfProblem struct {
	status int
	title  string
}

// problems is the one place where codes become statuses; a test holds it against the codes of package fault.
//
//nolint:gochecknoglobals // a table that nothing changes
var problems = map[fault.Code]kindOfProblem{
	fault.Malformed:           {http.StatusBadRequest, "The request cannot be read"},
	fault.UnknownField:        {http.StatusBadRequest, "The request has unknown fields"},
	fault.DuplicateKey:        {http.StatusBadRequest, "The request has a key twice"},
	fault.BadCursor:           {http.StatusBadRequest, "The cursor is not of this list"},
	fault.BadParameter:        {http.StatusBadRequest, "A parameter or header is not valid"},
	fault.Unauthorized:        {http.StatusUnauthorized, "A valid access token is needed"},
	fault.Forbidden:           {http.StatusForbidden, "The token does not allow this"},
	fault.NotFound:            {http.StatusNotFound, "Not found"},
	fault.MethodNotAllowed:    {http.StatusMethodNotAllowed, "The method is not allowed here"},
	fault.Conflict:            {http.StatusConflict, "The request conflicts with what is stored"},
	fault.OrderConflict:       {http.StatusConflict, "The external reference belongs to another order"},
	fault.TaskState:           {http.StatusConflict, "The task's status does not allow this"},
	fault.OrderState:          {http.StatusConflict, "The order's status does not allow this"},
	fault.DelegationCycle:     {http.StatusConflict, "The help would be asked of who asks for it"},
	fault.DelegationDepth:     {http.StatusConflict, "The task was delegated too often in a row"},
	fault.ResultConflict:      {http.StatusConflict, "The result id belongs to another result"},
	fault.StaleRevision:       {http.StatusConflict, "The record has a newer revision"},
	fault.VersionMismatch:     {http.StatusPreconditionFailed, "The version is not the current one"},
	fault.TooLarge:            {http.StatusRequestEntityTooLarge, "The request is too large"},
	fault.UnsupportedMedia:    {http.StatusUnsupportedMediaType, "The media type is not supported"},
	fault.Invalid:             {http.StatusUnprocessableEntity, "Some fields are not valid"},
	fault.KeyReused:           {http.StatusUnprocessableEntity, "The idempotency key was used for another request"},
	fault.PreconditionMissing: {http.StatusPreconditionRequired, "If-Match is needed"},
	fault.TooManyRequests:     {http.StatusTooManyRequests, "Too many requests"},
	fault.Unavailable:         {http.StatusServiceUnavailable, "Not available at the moment"},
	fault.OutcomeUnknown:      {http.StatusServiceUnavailable, "The outcome is not known yet"},
	fault.NotReached:          {http.StatusServiceUnavailable, "The position is not reached yet"},
	fault.Overloaded:          {http.StatusServiceUnavailable, "Too busy at the moment"},
	fault.Internal:            {http.StatusInternalServerError, "Something went wrong on our side"},
}

// problemOf gives a code's status; one that the table does not have is an error of ours.
func problemOf(code fault.Code) kindOfProblem {
	kind, ok := problems[code]
	if !ok {
		return problems[fault.Internal]
	}
	return kind
}

// ProblemOf gives the status and the problem document of an error; what is no *fault.Error shows as nothing but
// "internal". It has no instance member, so that two answers about unlike ids can be the same bytes.
func ProblemOf(err error) (status int, body []byte) {
	e := asFault(err)
	kind := problemOf(e.Code)
	var buf bytes.Buffer
	enc := jsontext.NewEncoder(&buf)
	if writeProblem(enc, e, kind) != nil {
		// Only an Extra that JSON cannot hold gets here: the problem goes out without it.
		buf.Reset()
		enc.Reset(&buf)
		bare := &fault.Error{Code: e.Code, Message: e.Message, Fields: e.Fields}
		if err := writeProblem(enc, bare, kind); err != nil {
			return http.StatusInternalServerError, []byte(`{"type":"/problems/internal","status":500}`)
		}
	}
	return kind.status, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

func asFault(err error) *fault.Error {
	var e *fault.Error
	if errors.As(err, &e) {
		return e
	}
	var he *echo.HTTPError
	if errors.As(err, &he) {
		return ofEcho(he)
	}
	return fault.New(fault.Internal, "the request could not be completed")
}

// ofEcho translates what the router itself answers with.
func ofEcho(he *echo.HTTPError) *fault.Error {
	switch he.Code {
	case http.StatusNotFound:
		return fault.New(fault.NotFound, "no such resource")
	case http.StatusMethodNotAllowed:
		return fault.New(fault.MethodNotAllowed, "the resource has other methods, see Allow")
	case http.StatusRequestEntityTooLarge:
		return fault.New(fault.TooLarge, "the body is too large")
	case http.StatusBadRequest:
		return fault.New(fault.Malformed, "the request cannot be read")
	}
	return fault.New(fault.Internal, "the request could not be completed")
}

func writeProblem(enc *jsontext.Encoder, e *fault.Error, kind kindOfProblem) error {
	w := tokenWriter{enc: enc}
	w.token(jsontext.BeginObject)
	w.member("type", jsontext.String("/problems/"+string(e.Code)))
	w.member("title", jsontext.String(kind.title))
	w.member("status", jsontext.Int(int64(kind.status)))
	w.member("detail", jsontext.String(e.Message))
	if len(e.Fields) > 0 {
		w.member("errors", jsontext.BeginArray)
		for _, f := range e.Fields {
			w.token(jsontext.BeginObject)
			w.member("pointer", jsontext.String(f.Pointer))
			w.member("detail", jsontext.String(f.Detail))
			w.token(jsontext.EndObject)
		}
		w.token(jsontext.EndArray)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Extra)) {
		w.value(name, e.Extra[name])
	}
	w.token(jsontext.EndObject)
	return w.err
}

// tokenWriter keeps the first error, so that a document can be written without a check a line.
type tokenWriter struct {
	enc *jsontext.Encoder
	err error
}

func (w *tokenWriter) token(t jsontext.Token) {
	if w.err == nil {
		w.err = w.enc.WriteToken(t)
	}
}

func (w *tokenWriter) member(name string, value jsontext.Token) {
	w.token(jsontext.String(name))
	w.token(value)
}

func (w *tokenWriter) value(name string, value any) {
	w.token(jsontext.String(name))
	if w.err == nil {
		w.err = json.MarshalEncode(w.enc, value, json.Deterministic(true))
	}
}

// retryAfter gives the Retry-After header in whole seconds, rounded up and at least 1. Answers 429 and 503 always have
// one; others have one when the error says so.
func retryAfter(after time.Duration, status int) string {
	if after <= 0 && status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return ""
	}
	seconds := (after + time.Second - 1) / time.Second
	return strconv.FormatInt(max(1, int64(seconds)), 10)
}

// WriteProblem answers with an error's problem document and the headers that belong to it.
func WriteProblem(c echo.Context, err error) error {
	status, body := ProblemOf(err)
	h := c.Response().Header()
	if after := retryAfter(asFault(err).RetryAfter, status); after != "" {
		h.Set("Retry-After", after)
	}
	if status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", `Bearer realm="orderstore", error="invalid_token"`)
	}
	h.Set("Cache-Control", "no-store")
	if c.Request().Method == http.MethodHead {
		return c.NoContent(status)
	}
	return c.Blob(status, ProblemType, body)
}
