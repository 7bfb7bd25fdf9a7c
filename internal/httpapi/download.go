package httpapi

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
)

// HeaderCount is the trailer of a whole download: how many things are in it.
const HeaderCount = "Order-Count"

const (
	downloadBuffer = 64 << 10         // bytes that are sent at once
	downloadWithin = 30 * time.Second // for them to get into the client's connection
)

// Download streams a long body of unknown length to one client. It is for one goroutine. A client tells a whole one from one that was
// cut by its end: a whole one ends as HTTP says and has the trailer Order-Count, another one ends with the connection.
type Download struct {
	*bufio.Writer
	to *chunks
}

// chunks gives each of its writes a time limit.
type chunks struct {
	w                   *echo.Response
	mediaType, fileName string
	control             *http.ResponseController
	caller              *caller
	within              time.Duration
}

// StartDownload answers 200 with a file of a media type, once the first part of it is sent. It refuses HTTP/1.0, in which a
// client could not tell a whole body from a cut one.
func StartDownload(c echo.Context, mediaType, fileName string) (*Download, error) {
	if !c.Request().ProtoAtLeast(1, 1) {
		return nil, fault.New(fault.BadParameter, "a download needs HTTP/1.1 or later")
	}
	to := &chunks{
		w: c.Response(), mediaType: mediaType, fileName: fileName, control: http.NewResponseController(c.Response()), caller: callerOf(c),
		within: downloadWithin,
	}
	return &Download{Writer: bufio.NewWriterSize(to, downloadBuffer), to: to}, nil
}

// begin sends the headers, unless that is done.
func (w *chunks) begin() {
	if w.w.Committed {
		return
	}
	h := w.w.Header()
	h.Set("Content-Type", w.mediaType)
	h.Set("Content-Disposition", `attachment; filename="`+w.fileName+`"`)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	h.Set("Trailer", HeaderCount)
	w.w.WriteHeader(http.StatusOK)
}

// Write sends a part of the body. It fails when the client is gone, reads too slowly, or has been disabled.
func (w *chunks) Write(p []byte) (int, error) {
	if w.caller != nil {
		who := w.caller.who
		who.ExpiresAt = time.Now().Add(time.Hour) // a token that ends during a download was good when it was asked for
		if err := w.caller.authn.Check(who); err != nil {
			return 0, err
		}
	}
	// Not every ResponseWriter has deadlines or can flush (a test's recorder); a connection can.
	_ = w.control.SetWriteDeadline(time.Now().Add(w.within))
	w.begin()
	n, err := w.w.Write(p)
	if err != nil {
		return n, fmt.Errorf("send: %w", err)
	}
	if err := w.control.Flush(); err != nil {
		return n, fmt.Errorf("send: %w", err)
	}
	return n, nil
}

// Finish sends what is left and says that it is all, and how many things it was.
func (d *Download) Finish(count int64) error {
	if err := d.Flush(); err != nil {
		return err
	}
	d.to.begin()
	d.to.w.Header().Set(HeaderCount, strconv.FormatInt(count, 10))
	_ = d.to.control.SetWriteDeadline(time.Time{}) // a later request must not meet the last part's
	return nil
}

// cutOff is an error after a part of the answer was sent.
type cutOff struct{ err error }

func (e *cutOff) Error() string { return "cut off: " + e.err.Error() }
func (e *cutOff) Unwrap() error { return e.err }

// CutOff marks an error of an answer that may have begun: the connection then ends before the answer does, so that the client knows. An
// answer that has not begun becomes the usual problem.
func CutOff(err error) error {
	if err == nil {
		return nil
	}
	return &cutOff{err: err}
}
