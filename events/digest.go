package events

import (
	"crypto/sha256"
	"encoding/binary"
)

// Digest is a link of the hash chain over the log.
type Digest [sha256.Size]byte

// Next is SHA-256(d ‖ position as 8 bytes, big endian ‖ event bytes): the digest of the row at position, when d is that of
// the row before. The digest before position 1 is all zeros.
func (d Digest) Next(position int64, body []byte) Digest {
	h := sha256.New()
	var buf [sha256.Size + 8]byte
	copy(buf[:], d[:])
	binary.BigEndian.PutUint64(buf[sha256.Size:], uint64(position)) //nolint:gosec // positions start at 1
	h.Write(buf[:])
	h.Write(body)
	var next Digest
	h.Sum(next[:0])
	return next
}
