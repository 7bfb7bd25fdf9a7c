package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/semaphore"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

const (
	mediaNDJSON   = "application/x-ndjson"
	batchWindow   = 512              // lines of one request that are being worked on
	maxBatchLine  = 1 << 20          // bytes of one line
	batchBytes    = 4 << 20          // bytes of the lines that are being worked on
	lineWithin    = 60 * time.Second // a client that sends nothing for so long is cut
	answerTaken   = 60 * time.Second // a client that does not read its answers for so long is cut
	flushAfter    = 64               // answers written before they are sent, while more are ready
	batchReadSize = 64 << 10         // bytes
	batchLife     = 6 * time.Hour    // of one request
)

// lineAnswer is one line of the answer.
type lineAnswer struct {
	Line        int             `json:"line"`
	Status      int             `json:"status"`
	ID          string          `json:"id,omitempty"`
	ExternalRef string          `json:"external_ref,omitempty"`
	Position    int64           `json:"position,omitempty"`
	Problem     json.RawMessage `json:"problem,omitempty"`
}

// placeBatch reads orders line by line, keeps a window of them under way, and answers each in the order they came.
func (a *api) placeBatch(c echo.Context, who auth.Identity) error {
	if err := httpapi.RequireType(c.Request(), mediaNDJSON); err != nil {
		return err
	}
	control := http.NewResponseController(c.Response())
	if err := control.EnableFullDuplex(); err != nil && c.Request().ProtoMajor == 1 {
		return fmt.Errorf("answer while reading: %w", err)
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), batchLife)
	defer cancel()
	c.Response().Header().Set(echo.HeaderContentType, mediaNDJSON)
	c.Response().WriteHeader(http.StatusOK)
	c.Response().Flush() // a client may wait for the head of the answer before it sends its first line

	b := &batch{
		api: a, tenant: who.Tenant, trace: trace(c), control: control, pace: httpapi.Pacer(c),
		pending: make(chan chan lineAnswer, batchWindow), room: semaphore.NewWeighted(batchBytes),
	}
	go b.read(ctx, c.Request().Body)
	return b.answer(c.Response(), cancel)
}

type batch struct {
	api     *api
	tenant  string
	trace   string
	control *http.ResponseController
	pace    func(context.Context) error // waits until there may be another order
	pending chan chan lineAnswer        // in the order of the lines
	room    *semaphore.Weighted         // for the bytes of lines
}

// read takes lines until the body ends and puts each under way.
func (b *batch) read(ctx context.Context, body io.Reader) {
	defer close(b.pending)
	in := bufio.NewReaderSize(body, batchReadSize)
	for n := 1; ctx.Err() == nil; n++ {
		// A connection without deadlines is bounded by the request's own life.
		_ = b.control.SetReadDeadline(time.Now().Add(lineWithin))
		line, err := readLine(in)
		if len(bytes.TrimSpace(line)) > 0 || errors.Is(err, errLongLine) {
			b.start(ctx, n, line, err)
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return
		}
	}
}

func (b *batch) start(ctx context.Context, n int, line []byte, err error) {
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLongLine) {
		return // cut off in the middle of the line: it was not sent whole
	}
	if b.pace(ctx) != nil {
		return // nothing of the line was done
	}
	done := make(chan lineAnswer, 1)
	select {
	case b.pending <- done:
	case <-ctx.Done():
		return
	}
	if errors.Is(err, errLongLine) {
		done <- refused(n, fault.New(fault.Malformed, "the line is longer than %d bytes", maxBatchLine))
		return
	}
	if b.room.Acquire(ctx, int64(len(line))) != nil {
		done <- refused(n, unavailable(ctx.Err()))
		return
	}
	go func() {
		defer b.room.Release(int64(len(line)))
		done <- b.place(ctx, n, line)
	}()
}

func (b *batch) place(ctx context.Context, n int, line []byte) lineAnswer {
	s, err := decodeOrder(line, b.tenant)
	if err != nil {
		return refused(n, err)
	}
	answer, err := b.api.submit.SubmitWaiting(ctx, &PlaceOrder{Submission: *s, Traceparent: b.trace})
	if err != nil {
		r := refused(n, err)
		r.ExternalRef = s.Placed.ExternalRef
		return r
	}
	return lineAnswer{Line: n, Status: answer.Status, ID: answer.OrderID, ExternalRef: answer.ExternalRef, Position: answer.Position}
}

func refused(n int, err error) lineAnswer {
	status, problem := httpapi.ProblemOf(err)
	if status == http.StatusInternalServerError || status == http.StatusTooManyRequests {
		status = http.StatusServiceUnavailable // the line may be sent again
	}
	return lineAnswer{Line: n, Status: status, Problem: problem}
}

// answer writes the answers in order. When the client no longer reads, no further line is put under way; those that are go on.
func (b *batch) answer(w *echo.Response, cancel context.CancelFunc) error {
	out := json.NewEncoder(w)
	unsent := 0
	for done := range b.pending {
		line, ready := lineAnswer{}, true
		select {
		case line = <-done:
		default:
			ready = false
		}
		if !ready {
			if unsent > 0 {
				w.Flush()
				unsent = 0
			}
			line = <-done
		}
		if unsent == 0 {
			// Not every connection has deadlines.
			_ = b.control.SetWriteDeadline(time.Now().Add(answerTaken))
		}
		if err := out.Encode(line); err != nil {
			cancel()
			for range b.pending {
			}
			return nil //nolint:nilerr // nobody is left to tell
		}
		if unsent++; unsent >= flushAfter || len(b.pending) == 0 {
			w.Flush()
			unsent = 0
		}
	}
	w.Flush()
	return nil
}

var errLongLine = errors.New("line too long")

// readLine reads up to the next line feed. Of a line that is too long nothing is kept, and the rest of it is skipped.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > maxBatchLine {
			long, line = true, nil
		}
		if !long {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if long && err == nil {
			return nil, errLongLine
		}
		return line, err
	}
}
