package broadcast

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReaderAtWorkTakesNoSeekBack: a reader that does not know yet that its subscription was moved goes on acknowledging.
func TestReaderAtWorkTakesNoSeekBack(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	h.log(1, 100, time.Now())
	s := h.subscribe("demo", `{"transport":"feed","start":"beginning"}`)
	path := "/v1/subscriptions/" + s.ID.String()
	var got subscriptionAnswer
	ack := func(position, version int64) int {
		return h.call("demo", http.MethodPost, path+"/ack", `{"position":`+strconv.FormatInt(position, 10)+`}`, &got,
			"If-Match", `"`+strconv.FormatInt(version, 10)+`"`)
	}
	require.Equal(t, http.StatusOK, ack(50, s.Version))
	require.Equal(t, []int64{50, s.Version}, []int64{got.Position, got.Version}, "an acknowledgement is no change")
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path+"/seek", `{"after":10}`, nil))
	require.Equal(t, http.StatusPreconditionFailed, ack(51, s.Version))
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodGet, path, "", &got))
	require.Equal(t, int64(10), got.Position)
	require.Equal(t, http.StatusOK, ack(11, got.Version))
	require.Equal(t, int64(11), got.Position)
}
