package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Limits of signed requests.
const (
	// signatureVersion is the first line of what is signed. Another form gets another one.
	signatureVersion   = "order-signature-v1"
	signatureWindow    = 300 * time.Second // that a timestamp may be off, to either side
	maxSignatureHeader = 512               // bytes
)

// errBadSignature is a header that cannot be read, an unknown key or a signature that is not that of the request.
var errBadSignature = errors.New("signature is not valid")

// SignedRequest is what a signature is of, and the signature. None of the texts has a line feed in it, which net/http sees to.
type SignedRequest struct {
	Signature string // the header Order-Signature
	Method    string
	Path      string // as sent, escaped
	Query     string // as sent, without the question mark
	// Headers that change what a request means; empty where they are not given.
	ContentType, IdempotencyKey, IfMatch, OrderPosition string
	// Body reads the whole body. It is called once, and only when the key is known.
	Body func() ([]byte, error)
}

// signature is a header Order-Signature that was read.
type signature struct {
	keyID     string
	timestamp string // seconds since 1970, as given
	at        time.Time
	nonce     string
	mac       []byte
}

var (
	timestampPattern = regexp.MustCompile(`^[1-9][0-9]{0,11}$`)
	noncePattern     = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]{16,64}$`)
)

// parseSignature reads keyid="…", timestamp="…", nonce="…", signature="…": each once, in any order.
func parseSignature(header string) (signature, error) {
	given, err := parameters(header)
	if err != nil {
		return signature{}, err
	}
	s := signature{keyID: given["keyid"], timestamp: given["timestamp"], nonce: given["nonce"]}
	if !idPattern.MatchString(s.keyID) || !timestampPattern.MatchString(s.timestamp) || !noncePattern.MatchString(s.nonce) {
		return signature{}, fmt.Errorf("%w: keyid, timestamp or nonce has not its form", errBadSignature)
	}
	seconds, err := strconv.ParseInt(s.timestamp, 10, 64)
	if err != nil {
		return signature{}, fmt.Errorf("%w: timestamp: %w", errBadSignature, err)
	}
	s.at = time.Unix(seconds, 0)
	if s.mac, err = base64.StdEncoding.Strict().DecodeString(given["signature"]); err != nil || len(s.mac) != sha256.Size {
		return signature{}, fmt.Errorf("%w: signature is not the base64 of %d bytes", errBadSignature, sha256.Size)
	}
	return s, nil
}

func parameters(header string) (map[string]string, error) {
	if len(header) > maxSignatureHeader {
		return nil, fmt.Errorf("%w: header longer than %d bytes", errBadSignature, maxSignatureHeader)
	}
	given := map[string]string{}
	for rest := header; ; {
		name, after, found := strings.Cut(rest, `="`)
		value, after, closed := strings.Cut(after, `"`)
		if !found || !closed {
			return nil, fmt.Errorf("%w: header is no list of name=\"value\"", errBadSignature)
		}
		if _, twice := given[name]; twice {
			return nil, fmt.Errorf("%w: a parameter is given twice", errBadSignature)
		}
		switch name {
		case "keyid", "timestamp", "nonce", "signature":
			given[name] = value
		default:
			return nil, fmt.Errorf("%w: unknown parameter", errBadSignature)
		}
		if after == "" {
			return given, nil
		}
		if after, found = strings.CutPrefix(strings.TrimLeft(after, " "), ","); !found {
			return nil, fmt.Errorf("%w: parameters are not parted by commas", errBadSignature)
		}
		rest = strings.TrimLeft(after, " ")
	}
}

// text is what is signed: one line for each part, empty where the request has none.
func (r *SignedRequest) text(s signature, body []byte) string {
	sum := sha256.Sum256(body)
	return strings.Join([]string{
		signatureVersion, r.Method, r.Path, r.Query, s.timestamp, s.nonce, r.ContentType, hex.EncodeToString(sum[:]),
		r.IdempotencyKey, r.IfMatch, r.OrderPosition,
	}, "\n")
}

// of tells in constant time whether the signature is that of a text under a secret.
func (s signature) of(text, secret string) bool {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return hmac.Equal(mac.Sum(nil), s.mac)
}
