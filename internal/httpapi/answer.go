package httpapi

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

// Values of headers that every read has, shared by all answers. Whoever changes a header puts another slice in their place.
//
//nolint:gochecknoglobals // constants
var (
	varyEncoding = []string{"Accept-Encoding"}
	varyPrivate  = []string{"Authorization, Accept-Encoding"}
	private      = []string{"private, no-cache"}
	jsonType     = []string{echo.MIMEApplicationJSON}
)

// Private says that an answer is one client's alone, who may keep it but has to ask each time whether it is still right.
func Private(c echo.Context) {
	h := c.Response().Header()
	h["Cache-Control"], h["Vary"] = private, varyPrivate
}

// JSON answers 200 with a body. It says how long the body is: net/http would cut one of more than 2 kB into chunks.
func JSON(c echo.Context, body []byte) error {
	h := c.Response().Header()
	h["Content-Type"], h["Content-Length"] = jsonType, []string{strconv.Itoa(len(body))}
	c.Response().WriteHeader(http.StatusOK)
	_, err := c.Response().Write(body)
	return err
}
