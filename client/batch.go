package client

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"sync"
	"sync/atomic"
)

// BatchResult is the store's answer to one order of a batch.
type BatchResult struct {
	Line        int64    `json:"line"`   // the order's number in the batch, from 1
	Status      int      `json:"status"` // 201 new, 200 replayed; 400, 409, 422 refused; 503 not now: send it again
	ID          string   `json:"id,omitempty"`
	ExternalRef string   `json:"external_ref,omitempty"`
	Position    int64    `json:"position,omitempty"`
	Problem     *Problem `json:"problem,omitempty"`
}

// Stored says that the order is in the store now, be it new or from before.
func (r BatchResult) Stored() bool {
	return r.Status == http.StatusCreated || r.Status == http.StatusOK
}

// BatchCut says that a batch ended before every order was answered. The answers come in the order of the batch, so orders
// 1 to Answered have theirs, and the others may or may not be stored: send them again, a replay does no harm.
type BatchCut struct {
	Answered int64
	Sent     int64 // orders that were given to the connection, at least Answered
	Err      error // why
}

func (e *BatchCut) Error() string {
	return fmt.Sprintf("batch cut after %d of %d orders were answered: %v", e.Answered, e.Sent, e.Err)
}

// Unwrap gives the reason: a Problem where the store refused the whole batch.
func (e *BatchCut) Unwrap() error { return e.Err }

// errShort says that the answer ended, in good order, before all orders were answered.
var errShort = errors.New("the answer ended early")

// SubmitBatch streams orders to the store and yields its answers as they come, in the same order, both in constant memory. A
// bad order spoils no other: its answer has a Problem. If the connection is cut, or the store refuses the batch as a whole,
// the last thing yielded is a *BatchCut.
//
// The orders are asked for from another goroutine, one at a time, as the connection takes them; they may wait for earlier
// answers. When the loop ends, SubmitBatch waits until the orders' iterator has returned from its current step: one that
// waits for input must end with ctx.
func (c *Client) SubmitBatch(ctx context.Context, orders iter.Seq[OrderSubmission]) iter.Seq2[BatchResult, error] {
	return func(yield func(BatchResult, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		lines := newBatchLines(orders)
		defer lines.stop()
		defer cancel()
		var answered int64
		err := c.batch(ctx, lines, func(result BatchResult) bool {
			answered++
			return yield(result, nil)
		})
		if err == nil || errors.Is(err, errLoopEnded) {
			return
		}
		yield(BatchResult{}, &BatchCut{Answered: answered, Sent: lines.sent.Load(), Err: err})
	}
}

var errLoopEnded = errors.New("the caller's loop has ended")

func (c *Client) batch(ctx context.Context, lines *batchLines, answer func(BatchResult) bool) error {
	resp, err := c.startBatch(ctx, lines)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	decoder := json.NewDecoder(bufio.NewReaderSize(resp.Body, 64<<10))
	for n := int64(1); ; n++ {
		var result BatchResult
		err := decoder.Decode(&result)
		if errors.Is(err, io.EOF) {
			return lines.answered(n - 1)
		}
		if err != nil {
			// An order that is no JSON ends the request, and whoever writes it may close the connection before the reader is told why.
			if why := lines.broken.Load(); why != nil {
				return *why
			}
			return fmt.Errorf("answer %d: %w", n, &cutAnswer{err})
		}
		if result.Line != n {
			return &lasting{fmt.Errorf("answer %d is for order %d", n, result.Line)}
		}
		if result.Problem != nil && result.Problem.Status == 0 {
			result.Problem.Status = result.Status
		}
		if !answer(result) {
			return errLoopEnded
		}
	}
}

// startBatch sends the request until the store begins to answer; again, with the orders that have left already, where the
// token is refused, the store is not ready or the connection breaks.
func (c *Client) startBatch(ctx context.Context, lines *batchLines) (*http.Response, error) {
	r := request{method: http.MethodPost, path: []string{"v1", "orders", "batch"}, header: http.Header{}}
	r.header.Set("Content-Type", "application/x-ndjson")
	r.header.Set("Accept", "application/x-ndjson, application/problem+json")
	var resp *http.Response
	var last error
	err := c.retry(ctx, func() error {
		var err error
		resp, err = c.authorized(ctx, func() (*http.Request, error) { //nolint:bodyclose // the caller closes it
			req, err := c.newRequest(ctx, r)
			if err != nil {
				return nil, err
			}
			body, ok := lines.body()
			if !ok {
				return nil, &lasting{cmp.Or(last, errBatchGone)}
			}
			req.Body, req.ContentLength = body, -1
			return req, nil
		})
		if err == nil && resp.StatusCode >= http.StatusMultipleChoices {
			err = readProblem(resp, c.now())
			drain(resp.Body)
		}
		last = err
		return err
	})
	lines.begun.Store(err == nil)
	return resp, err
}

// maxKept is how many bytes of orders are kept to be sent again before the store has begun to answer.
const maxKept = 1 << 20

// errBatchGone says that more orders have left than are kept.
var errBatchGone = errors.New("the batch is too far gone to be sent again from its beginning")

// batchLines turns orders into NDJSON as it is read, by one request body at a time. Until the store begins to answer it keeps
// what was read, so that another request can begin anew.
type batchLines struct {
	mu      sync.Mutex // one read at a time, and none beside stop
	next    func() (OrderSubmission, bool)
	end     func()
	current *batchBody
	buf     []byte
	off     int // of the next byte to read in buf
	keep    bool
	ended   bool
	err     error

	// Not under mu, which is held while the orders' iterator waits.
	sent     atomic.Int64
	complete atomic.Bool           // sent is final
	begun    atomic.Bool           // the store answers, so nothing more is kept
	broken   atomic.Pointer[error] // err, once it is set: it changes no more
}

func newBatchLines(orders iter.Seq[OrderSubmission]) *batchLines {
	next, end := iter.Pull(orders)
	return &batchLines{next: next, end: end, keep: true}
}

// batchBody is the lines as one request reads them.
type batchBody struct{ lines *batchLines }

// body is the lines for a request from their beginning; false where that is no longer kept.
func (l *batchLines) body() (*batchBody, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.keep {
		return nil, false
	}
	l.current, l.off = &batchBody{lines: l}, 0
	return l.current, true
}

// Close does nothing: a body that is read no more has been replaced by another, or the loop has ended.
func (*batchBody) Close() error { return nil }

// Read gives at most one order that was not read before, so that each leaves at once.
func (b *batchBody) Read(p []byte) (int, error) {
	l := b.lines
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != b {
		return 0, http.ErrBodyReadAfterClose
	}
	if l.off == len(l.buf) {
		if err := l.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.buf[l.off:])
	l.off += n
	return n, nil
}

func (l *batchLines) fill() error {
	if l.err != nil {
		return l.err
	}
	if l.ended {
		return io.EOF
	}
	order, ok := l.next()
	if !ok {
		l.ended = true
		l.complete.Store(true)
		return io.EOF
	}
	line, err := json.Marshal(order)
	if err != nil {
		l.err = &lasting{fmt.Errorf("encode order %s: %w", order.ExternalRef, err)}
		l.broken.Store(&l.err)
		return l.err
	}
	l.sent.Add(1)
	l.keep = l.keep && !l.begun.Load() && len(l.buf)+len(line) < maxKept
	if !l.keep {
		l.buf, l.off = l.buf[:0], 0
	}
	l.buf = append(append(l.buf, line...), '\n')
	return nil
}

// answered says whether the answers, whose stream ended after n, are all there is to answer.
func (l *batchLines) answered(n int64) error {
	if !l.complete.Load() || l.sent.Load() != n {
		return &cutAnswer{errShort}
	}
	return nil
}

func (l *batchLines) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended, l.current = true, nil
	l.end()
}
