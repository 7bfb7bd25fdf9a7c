package importer_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/cmd/orderctl/importer"
)

func TestProgressIsToldInBytesAndEndsAtTheEnd(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	c := setup(t, many(5000), h.client(t))
	var out bytes.Buffer
	now := time.Now()
	var mu sync.Mutex
	tick := func() time.Time { mu.Lock(); defer mu.Unlock(); now = now.Add(time.Second); return now }
	c.Progress = importer.NewLines(&out, tick)
	_, err := importer.Run(t.Context(), c)
	require.NoError(t, err)
	require.Regexp(t, `reading: \d+ %`, out.String())
	require.Regexp(t, `importing: \d+ %, \d+ orders, \d+ orders/s, \d+.* left`, out.String())

	out.Reset()
	c.Progress = importer.NewBar(&out, tick)
	_, err = importer.Run(t.Context(), c)
	require.NoError(t, err)
	require.Contains(t, out.String(), "orders")
}

func TestSummaryReadsWell(t *testing.T) {
	t.Parallel()
	s := importer.Summary{
		File: "a.csv", Encoding: "utf-8", Rows: 12345, Orders: 1234, New: 1000, Replayed: 200, Rejected: 34, Lines: 5000,
		LineTotals: map[string]*big.Int{"USD": big.NewInt(229720065), "JPY": big.NewInt(5)}, Seconds: 2.5, OrdersPerSecond: 493.6, RejectFile: "r.ndjson",
	}
	var out bytes.Buffer
	s.Print(&out)
	require.Equal(t, `a.csv: 12,345 rows, 1,234 orders, utf-8
  new              1,000
  replayed           200
  rejected            34
  lines            5,000
  JPY                  5 minor units, the sum of the lines
  USD        229,720,065 minor units, the sum of the lines
  took               2.5 s, 494 orders/s
  what was rejected, and why, is in r.ndjson
`, out.String())
	b, err := json.Marshal(&s)
	require.NoError(t, err)
	require.Contains(t, string(b), `"line_totals":{"JPY":5,"USD":229720065}`)
}
