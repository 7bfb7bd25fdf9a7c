package auth

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// jwk is a public key of RFC 7517: EC, RSA and OKP members together, as JWKS of outside issuers hold them too.
type jwk struct {
	KeyType   string `json:"kty"`
	Use       string `json:"use,omitempty"`
	Algorithm string `json:"alg,omitempty"`
	KeyID     string `json:"kid"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
}

type jwks struct {
	Keys []jwk `json:"keys"`
}

// JWKS answers GET /.well-known/jwks.json with every key that verifies, the next one included.
func (i *Issuer) JWKS(c echo.Context) error {
	keys, err := i.current(c.Request().Context())
	if err != nil {
		return unlessAway(err, "keys cannot be read at the moment")
	}
	now := i.cfg.Now()
	set := jwks{Keys: []jwk{}}
	for _, k := range keys {
		if !k.live(now) {
			continue
		}
		point, err := k.private.PublicKey.Bytes()
		if err != nil {
			return err
		}
		half := (len(point) - 1) / 2 // 0x04 || X || Y
		set.Keys = append(set.Keys, jwk{
			KeyType: "EC", Use: "sig", Algorithm: "ES256", KeyID: k.kid, Curve: "P-256",
			X: base64.RawURLEncoding.EncodeToString(point[1 : 1+half]),
			Y: base64.RawURLEncoding.EncodeToString(point[1+half:]),
		})
	}
	c.Response().Header().Set("Cache-Control", "public, max-age=30")
	return writeJSON(c, http.StatusOK, set)
}

// Metadata answers GET /.well-known/oauth-authorization-server (RFC 8414).
func (i *Issuer) Metadata(c echo.Context) error {
	base := strings.TrimSuffix(i.cfg.Issuer, "/")
	c.Response().Header().Set("Cache-Control", "public, max-age=300")
	return writeJSON(c, http.StatusOK, map[string]any{
		"issuer":                                i.cfg.Issuer,
		"token_endpoint":                        base + "/oauth/token",
		"jwks_uri":                              base + "/.well-known/jwks.json",
		"grant_types_supported":                 []string{"client_credentials"},
		"response_types_supported":              []string{},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"scopes_supported": []string{
			ScopeOrdersWrite, ScopeOrdersRead, ScopeTasksRead, ScopeResultsWrite,
			ScopeAuxiliaryWrite, ScopeStockWrite, ScopeSubscriptionsWrite, ScopeAdmin,
		},
	})
}
