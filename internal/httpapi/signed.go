package httpapi

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
)

// HeaderSignature carries the signature of a request, in place of a token.
const HeaderSignature = "Order-Signature"

// maxSignedStream is the most that is read of a signed body which is otherwise worked on while it comes, in bytes: who sent it is known only
// when all of it is there.
const maxSignedStream = 8 << 20

// SignatureAuthenticator says whose signature a request carries. An Authenticator that is none takes tokens only.
type SignatureAuthenticator interface {
	AuthenticateSigned(ctx context.Context, r *auth.SignedRequest) (auth.Identity, error)
}

// authenticateSigned reads the body whole before anything is done, and leaves it to be read again.
func (r Route) authenticateSigned(c echo.Context, authn Authenticator) (auth.Identity, error) {
	req := c.Request()
	if len(req.Header[HeaderSignature]) > 1 {
		return auth.Identity{}, fault.New(fault.BadParameter, "two Order-Signature headers")
	}
	if len(req.Header[echo.HeaderAuthorization]) > 0 {
		return auth.Identity{}, fault.New(fault.BadParameter, "Authorization and Order-Signature exclude each other")
	}
	c.Response().Header().Set("WWW-Authenticate", `Bearer realm="orderstore"`)
	verifier, ok := authn.(SignatureAuthenticator)
	if !ok {
		return auth.Identity{}, fault.New(fault.Unauthorized, "an access token is needed: signed requests are not taken here")
	}
	signed, err := signedParts(req)
	if err != nil {
		return auth.Identity{}, err
	}
	signed.Body = func() ([]byte, error) { return rewoundBody(c, r.signedLimit()) }
	who, err := verifier.AuthenticateSigned(req.Context(), signed)
	if err != nil {
		return auth.Identity{}, err
	}
	c.Response().Header().Del("WWW-Authenticate")
	setCaller(c, authn, who)
	return who, nil
}

// signedParts are what a signature covers beside the body. A header that it covers and that is there twice could be read in two ways.
func signedParts(req *http.Request) (*auth.SignedRequest, error) {
	signed := &auth.SignedRequest{
		Signature: req.Header.Get(HeaderSignature), Method: req.Method, Path: req.URL.EscapedPath(), Query: req.URL.RawQuery,
	}
	for name, into := range map[string]*string{
		echo.HeaderContentType: &signed.ContentType, "Idempotency-Key": &signed.IdempotencyKey,
		"If-Match": &signed.IfMatch, HeaderPosition: &signed.OrderPosition,
	} {
		values := req.Header[name]
		if len(values) == 0 {
			continue
		}
		if len(values) > 1 || values[0] == "" {
			return nil, fault.New(fault.BadParameter, "%s must be given once in a signed request, and not be empty", name)
		}
		*into = values[0]
	}
	return signed, nil
}

func (r Route) signedLimit() int64 {
	if r.MaxBody == NoLimit {
		return maxSignedStream
	}
	return r.limit()
}

func rewoundBody(c echo.Context, limit int64) ([]byte, error) {
	req := c.Request()
	if req.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if req.ContentLength == 0 {
		return nil, nil
	}
	body, err := readBody(c, limit)
	if err != nil {
		return nil, err
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return body, nil
}
