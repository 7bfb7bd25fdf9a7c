package httpapi

import (
	"bytes"
	"strconv"
	"strings"
)

// framing follows the requests of one connection byte by byte, only to know where each begins and ends. It finds requests that somebody
// in between may have seen end elsewhere than net/http does: with a Content-Length and a Transfer-Encoding, lines that do not end in
// CR LF, folded lines, lengths that differ, encodings other than chunked. What it lets through has one meaning, which is net/http's.
// A fuzz target holds the two against each other.
type framing struct {
	at       part
	line     []byte // the beginning of a line whose end has not come yet
	left     int64  // bytes of a body or chunk that are still to come
	old      bool   // the request is older than HTTP/1.1
	length   int64  // of the body; -1: not said
	chunked  bool
	breaking bool // nothing that follows is of use
}

type part uint8

const (
	partStart   part = iota // the request line
	partHeader              // a line of the head
	partBody                // bytes of a body whose length is known
	partSize                // the line before a chunk
	partChunk               // bytes of a chunk
	partEnd                 // the CR LF behind a chunk
	partTrailer             // a line behind the last chunk
)

// maxFramingLine bounds the memory for a line that comes in pieces, in bytes. net/http takes no head that is longer.
const maxFramingLine = maxHeaderBytes + 8<<10

// follow takes what was read and gives how many bytes of it are in order; fewer than there are where a request is ambiguous.
func (f *framing) follow(b []byte) int {
	for i := 0; i < len(b); {
		if f.breaking {
			return i
		}
		if f.at == partBody || f.at == partChunk {
			n := min(f.left, int64(len(b)-i))
			f.left -= n
			i += int(n)
			f.bytesEnded()
			continue
		}
		end := bytes.IndexByte(b[i:], '\n')
		if end < 0 {
			f.line = append(f.line, b[i:]...)
			f.breaking = len(f.line) > maxFramingLine
			return len(b)
		}
		line := b[i : i+end]
		if len(f.line) > 0 {
			f.line = append(f.line, line...)
			line = f.line
		}
		if len(line) == 0 || line[len(line)-1] != '\r' || !f.take(line[:len(line)-1]) {
			f.breaking = true
			return i + end
		}
		f.line = f.line[:0]
		i += end + 1
	}
	if len(f.line) == 0 {
		f.line = nil // an idle connection holds no memory
	}
	return len(b)
}

func (f *framing) bytesEnded() {
	switch {
	case f.left > 0:
	case f.at == partBody:
		f.at = partStart
	default:
		f.at = partEnd
	}
}

// take follows one line without its end. It is false for one that must not be let through.
func (f *framing) take(line []byte) bool {
	if bytes.IndexByte(line, '\r') >= 0 {
		return false
	}
	switch f.at {
	case partStart:
		if len(line) > 0 { // net/http takes an empty line after a POST
			f.at, f.length, f.chunked = partHeader, -1, false
			f.old = !bytes.HasSuffix(line, []byte(" HTTP/1.1"))
		}
		return true
	case partHeader:
		if len(line) == 0 {
			f.headEnded()
			return true
		}
		return f.header(line)
	case partSize:
		return f.size(line)
	case partEnd:
		f.at = partSize
		return len(line) == 0
	default: // partTrailer
		if len(line) == 0 {
			f.at = partStart
		}
		return true
	}
}

func (f *framing) headEnded() {
	switch {
	case f.chunked:
		f.at = partSize
	case f.length > 0:
		f.at, f.left = partBody, f.length
	default:
		f.at = partStart
	}
}

func (f *framing) header(line []byte) bool {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
		return false
	}
	switch {
	case len(name) == len("Content-Length") && strings.EqualFold(string(name), "Content-Length"):
		return !f.chunked && f.contentLength(string(bytes.Trim(value, " \t")))
	case len(name) == len("Transfer-Encoding") && strings.EqualFold(string(name), "Transfer-Encoding"):
		if f.old || f.chunked || f.length >= 0 {
			return false
		}
		f.chunked = strings.EqualFold(string(bytes.Trim(value, " \t")), "chunked")
		return f.chunked
	}
	return true
}

func (f *framing) contentLength(value string) bool {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || f.length >= 0 && f.length != int64(n) { //nolint:gosec // of 63 bits
		return false
	}
	f.length = int64(n) //nolint:gosec // of 63 bits
	return true
}

// size reads the line before a chunk: its length in hexadecimal, and what extends it behind a semicolon.
func (f *framing) size(line []byte) bool {
	digits, _, _ := bytes.Cut(line, []byte(";"))
	n, err := strconv.ParseUint(string(digits), 16, 63)
	if err != nil {
		return false
	}
	if f.left = int64(n); n == 0 { //nolint:gosec // of 63 bits
		f.at = partTrailer
		return true
	}
	f.at = partChunk
	return true
}
