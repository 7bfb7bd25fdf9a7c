package httpapi

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

const chunkedPost = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailing: z\r\n\r\n"

// ambiguousRequests are what one reader may see end elsewhere than another.
func ambiguousRequests() map[string]string {
	return map[string]string{
		"both":                  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"both, the other way":   "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
		"two lengths":           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
		"length with a sign":    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde",
		"another encoding":      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"encoding before 1.1":   "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"folded":                "POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n Content-Length: 5\r\n\r\n",
		"space before a colon":  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nabcde",
		"lines without CR":      "POST / HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 5\r\n\r\nabcde",
		"CR within a line":      "POST / HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 5\r\n\r\nabcde",
		"chunk with a bad size": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
		"chunk without its end": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
	}
}

func TestAmbiguousRequestsAreFound(t *testing.T) {
	t.Parallel()
	before := "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n\r\n\r\n" + chunkedPost
	for name, bad := range ambiguousRequests() {
		whole := &framing{}
		n := whole.follow([]byte(before + bad))
		require.Greater(t, n, len(before), name)
		require.Less(t, n, len(before+bad), name)
		bytewise := &framing{}
		passed := 0
		for _, b := range []byte(before + bad) {
			if bytewise.follow([]byte{b}) == 0 {
				break
			}
			passed++
		}
		require.Equal(t, n, passed, "%s: however it comes in", name)
	}
}

// FuzzFraming: what is let through are the requests that net/http reads, with the same ends.
func FuzzFraming(f *testing.F) {
	f.Add([]byte(chunkedPost + "GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n"))
	for _, bad := range ambiguousRequests() {
		f.Add([]byte(bad))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		follow := &framing{}
		in := sent[:follow.follow(sent)]
		source := bytes.NewReader(in)
		buffered := bufio.NewReader(source)
		at := func() int { return len(in) - source.Len() - buffered.Buffered() }
		for {
			begin := at()
			req, err := http.ReadRequest(buffered)
			if err != nil {
				return // it answers 400 and closes, or waits for more
			}
			ours := &framing{}
			head := at()
			require.Equal(t, head-begin, ours.follow(in[begin:head]))
			require.NotEqual(t, partHeader, ours.at, "the head ends at the same byte")
			if _, err = io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			require.Equal(t, at()-head, ours.follow(in[head:at()]))
			require.Equal(t, partStart, ours.at, "the body ends at the same byte")
		}
	})
}
