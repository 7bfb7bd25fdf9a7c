package client

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RequestKey is by what a client signs its requests, where it cannot use tokens. An operator makes it, see CreateRequestKey.
type RequestKey struct {
	KeyID  string
	Secret string
}

// maxSigned is the most of a body that the store takes signed, in bytes.
const maxSigned = 8 << 20

var errSignedTooLarge = errors.New("a signed request has at most 8 MiB: send several batches, or use a token")

// signatureHeader carries the signature.
const signatureHeader = "Order-Signature"

// Sign signs a request with the time and a nonce of its own: what the store takes in place of a token. A request that is sent once more
// has to be signed once more. It reads the body whole, and leaves it to be read again. The store has to get method, path, query and body
// as they are here, so a proxy in between must leave them alone, and the header Authorization has to be absent.
func (k RequestKey) Sign(req *http.Request, now time.Time) error {
	body, err := signedBody(req)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	at, nonce := strconv.FormatInt(now.Unix(), 10), rand.Text()
	mac := hmac.New(sha256.New, []byte(k.Secret))
	mac.Write([]byte(strings.Join([]string{
		"order-signature-v1", req.Method, cmp.Or(req.URL.EscapedPath(), "/"), req.URL.RawQuery, at, nonce, req.Header.Get("Content-Type"),
		hex.EncodeToString(sum[:]), req.Header.Get("Idempotency-Key"), req.Header.Get("If-Match"), req.Header.Get(positionHeader),
	}, "\n")))
	req.Header.Set(signatureHeader, fmt.Sprintf(`keyid="%s", timestamp="%s", nonce="%s", signature="%s"`,
		k.KeyID, at, nonce, base64.StdEncoding.EncodeToString(mac.Sum(nil))))
	return nil
}

func signedBody(req *http.Request) ([]byte, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, maxSigned+1))
	_ = req.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read body to sign it: %w", err)
	}
	if len(body) > maxSigned {
		return nil, &lasting{errSignedTooLarge}
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return body, nil
}
