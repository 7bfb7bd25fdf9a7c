package httpapi

import (
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
)

const (
	// smallestCompressed is from how many bytes on a body is compressed: less fits into one packet anyway.
	smallestCompressed = 1024
	// gzipLevel costs a third of the usual level's time for a tenth more bytes of JSON.
	gzipLevel = 3
)

// compressor compresses what a handler answers, as the client accepts it: with zstd where it takes both equally, or with gzip. An entity
// tag gets a suffix that names the coding.
type compressor func(http.Handler) http.HandlerFunc

func newCompressor() compressor {
	wrap, err := gzhttp.NewWrapper(
		gzhttp.MinSize(smallestCompressed), gzhttp.CompressionLevel(gzipLevel), gzhttp.SuffixETag(tagSuffix),
		gzhttp.ContentTypeFilter(func(contentType string) bool {
			return !strings.HasPrefix(contentType, "text/event-stream") && gzhttp.DefaultContentTypeFilter(contentType)
		}),
	)
	if err != nil {
		panic("httpapi: compression: " + err.Error()) // of constants
	}
	return wrap
}

// compressed says whether a route's answers may be compressed: reads alone, so that nothing which makes or shows a secret is, and no
// streams, which have to leave at once.
func (r Route) compressed() bool {
	return r.Method == http.MethodGet && r.class() != ClassStream
}

// around answers compressed where the client accepts it. Problems are small: they are written by who is outside.
func (compress compressor) around(answer func(echo.Context) error) func(echo.Context) error {
	return func(c echo.Context) error {
		if len(c.Request().Header["Accept-Encoding"]) > 0 {
			return compress.answer(c, answer)
		}
		c.Response().Header()["Vary"] = varyEncoding
		return answer(c)
	}
}

func (compress compressor) answer(c echo.Context, answer func(echo.Context) error) (err error) {
	outer := c.Response()
	defer c.SetResponse(outer)
	compress(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.SetResponse(echo.NewResponse(w, c.Echo()))
		err = answer(c)
	})).ServeHTTP(outer, c.Request())
	return err
}
