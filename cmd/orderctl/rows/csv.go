package rows

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// noQuote stands for the double quote where that is a character like any other. It is no character of any text.
const noQuote = '\U0010FFFE'

func readCSV(r io.Reader, f Format) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		t, err := newTable(r, f)
		if err != nil {
			yield(Row{}, err)
			return
		}
		for {
			rows, err := t.next()
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Row{}, err)
				return
			}
		}
	}
}

// table reads CSV row by row.
type table struct {
	csv       *csv.Reader
	input     *recorder
	delimiter rune
	unswap    func(string) string
	header    map[string]int
	names     []string
	number    int64
	line      int // of the last row that could be read
}

func newTable(r io.Reader, f Format) (*table, error) {
	t := &table{delimiter: f.Delimiter, unswap: func(s string) string { return s }}
	if t.delimiter == 0 {
		t.delimiter = ','
	}
	// encoding/csv knows the double quote alone: another one changes places with it, before reading and after.
	if quote := f.Quote; f.NoQuotes || (quote != 0 && quote != '"') {
		if f.NoQuotes {
			quote = noQuote
		}
		r = &swapper{r: r, a: quote, b: '"'}
		t.unswap = func(s string) string { return swap(s, quote, '"') }
	}
	t.input = &recorder{r: r}
	t.csv = csv.NewReader(t.input)
	t.csv.Comma = t.delimiter
	t.csv.FieldsPerRecord = -1
	return t, t.readHeader(f)
}

func (t *table) readHeader(f Format) error {
	if f.NoHeader {
		return nil
	}
	record, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return tableError("it has no header, being empty")
	}
	if err != nil {
		return tableError("header: %w", err)
	}
	t.number = 1
	t.input.cut(t.csv.InputOffset())
	t.header = make(map[string]int, len(record))
	var twice []string
	for i, name := range record {
		name = strings.TrimSpace(t.unswap(name))
		t.names = append(t.names, name)
		if _, dup := t.header[name]; dup {
			twice = append(twice, name)
		}
		t.header[name] = i
	}
	return t.checkHeader(f.Columns, twice)
}

func (t *table) checkHeader(wanted, twice []string) error {
	var missing []string
	for _, column := range wanted {
		if slices.Contains(twice, column) {
			return tableError("column %q is in the header twice", column)
		}
		if _, ok := t.header[column]; !ok {
			missing = append(missing, strconv.Quote(column))
		}
	}
	if len(missing) > 0 {
		return tableError("the header has no column %s; it has %s", strings.Join(missing, ", "), strings.Join(t.names, ", "))
	}
	return nil
}

// next reads one record. It gives several rows for one that cannot be read: each of its lines may be a row of its own that a
// stray quote has swallowed.
func (t *table) next() ([]Row, error) {
	record, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	raw := t.input.cut(t.csv.InputOffset())
	var parse *csv.ParseError
	if err != nil && !errors.As(err, &parse) {
		if errors.Is(err, errRowTooLong) {
			return nil, tableError("a row after line %d is longer than %d MiB; a quote may have been opened and never closed", t.line, MaxRow>>20)
		}
		return nil, fmt.Errorf("read rows: %w", err)
	}
	if parse != nil {
		if errors.Is(parse.Err, csv.ErrQuote) && parse.Line > parse.StartLine && t.input.exhausted() {
			return nil, tableError("a quote is opened on line %d and never closed", parse.StartLine)
		}
		return t.broken(string(raw), parse.StartLine, parse.Err), nil
	}
	if t.header == nil {
		t.numberColumns(len(record))
	}
	line, _ := t.csv.FieldPos(0)
	t.line = line
	if len(record) != len(t.names) {
		return t.broken(string(raw), line, fmt.Errorf("%d fields, not %d", len(record), len(t.names))), nil
	}
	for i := range record {
		record[i] = t.unswap(record[i])
	}
	t.number++
	return []Row{{Number: t.number, Line: int64(line), fields: listFields{t.header, t.names, record}}}, nil
}

// numberColumns names the columns of a file without a header, by its first row.
func (t *table) numberColumns(n int) {
	t.header = make(map[string]int, n)
	for i := range n {
		name := strconv.Itoa(i + 1)
		t.header[name] = i
		t.names = append(t.names, name)
	}
}

func (t *table) broken(raw string, first int, fault error) []Row {
	var rows []Row
	line := int64(first)
	for text := range strings.Lines(raw) {
		if strings.TrimSpace(text) != "" {
			t.number++
			text = strings.TrimRight(text, "\r\n")
			rows = append(rows, Row{
				Number: t.number, Line: line, Fault: fault.Error(),
				fields: rawText{listFields{t.header, t.names, t.loose(text)}, t.unswap(text)},
			})
		}
		line++
	}
	return rows
}

// loose makes fields of a line however it is quoted.
func (t *table) loose(text string) []string {
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = t.delimiter, true, -1
	record, err := r.Read()
	if err != nil {
		return nil
	}
	for i := range record {
		record[i] = t.unswap(record[i])
	}
	return record
}

var errRowTooLong = errors.New("row too long")

// recorder keeps what was read since the last cut.
type recorder struct {
	r     io.Reader
	kept  []byte
	done  int   // of kept, what was cut
	start int64 // offset of kept[0]
	ended bool
}

func (r *recorder) Read(p []byte) (int, error) {
	if len(r.kept)-r.done > MaxRow {
		return 0, errRowTooLong
	}
	n, err := r.r.Read(p)
	if r.done > 0 {
		r.kept = append(r.kept[:0], r.kept[r.done:]...)
		r.start += int64(r.done)
		r.done = 0
	}
	r.kept = append(r.kept, p[:n]...)
	r.ended = r.ended || errors.Is(err, io.EOF)
	return n, err
}

// cut gives and forgets what was read up to an offset. It is valid until the next Read.
func (r *recorder) cut(offset int64) []byte {
	text := r.kept[r.done:int(offset-r.start)]
	r.done += len(text)
	return text
}

// exhausted says that everything there is was read and cut.
func (r *recorder) exhausted() bool { return r.ended && r.done == len(r.kept) }

// swapper exchanges two characters in UTF-8 text.
type swapper struct {
	r    io.Reader
	a, b rune
	in   []byte // unfinished character
	out  []byte
	err  error
}

func (s *swapper) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.fill()
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

func (s *swapper) fill() {
	buf := make([]byte, 32<<10)
	n, err := s.r.Read(buf)
	s.err = err
	text := append(s.in, buf[:n]...)
	end := len(text)
	for back := 1; err == nil && back < utf8.UTFMax && back <= len(text); back++ {
		if utf8.RuneStart(text[len(text)-back]) {
			if !utf8.FullRune(text[len(text)-back:]) {
				end = len(text) - back
			}
			break
		}
	}
	s.out = []byte(swap(string(text[:end]), s.a, s.b))
	s.in = slices.Clone(text[end:])
}

func swap(s string, a, b rune) string {
	if !strings.ContainsRune(s, a) && !strings.ContainsRune(s, b) {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case a:
			return b
		case b:
			return a
		}
		return r
	}, s)
}
