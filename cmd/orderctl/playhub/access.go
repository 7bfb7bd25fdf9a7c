package playhub

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
)

// credentials are a party's of this run. They are worth nothing to anybody else.
type credentials struct {
	id, secret string
	who        auth.Identity
}

// grant is an access token that was given.
type grant struct {
	who     auth.Identity
	at      time.Time
	refused bool // for as long as the kit wants it taken for expired
	used    int  // how often it was sent while it was refused
}

const tokenLife = 15 * time.Minute

// register makes credentials for a party.
func (h *hub) register(who auth.Identity) {
	who.ClientID, who.Scopes = "conformance-"+string(who.Kind), auth.DefaultScopes(who.Kind)
	h.clients[who.ClientID] = credentials{id: who.ClientID, secret: rand.Text(), who: who}
}

// of gives the credentials of the only party of a kind.
func (h *hub) of(kind auth.Kind) credentials { return h.clients["conformance-"+string(kind)] }

// giveToken answers POST /oauth/token: client credentials by HTTP Basic or in the form.
func (h *hub) giveToken(c echo.Context, _ auth.Identity) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	r := c.Request()
	r.Body = http.MaxBytesReader(c.Response(), r.Body, 8<<10)
	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "client_credentials" {
		return c.JSON(http.StatusBadRequest, oauthError{"unsupported_grant_type", "only client_credentials is supported"})
	}
	id, secret, basic := r.BasicAuth()
	if basic {
		id, secret = unescaped(id), unescaped(secret)
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	client, known := h.clients[id]
	if !known || subtle.ConstantTimeCompare([]byte(secret), []byte(client.secret)) != 1 {
		c.Response().Header().Set("WWW-Authenticate", `Basic realm="orderstore"`)
		return c.JSON(http.StatusUnauthorized, oauthError{"invalid_client", "client authentication failed"})
	}
	token := "kit-" + rand.Text()
	h.look(func() {
		h.tokens[token] = &grant{who: client.who, at: h.now()}
		h.change()
	})
	return c.JSON(http.StatusOK, map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int(tokenLife / time.Second), "scope": strings.Join(client.who.Scopes, " "),
	})
}

// oauthError is an error answer of RFC 6749 section 5.2.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

// unescaped undoes the form encoding that RFC 6749 section 2.3.1 asks for; a client that left it out is understood as well.
func unescaped(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// Authenticate says whose token it is.
func (h *hub) Authenticate(_ context.Context, bearer string) (auth.Identity, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g, known := h.tokens[bearer]
	if known && g.refused {
		g.used++
	}
	if !known || g.refused {
		return auth.Identity{}, fault.New(fault.Unauthorized, "the access token is not valid, or has expired")
	}
	return g.who, nil
}

// Check lets streams go on.
func (h *hub) Check(auth.Identity) error { return nil }

// expireTokens takes the provider's tokens for expired until they are restored.
func (h *hub) expireTokens() {
	h.look(func() {
		for _, g := range h.tokens {
			g.refused = g.who.Kind == auth.KindProvider
		}
	})
}

// restoreTokens lets the tokens serve again, and says how often they were sent meanwhile.
func (h *hub) restoreTokens() int {
	used := 0
	h.look(func() {
		for _, g := range h.tokens {
			used += g.used
			g.refused, g.used = false, 0
		}
	})
	return used
}

// tokensSince counts the tokens that the provider was given after a time. The lock is held.
func (h *hub) tokensSince(at time.Time) int {
	n := 0
	for _, g := range h.tokens {
		if g.who.Kind == auth.KindProvider && g.at.After(at) {
			n++
		}
	}
	return n
}
