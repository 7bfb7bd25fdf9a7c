package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// request gives a context for a GET of target with headers as "Name: value".
func request(t *testing.T, target string, headers ...string) (echo.Context, *httptest.ResponseRecorder) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	rec := httptest.NewRecorder()
	return echo.New().NewContext(req, rec), rec
}

func TestPositionParam(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		target, header string
		want           int64
		bad            bool
	}{
		{"/", "", 0, false},
		{"/?position=7", "", 7, false},
		{"/", "8", 8, false},
		{"/?position=7", "8", 8, false},
		{"/?position=9", "8", 9, false},
		{"/?position=9223372036854775807", "", 9223372036854775807, false},
		{"/?position=9223372036854775808", "", 0, true},
		{"/?position=-1", "", 0, true},
		{"/?position=%2B1", "", 0, true},
		{"/?position=1e3", "", 0, true},
		{"/?position=1", "x", 0, true},
		{"/?position=%00", "", 0, true},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{"Order-Position: " + c.header}
		}
		ctx, _ := request(t, c.target, headers...)
		got, err := httpapi.PositionParam(ctx)
		if c.bad {
			require.Equal(t, fault.BadParameter, fault.CodeOf(err), "%+v", c)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%+v", c)
	}
	ctx, rec := request(t, "/")
	httpapi.SetPosition(ctx, 42)
	require.Equal(t, "42", rec.Header().Get("Order-Position"))
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]int64{
		`"7"`: 7, `"7-aux12"`: 7, `"7-a-b"`: 7, `W/"7"`: 7, `*`: httpapi.AnyVersion, `"9223372036854775807"`: 9223372036854775807,
	} {
		ctx, _ := request(t, "/", "If-Match: "+header)
		version, present, err := httpapi.IfMatch(ctx)
		require.NoError(t, err, header)
		require.True(t, present)
		require.Equal(t, want, version, header)
	}
	for header, code := range map[string]fault.Code{
		`7`: fault.BadParameter, `"7`: fault.BadParameter, `""`: fault.BadParameter, `"7", "8"`: fault.BadParameter, `w/"7"`: fault.BadParameter,
		`"abc"`: fault.VersionMismatch, `"-7"`: fault.VersionMismatch, `"+7"`: fault.VersionMismatch, `"0"`: fault.VersionMismatch,
		`"9223372036854775808"`: fault.VersionMismatch, `"7.5"`: fault.VersionMismatch,
	} {
		ctx, _ := request(t, "/", "If-Match: "+header)
		_, present, err := httpapi.IfMatch(ctx)
		require.True(t, present)
		require.Equal(t, code, fault.CodeOf(err), header)
	}
	ctx, _ := request(t, "/", `If-Match: "7"`, `If-Match: "8"`)
	_, _, err := httpapi.IfMatch(ctx)
	require.Equal(t, fault.BadParameter, fault.CodeOf(err))
	ctx, _ = request(t, "/")
	_, present, err := httpapi.IfMatch(ctx)
	require.NoError(t, err)
	require.False(t, present)
}

func TestNotModified(t *testing.T) {
	t.Parallel()
	require.Equal(t, `"7"`, httpapi.ETag(7, ""))
	require.Equal(t, `"7-aux3"`, httpapi.ETag(7, "aux3"))
	for header, want := range map[string]bool{
		`"7-x"`: true, `W/"7-x"`: true, `"6", W/"7-x" ,"8"`: true, `*`: true, `"7"`: false, `"6","8"`: false, ``: false, `7-x`: false,
	} {
		ctx, rec := request(t, "/", "If-None-Match: "+header)
		require.Equal(t, want, httpapi.NotModified(ctx, `"7-x"`), header)
		require.Equal(t, `"7-x"`, rec.Header().Get("ETag"))
		require.Equal(t, want, rec.Code == http.StatusNotModified, header)
	}
	ctx, _ := request(t, "/", `If-None-Match: "1"`, `If-None-Match: "2"`)
	require.True(t, httpapi.NotModified(ctx, `"2"`))
	ctx, _ = request(t, "/")
	require.False(t, httpapi.NotModified(ctx, `"2"`))
}

func TestLimitParam(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]int{"/": 50, "/?limit=": 50, "/?limit=1": 1, "/?limit=200": 200} {
		ctx, _ := request(t, target)
		got, err := httpapi.LimitParam(ctx, 50, 200)
		require.NoError(t, err)
		require.Equal(t, want, got, target)
	}
	for _, target := range []string{"/?limit=0", "/?limit=201", "/?limit=-1", "/?limit=x", "/?limit=1.5", "/?limit=99999999999999999999"} {
		ctx, _ := request(t, target)
		_, err := httpapi.LimitParam(ctx, 50, 200)
		require.Equal(t, fault.BadParameter, fault.CodeOf(err), target)
	}
}

func TestWaitParam(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]time.Duration{
		"/": 2 * time.Second, "/?wait=20s": 20 * time.Second, "/?wait=0": 0, "/?wait=20": 20 * time.Second, "/?wait=31": 30 * time.Second,
		"/?wait=1500ms": 1500 * time.Millisecond, "/?wait=1h": 30 * time.Second, "/?wait=9223372036854775807": 30 * time.Second,
	} {
		ctx, _ := request(t, target)
		got, err := httpapi.WaitParam(ctx, 2*time.Second, 30*time.Second)
		require.NoError(t, err)
		require.Equal(t, want, got, target)
	}
	for _, target := range []string{"/?wait=-1s", "/?wait=soon", "/?wait=-5", "/?wait=20%20s"} {
		ctx, _ := request(t, target)
		_, err := httpapi.WaitParam(ctx, 0, time.Second)
		require.Equal(t, fault.BadParameter, fault.CodeOf(err), target)
	}
}

// Case 44: ids that would be wildcards, separators or line breaks in a subject or header.
func TestIDs(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "demo", "Demo_1-x", "--", strings.Repeat("a", 64)} {
		require.True(t, httpapi.ValidID(good), good)
	}
	for _, bad := range []string{"", "-", "*", ">", "a.b", "a b", "a\r\nb", "\x00", "é", strings.Repeat("a", 65), strings.Repeat("a", 300)} {
		require.False(t, httpapi.ValidID(bad), "%q", bad)
		require.False(t, httpapi.ValidName("A"+bad), "%q", bad)
	}
	for _, good := range []string{"a", "retail.erp", "pos-1_x", "0", "-", strings.Repeat("a", 64)} {
		require.True(t, httpapi.ValidName(good), good)
	}
	for _, bad := range []string{"", "A", "*", ">", "a b", "a/b", strings.Repeat("a", 65)} {
		require.False(t, httpapi.ValidName(bad), "%q", bad)
	}
}

func TestPathParameters(t *testing.T) {
	t.Parallel()
	withParam := func(value string) echo.Context {
		ctx, _ := request(t, "/")
		ctx.SetParamNames("id")
		ctx.SetParamValues(value)
		return ctx
	}
	id, err := httpapi.UUIDParam(withParam("0197f5a0-7d2c-7c3e-8b11-0123456789ab"), "id")
	require.NoError(t, err)
	require.Equal(t, "0197f5a0-7d2c-7c3e-8b11-0123456789ab", id.String())
	for _, bad := range []string{
		"", "*", ">", "a.b", "\r\n", "\x00", strings.Repeat("1", 300), "{0197f5a0-7d2c-7c3e-8b11-0123456789ab}",
		"urn:uuid:0197f5a0-7d2c-7c3e-8b11-0123456789ab", "0197f5a07d2c7c3e8b110123456789ab", "0197f5a0-7d2c-7c3e-8b11-0123456789aX",
	} {
		_, err := httpapi.UUIDParam(withParam(bad), "id")
		var e *fault.Error
		require.ErrorAs(t, err, &e, "%q", bad)
		require.Equal(t, fault.Invalid, e.Code)
		require.Equal(t, "/id", e.Fields[0].Pointer)
		_, err = httpapi.IDParam(withParam(bad+"*"), "id")
		require.Equal(t, fault.Invalid, fault.CodeOf(err), "%q", bad)
		_, err = httpapi.NameParam(withParam(bad+"A"), "id")
		require.Equal(t, fault.Invalid, fault.CodeOf(err), "%q", bad)
	}
	got, err := httpapi.IDParam(withParam("Demo"), "id")
	require.NoError(t, err)
	require.Equal(t, "Demo", got)
	got, err = httpapi.NameParam(withParam("retail.erp"), "id")
	require.NoError(t, err)
	require.Equal(t, "retail.erp", got)
}
