package rows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/wlynxg/chardet"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
	"golang.org/x/text/transform"
)

// Encoding is how a file's bytes are characters, and how that is known.
type Encoding struct {
	Name string
	// Guess is how sure a guess is, 0 to 1; 0 for an encoding that was named or is certain.
	Guess float64
	enc   encoding.Encoding
}

// String says the name, and that it is a guess where it is one.
func (e Encoding) String() string {
	if e.Guess == 0 {
		return e.Name
	}
	return fmt.Sprintf("%s (a guess, %.0f %% sure)", e.Name, 100*e.Guess)
}

// decode reads characters; a byte order mark overrules what the encoding was thought to be, and is taken off.
func (e Encoding) decode(r io.Reader) io.Reader {
	if strings.HasPrefix(e.Name, "utf-32") { // its little-endian mark begins like that of UTF-16
		return transform.NewReader(r, e.enc.NewDecoder())
	}
	return transform.NewReader(r, unicode.BOMOverride(e.enc.NewDecoder()))
}

// ErrEncoding says that a file's encoding is not known. It has to be named.
var ErrEncoding = errors.New("encoding is not known")

// NamedEncoding finds an encoding by any of its usual names ("utf-8", "windows-1252", "gb18030", "shift_jis", "cp866").
func NamedEncoding(name string) (Encoding, error) {
	clean := strings.ToLower(strings.TrimSpace(name))
	switch clean {
	case "utf-32", "utf-32be": // a byte order mark says which; these have it big-endian without one
		return Encoding{Name: clean, enc: utf32.UTF32(utf32.BigEndian, utf32.UseBOM)}, nil
	case "utf-32le":
		return Encoding{Name: clean, enc: utf32.UTF32(utf32.LittleEndian, utf32.UseBOM)}, nil
	case "gb2312": // what calls itself so often is its superset
		return Encoding{Name: "gb18030", enc: simplifiedchinese.GB18030}, nil
	case "cp932":
		clean = "windows-31j"
	case "cp949":
		clean = "euc-kr"
	}
	enc, err := htmlindex.Get(clean)
	if err != nil {
		enc, err = ianaindex.IANA.Encoding(clean)
	}
	if err != nil || enc == nil {
		return Encoding{}, fmt.Errorf("%w: %q", ErrEncoding, name)
	}
	if canonical, err := htmlindex.Name(enc); err == nil {
		clean = canonical
	}
	return Encoding{Name: clean, enc: enc}, nil
}

// The limits of a guess: how much text it is made from, and how sure it must be. Single-byte encodings of Western Europe
// never get more than 0.73. One of several bytes a character is easily ruled out, so less will do when it is not.
const (
	sampleSize   = 64 << 10
	leastSure    = 0.7
	leastSureCJK = 0.3
)

// DetectEncoding reads all of r, in constant memory. A byte order mark is believed; what is UTF-8, but for a damaged character
// here and there, is UTF-8; everything else is a guess from the lines that are not plain ASCII, or ErrEncoding.
func DetectEncoding(r io.Reader) (Encoding, error) {
	scan, err := scanBytes(r)
	if err != nil {
		return Encoding{}, err
	}
	switch {
	case scan.mark != "":
		return NamedEncoding(scan.mark)
	case scan.zeroes[0]+scan.zeroes[1] > scan.size/8:
		return scan.wide()
	case scan.bad == 0 || scan.good > 20*scan.bad:
		return NamedEncoding("utf-8")
	}
	guess := chardet.Detect(scan.sample)
	e, err := NamedEncoding(guess.Encoding)
	if err != nil || !e.fits(guess, scan.sample) {
		return Encoding{}, fmt.Errorf("%w: best guess is %q, %.0f %% sure", ErrEncoding, guess.Encoding, 100*guess.Confidence)
	}
	e.Guess = guess.Confidence
	return e, nil
}

// fits tells whether a guess is good enough.
func (e Encoding) fits(guess chardet.Result, sample []byte) bool {
	switch e.Name {
	case "macintosh": // it gives every byte a meaning, so it is what remains when nothing fits
		return false
	case "gb18030", "gbk", "big5", "shift_jis", "euc-jp", "euc-kr":
		text, err := e.enc.NewDecoder().Bytes(sample)
		return err == nil && guess.Confidence >= leastSureCJK && !bytes.ContainsRune(text, utf8.RuneError)
	}
	return guess.Confidence >= leastSure
}

// byteScan is what the bytes of a file look like.
type byteScan struct {
	mark   string   // the encoding that a byte order mark tells
	good   int64    // characters of more than a byte, read as UTF-8
	bad    int64    // bytes that are none, read as UTF-8
	zeroes [2]int64 // NUL bytes at even and at odd places
	size   int64
	sample []byte
	rest   []byte // of a character that goes on in the next read
	line   []byte // so far
}

func scanBytes(r io.Reader) (*byteScan, error) {
	s := &byteScan{}
	buf := make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(r, buf)
		s.add(buf[:n])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read for the encoding: %w", err)
		}
	}
	s.bad += int64(len(s.rest))
	s.keep(s.line)
	return s, nil
}

func (s *byteScan) add(b []byte) {
	if s.size == 0 {
		s.mark = byteOrderMark(b)
	}
	for i, c := range b {
		if c == 0 {
			s.zeroes[(s.size+int64(i))%2]++
		}
	}
	s.size += int64(len(b))
	s.check(b)
	for len(s.sample) < sampleSize && len(b) > 0 {
		end := bytes.IndexByte(b, '\n') + 1
		if end == 0 {
			end = len(b)
		}
		s.line = append(s.line, b[:end]...)
		if b[end-1] == '\n' || len(s.line) > sampleSize {
			s.keep(s.line)
			s.line = s.line[:0]
		}
		b = b[end:]
	}
}

// keep adds a line to the sample if it tells anything.
func (s *byteScan) keep(line []byte) {
	for _, c := range line {
		if c >= utf8.RuneSelf || c == 0x1b {
			s.sample = append(s.sample, line...)
			return
		}
	}
}

// check goes on counting what is UTF-8.
func (s *byteScan) check(b []byte) {
	b = append(s.rest, b...)
	s.rest = nil
	for len(b) > 0 {
		if b[0] < utf8.RuneSelf {
			b = b[1:]
			continue
		}
		if !utf8.FullRune(b) {
			s.rest = bytes.Clone(b)
			return
		}
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			s.bad++
		} else {
			s.good++
		}
		b = b[size:]
	}
}

func byteOrderMark(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte{0xef, 0xbb, 0xbf}):
		return "utf-8"
	case bytes.HasPrefix(b, []byte{0xff, 0xfe, 0, 0}):
		return "utf-32le"
	case bytes.HasPrefix(b, []byte{0, 0, 0xfe, 0xff}):
		return "utf-32be"
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		return "utf-16le"
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return "utf-16be"
	}
	return ""
}

// wide tells the byte order of text in 16 or more bits a character, by where its NUL bytes are.
func (s *byteScan) wide() (Encoding, error) {
	switch even, odd := s.zeroes[0], s.zeroes[1]; {
	case odd > 10*even:
		return NamedEncoding("utf-16le")
	case even > 10*odd:
		return NamedEncoding("utf-16be")
	}
	return Encoding{}, fmt.Errorf("%w: every second byte or more is NUL", ErrEncoding)
}
