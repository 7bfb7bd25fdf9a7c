// Package fault is the one error that reaches a caller: a stable code, a message that is safe to show, and the bad
// fields. Every other error is internal: it is logged once with its cause and shown as nothing but "internal".
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Code names a problem for ever: it is the last part of an RFC 9457 problem type, /problems/<code>.
type Code string

// The codes that any part may answer with. internal/httpapi maps each to its HTTP status.
const (
	Malformed           Code = "malformed"             // 400: not readable as what it should be
	UnknownField        Code = "unknown_field"         // 400
	DuplicateKey        Code = "duplicate_key"         // 400
	BadCursor           Code = "bad_cursor"            // 400: tampered with, or of another list
	BadParameter        Code = "bad_parameter"         // 400: a query parameter or header
	Unauthorized        Code = "unauthorized"          // 401
	Forbidden           Code = "forbidden"             // 403
	NotFound            Code = "not_found"             // 404: also what belongs to somebody else
	MethodNotAllowed    Code = "method_not_allowed"    // 405
	Conflict            Code = "conflict"              // 409
	OrderConflict       Code = "order_conflict"        // 409: same channel and external_ref, other content
	TaskState           Code = "task_state"            // 409: the task's status does not allow it
	OrderState          Code = "order_state"           // 409: the order's status does not allow it
	DelegationCycle     Code = "delegation_cycle"      // 409: whoever would help asks for the help
	DelegationDepth     Code = "delegation_depth"      // 409: delegated too often in a row
	ResultConflict      Code = "result_conflict"       // 409: same result_id, other content
	StaleRevision       Code = "stale_revision"        // 409: an auxiliary record has a newer revision
	VersionMismatch     Code = "version_mismatch"      // 412: If-Match names another version
	TooLarge            Code = "too_large"             // 413
	UnsupportedMedia    Code = "unsupported_media"     // 415
	Invalid             Code = "invalid"               // 422: Fields says which
	KeyReused           Code = "idempotency_key_reuse" // 422: same Idempotency-Key, other request
	PreconditionMissing Code = "precondition_required" // 428: If-Match is needed
	TooManyRequests     Code = "too_many_requests"     // 429
	Internal            Code = "internal"              // 500
	Unavailable         Code = "unavailable"           // 503
	OutcomeUnknown      Code = "outcome_unknown"       // 503: sent to the database, answer lost; retry finds the truth
	NotReached          Code = "position_not_reached"  // 503: the read side is not there yet
	Overloaded          Code = "overloaded"            // 503: the queue is full
)

// Field is one bad field of a request, by its JSON pointer (RFC 6901).
type Field struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// Error is what a caller is told.
type Error struct {
	Code       Code
	Message    string
	Fields     []Field
	RetryAfter time.Duration  // 0: no Retry-After header
	Extra      map[string]any // further members of the problem document
	cause      error
}

// Error gives the code and the safe message; the cause is reached by Unwrap and is for the log alone.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap gives the cause, nil where there is none.
func (e *Error) Unwrap() error { return e.cause }

// New makes an error that is safe to show.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an error that is safe to show and keeps its cause for the log.
func Wrap(cause error, code Code, format string, args ...any) *Error {
	e := New(code, format, args...)
	e.cause = cause
	return e
}

// Retry sets after how long the caller should try again.
func (e *Error) Retry(after time.Duration) *Error {
	e.RetryAfter = after
	return e
}

// With adds a member to the problem document.
func (e *Error) With(name string, value any) *Error {
	if e.Extra == nil {
		e.Extra = map[string]any{}
	}
	e.Extra[name] = value
	return e
}

// InvalidFields is the answer to a request that could be read but has wrong values.
func InvalidFields(fields []Field) *Error {
	return &Error{Code: Invalid, Message: fmt.Sprintf("%d field(s) are not valid", len(fields)), Fields: fields}
}

// CodeOf is the code an error answers with; Internal for all that are no *Error.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
