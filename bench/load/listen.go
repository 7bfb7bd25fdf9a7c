package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Heard is told of each event that a listener hears, and when.
type Heard func(position int64, at time.Time)

// errRefused is an answer other than 200 to a listener.
var errRefused = errors.New("the listener was refused")

// ListenSSE hears an event stream until ctx ends. ready is called once the stream is open. It speaks HTTP/1.0, whose answers come in no
// chunks, and reads nothing of an event but its id: the generator shares the machine with what it measures.
func ListenSSE(ctx context.Context, host, path, bearer string, ready func(), heard Heard) error {
	conn, err := (&net.Dialer{Timeout: requestWithin}).DialContext(ctx, "tcp", host)
	if err != nil {
		return fmt.Errorf("open event stream: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: %s\r\nAuthorization: %s\r\nAccept: text/event-stream\r\n\r\n", path, host, bearer); err != nil {
		return fmt.Errorf("open event stream: %w", err)
	}
	lines := bufio.NewReaderSize(conn, 2048)
	if err := openAnswer(lines); err != nil {
		return err
	}
	ready()
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, bufio.ErrBufferFull): // a long line of data
		case err != nil:
			return fmt.Errorf("read event stream: %w", err)
		}
		if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			if position, err := strconv.ParseInt(string(bytes.TrimSpace(id)), 10, 64); err == nil {
				heard(position, time.Now())
			}
		}
	}
}

// openAnswer reads the head of an answer that has to be 200.
func openAnswer(lines *bufio.Reader) error {
	status, err := lines.ReadString('\n')
	if err != nil {
		return fmt.Errorf("open event stream: %w", err)
	}
	if !strings.Contains(status, " 200 ") {
		return fmt.Errorf("%w: %s", errRefused, strings.TrimSpace(status))
	}
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("open event stream: %w", err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			return nil
		}
	}
}

// pollWithin is a little longer than the store holds a long poll.
const pollWithin = 40 * time.Second

// Poller asks the feed of one store again and again, for many listeners.
type Poller struct {
	host *fasthttp.HostClient
	base string
}

// NewPoller makes one for so many listeners at once.
func NewPoller(host string, listeners int) *Poller {
	return &Poller{
		host: &fasthttp.HostClient{
			Addr: host, MaxConns: listeners, MaxIdemponentCallAttempts: 1, ReadTimeout: pollWithin, WriteTimeout: requestWithin,
			NoDefaultUserAgentHeader: true, ReadBufferSize: 1024,
		},
		base: "http://" + host,
	}
}

// Listen hears the feed after a position by long polls until ctx ends.
func (p *Poller) Listen(ctx context.Context, path, bearer string, after int64, heard Heard) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.Set(fasthttp.HeaderAuthorization, bearer)
	for ctx.Err() == nil {
		req.SetRequestURI(p.base + path + "&wait=30s&after=" + strconv.FormatInt(after, 10))
		if err := p.host.Do(req, resp); err != nil {
			return fmt.Errorf("poll: %w", err)
		}
		if resp.StatusCode() != fasthttp.StatusOK {
			return fmt.Errorf("%w: %d %s", errRefused, resp.StatusCode(), problemType(resp.Body()))
		}
		at := time.Now()
		body := resp.Body()
		for {
			position, rest, ok := numberAfter(body, `"position":`)
			if !ok {
				break
			}
			heard(position, at)
			body = rest
		}
		if scanned, _, ok := numberAfter(body, `"scanned_to":`); ok {
			after = scanned
		}
	}
	return nil
}

// numberAfter is the number behind a name in JSON without white space, and what follows it.
func numberAfter(body []byte, name string) (n int64, rest []byte, ok bool) {
	_, rest, ok = bytes.Cut(body, []byte(name))
	if !ok {
		return 0, body, false
	}
	end := bytes.IndexAny(rest, ",}")
	if end < 0 {
		return 0, body, false
	}
	n, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	return n, rest[end:], err == nil
}
