package load

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// How long a request may take before it counts as an error.
const requestWithin = 30 * time.Second

// Sender posts orders to one address.
type Sender struct {
	host  *fasthttp.HostClient
	uri   string
	token func() (string, error)
}

// NewSender makes a sender for a URL such as http://127.0.0.1:8080/v1/orders. token gives the value of the Authorization header for each
// request; nil for none. It never sends a request twice by itself, so every error is seen.
func NewSender(address string, connections int, token func() (string, error)) (*Sender, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("address %s: must be http://HOST:PORT/PATH", address)
	}
	return &Sender{
		host: &fasthttp.HostClient{
			Addr: u.Host, MaxConns: connections, MaxIdemponentCallAttempts: 1, ReadTimeout: requestWithin, WriteTimeout: requestWithin,
			NoDefaultUserAgentHeader: true, DisablePathNormalizing: true,
			Dial: func(addr string) (net.Conn, error) { return fasthttp.DialTimeout(addr, requestWithin) },
		},
		uri: address, token: token,
	}, nil
}

// Slot is the request and answer of one connection, used again and again. It is not safe for several goroutines at once.
type Slot struct {
	sender *Sender
	req    fasthttp.Request
	resp   fasthttp.Response
	bearer string
	// Body is what is sent next.
	Body []byte
}

// Slot makes one.
func (s *Sender) Slot() *Slot {
	slot := &Slot{sender: s, Body: make([]byte, 0, 4096)}
	slot.req.SetRequestURI(s.uri)
	slot.req.Header.SetMethod(fasthttp.MethodPost)
	slot.req.Header.SetContentType("application/json")
	return slot
}

// Reader makes one that sends nothing but reads.
func (s *Sender) Reader() *Slot {
	slot := &Slot{sender: s}
	slot.req.Header.SetMethod(fasthttp.MethodGet)
	return slot
}

// Get reads an address on the sender's host and returns why it went wrong, empty when the answer was 200.
func (s *Slot) Get(address string) string {
	s.req.SetRequestURI(address)
	return s.do()
}

// Post sends the body and returns why it went wrong, empty when the answer was 200 or 201.
func (s *Slot) Post() string {
	s.req.SetBodyRaw(s.Body)
	return s.do()
}

func (s *Slot) do() string {
	if s.sender.token != nil {
		bearer, err := s.sender.token()
		if err != nil {
			return "token: " + err.Error()
		}
		if bearer != s.bearer {
			s.bearer = bearer
			s.req.Header.Set(fasthttp.HeaderAuthorization, bearer)
		}
	}
	if err := s.sender.host.Do(&s.req, &s.resp); err != nil {
		return "connection: " + cause(err)
	}
	if status := s.resp.StatusCode(); status != fasthttp.StatusOK && status != fasthttp.StatusCreated {
		return "status " + strconv.Itoa(status) + " " + problemType(s.resp.Body())
	}
	return ""
}

// SetHeader sets a header of what is sent next.
func (s *Slot) SetHeader(name, value string) { s.req.Header.Set(name, value) }

// Answer is the body of the last answer, until the next Post.
func (s *Slot) Answer() []byte { return s.resp.Body() }

// Position is the last answer's Order-Position; 0 where it had none.
func (s *Slot) Position() int64 {
	p, err := strconv.ParseInt(string(s.resp.Header.Peek("Order-Position")), 10, 64)
	if err != nil {
		return 0
	}
	return p
}

// cause is an error without what differs from connection to connection, so that equal ones are counted together.
func cause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
