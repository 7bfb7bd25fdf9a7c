package auth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	// maxTokenForm is the largest body /oauth/token reads, in bytes.
	maxTokenForm = 8 << 10
	// databaseTimeout bounds a look at the write database while a request waits for it.
	databaseTimeout = 5 * time.Second
)

// oauthError is an error answer of RFC 6749 section 5.2.
type oauthError struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
	basic       bool   // the client used HTTP Basic, or nothing at all
}

func badRequest(code, description string) *oauthError {
	return &oauthError{status: http.StatusBadRequest, Code: code, Description: description}
}

// Token answers POST /oauth/token: client credentials by HTTP Basic or in the form, never in the query.
func (i *Issuer) Token(c echo.Context) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	form, refusal := readForm(c.Request())
	if refusal != nil {
		return refusal.write(c)
	}
	id, secret, basic, refusal := clientCredentials(c.Request(), form)
	if refusal != nil {
		return refusal.write(c)
	}
	switch form.Get("grant_type") {
	case "client_credentials":
	case "":
		return badRequest("invalid_request", "grant_type is missing").write(c)
	default:
		return badRequest("unsupported_grant_type", "only client_credentials is supported").write(c)
	}
	who, err := i.login(c.Request().Context(), id, secret)
	if errors.Is(err, errBadClient) {
		refusal := &oauthError{http.StatusUnauthorized, "invalid_client", "client authentication failed", basic}
		return refusal.write(c)
	}
	if err != nil {
		return err
	}
	if wanted := strings.Fields(form.Get("scope")); len(wanted) > 0 {
		if slices.ContainsFunc(wanted, func(scope string) bool { return !who.Has(scope) }) {
			return badRequest("invalid_scope", "a scope was asked for that the client does not have").write(c)
		}
		slices.Sort(wanted)
		who.Scopes = slices.Compact(wanted)
	}
	return i.answer(c, who)
}

// Login checks the id and secret of a client that comes by another door than POST /oauth/token. Wrong ones count together with those of
// that route. A wrong id or secret or a disabled client is fault.Unauthorized, too many of them fault.TooManyRequests, and with the
// database away it is fault.Unavailable. The identity does not expire by itself.
func (i *Issuer) Login(ctx context.Context, id, secret string) (Identity, error) {
	who, err := i.login(ctx, id, secret)
	if errors.Is(err, errBadClient) {
		return Identity{}, fault.Wrap(err, fault.Unauthorized, "client authentication failed")
	}
	return who, err
}

// login checks the secret and counts the wrong ones. A client that guessed too often is refused unseen: its right secret
// does not help either until the minute is over, else the answer would tell the guesser.
func (i *Issuer) login(ctx context.Context, id, secret string) (Identity, error) {
	if wait := i.attempts.blocked(id); wait > 0 {
		return Identity{}, fault.New(fault.TooManyRequests, "too many wrong secrets for this client").Retry(wait)
	}
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	who, err := i.store.login(ctx, id, secret)
	if err == nil {
		return who, nil
	}
	if !errors.Is(err, errBadClient) {
		return Identity{}, unlessAway(err, "clients cannot be looked up at the moment")
	}
	if wait := i.attempts.failed(id); wait > 0 {
		return Identity{}, fault.New(fault.TooManyRequests, "too many wrong secrets for this client").Retry(wait)
	}
	return Identity{}, errBadClient
}

func (i *Issuer) answer(c echo.Context, who Identity) error {
	token, expires, err := i.Issue(c.Request().Context(), who)
	if err != nil {
		return unlessAway(err, "tokens cannot be issued at the moment")
	}
	return writeJSON(c, http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"` // seconds
		Scope       string `json:"scope"`
	}{token, "Bearer", int(expires.Sub(i.cfg.Now()).Round(1e9).Seconds()), strings.Join(who.Scopes, " ")})
}

// unlessAway gives err, as fault.Unavailable when the database is away or too slow.
func unlessAway(err error, message string) error {
	if postgres.IsUnavailable(err) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(err, fault.Unavailable, "%s", message)
	}
	return err
}

// readForm reads the body alone: parameters in the query end up in logs, so they are not looked at.
func readForm(r *http.Request) (url.Values, *oauthError) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, badRequest("invalid_request", "the body must be application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxTokenForm+1))
	if err != nil || len(body) > maxTokenForm {
		return nil, badRequest("invalid_request", "the body cannot be read or is too large")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badRequest("invalid_request", "the body is not a form")
	}
	for _, values := range form {
		if len(values) > 1 {
			return nil, badRequest("invalid_request", "a parameter is given twice")
		}
	}
	return form, nil
}

// clientCredentials takes them from HTTP Basic (each half form-encoded, RFC 6749 section 2.3.1) or from the form.
func clientCredentials(r *http.Request, form url.Values) (id, secret string, basic bool, refusal *oauthError) {
	none := &oauthError{http.StatusUnauthorized, "invalid_client", "client authentication is missing", true}
	if len(r.Header.Values("Authorization")) > 1 {
		return "", "", false, badRequest("invalid_request", "two Authorization headers")
	}
	if r.Header.Get("Authorization") == "" {
		id, secret = form.Get("client_id"), form.Get("client_secret")
		if id == "" || secret == "" {
			return "", "", false, none
		}
		return id, secret, false, nil
	}
	if form.Has("client_secret") {
		return "", "", true, badRequest("invalid_request", "two ways of client authentication at once")
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return "", "", true, none
	}
	id, errID := url.QueryUnescape(user)
	secret, errSecret := url.QueryUnescape(password)
	if errID != nil || errSecret != nil {
		return "", "", true, none
	}
	if given := form.Get("client_id"); given != "" && given != id {
		return "", "", true, badRequest("invalid_request", "two client ids")
	}
	return id, secret, true, nil
}

func (e *oauthError) write(c echo.Context) error {
	if e.status == http.StatusUnauthorized {
		c.Response().Header().Set("WWW-Authenticate", `Basic realm="orderstore"`)
	}
	return writeJSON(c, e.status, e)
}

func writeJSON(c echo.Context, status int, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.Blob(status, "application/json", body)
}
