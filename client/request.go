package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// positionHeader is what a read asks to reflect, and what an answer reflects.
const positionHeader = "Order-Position"

// maxDocument is the most of a printed document that is read, in bytes.
const maxDocument = 64 << 20

// Meta is what the head of an answer said.
type Meta struct {
	// Position is the Order-Position header: the answer reflects the log up to there. Pass it to a read to be sure that the
	// read sees what this call did.
	Position int64
	ETag     string
	// Replayed says that the store had done this before: nothing new was done now.
	Replayed bool
	Status   int
}

// request is one call of the API. A call with an Idempotency-Key, and one that only reads, may be made again.
type request struct {
	method string
	path   []string // segments, escaped when sent
	query  url.Values
	body   any // nil: none
	header http.Header
	// key is the Idempotency-Key; a write always has one.
	key string
	// longer is how much longer than usual an attempt may take.
	longer time.Duration
}

func read(path ...string) request {
	return request{method: http.MethodGet, path: path, query: url.Values{}, header: http.Header{}}
}

func write(method string, body any, path ...string) request {
	return request{method: method, path: path, body: body, header: http.Header{}, key: rand.Text()}
}

func (r *request) atLeast(position int64) {
	if position > 0 {
		r.header.Set(positionHeader, strconv.FormatInt(position, 10))
	}
}

// do makes the call, as often as it takes, and decodes its answer into out, which may be nil.
func (c *Client) do(ctx context.Context, r request, out any) (Meta, error) {
	var body []byte
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return Meta{}, fmt.Errorf("encode request: %w", err)
		}
		body = b
	}
	var meta Meta
	err := c.retry(ctx, func() error {
		var err error
		meta, err = c.ask(ctx, r, body, out)
		return err
	})
	return meta, err
}

// attempt makes the call once; twice where the store refuses the token.
func (c *Client) attempt(ctx context.Context, r request, body []byte, out any) (Meta, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout+r.longer)
	defer cancel()
	resp, err := c.authorized(ctx, func() (*http.Request, error) { //nolint:bodyclose // drain closes it
		req, err := c.newRequest(ctx, r)
		if err != nil || body == nil {
			return req, err
		}
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		if req.Header.Get("Content-Type") == "" {
			req.Header.Set("Content-Type", "application/json")
		}
		return req, nil
	})
	if err != nil {
		return Meta{}, err
	}
	defer drain(resp.Body)
	meta := readMeta(resp)
	if resp.StatusCode < http.StatusBadRequest && r.path[len(r.path)-1] != "feed" { // which says how far it was scanned for this party
		c.saw(meta.Position)
	}
	if resp.StatusCode == http.StatusNotModified {
		return meta, ErrNotModified
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return meta, readProblem(resp, c.now())
	}
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return meta, nil
	}
	if raw, ok := out.(*[]byte); ok { // a document of another form, to be handed on as it is
		if *raw, err = io.ReadAll(io.LimitReader(resp.Body, maxDocument)); err != nil {
			return meta, &cutAnswer{err}
		}
		return meta, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return meta, &cutAnswer{err}
	}
	return meta, nil
}

// authorized sends the request that build makes, with a token, and once more with a new token after a 401; or signed, and signed anew. It
// returns the answer whatever its status.
func (c *Client) authorized(ctx context.Context, build func() (*http.Request, error)) (*http.Response, error) {
	for again := false; ; again = true {
		token, err := c.tokens.token(ctx)
		if err != nil {
			return nil, err
		}
		req, err := build()
		if err != nil {
			return nil, fmt.Errorf("make request: %w", err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		if c.signing != nil {
			if err := c.signing.Sign(req, c.now()); err != nil {
				return nil, err
			}
		}
		resp, err := c.http.Do(req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusUnauthorized || again || (token == "" && c.signing == nil) {
			return resp, nil
		}
		drain(resp.Body)
		c.tokens.refused(token)
	}
}

func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	u, err := c.address(c.baseFor(r), r.path)
	if err != nil {
		return nil, err
	}
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		req.Header[name] = slices.Clone(values)
	}
	c.follow(r, req.Header)
	req.Header.Set("User-Agent", c.agent)
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json, application/problem+json")
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	return req, nil
}

// address appends segments to the base URL, each escaped whole, so that no id reaches another path than its own.
func (c *Client) address(base *url.URL, segments []string) (*url.URL, error) {
	u := *base
	escaped := u.EscapedPath()
	for _, segment := range segments {
		if segment == "" || segment == "." || segment == ".." {
			return nil, fmt.Errorf("%q cannot be part of an address", segment)
		}
		u.Path += "/" + segment
		escaped += "/" + url.PathEscape(segment)
	}
	u.RawPath = escaped
	return &u, nil
}

// cutAnswer is an answer that ended early or is not what it should be.
type cutAnswer struct{ err error }

func (e *cutAnswer) Error() string { return "decode answer: " + e.err.Error() }
func (e *cutAnswer) Unwrap() error { return e.err }

// lasting is an error that no other attempt mends, whatever it wraps.
type lasting struct{ err error }

func (e *lasting) Error() string { return e.err.Error() }
func (e *lasting) Unwrap() error { return e.err }

// passing tells whether the call that met err may be made again. A deadline is the attempt's: the caller's own is looked at
// first.
func passing(err error) bool {
	var certificate *tls.CertificateVerificationError
	var last *lasting
	if errors.As(err, &certificate) || errors.As(err, &last) {
		return false
	}
	var p *Problem
	if errors.As(err, &p) {
		return p.passing()
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &kind) {
		return false
	}
	var cut *cutAnswer
	var sent *url.Error // all that http.Client.Do returns
	return errors.As(err, &cut) || errors.As(err, &sent) || errors.Is(err, context.DeadlineExceeded)
}

// The pauses between attempts double from the first to the longest; half of each is left to chance, so that clients which
// failed together do not come back together.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

func pause(attempt int, asked time.Duration) time.Duration {
	d := min(firstPause<<min(attempt, 10), longestPause)
	d = d/2 + mathrand.N(d/2)
	if asked > 0 {
		return asked + d/10
	}
	return d
}

// Temporary tells whether what met err may do better later: the store was out of reach, overloaded or restarting, or a
// connection was cut. A client has tried again already before it returns such an error, except for a *BatchCut.
func Temporary(err error) bool {
	return err != nil && !errors.Is(err, context.Canceled) && passing(err)
}

// retry makes attempts until one succeeds, fails for good, or time is up: the context's, or RetryFor where it has no deadline.
func (c *Client) retry(ctx context.Context, attempt func() error) error {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		deadline = c.now().Add(c.retryFor)
	}
	for n := 0; ; n++ {
		err := attempt()
		if err == nil || !passing(err) {
			return err
		}
		if ctx.Err() != nil {
			return ended(ctx.Err(), err)
		}
		d := pause(n, askedPause(err))
		if c.now().Add(d).After(deadline) {
			return err
		}
		c.log.WarnContext(ctx, "order store is asked again", slog.Duration("after", d), slog.Any("cause", err))
		if stopped := c.wait(ctx, d); stopped != nil {
			return ended(stopped, err)
		}
	}
}

// ended joins why a call was given up with what its last attempt met, unless that is the same.
func ended(stopped, last error) error {
	if errors.Is(last, stopped) {
		return last
	}
	return fmt.Errorf("%w; last attempt: %w", stopped, last)
}

func askedPause(err error) time.Duration {
	var p *Problem
	if errors.As(err, &p) {
		return p.RetryAfter
	}
	return 0
}

func readMeta(resp *http.Response) Meta {
	position, _ := strconv.ParseInt(resp.Header.Get(positionHeader), 10, 64) // absent: 0, which asks for nothing
	return Meta{
		Position: position, ETag: tagOf(resp), Status: resp.StatusCode,
		Replayed: resp.Header.Get("Idempotency-Replayed") == "true",
	}
}

// drain reads what is left of a short body, so that the connection serves again, and closes it.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

// tagOf is the entity tag of what the caller gets. Of a body that came compressed, and was unpacked on the way, it is the plain one.
func tagOf(resp *http.Response) string {
	tag := resp.Header.Get("ETag")
	if plain, ok := strings.CutSuffix(tag, `-gzip"`); ok && resp.Uncompressed {
		return plain + `"`
	}
	return tag
}
