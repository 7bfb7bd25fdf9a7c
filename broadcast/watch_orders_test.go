package broadcast

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// happen puts events of an order into the timeline, one behind the other, and makes them readable.
func (s *side) happen(order string, n int) {
	s.t.Helper()
	for range n {
		e := events.New(events.TaskOffered, time.Now(), &events.Offered{})
		e.Tenant, e.Provider, e.OrderID = "demo", "acme", order
		body, err := e.Encode()
		require.NoError(s.t, err)
		s.told++
		_, err = s.pool.Exec(s.t.Context(), `INSERT INTO timeline (position, tenant, provider, order_id, event) VALUES ($1, 'demo', 'acme', $2::text::uuid, $3)`,
			s.told, order, body)
		require.NoError(s.t, err)
	}
	s.reach("order_view", s.told)
	s.reach("timeline", s.told)
}

// serveWatch is a node that lets everybody watch any order, in a hall's place.
func (s *side) serveWatch() *httptest.Server {
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(s.t, err)
	w := NewWatch(s.pool, s.api.live)
	httpapi.Mount(e, parties(), []httpapi.Route{{
		Method: http.MethodGet, Path: "/watch/:id", Scope: auth.ScopeOrdersRead, Class: httpapi.ClassStream,
		Handler: func(c echo.Context, who auth.Identity) error { return w.Order(c, who, c.Param("id")) },
	}})
	server := httptest.NewServer(e)
	s.t.Cleanup(server.Close)
	return server
}

// listenTo opens a watch, on a connection that holds so many bytes that are not read; 0: as many as usual.
func (s *side) listenTo(server *httptest.Server, path string, holds int) *bufio.Reader {
	s.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(s.t.Context(), "tcp", server.Listener.Addr().String())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	if holds > 0 {
		require.NoError(s.t, conn.(*net.TCPConn).SetReadBuffer(holds))
	}
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nAuthorization: Bearer demo\r\n\r\n", path)
	require.NoError(s.t, err)
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	lines := bufio.NewReaderSize(conn, 1<<20)
	head, err := lines.ReadString('\n')
	require.NoError(s.t, err)
	require.Contains(s.t, head, " 200 ")
	return lines
}

// A watcher of an order is woken by that order alone, and stays in memory however much happens to others.
func TestWatcherOfAnOrderHearsThatOrder(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	mine, other := uuid.NewString(), uuid.NewString()
	in := interest{who: auth.Identity{Kind: auth.KindUser, Tenant: "demo"}, whose: party{tenant: "demo", order: mine}}
	l := s.api.listen(in)
	defer l.leave()
	l.goes = true
	s.happen(mine, 2)
	p, err := l.await(t.Context(), feedLimit, time.Minute)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2}, positions(p))
	require.Eventually(t, func() bool { return s.api.live.Reached() == 2 }, 10*time.Second, time.Millisecond)
	_, err = l.await(t.Context(), feedLimit, 0)
	require.NoError(t, err)

	select {
	case <-l.w.wake: // for what it has heard by then
	default:
	}
	s.happen(other, 20)
	require.Eventually(t, func() bool { return s.api.live.Reached() == 22 }, 10*time.Second, time.Millisecond)
	require.Empty(t, l.w.wake, "what happens to another order wakes nobody")
	s.api.live.mu.Lock()
	s.api.live.from = 22 // as if the ring had gone past what it heard last
	s.api.live.mu.Unlock()
	s.happen(mine, 1)
	require.Eventually(t, func() bool { return s.api.live.Reached() == 23 }, 10*time.Second, time.Millisecond)
	found, scanned, ok := s.api.live.next(l.w, in.whose, l.in.after, feedLimit)
	require.True(t, ok, "from memory")
	require.Len(t, found, 1)
	require.Equal(t, int64(23), scanned)

	older := s.askFor(interest{who: in.who, whose: in.whose}, 0)
	require.Equal(t, []int64{1, 2, 23}, positions(older), "from the database")
	in.whose.provider, in.whose.tenant = "beta", ""
	require.Empty(t, s.askFor(interest{who: in.who, whose: in.whose}, 0).told, "a provider without a task hears nothing")
}

func (s *side) askFor(in interest, wait time.Duration) *page {
	s.t.Helper()
	p, err := s.api.poll(s.t.Context(), in, feedLimit, wait)
	require.NoError(s.t, err)
	return p
}

func TestSlowWatcherHoldsNobody(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	server := s.serveWatch()
	order := uuid.NewString()
	const many = 400
	document := fmt.Sprintf(`{"id":%q,"fill":%q}`, order, strings.Repeat("x", 64<<10)) // 25 MB in all: more than sockets hold
	_, err := s.pool.Exec(t.Context(), `INSERT INTO order_view VALUES ($1, 'demo', 'web', 'R', 'hotel', 'default', 'routed', 'unfulfilled', 'EUR', 1, now(), now(), 1, 1,
		convert_to($2, 'UTF8'))`, order, document)
	require.NoError(t, err)
	slow := s.listenTo(server, "/watch/"+order+"?include=order", 4096)
	quick := s.listenTo(server, "/watch/"+order+"?include=order", 0)
	thin := s.listenTo(server, "/watch/"+order, 0)
	s.happen(order, many)
	for name, lines := range map[string]*bufio.Reader{"quick": quick, "thin": thin} {
		require.Equal(t, many, countEvents(t, lines, many), name)
	}
	require.Positive(t, countEvents(t, slow, 1), "it is still there, where it stopped")
}

// countEvents reads events until there are so many, in the order of their positions.
func countEvents(t *testing.T, lines *bufio.Reader, until int) int {
	t.Helper()
	for n := 0; ; {
		line, err := lines.ReadBytes('\n')
		require.NoError(t, err, "after %d", n)
		if !bytes.HasPrefix(line, []byte("id: ")) {
			continue
		}
		n++
		require.Equal(t, fmt.Sprintf("id: %d\n", n), string(line))
		if n == until {
			return n
		}
	}
}

// A list's watcher hears of an order that is in the list, or was, and of no other one.
func TestListWatcherHearsWhatIsListed(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	in, gone, never := uuid.NewString(), uuid.NewString(), uuid.NewString()
	for _, order := range []string{in, gone, never, in} {
		s.happen(order, 1)
	}
	p := s.askFor(interest{who: auth.Identity{Kind: auth.KindUser, Tenant: "demo"}, whose: party{tenant: "demo"}}, 0)
	err := p.keep(t.Context(), func(_ context.Context, orders []string, position int64) (map[string]bool, error) {
		require.ElementsMatch(t, []string{in, gone, never}, orders)
		require.Equal(t, int64(4), position)
		return map[string]bool{in: true, gone: false}, nil
	})
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 4}, positions(p))
	require.Contains(t, string(p.event(0)), `"listed":true}`)
	require.Contains(t, string(p.event(1)), `"listed":false}`)
}
