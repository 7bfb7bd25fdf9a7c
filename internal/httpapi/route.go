package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

// Handler answers a request of a caller who is known to be allowed to ask. Public routes get the zero Identity.
type Handler func(c echo.Context, who auth.Identity) error

// Route is one line of the table that says who may do what.
type Route struct {
	Method string
	Path   string // in echo's form: /v1/orders/:id
	Scope  string // that the token has to carry
	Kinds  []auth.Kind
	Public bool // no token is asked for or looked at; Scope and Kinds are empty
	// MaxBody is the largest body in bytes: 0 for DefaultMaxBody, NoLimit for streams that bound each line themselves.
	MaxBody int64
	Class   Class // what an overloaded node does with it
	Handler Handler
}

// Limits of bodies, in bytes.
const (
	DefaultMaxBody = 1 << 20
	NoLimit        = -1
)

// Authenticator says who a token belongs to, and whether somebody known before still may go on.
type Authenticator interface {
	Authenticate(ctx context.Context, bearer string) (auth.Identity, error)
	Check(who auth.Identity) error
}

// Mount adds the routes. A route that is not public and has no scope is a mistake of the program: it panics at start.
func Mount(e *echo.Echo, authn Authenticator, routes []Route) {
	NewAdmission(AdmissionConfig{}).Mount(e, authn, routes)
}

// Mount is the function Mount for a node that has told this admission how busy it is.
func (a *Admission) Mount(e *echo.Echo, authn Authenticator, routes []Route) {
	for _, r := range routes {
		if r.Public != (r.Scope == "") || r.Public && len(r.Kinds) > 0 {
			panic("httpapi: " + r.Method + " " + r.Path + " must either be public or have a scope")
		}
		e.Add(r.Method, r.Path, r.handle(authn, a))
	}
}

// AuthRoutes are the routes of the token issuer: the public ones, and those by which operators change its keys.
func AuthRoutes(i *auth.Issuer) []Route {
	public := func(method, path string, h echo.HandlerFunc) Route {
		return Route{Method: method, Path: path, Public: true, Handler: func(c echo.Context, _ auth.Identity) error { return h(c) }}
	}
	operators := func(method, path string, h echo.HandlerFunc) Route {
		return Route{
			Method: method, Path: path, Scope: auth.ScopeAdmin, Kinds: []auth.Kind{auth.KindOperator},
			Handler: func(c echo.Context, _ auth.Identity) error { return h(c) },
		}
	}
	return []Route{
		public(http.MethodPost, "/oauth/token", i.Token),
		public(http.MethodGet, "/.well-known/jwks.json", i.JWKS),
		public(http.MethodGet, "/.well-known/oauth-authorization-server", i.Metadata),
		operators(http.MethodGet, "/v1/admin/signing-keys", i.ListKeys),
		operators(http.MethodPost, "/v1/admin/signing-keys/rotate", i.RotateKey),
	}
}

func (r Route) handle(authn Authenticator, a *Admission) echo.HandlerFunc {
	limit := r.limit()
	class := r.class()
	answer := func(c echo.Context) error { return r.answer(c, authn, a) }
	if r.compressed() {
		answer = a.compress.around(answer)
	}
	return func(c echo.Context) error {
		if err := limitBody(c, limit); err != nil {
			return err
		}
		return a.admit(c, class, answer)
	}
}

// limit is the largest body, or NoLimit.
func (r Route) limit() int64 {
	if r.MaxBody == 0 {
		return DefaultMaxBody
	}
	return r.MaxBody
}

// answer lets the handler answer those who may ask.
func (r Route) answer(c echo.Context, authn Authenticator, a *Admission) error {
	if r.Public {
		return r.handleFor(c, auth.Identity{})
	}
	who, err := r.authenticate(c, authn)
	if err != nil {
		return err
	}
	done, err := a.charge(c, r.class(), who)
	if err != nil {
		return err
	}
	defer done()
	if len(r.Kinds) > 0 && !slices.Contains(r.Kinds, who.Kind) {
		return fault.New(fault.Forbidden, "this is not for clients of kind %s", who.Kind)
	}
	if !who.Has(r.Scope) {
		c.Response().Header().Set("WWW-Authenticate", `Bearer realm="orderstore", error="insufficient_scope", scope="`+r.Scope+`"`)
		return fault.New(fault.Forbidden, "the token lacks the scope %s", r.Scope)
	}
	return r.handleFor(c, who)
}

// handleFor has the handler see those rows of the databases that are the caller's, whatever its statements ask for.
func (r Route) handleFor(c echo.Context, who auth.Identity) error {
	req := c.Request()
	c.SetRequest(req.WithContext(postgres.WithScope(req.Context(), who.Rows())))
	return r.Handler(c, who)
}

// limitBody refuses what says it is too large before reading any of it, and cuts what did not say.
func limitBody(c echo.Context, limit int64) error {
	if limit == NoLimit {
		return nil
	}
	req := c.Request()
	if req.ContentLength > limit {
		return tooLarge(limit)
	}
	if req.ContentLength < 0 { // net/http itself ends the others at what they said
		req.Body = http.MaxBytesReader(c.Response(), req.Body, limit)
	}
	return nil
}

func tooLarge(limit int64) error {
	return fault.New(fault.TooLarge, "the body is larger than %d bytes", limit)
}

// authenticate takes the token from one Authorization header and from nowhere else, or the signature that stands in its place.
func (r Route) authenticate(c echo.Context, authn Authenticator) (auth.Identity, error) {
	req := c.Request()
	headers := req.Header["Authorization"]
	if len(headers) > 1 {
		return auth.Identity{}, fault.New(fault.BadParameter, "two Authorization headers")
	}
	if strings.Contains(req.URL.RawQuery, "access_token=") {
		return auth.Identity{}, fault.New(fault.Unauthorized, "a token is never accepted in the query")
	}
	if len(req.Header[HeaderSignature]) > 0 {
		return r.authenticateSigned(c, authn)
	}
	if len(headers) == 0 {
		c.Response().Header().Set("WWW-Authenticate", `Bearer realm="orderstore"`)
		return auth.Identity{}, fault.New(fault.Unauthorized, "an access token is needed")
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		c.Response().Header().Set("WWW-Authenticate", `Bearer realm="orderstore"`)
		return auth.Identity{}, fault.New(fault.Unauthorized, "an access token is needed: Authorization: Bearer")
	}
	who, err := authn.Authenticate(req.Context(), token)
	if err != nil {
		return auth.Identity{}, err
	}
	setCaller(c, authn, who)
	return who, nil
}
