package broadcast

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type problem struct {
	Type   string `json:"type"`
	Detail string `json:"detail"`
	Errors []struct {
		Pointer string `json:"pointer"`
	} `json:"errors"`
}

func TestSubscriptionBelongsToItsParty(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	s := h.subscribe("demo", `{"name":"erp feed","transport":"feed","types":["order.*","task.result_posted"],"business_types":["hotel"],"include":"order"}`)
	require.Equal(t, "erp feed", s.Name)
	require.Equal(t, SubscriptionActive, s.Status)
	require.Equal(t, []string{"order.*", "task.result_posted"}, s.Types)
	require.Equal(t, "order", s.Include)
	path := "/v1/subscriptions/" + s.ID.String()

	var again subscriptionAnswer
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodGet, path, "", &again))
	require.Equal(t, s, again)
	for _, other := range []string{"shop", "acme", "erp"} {
		for _, c := range []struct{ method, path, body string }{
			{http.MethodGet, path, ""},
			{http.MethodPatch, path, `{"name":"mine"}`},
			{http.MethodDelete, path, ""},
			{http.MethodPost, path + "/pause", ""},
			{http.MethodPost, path + "/resume", ""},
			{http.MethodPost, path + "/seek", `{"after":0}`},
			{http.MethodPost, path + "/ack", `{"position":0}`},
			{http.MethodGet, "/v1/feed?subscription=" + s.ID.String(), ""},
		} {
			var theirs, nobodys problem
			require.Equal(t, http.StatusNotFound, h.call(other, c.method, c.path, c.body, &theirs), "%s %s", other, c.path)
			require.Equal(t, http.StatusNotFound, h.call(other, http.MethodGet, "/v1/subscriptions/0198f000-0000-7000-8000-000000000000", "", &nobodys))
			require.Equal(t, nobodys.Detail, theirs.Detail, "what is somebody else's looks like nothing")
		}
	}
	var p problem
	require.Equal(t, http.StatusConflict, h.call("demo", http.MethodPost, "/v1/subscriptions", `{"name":"erp feed","transport":"sse"}`, &p))
	h.subscribe("shop", `{"name":"erp feed","transport":"sse"}`)
	require.Equal(t, http.StatusNoContent, h.call("demo", http.MethodDelete, path, "", nil))
	require.Equal(t, http.StatusNotFound, h.call("demo", http.MethodGet, path, "", &p))
}

func TestSubscriptionsAreListedPageByPage(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	want := map[string]bool{}
	for i := range 7 {
		want[h.subscribe("demo", `{"name":"n`+strconv.Itoa(i)+`","transport":"feed"}`).ID.String()] = true
	}
	h.subscribe("shop", `{"transport":"feed"}`)
	var next string
	for pages := 1; ; pages++ {
		var page struct {
			Items []subscriptionAnswer
			Next  string
		}
		path := "/v1/subscriptions?limit=3"
		if next != "" {
			path += "&cursor=" + next
			require.Equal(t, http.StatusBadRequest, h.call("shop", http.MethodGet, path, "", nil), "somebody else's cursor")
		}
		h.call("demo", http.MethodGet, path, "", &page)
		for _, s := range page.Items {
			require.True(t, want[s.ID.String()])
			delete(want, s.ID.String())
		}
		if next = page.Next; next == "" {
			require.Equal(t, 3, pages)
			break
		}
	}
	require.Empty(t, want)
}

func TestWrongSubscriptionIsNamed(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	for body, pointer := range map[string]string{
		`{}`:                     "/transport",
		`{"transport":"pigeon"}`: "/transport",
		`{"transport":"feed","types":["order.plaecd"]}`:                 "/types/0",
		`{"transport":"feed","types":["*"]}`:                            "/types/0",
		`{"transport":"feed","types":["order.*","order.*"]}`:            "/types/1",
		`{"transport":"feed","business_types":["Hotel"]}`:               "/business_types/0",
		`{"transport":"feed","include":"all"}`:                          "/include",
		`{"transport":"feed","start":"then"}`:                           "/start",
		`{"transport":"feed","after":-1}`:                               "/after",
		`{"transport":"feed","since":"yesterday"}`:                      "/since",
		`{"transport":"feed","after":1,"start":"now"}`:                  "",
		`{"transport":"feed","name":""}`:                                "/name",
		`{"transport":"feed","position":7}`:                             "/position",
		`{"transport":"feed","status":"active"}`:                        "/status",
		`{"transport":"feed","since":"2026-01-01T00:00:00Z","after":1}`: "",
	} {
		var p problem
		require.Equal(t, http.StatusUnprocessableEntity, h.call("demo", http.MethodPost, "/v1/subscriptions", body, &p), body)
		require.Equal(t, pointer, p.Errors[0].Pointer, body)
	}
	require.Equal(t, http.StatusBadRequest, h.call("demo", http.MethodPost, "/v1/subscriptions", `{"transport":"feed","colour":1}`, nil))
}

func TestSubscriptionBeginsWhereItIsAskedTo(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	h.log(1, 500, noon) // one a second
	for begin, want := range map[string]int64{
		`"start":"now"`:                  500,
		`"start":"beginning"`:            0,
		`"after":42`:                     42,
		`"since":"2026-03-04T11:00:00Z"`: 0,
		`"since":"2026-03-04T12:00:00Z"`: 0,
		`"since":"2026-03-04T12:00:01Z"`: 1,
		`"since":"2026-03-04T12:05:00Z"`: 300,
		`"since":"2026-03-04T12:08:19Z"`: 499,
		`"since":"2026-03-04T12:08:20Z"`: 500,
		`"since":"2027-01-01T00:00:00Z"`: 500,
		`"types":[]`:                     500,
	} {
		s := h.subscribe("demo", `{"transport":"feed",`+begin+`}`)
		require.Equal(t, want, s.Position, begin)
	}
}

// TestTimesOfTheLogGoBackALittle: the clocks of write nodes differ, positions are in the order of commits.
func TestTimesOfTheLogGoBackALittle(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	h.log(1, 100, noon)
	h.log(101, 200, noon.Add(70*time.Second)) // thirty seconds late
	position, err := positionBefore(t.Context(), h.write, noon.Add(90*time.Second))
	require.NoError(t, err)
	require.Equal(t, int64(90), position, "the first that was recorded since")
}

func TestPositionIsMovedByItsParty(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	h.log(1, 100, time.Now())
	s := h.subscribe("acme", `{"transport":"sse","start":"beginning"}`)
	path := "/v1/subscriptions/" + s.ID.String()
	var got subscriptionAnswer
	ack := func(body string) int {
		return h.call("acme", http.MethodPost, path+"/ack", body, &got)
	}
	require.Equal(t, http.StatusOK, ack(`{"position":40}`))
	require.Equal(t, int64(40), got.Position)
	require.Equal(t, http.StatusOK, ack(`{"position":30}`))
	require.Equal(t, int64(40), got.Position, "an older acknowledgement takes nothing back")
	require.Equal(t, http.StatusUnprocessableEntity, ack(`{"position":101}`))
	require.Equal(t, http.StatusUnprocessableEntity, ack(`{}`))
	require.Equal(t, http.StatusOK, h.call("acme", http.MethodPost, path+"/seek", `{"after":10}`, &got))
	require.Equal(t, int64(10), got.Position)
	require.Greater(t, got.Version, s.Version, "whoever delivers sees that it was moved")
	require.Equal(t, http.StatusUnprocessableEntity, h.call("acme", http.MethodPost, path+"/seek", `{}`, nil))
	require.Equal(t, http.StatusOK, h.call("acme", http.MethodPost, path+"/pause", "", &got))
	require.Equal(t, SubscriptionPaused, got.Status)
	require.Equal(t, http.StatusConflict, h.call("acme", http.MethodGet, "/v1/feed?subscription="+s.ID.String(), "", nil))
	require.Equal(t, http.StatusOK, h.call("acme", http.MethodPost, path+"/resume", "", &got))
	require.Equal(t, SubscriptionActive, got.Status)
}

func TestChangeOfAStaleSubscriptionIsRefused(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	s := h.subscribe("demo", `{"transport":"feed"}`)
	path := "/v1/subscriptions/" + s.ID.String()
	var got subscriptionAnswer
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPatch, path, `{"name":"new","types":["task.*"]}`, &got))
	require.Equal(t, "new", got.Name)
	require.Equal(t, []string{"task.*"}, got.Types)
	require.Equal(t, s.Version+1, got.Version)
	require.Equal(t, http.StatusUnprocessableEntity, h.call("demo", http.MethodPatch, path, `{"transport":"sse"}`, nil))
	stored, err := NewSubscriptionStore(h.write).Get(t.Context(), OwnerOf(parties()["demo"]), s.ID)
	require.NoError(t, err)
	stored.Version--
	require.ErrorContains(t, NewSubscriptionStore(h.write).Update(t.Context(), stored, time.Now()), "version_mismatch")
}

// TestFeedOfASubscription: its own filter, from its own position.
func TestFeedOfASubscription(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	h.grow(1, 10, "demo") // order.rejected
	h.tell(11, "demo", "acme")
	h.reach("timeline", 11)
	h.reach("order_view", 11)
	h.log(1, 11, time.Now())
	s := h.subscribe("demo", `{"transport":"feed","types":["order.*"],"after":3}`)
	var p struct {
		Events    []struct{ Position int64 }
		ScannedTo int64 `json:"scanned_to"`
	}
	feed := "/v1/feed?subscription=" + s.ID.String()
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodGet, feed, "", &p))
	require.Len(t, p.Events, 7)
	require.Equal(t, int64(4), p.Events[0].Position)
	require.Equal(t, int64(11), p.ScannedTo)
	h.call("demo", http.MethodPost, "/v1/subscriptions/"+s.ID.String()+"/ack", `{"position":9}`, nil)
	h.call("demo", http.MethodGet, feed, "", &p)
	require.Equal(t, int64(10), p.Events[0].Position)
	h.call("demo", http.MethodGet, feed+"&after=0", "", &p)
	require.Equal(t, int64(1), p.Events[0].Position, "a position that is named wins")

	h.call("demo", http.MethodGet, "/v1/feed?types=task.offered", "", &p)
	require.Len(t, p.Events, 1)
	h.call("demo", http.MethodGet, "/v1/feed?start=now", "", &p)
	require.Empty(t, p.Events)
	require.Equal(t, int64(11), p.ScannedTo)
	for _, bad := range []string{
		"types=order.plaecd", "business_types=X", "start=then", "since=yesterday", "since=2026-01-01T00:00:00Z&start=now", "subscription=7",
		"subscription=" + s.ID.String() + "&types=order.placed", "colour=red", "after=-1", "include=all",
	} {
		require.Equal(t, http.StatusBadRequest, h.call("demo", http.MethodGet, "/v1/feed?"+bad, "", nil), bad)
	}
}

// TestSubscriptionOnNATSSaysHowItIsRead: who has nothing but an access token learns its inbox here.
func TestSubscriptionOnNATSSaysHowItIsRead(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	s := h.subscribe("acme", `{"transport":"nats"}`)
	want := &natsAddress{Stream: "ORDERS", Consumer: "sub-" + s.ID.String(), Inbox: "_INBOX_c_acme"}
	require.Equal(t, want, s.NATS)
	var again subscriptionAnswer
	require.Equal(t, http.StatusOK, h.call("acme", http.MethodGet, "/v1/subscriptions/"+s.ID.String(), "", &again))
	require.Equal(t, want, again.NATS)
	var page struct{ Items []subscriptionAnswer }
	require.Equal(t, http.StatusOK, h.call("acme", http.MethodGet, "/v1/subscriptions", "", &page))
	require.Equal(t, want, page.Items[0].NATS)
}
