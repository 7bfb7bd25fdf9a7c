package client_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// levelsOf plays a watch of levels: two of each position, the second with the id, that breaks off after every third event.
func levelsOf(last int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ":\n\n")
		for n := 0; n < 3 && after+int64(n/2) < last; n++ {
			position := after + int64(n/2) + 1
			if n%2 == 1 {
				_, _ = fmt.Fprintf(w, "id: %d\n", position)
			}
			_, _ = fmt.Fprintf(w, "event: stock\ndata: {\"sku\":\"%s\",\"position\":%d}\n\n", []string{"a", "b"}[n%2], position)
		}
		_ = http.NewResponseController(w).Flush()
		cut(w)
	}
}

func TestLevelsComeOnceWhateverBreaks(t *testing.T) {
	t.Parallel()
	const last = 9
	c, _ := setup(t, levelsOf(last))
	var got, want []string
	for p := int64(3); p <= last; p++ {
		want = append(want, fmt.Sprint("a", p), fmt.Sprint("b", p))
	}
	for item, err := range c.WatchStock(t.Context(), client.StockWatch{After: 2}) {
		require.NoError(t, err)
		if got = append(got, item.SKU+strconv.FormatInt(item.Position, 10)); len(got) == len(want) {
			break
		}
	}
	require.Equal(t, want, got)
}
