package stream

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// HeaderDigest carries a message's link of the log's digest chain, in hexadecimal.
const HeaderDigest = "Os-Digest"

// ErrDiverged says that the stream or the log holds something that cannot follow what was read before: the digests do not
// chain. It is never mended by reading on.
var ErrDiverged = errors.New("the digest chain is broken")

// Record is one row of the log, or its copy in the stream.
type Record struct {
	Position int64
	Digest   [32]byte
	Subject  string
	Body     []byte
	// Fact is what Body says, where the process that appended the record still has it; nil: Body has to be read. Whoever finds one
	// shares it and must not change it.
	Fact any
}

// follows says whether the record is the one after (position, digest).
func (r *Record) follows(position int64, digest [32]byte) bool {
	return r.Position == position+1 && Chain(digest, r.Position, r.Body) == r.Digest
}

// Chain is SHA-256(previous ‖ position as 8 bytes, big endian ‖ body): a link of the log's digest chain.
func Chain(previous [32]byte, position int64, body []byte) [32]byte {
	h := sha256.New()
	var buf [sha256.Size + 8]byte
	copy(buf[:], previous[:])
	binary.BigEndian.PutUint64(buf[sha256.Size:], uint64(position)) //nolint:gosec // positions are never negative
	h.Write(buf[:])
	h.Write(body)
	var next [32]byte
	h.Sum(next[:0])
	return next
}

// RecordOf reads a stream message. It returns ErrDiverged (test with errors.Is), and all but the digest, where there is none. Its sequence is the position: there is no other number in it to believe.
func RecordOf(msg jetstream.Msg) (Record, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return Record{}, fmt.Errorf("message metadata: %w", err)
	}
	return newRecord(int64(meta.Sequence.Stream), msg.Subject(), msg.Data(), msg.Headers()) //nolint:gosec // below 2^63
}

func newRecord(position int64, subject string, body []byte, header nats.Header) (Record, error) {
	r := Record{Position: position, Subject: subject, Body: body}
	raw, err := hex.DecodeString(header.Get(HeaderDigest))
	if err != nil || len(raw) != len(r.Digest) {
		return r, fmt.Errorf("message %d has no digest: %w", position, ErrDiverged)
	}
	copy(r.Digest[:], raw)
	return r, nil
}
