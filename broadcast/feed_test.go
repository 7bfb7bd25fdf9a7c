package broadcast

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// side is a read side that the test writes to, as a projector would.
type side struct {
	t    *testing.T
	pool *pgxpool.Pool
	tip  *stream.Tip
	api  *api
	told int64 // events that happen has told
}

func readSide(t *testing.T) *side {
	t.Helper()
	s := &side{t: t, pool: pgtest.Database(t, migrations.Read, "read"), tip: &stream.Tip{}}
	_, err := s.pool.Exec(t.Context(), `INSERT INTO checkpoints (view, position, digest) VALUES ('timeline', 0, $1), ('order_view', 0, $1)`, make([]byte, 32))
	require.NoError(t, err)
	live := NewLive(s.pool, s.tip, discard())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = live.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	s.api = &api{reader: &reader{pool: s.pool, live: live}, live: live, now: time.Now}
	return s
}

// ask looks once, or waits, for what an identity may hear.
func (s *side) ask(who auth.Identity, after int64, limit int, wait time.Duration) *page {
	s.t.Helper()
	p, err := s.api.poll(s.t.Context(), interest{who: who, whose: partyOf(who), after: after}, limit, wait)
	require.NoError(s.t, err)
	return p
}

// tell projects one event and makes it readable up to a position.
func (s *side) tell(position int64, tenant, provider string) {
	s.t.Helper()
	e := events.New(events.TaskOffered, time.Now(), &events.Offered{})
	e.Tenant, e.Provider, e.OrderID = tenant, provider, uuid.NewString()
	body, err := e.Encode()
	require.NoError(s.t, err)
	_, err = s.pool.Exec(s.t.Context(), `INSERT INTO timeline (position, tenant, provider, order_id, event) VALUES ($1, $2, $3, $4::text::uuid, $5)`,
		position, tenant, provider, e.OrderID, body)
	require.NoError(s.t, err)
}

func (s *side) reach(view string, position int64) {
	s.t.Helper()
	_, err := s.pool.Exec(s.t.Context(), `UPDATE checkpoints SET position = $2 WHERE view = $1`, view, position)
	require.NoError(s.t, err)
	if view == "timeline" {
		s.tip.Advance(position)
	}
}

func positions(p *page) []int64 {
	all := []int64{}
	for i := range p.told {
		all = append(all, p.told[i].notice.Position)
	}
	return all
}

func TestFeedGivesEachPartyItsOwn(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	s.tell(1, "demo", "acme")
	s.tell(2, "demo", "other")
	s.tell(3, "shop", "acme")
	s.tell(4, "demo", "acme")
	s.reach("timeline", 4)
	s.reach("order_view", 4)
	for _, c := range []struct {
		who   auth.Identity
		after int64
		limit int
		want  []int64
		to    int64
	}{
		{auth.Identity{Kind: auth.KindUser, Tenant: "demo"}, 0, 500, []int64{1, 2, 4}, 4},
		{auth.Identity{Kind: auth.KindUser, Tenant: "nobody"}, 0, 500, []int64{}, 4},
		{auth.Identity{Kind: auth.KindProvider, Provider: "acme"}, 0, 500, []int64{1, 3, 4}, 4},
		{auth.Identity{Kind: auth.KindProvider, Provider: "acme"}, 0, 2, []int64{1, 3}, 3},
		{auth.Identity{Kind: auth.KindProvider, Provider: "acme"}, 3, 2, []int64{4}, 4},
		{auth.Identity{Kind: auth.KindAuxiliary}, 1, 500, []int64{2, 3, 4}, 4},
		{auth.Identity{Kind: auth.KindAuxiliary, Tenant: "shop"}, 0, 500, []int64{3}, 4},
		{auth.Identity{Kind: auth.KindUser, Tenant: "demo"}, 90, 500, []int64{}, 90},
	} {
		p := s.ask(c.who, c.after, c.limit, 0)
		require.Equal(t, c.want, positions(p))
		require.Equal(t, c.to, p.scannedTo)
	}
}

// TestFeedIsNeverAheadOfTheOrders: an event is told only once its order can be read, whichever view is behind.
func TestFeedIsNeverAheadOfTheOrders(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	s.tell(1, "demo", "acme")
	s.tell(2, "demo", "acme")
	s.reach("timeline", 2)
	s.reach("order_view", 1)
	p := s.ask(auth.Identity{Kind: auth.KindUser, Tenant: "demo"}, 0, 500, 0)
	require.Equal(t, []int64{1}, positions(p))
	require.Equal(t, int64(1), p.scannedTo)
}

func TestLongPollIsWokenByItsOwnNewsAlone(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	answer := make(chan *page, 1)
	go func() {
		acme := auth.Identity{Kind: auth.KindProvider, Provider: "acme"}
		p, err := s.api.poll(context.Background(), interest{who: acme, whose: partyOf(acme)}, 500, time.Minute)
		if err != nil {
			t.Errorf("await: %v", err)
		}
		answer <- p
	}()
	news := func(position int64, provider string) {
		s.tell(position, "demo", provider)
		s.reach("order_view", position)
		s.reach("timeline", position)
		s.tip.Advance(position)
	}
	news(1, "other")
	news(2, "other")
	news(3, "acme")
	select {
	case p := <-answer:
		require.Equal(t, []int64{3}, positions(p))
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was woken")
	}
}

func TestAnIdentityThatIsNobodysHearsNothing(t *testing.T) {
	t.Parallel()
	require.False(t, mayHear(auth.Identity{Kind: auth.KindUser}))
	require.False(t, mayHear(auth.Identity{Kind: auth.KindProvider}))
	require.False(t, mayHear(auth.Identity{}))
	require.True(t, mayHear(auth.Identity{Kind: auth.KindUser, Tenant: "demo"}))
}

// get asks for the feed as an HTTP client does.
func (s *side) get(query string) (*httptest.ResponseRecorder, error) {
	rec := httptest.NewRecorder()
	req := httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, "/v1/feed?"+query, http.NoBody)
	return rec, s.api.feed(echo.New().NewContext(req, rec), auth.Identity{Kind: auth.KindUser, Tenant: "demo"})
}

func TestFeedReflectsThePositionAskedFor(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	s.tell(1, "demo", "acme")
	s.reach("order_view", 1)
	s.reach("timeline", 1)
	_, err := s.get("after=0&position=2&wait=30ms")
	require.Equal(t, fault.NotReached, fault.CodeOf(err))
	_, err = s.get("after=0&position=x")
	require.Equal(t, fault.BadParameter, fault.CodeOf(err))

	done := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		rec, err := s.get("after=0&position=2&wait=30s")
		if err != nil {
			t.Errorf("feed: %v", err)
		}
		done <- rec
	}()
	s.tell(2, "demo", "acme")
	s.reach("timeline", 2)
	select {
	case rec := <-done:
		t.Fatalf("answered before the order can be read: %s", rec.Body)
	case <-time.After(50 * time.Millisecond):
	}
	s.reach("order_view", 2)
	rec := <-done
	require.Equal(t, "2", rec.Header().Get(httpapi.HeaderPosition))
	require.Contains(t, rec.Body.String(), `"scanned_to":2`)
}
