package telemetry

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// A version 00 traceparent (W3C Trace Context): 00-<32 hex trace id>-<16 hex parent id>-<2 hex flags>.
const (
	traceparentLength = 55
	traceIDStart      = 3
	parentIDStart     = 36
	flagsStart        = 53
)

// Traceparent gives back a valid W3C trace context in version 00's form, and makes a new one, sampled, when the header is
// absent or invalid. A header of a later version is cut to what version 00 knows, as the standard asks.
func Traceparent(header string) string {
	if !validTraceparent(header) {
		return newTraceparent()
	}
	if header[:2] == "00" && len(header) == traceparentLength {
		return header
	}
	return "00" + header[2:traceparentLength]
}

func validTraceparent(h string) bool {
	if len(h) < traceparentLength || h[2] != '-' || h[35] != '-' || h[52] != '-' {
		return false
	}
	version := h[:2]
	if !lowerHex(version) || version == "ff" || version == "00" && len(h) != traceparentLength {
		return false
	}
	if len(h) > traceparentLength && h[traceparentLength] != '-' {
		return false
	}
	traceID, parentID := h[traceIDStart:35], h[parentIDStart:52]
	return lowerHex(traceID) && lowerHex(parentID) && lowerHex(h[flagsStart:traceparentLength]) &&
		!allZero(traceID) && !allZero(parentID)
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func allZero(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}

// newTraceparent is random but no secret: it only has to be unlike others. Lowest bits are set so that no id is zero.
func newTraceparent() string {
	var ids [24]byte
	binary.BigEndian.PutUint64(ids[0:], rand.Uint64())
	binary.BigEndian.PutUint64(ids[8:], rand.Uint64()|1)
	binary.BigEndian.PutUint64(ids[16:], rand.Uint64()|1)
	var out [traceparentLength]byte
	copy(out[:], "00-")
	hex.Encode(out[traceIDStart:], ids[:16])
	out[35] = '-'
	hex.Encode(out[parentIDStart:], ids[16:])
	copy(out[52:], "-01")
	return string(out[:])
}
