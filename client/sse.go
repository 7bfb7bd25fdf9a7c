package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxStreamEvent bounds one event of a stream, in bytes; an order of 1,000 lines is about 1 MiB.
const maxStreamEvent = 16 << 20

// errSilent says that a stream did not even send heartbeats.
var errSilent = errors.New("the stream has been silent for too long")

// receiveStream hands on the events of one SSE connection and moves r.After behind what was handed on. It returns false when
// the caller wants no more; the connection's end is an error that may be waited out.
func (c *Client) receiveStream(ctx context.Context, r *FeedRequest, hand func(Event) bool) (bool, error) {
	request := read("v1", "events")
	r.filter(request.query)
	return c.receiveSSE(ctx, request, &r.After, hand)
}

// receiveSSE is receiveStream of any address.
func (c *Client) receiveSSE(ctx context.Context, request request, after *int64, hand func(Event) bool) (bool, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(c.idle, func() { cancel(errSilent) })
	defer watchdog.Stop()
	resp, err := c.openStream(ctx, request, *after)
	if err != nil {
		return true, silent(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	stream := newStream(&watched{r: resp.Body, seen: func() { watchdog.Reset(c.idle) }})
	for {
		event, err := stream.next()
		if err != nil {
			return true, silent(ctx, &cutAnswer{err})
		}
		if event.Position <= *after {
			continue
		}
		*after = event.Position
		c.saw(event.Position)
		if !hand(event) {
			return false, nil
		}
	}
}

func (c *Client) openStream(ctx context.Context, request request, after int64) (*http.Response, error) {
	request.header.Set("Accept", "text/event-stream")
	request.header.Set("Last-Event-ID", strconv.FormatInt(after, 10))
	resp, err := c.authorized(ctx, func() (*http.Request, error) { return c.newRequest(ctx, request) })
	if err != nil {
		return nil, fmt.Errorf("open event stream: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer drain(resp.Body)
		return nil, fmt.Errorf("open event stream: %w", readProblem(resp, c.now()))
	}
	return resp, nil
}

// silent says why the watchdog ended a stream, instead of "context canceled".
func silent(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return &cutAnswer{errSilent}
	}
	return err
}

// watched reports every read that brought something.
type watched struct {
	r    io.Reader
	seen func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.seen()
	}
	return n, err
}

// stream reads server-sent events. Fields other than data are not needed: the CloudEvent in data says it all.
type stream struct{ lines *bufio.Scanner }

func newStream(r io.Reader) *stream {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxStreamEvent)
	s.Split(splitLines)
	return &stream{lines: s}
}

// next is the next event.
func (s *stream) next() (Event, error) {
	var event Event
	data, err := s.data()
	if err != nil {
		return event, err
	}
	if err := json.Unmarshal(data, &event); err != nil {
		return event, fmt.Errorf("decode event: %w", err)
	}
	return event, nil
}

// data is that of the next event that has any; io.ErrUnexpectedEOF at the end, since a stream of events has none of its own.
func (s *stream) data() ([]byte, error) {
	var data []byte
	for s.lines.Scan() {
		line := s.lines.Bytes()
		if len(line) > 0 {
			if value, ok := bytes.CutPrefix(line, []byte("data")); ok && (len(value) == 0 || value[0] == ':') {
				value = bytes.TrimPrefix(value, []byte(":"))
				data = append(append(data, bytes.TrimPrefix(value, []byte(" "))...), '\n')
			}
			if len(data) > maxStreamEvent {
				return nil, bufio.ErrTooLong
			}
			continue
		}
		if len(data) == 0 { // a heartbeat, or an event of nothing
			continue
		}
		return data, nil
	}
	if err := s.lines.Err(); err != nil {
		return nil, err
	}
	return nil, io.ErrUnexpectedEOF
}

// splitLines ends a line at CR LF, LF or CR, as the format has it. A CR that is the last byte so far waits for the next one,
// which may be its LF; an unfinished line at the end is dropped, as the format asks.
func splitLines(data []byte, atEOF bool) (int, []byte, error) {
	end := bytes.IndexAny(data, "\r\n")
	if end < 0 || (end == len(data)-1 && data[end] == '\r' && !atEOF) {
		return 0, nil, nil
	}
	if data[end] == '\r' && end+1 < len(data) && data[end+1] == '\n' {
		return end + 2, data[:end], nil
	}
	return end + 1, data[:end], nil
}
