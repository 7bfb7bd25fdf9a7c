package httpapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// ListenerConfig bounds the connections of one listener; 0: no bound.
type ListenerConfig struct {
	Most           int
	MostPerAddress int
	Refused        func() // told of each connection that was one too many; nil: nobody is
}

// Guarded is a listener that has so many connections open and no more, and on which a request has one meaning: see framing. One too
// many is answered with 503 and closed. It is for HTTP/1.1, and goes around a TLS listener, not under it.
func Guarded(l net.Listener, cfg ListenerConfig) net.Listener {
	return &guardedListener{Listener: l, cfg: cfg, open: map[string]int{}}
}

type guardedListener struct {
	net.Listener
	cfg ListenerConfig

	mu   sync.Mutex
	all  int
	open map[string]int // by address
}

// Accept waits for a connection that may be.
func (g *guardedListener) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // net/http tells temporary ones by their type
		}
		address := hostOf(conn.RemoteAddr())
		if g.enter(address) {
			return &guardedConn{Conn: conn, leave: sync.OnceFunc(func() { g.leave(address) })}, nil
		}
		if g.cfg.Refused != nil {
			g.cfg.Refused()
		}
		refuse(conn)
	}
}

func hostOf(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return string(tcp.IP)
	}
	return a.String()
}

func (g *guardedListener) enter(address string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cfg.Most > 0 && g.all >= g.cfg.Most || g.cfg.MostPerAddress > 0 && g.open[address] >= g.cfg.MostPerAddress {
		return false
	}
	g.all++
	g.open[address]++
	return true
}

func (g *guardedListener) leave(address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.open[address]--; g.open[address] == 0 {
		delete(g.open, address)
	}
}

// refuse answers without reading the request, in what the connection's buffer holds for sure. Under TLS it says nothing: a handshake
// would have everybody else wait for this one.
func refuse(conn net.Conn) {
	if _, encrypted := conn.(*tls.Conn); encrypted {
		_ = conn.Close()
		return
	}
	const body = `{"type":"/problems/overloaded","title":"Too busy at the moment","status":503,"detail":"too many connections"}`
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: "+ProblemType+"\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: "+
		strconv.Itoa(len(body))+"\r\n\r\n"+body)
	_ = conn.Close()
}

// ambiguous takes the place of the rest of a request that must not be read: net/http answers 400 to a line of a head without a colon,
// and closes the connection. Within a chunked body it is no chunk.
const ambiguous = "\r\n!\r\n\r\n"

// guardedConn is for the one goroutine that reads from a connection.
type guardedConn struct {
	net.Conn
	leave   func()
	framing framing
	spoiled bool
	rest    string // of what is read instead
}

// Read gives what is in order, then what makes net/http refuse the rest, then the end.
func (c *guardedConn) Read(p []byte) (int, error) {
	if c.spoiled {
		if c.rest == "" {
			return 0, io.EOF
		}
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	good := c.framing.follow(p[:n])
	if good == n {
		return n, err //nolint:wrapcheck // net/http tells time-outs and ends by their type
	}
	c.spoiled = true
	more := copy(p[good:], ambiguous)
	c.rest = ambiguous[more:]
	return good + more, nil
}

// Close closes the connection and counts it out.
func (c *guardedConn) Close() error {
	defer c.leave()
	return c.Conn.Close() //nolint:wrapcheck // as the connection's own
}

// CloseWrite lets the other side read the last answer before the connection ends.
func (c *guardedConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	if err := half.CloseWrite(); err != nil {
		return fmt.Errorf("close for writing: %w", err)
	}
	return nil
}
