package httpapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"

	"github.com/go-json-experiment/json"

	"github.com/orderstore/orderstore/internal/fault"
)

const (
	cursorMAC = 16       // bytes of HMAC-SHA256 kept: 128 bits
	maxCursor = 4 << 10  // characters
	cursorSep = "\x00\n" // cannot be part of a list's or owner's name
)

// Cursor seals where a list goes on, so that a client can only hand it back as it was, for the same list and owner.
type Cursor struct{ key []byte }

// NewCursor seals with a key that all nodes share (see auth.Secret).
func NewCursor(key []byte) *Cursor { return &Cursor{key: key} }

// Seal gives the cursor for values, which JSON has to be able to hold. List names the list with its filters and its order;
// owner is who may use the cursor, such as the tenant.
func (s *Cursor) Seal(list, owner string, values any) string {
	body, err := json.Marshal(values, json.Deterministic(true))
	if err != nil {
		panic("httpapi: cursor values that JSON cannot hold: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(append(s.mac(list, owner, body), body...))
}

// Open reads a cursor into values. One that was not sealed for this list and owner is fault.BadCursor.
func (s *Cursor) Open(list, owner, cursor string, into any) error {
	bad := fault.New(fault.BadCursor, "the cursor does not belong to this list")
	if len(cursor) > maxCursor {
		return bad
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(sealed) < cursorMAC {
		return bad
	}
	body := sealed[cursorMAC:]
	if !hmac.Equal(sealed[:cursorMAC], s.mac(list, owner, body)) {
		return bad
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fault.Wrap(err, fault.BadCursor, "%s", bad.Message)
	}
	return nil
}

func (s *Cursor) mac(list, owner string, body []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(list + cursorSep + owner + cursorSep))
	h.Write(body)
	return h.Sum(nil)[:cursorMAC]
}
