package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// limitedParty is a new tenant's client with what it may ask for.
func (d *doors) limitedParty(tenant string, l client.Limits) (token string, of client.Credentials) {
	d.t.Helper()
	_, err := d.operator().PutTenant(d.t.Context(), client.Tenant{ID: tenant, Limits: &l})
	require.NoError(d.t, err)
	made, err := d.operator().CreateClient(d.t.Context(), client.ClientSpec{Kind: "user", Tenant: tenant})
	require.NoError(d.t, err)
	token, err = d.client(party{ClientID: made.ClientID, ClientSecret: made.ClientSecret}).Token(d.t.Context())
	require.NoError(d.t, err)
	return token, made
}

// ratesAreKept: cases 61 and 66. The rate of a tenant and that of a client count within a second of being set, whatever address a
// request says it is from, and a batch is taken at the rate of single orders.
func ratesAreKept(d *doors) {
	token, made := d.limitedParty("rated", client.Limits{ReadsPerSecond: 1, Burst: 3, OrdersPerSecond: 20})
	const path = "/v1/orders/" + nobodysID
	from := 0
	refused := func() (bool, http.Header) {
		from++
		answer, header := d.send(http.MethodGet, token, path, "", "X-Forwarded-For", fmt.Sprint("192.0.2.", from%250), "Forwarded", "for=192.0.2.9")
		assert.Contains(d.t, []int{http.StatusNotFound, http.StatusTooManyRequests}, answer.status)
		if answer.status == http.StatusTooManyRequests {
			assert.Contains(d.t, answer.body, "/problems/too_many_requests")
		}
		return answer.status == http.StatusTooManyRequests, header
	}
	var header http.Header
	require.Eventually(d.t, func() bool {
		var no bool
		no, header = refused()
		return no
	}, 30*time.Second, time.Millisecond)
	require.Equal(d.t, "3", header.Get("RateLimit-Limit"))
	require.Equal(d.t, "0", header.Get("RateLimit-Remaining"))
	for _, name := range []string{"RateLimit-Reset", "Retry-After"} {
		seconds, err := strconv.Atoi(header.Get(name))
		require.NoError(d.t, err, name)
		require.Positive(d.t, seconds, name)
		require.LessOrEqual(d.t, seconds, 3, name)
	}
	_, err := d.operator().PutTenant(d.t.Context(), client.Tenant{ID: "rated", Limits: &client.Limits{OrdersPerSecond: 20, Burst: 2}})
	require.NoError(d.t, err)
	_, err = d.operator().PutClientLimits(d.t.Context(), made.ClientID, client.Limits{ReadsPerSecond: 7})
	require.NoError(d.t, err)
	require.Eventually(d.t, func() bool {
		_, header = refused()
		return header.Get("RateLimit-Limit") == "7"
	}, 30*time.Second, time.Millisecond, "the client's own limit takes the place of its tenant's, which has gone")

	var lines strings.Builder
	for i := range 12 {
		lines.WriteString(strings.Replace(orderWith("", ""), "input-1", fmt.Sprint("rated-", i), 1) + "\n")
	}
	began := time.Now()
	answer, _ := d.send(http.MethodPost, token, "/v1/orders/batch", lines.String(), "Content-Type", "application/x-ndjson")
	require.Equal(d.t, 12, strings.Count(answer.body, `"status":201`), "none is refused: %s", answer.body)
	require.GreaterOrEqual(d.t, time.Since(began), 400*time.Millisecond, "ten more than may come at once, at 20 a second")
}

// quotaIsKept: orders of one day, single ones and lines of a batch.
func quotaIsKept(d *doors) {
	token, _ := d.limitedParty("quota", client.Limits{OrdersPerDay: 2})
	body := func(n int) string { return strings.Replace(orderWith("", ""), "input-1", fmt.Sprint("quota-", n), 1) }
	answer, _ := d.send(http.MethodPost, token, "/v1/orders", body(1))
	require.Equal(d.t, http.StatusCreated, answer.status, answer.body)
	answer, _ = d.send(http.MethodPost, token, "/v1/orders/batch", body(2)+"\n"+body(3)+"\n", "Content-Type", "application/x-ndjson")
	require.Equal(d.t, 1, strings.Count(answer.body, `"status":201,`), "whichever of the two came first: %s", answer.body)
	require.Equal(d.t, 1, strings.Count(answer.body, `"status":503,"external_ref"`), answer.body)
	answer, header := d.send(http.MethodPost, token, "/v1/orders", body(4))
	require.Equal(d.t, http.StatusTooManyRequests, answer.status, answer.body)
	require.Contains(d.t, answer.body, `"orders_per_day":2`)
	require.NotEmpty(d.t, header.Get("Retry-After"))
	answer, _ = d.send(http.MethodPost, token, "/v1/orders", body(1))
	require.Equal(d.t, http.StatusOK, answer.status, "one that was placed before is not refused")
}

// lengthAndEncoding: case 59.
func lengthAndEncoding(d *doors) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(d.t.Context(), "tcp", strings.TrimPrefix(d.at.HTTP, "http://"))
	require.NoError(d.t, err)
	d.t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "POST /v1/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	require.NoError(d.t, err)
	require.NoError(d.t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(d.t, err)
	require.NoError(d.t, answer.Body.Close())
	require.Equal(d.t, http.StatusBadRequest, answer.StatusCode)
}
