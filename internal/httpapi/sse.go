package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// sseWriteTimeout is how long one event may take to get into the client's connection; a client that reads slower is cut
// and comes back with Last-Event-ID.
const sseWriteTimeout = 10 * time.Second

// SSE writes server-sent events to one client. It is for one goroutine.
type SSE struct {
	gone    <-chan struct{} // closed when the client hangs up
	w       http.ResponseWriter
	control *http.ResponseController
	buf     *bytes.Buffer // of what is not sent yet; nil: nothing
	caller  *caller
	timeout time.Duration
}

// Stream answers 200 with the headers of an event stream and sends them.
func Stream(c echo.Context) (*SSE, error) {
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx holds events back without it
	h.Set("Connection", "close")     // a later request must not meet the last event's deadline
	s := &SSE{
		gone:    c.Request().Context().Done(),
		w:       c.Response(),
		control: http.NewResponseController(c.Response()),
		caller:  callerOf(c),
		timeout: sseWriteTimeout,
	}
	c.Response().WriteHeader(http.StatusOK)
	return s, s.Comment()
}

// Event sends one event. An empty id or event is left out; data may have several lines. It fails when the client is gone,
// too slow, or no longer allowed to listen: then the handler returns.
func (s *SSE) Event(id, event string, data []byte) error {
	if err := s.Add(id, event, data); err != nil {
		return err
	}
	return s.Flush()
}

// sseBuffer is how many bytes of events are gathered before they are sent.
const sseBuffer = 64 << 10

// Add is Event for one of several: it is sent with the others at Flush, or when they are many. It fails as Event does.
func (s *SSE) Add(id, event string, data []byte) error {
	s.fill()
	s.field("id", id)
	s.field("event", event)
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		s.buf.WriteString("data: ")
		s.buf.Write(bytes.TrimSuffix(line, []byte("\r")))
		s.buf.WriteByte('\n')
	}
	s.buf.WriteByte('\n')
	if s.buf.Len() < sseBuffer {
		return nil
	}
	return s.Flush()
}

// Comment sends a line that clients ignore: it keeps proxies from closing the connection and finds out whether the client
// is still there and still allowed. Send one at least every 15 s.
func (s *SSE) Comment() error {
	s.fill()
	s.buf.WriteString(":\n\n")
	return s.Flush()
}

// field writes a one-line field; a line break in it would start another one, so it is cut there.
func (s *SSE) field(name, value string) {
	if value == "" {
		return
	}
	if i := strings.IndexAny(value, "\r\n\x00"); i >= 0 {
		value = value[:i]
	}
	s.buf.WriteString(name + ": " + value + "\n")
}

// Flush sends what was added.
func (s *SSE) Flush() error {
	if s.buf == nil {
		return nil
	}
	defer s.emptied()
	select {
	case <-s.gone:
		return context.Canceled
	default:
	}
	if s.caller != nil {
		if err := s.caller.authn.Check(s.caller.who); err != nil {
			return err
		}
	}
	// Not every ResponseWriter has deadlines; where there is one, it is set anew for each event.
	_ = s.control.SetWriteDeadline(time.Now().Add(s.timeout))
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if err := s.control.Flush(); err != nil {
		return fmt.Errorf("flush event: %w", err)
	}
	return nil
}

// sseBuffers are for events on their way: who waits for some holds none, and most of many listeners wait.
//
//nolint:gochecknoglobals // memory to use again, which holds no state
var sseBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (s *SSE) fill() {
	if s.buf != nil {
		return
	}
	var ok bool
	if s.buf, ok = sseBuffers.Get().(*bytes.Buffer); !ok {
		s.buf = new(bytes.Buffer)
	}
}

// emptied gives the buffer away for other events, unless it has become large.
func (s *SSE) emptied() {
	if s.buf.Cap() <= 2*sseBuffer {
		s.buf.Reset()
		sseBuffers.Put(s.buf)
	}
	s.buf = nil
}
