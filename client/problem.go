package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Codes of problems that a program is likely to act upon. The store's documentation lists all.
const (
	CodeNotFound      = "not_found"            // 404: does not exist, or belongs to somebody else
	CodeOrderConflict = "order_conflict"       // 409: the same channel and external_ref with other content
	CodeTaskState     = "task_state"           // 409: Problem.SupportedActions says what the task allows
	CodeOrderState    = "order_state"          // 409: the order's status, Problem.OrderStatus, does not allow it
	CodeCycle         = "delegation_cycle"     // 409: whoever would help asks for the help
	CodeDepth         = "delegation_depth"     // 409: delegated too often in a row
	CodeVersion       = "version_mismatch"     // 412: the order or task has moved on; Problem.Version says to where
	CodeStale         = "stale_revision"       // 409: the auxiliary record has a newer revision
	CodeInvalid       = "invalid"              // 422: Problem.Fields says what
	CodeConflict      = "conflict"             // 409: what is there already, or its state, forbids it
	CodeNotReached    = "position_not_reached" // 503: the read side has not got there yet
)

// ErrNotModified says that the order still has the version of GetOptions.IfNoneMatch.
var ErrNotModified = errors.New("not modified")

// Field is one bad field of a request.
type Field struct {
	Pointer string `json:"pointer"` // JSON pointer (RFC 6901) into the request's body
	Detail  string `json:"detail"`
}

// Problem is an error answer of the store (RFC 9457). Test for one with errors.As, or with HasCode.
type Problem struct {
	Type   string  `json:"type"` // "/problems/<code>"
	Title  string  `json:"title,omitempty"`
	Status int     `json:"status"` // HTTP status
	Detail string  `json:"detail,omitempty"`
	Code   string  `json:"-"` // the last part of Type
	Fields []Field `json:"errors,omitempty"`
	// SupportedActions is what a task allows now; set with the code task_state.
	SupportedActions []string `json:"supported_actions,omitempty"`
	TaskStatus       string   `json:"task_status,omitempty"`  // set with the code task_state
	OrderStatus      string   `json:"order_status,omitempty"` // set with the code order_state
	Version          int64    `json:"version,omitempty"`      // of the order or task as it is; set with the code version_mismatch
	// RetryAfter is how long the store asks to wait before another attempt; 0 when it asks for nothing.
	RetryAfter time.Duration `json:"-"`
}

// UnmarshalJSON reads a problem document and takes Code from its type.
func (p *Problem) UnmarshalJSON(b []byte) error {
	type plain Problem
	if err := json.Unmarshal(b, (*plain)(p)); err != nil {
		return err
	}
	p.Code = p.Type[strings.LastIndexByte(p.Type, '/')+1:]
	return nil
}

// Error tells the code, the status, what the store said and each bad field.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%d)", p.Code, p.Status)
	if said := p.said(); said != "" {
		b.WriteString(": " + said)
	}
	for _, f := range p.Fields {
		fmt.Fprintf(&b, "; %s: %s", f.Pointer, f.Detail)
	}
	return b.String()
}

func (p *Problem) said() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// HasCode tells whether err is, or wraps, a Problem of this code.
func HasCode(err error, code string) bool {
	var p *Problem
	return errors.As(err, &p) && p.Code == code
}

// passing tells whether the same request may do better later.
func (p *Problem) passing() bool {
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusConflict: // the first request with this Idempotency-Key is still at work
		return p.RetryAfter > 0
	}
	return false
}

// maxProblem bounds what is read of an error answer, in bytes.
const maxProblem = 1 << 20

// readProblem makes a Problem of any error answer: a problem document, an OAuth error (RFC 6749 section 5.2), or what a proxy
// in between wrote.
func readProblem(resp *http.Response, now time.Time) *Problem {
	p := &Problem{}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem)) // what came is used, the status says the rest
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); strings.HasSuffix(mediaType, "json") {
		var oauth struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		if json.Unmarshal(body, p) != nil {
			p = &Problem{}
		}
		if p.Code == "" && json.Unmarshal(body, &oauth) == nil {
			p.Code, p.Detail = oauth.Error, oauth.Description
		}
	}
	p.Status = resp.StatusCode
	if p.Code == "" {
		p.Code = strings.ReplaceAll(strings.ToLower(http.StatusText(p.Status)), " ", "_")
	}
	if p.Code == "" {
		p.Code = strconv.Itoa(p.Status)
	}
	p.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), now)
	return p
}

// retryAfter reads the header's two forms, seconds and a date; 0 for neither and for what is past.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(header, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
