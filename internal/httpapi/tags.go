package httpapi

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// tagSuffix is what compression adds to an entity tag for gzip; for zstd it is tagSuffixZstd.
const (
	tagSuffix     = "-gzip"
	tagSuffixZstd = "-zstd"
)

// plainTag is an entity tag as it was before it was made weak by a proxy or compressed by us: what it stands for is the same.
func plainTag(tag string) string {
	tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
	if inner, ok := strings.CutSuffix(tag, `"`); ok {
		for _, suffix := range [...]string{tagSuffix, tagSuffixZstd} {
			if plain, ok := strings.CutSuffix(inner, suffix); ok {
				return plain + `"`
			}
		}
	}
	return tag
}

// KnownTag gives the first tag of If-None-Match that a function recognises, as the client sent it but never weak. The function is given
// tags without a coding's suffix; * stands for any.
func KnownTag(c echo.Context, recognise func(tag string) bool) (tag string, ok bool) {
	for _, list := range c.Request().Header["If-None-Match"] {
		for tag := range strings.SplitSeq(list, ",") {
			if recognise(plainTag(tag)) {
				return strings.TrimPrefix(strings.TrimSpace(tag), "W/"), true
			}
		}
	}
	return "", false
}

// NotModified sets the entity tag and answers 304 when If-None-Match names it, by weak comparison. It tells whether the
// answer was given.
func NotModified(c echo.Context, etag string) bool {
	header := c.Response().Header()
	header["Etag"] = []string{etag}
	if len(c.Request().Header["If-None-Match"]) == 0 {
		return false
	}
	want := plainTag(etag)
	tag, ok := KnownTag(c, func(tag string) bool { return tag == want || tag == "*" })
	if !ok {
		return false
	}
	if tag != "*" {
		header["Etag"] = []string{tag}
	}
	c.Response().WriteHeader(http.StatusNotModified)
	return true
}
