// Package web is what people and their tools are shown of the store: the documents of its API and its events, and a page that renders
// them. All of it is embedded; nothing is fetched from elsewhere.
package web

import (
	_ "embed"
	"fmt"
	"net/http"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// The documents as they are written.
var (
	//go:embed openapi.yaml
	openAPI []byte
	//go:embed asyncapi.yaml
	asyncAPI []byte
	//go:embed assets/docs.html
	page []byte
	// RapiDoc, MIT: see assets/rapidoc.LICENSE.txt.
	//go:embed assets/rapidoc.js
	script []byte
)

// pagePolicy lets the page run its own script and read what this node serves. The renderer sets styles of its own.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// OpenAPI is the document of the HTTP API, in JSON.
func OpenAPI() ([]byte, error) { return asJSON("openapi", openAPI) }

// AsyncAPI is the document of events, subjects and webhooks, in JSON.
func AsyncAPI() ([]byte, error) { return asJSON("asyncapi", asyncAPI) }

func asJSON(name string, document []byte) ([]byte, error) {
	converted, err := yaml.YAMLToJSON(document)
	if err != nil {
		return nil, fmt.Errorf("read %s document: %w", name, err)
	}
	return converted, nil
}

// Routes are the same on every node, and ask nobody who they are.
func Routes() ([]httpapi.Route, error) {
	api, err := OpenAPI()
	if err != nil {
		return nil, err
	}
	events, err := AsyncAPI()
	if err != nil {
		return nil, err
	}
	shared := httpapi.Shared{MaxAge: 5 * time.Minute, Stale: time.Hour}
	return []httpapi.Route{
		public("/openapi.json", httpapi.NewPublic(echo.MIMEApplicationJSON, api, shared)),
		public("/asyncapi.json", httpapi.NewPublic(echo.MIMEApplicationJSON, events, shared)),
		public("/docs", httpapi.NewPublic(echo.MIMETextHTMLCharsetUTF8, page, shared)),
		public("/docs/rapidoc.js", httpapi.NewPublic("text/javascript; charset=utf-8", script, shared)),
	}, nil
}

func public(path string, resource *httpapi.Public) httpapi.Route {
	return httpapi.Route{Method: http.MethodGet, Path: path, Public: true, Handler: func(c echo.Context, _ auth.Identity) error {
		h := c.Response().Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", pagePolicy)
		return resource.Answer(c)
	}}
}
