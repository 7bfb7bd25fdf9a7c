package webhook

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrUnsigned says that a request cannot be signed: its id is unfit, or no secret is live.
var ErrUnsigned = errors.New("request cannot be signed")

const longestID = 128

// Sign gives the value of the header webhook-signature: for each secret, in the order given and separated by spaces, the
// signature of "id.timestamp.body". The timestamp counts in seconds. It returns ErrUnsigned for an id that could be taken for
// another message's: the id holds 1 to 128 visible ASCII characters without a full stop.
func Sign(id string, at time.Time, body []byte, secrets ...Secret) (string, error) {
	if !fitID(id) {
		return "", fmt.Errorf("%w: unfit id %q", ErrUnsigned, id)
	}
	if len(secrets) == 0 {
		return "", fmt.Errorf("%w: no secret", ErrUnsigned)
	}
	var all strings.Builder
	for i, secret := range secrets {
		if i > 0 {
			all.WriteByte(' ')
		}
		one, err := secret.sign(id, at, body)
		if err != nil {
			return "", err
		}
		all.WriteString(one)
	}
	return all.String(), nil
}

func (s Secret) sign(id string, at time.Time, body []byte) (string, error) {
	switch s.Algorithm() {
	case HMAC:
		signature, err := s.hmac.Sign(id, at, body)
		if err != nil {
			return "", fmt.Errorf("sign with hmac: %w", err)
		}
		return signature, nil
	case Ed25519:
		content := make([]byte, 0, len(id)+len(body)+22) // a timestamp has 20 characters at most
		content = append(append(content, id...), '.')
		content = append(strconv.AppendInt(content, at.Unix(), 10), '.')
		content = append(content, body...)
		return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(s.private, content)), nil
	default:
		return "", fmt.Errorf("%w: empty secret", ErrUnsigned)
	}
}

func fitID(id string) bool {
	if id == "" || len(id) > longestID {
		return false
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' || c == '.' {
			return false
		}
	}
	return true
}
