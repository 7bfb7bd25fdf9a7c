package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

func asked(t *testing.T, query string, header http.Header) (echo.Context, *httptest.ResponseRecorder) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	r.URL.RawQuery, r.Header = query, header
	rec := httptest.NewRecorder()
	return echo.New().NewContext(r, rec), rec
}

// FuzzPosition: a position is a whole number, the larger of the two places where it may stand, or the request is refused.
func FuzzPosition(f *testing.F) {
	f.Add("7", "position=9&wait=20s&limit=5")
	f.Add("9223372036854775807", "position=9223372036854775808")
	f.Add("+1", "wait=-1s&limit=0")
	f.Add("", "wait=999999h&limit=00200&%zz")
	f.Fuzz(func(t *testing.T, header, query string) {
		c, _ := asked(t, query, http.Header{httpapi.HeaderPosition: {header}})
		p, err := httpapi.PositionParam(c)
		if err != nil {
			require.Equal(t, fault.BadParameter, fault.CodeOf(err))
		} else {
			require.GreaterOrEqual(t, p, int64(0))
			for _, given := range []string{header, c.QueryParam("position")} {
				n, err := strconv.ParseInt(given, 10, 64)
				require.True(t, given == "" || err == nil && n <= p, "%q", given)
			}
		}
		wait, err := httpapi.WaitParam(c, time.Second, 30*time.Second)
		require.True(t, fault.CodeOf(err) == fault.BadParameter || err == nil && wait >= 0 && wait <= 30*time.Second, "%v %v", wait, err)
		limit, err := httpapi.LimitParam(c, 50, 200)
		require.True(t, fault.CodeOf(err) == fault.BadParameter || err == nil && limit >= 1 && limit <= 200, "%v %v", limit, err)
	})
}

// FuzzIfMatch: the tag of a version names that version, weak or strong, and nothing names any version but the star.
func FuzzIfMatch(f *testing.F) {
	f.Add(`"7"`, int64(7), "gzip")
	f.Add(`W/"7-x"`, int64(1), "")
	f.Add(`*`, int64(1), "a-b")
	f.Add(`"7","8"`, int64(9223372036854775807), "")
	f.Fuzz(func(t *testing.T, header string, version int64, suffix string) {
		c, _ := asked(t, "", http.Header{"If-Match": {header}})
		got, present, err := httpapi.IfMatch(c)
		require.True(t, present)
		switch {
		case err != nil:
			require.Contains(t, []fault.Code{fault.BadParameter, fault.VersionMismatch}, fault.CodeOf(err))
		case got == httpapi.AnyVersion:
			require.Equal(t, "*", strings.TrimSpace(header))
		default:
			require.Positive(t, got)
			require.Contains(t, header, strconv.FormatInt(got, 10))
		}
		if version < 1 || strings.ContainsAny(suffix, "\"\r\n") {
			return
		}
		for _, weak := range []string{"", "W/"} {
			c, _ = asked(t, "", http.Header{"If-Match": {weak + httpapi.ETag(version, suffix)}})
			got, _, err = httpapi.IfMatch(c)
			require.NoError(t, err)
			require.Equal(t, version, got)
		}
	})
}

// FuzzIfNoneMatch: 304 is for those alone who name the tag, or the star.
func FuzzIfNoneMatch(f *testing.F) {
	f.Add(`"7"`, int64(7))
	f.Add(`W/"7-gzip", "8"`, int64(7))
	f.Add(` * `, int64(1))
	f.Add(`"7-gzip-zstd"`, int64(7))
	f.Fuzz(func(t *testing.T, header string, version int64) {
		etag := httpapi.ETag(version, "")
		c, rec := asked(t, "", http.Header{"If-None-Match": {header}})
		same := httpapi.NotModified(c, etag)
		require.Equal(t, same, rec.Code == http.StatusNotModified && c.Response().Committed)
		inner := strings.Trim(etag, `"`)
		if same {
			require.True(t, strings.Contains(header, `"`+inner) || strings.Contains(header, "*"), header)
		}
		c, _ = asked(t, "", http.Header{"If-None-Match": {`"other", W/` + etag}})
		require.True(t, httpapi.NotModified(c, etag))
	})
}
