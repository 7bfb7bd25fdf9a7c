package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Shared says for how long anybody may answer with what was answered before, a CDN too.
type Shared struct {
	MaxAge time.Duration // without asking
	Stale  time.Duration // after that, while asking in the background
}

// Public is a resource that is the same for everybody.
type Public struct {
	contentType, control, etag string
	body                       []byte
}

// NewPublic makes a resource of a body that does not change any more.
func NewPublic(contentType string, body []byte, shared Shared) *Public {
	control := fmt.Sprintf("public, max-age=%d", int64(shared.MaxAge.Seconds()))
	if shared.Stale > 0 {
		control += fmt.Sprintf(", stale-while-revalidate=%d", int64(shared.Stale.Seconds()))
	}
	return &Public{contentType: contentType, control: control, etag: BodyTag(body), body: body}
}

// Answer answers with the resource, or with 304 where the client has it.
func (p *Public) Answer(c echo.Context) error {
	h := c.Response().Header()
	h.Set("Cache-Control", p.control)
	h.Set("Vary", "Accept-Encoding")
	if NotModified(c, p.etag) {
		return nil
	}
	return c.Blob(http.StatusOK, p.contentType, p.body)
}

// BodyTag is the entity tag of a body that has no version.
func BodyTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
