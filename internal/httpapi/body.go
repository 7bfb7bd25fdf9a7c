package httpapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
)

// bodyTimeout is how long a whole body may take to arrive.
const bodyTimeout = 30 * time.Second

// MergePatchType is the media type of RFC 7396.
const MergePatchType = "application/merge-patch+json"

// ReadJSON reads the whole body of a JSON request of at most maxBytes: 415 for another media type or any
// Content-Encoding, 413 when it is larger, 400 when it is empty or cut off.
func ReadJSON(c echo.Context, maxBytes int64) ([]byte, error) {
	if err := RequireType(c.Request(), echo.MIMEApplicationJSON); err != nil {
		return nil, err
	}
	return readWhole(c, maxBytes)
}

// ReadMergePatch is ReadJSON for a JSON merge patch, which may call itself one or plain JSON.
func ReadMergePatch(c echo.Context, maxBytes int64) ([]byte, error) {
	if RequireType(c.Request(), MergePatchType) == nil {
		return readWhole(c, maxBytes)
	}
	return ReadJSON(c, maxBytes)
}

func readWhole(c echo.Context, maxBytes int64) ([]byte, error) {
	req := c.Request()
	if req.ContentLength > maxBytes {
		return nil, tooLarge(maxBytes)
	}
	if req.ContentLength == 0 {
		return nil, fault.New(fault.Malformed, "the body is empty")
	}
	body, err := readBody(c, maxBytes)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, fault.New(fault.Malformed, "the body is empty")
	}
	return body, nil
}

func readBody(c echo.Context, maxBytes int64) ([]byte, error) {
	control := http.NewResponseController(c.Response())
	// Not every ResponseWriter has a deadline to set (a test's recorder has none).
	timed := control.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil
	body, err := readAll(c.Request(), maxBytes)
	if timed {
		err = errors.Join(err, control.SetReadDeadline(time.Time{}))
	}
	var cut *http.MaxBytesError
	var full *fault.Error
	switch {
	case errors.As(err, &cut):
		return nil, tooLarge(cut.Limit)
	case errors.As(err, &full):
		return nil, full
	case err != nil:
		return nil, fault.Wrap(err, fault.Malformed, "the body did not arrive whole")
	case int64(len(body)) > maxBytes:
		return nil, tooLarge(maxBytes)
	}
	return body, nil
}

func readAll(req *http.Request, maxBytes int64) ([]byte, error) {
	if req.ContentLength < 0 {
		return io.ReadAll(io.LimitReader(req.Body, maxBytes+1))
	}
	body := make([]byte, req.ContentLength)
	_, err := io.ReadFull(req.Body, body)
	return body, err
}

// RequireType refuses a request whose Content-Type is not the wanted one, in UTF-8 and without Content-Encoding (415).
func RequireType(req *http.Request, wanted string) error {
	given := req.Header.Get("Content-Type")
	if given != wanted && !sameType(given, wanted) {
		return fault.New(fault.UnsupportedMedia, "Content-Type must be %s", wanted)
	}
	if encoding := req.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return fault.New(fault.UnsupportedMedia, "Content-Encoding is not supported")
	}
	return nil
}

func sameType(given, wanted string) bool {
	media, params, err := mime.ParseMediaType(given)
	if err != nil || media != wanted {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}
