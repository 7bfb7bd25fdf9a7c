package rows_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"

	"github.com/orderstore/orderstore/cmd/orderctl/rows"
)

func utf8Encoding(t *testing.T) rows.Encoding {
	t.Helper()
	e, err := rows.NamedEncoding("UTF-8")
	require.NoError(t, err)
	return e
}

// read gives the rows as text: fields of the named columns joined by bars, or the fault.
func read(t *testing.T, r io.Reader, e rows.Encoding, f rows.Format, columns ...string) ([]string, error) {
	t.Helper()
	var got []string
	for row, err := range rows.Read(r, e, f) {
		if err != nil {
			return got, err
		}
		if row.Fault != "" {
			key, _ := row.Text(columns[0])
			got = append(got, "fault "+key)
			continue
		}
		var values []string
		for _, column := range columns {
			value, ok := row.Text(column)
			require.True(t, ok)
			values = append(values, value)
		}
		got = append(got, strings.Join(values, "|"))
	}
	return got, nil
}

const western = "id,name\n1,José Müller\n2,François\u00a0Béranger\n3,“crème” – brûlée\n"

func TestEncodingsAreDetectedOrNamed(t *testing.T) {
	t.Parallel()
	chinese := "id,name\n1,张伟订购不锈钢保温杯\n2,李娜订购儿童积木玩具\n"
	for name, tc := range map[string]struct {
		text  string
		with  encoding.Encoding
		found string
	}{
		"plain ASCII":            {"id,name\n1,a\n", encoding.Nop, "utf-8"},
		"UTF-8":                  {chinese, encoding.Nop, "utf-8"},
		"UTF-8 with a mark":      {chinese, unicode.UTF8BOM, "utf-8"},
		"UTF-16 LE with a mark":  {chinese, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), "utf-16le"},
		"UTF-16 BE with a mark":  {chinese, unicode.UTF16(unicode.BigEndian, unicode.UseBOM), "utf-16be"},
		"UTF-16 LE without":      {western, unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), "utf-16le"},
		"UTF-16 BE without":      {western, unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), "utf-16be"},
		"UTF-32 LE with a mark":  {western, utf32.UTF32(utf32.LittleEndian, utf32.UseBOM), "utf-32le"},
		"UTF-32 BE with a mark":  {western, utf32.UTF32(utf32.BigEndian, utf32.UseBOM), "utf-32be"},
		"GB18030":                {chinese, simplifiedchinese.GB18030, "gb18030"},
		"Windows-1252":           {western, charmap.Windows1252, "windows-1252"},
		"Shift JIS":              {"id,name\n1,山田太郎がステンレスボトルを注文\n", japanese.ShiftJIS, "shift_jis"},
		"Big5":                   {"id,name\n1,陳大文訂購不鏽鋼保溫杯\n", traditionalchinese.Big5, "big5"},
		"Windows-1251":           {"id,name\n1,Иван Петров заказал стол и стулья\n", charmap.Windows1251, "windows-1251"},
		"a byte late in a file":  {strings.Repeat("1,plain\n", 50_000) + "2,na\u00efve caf\u00e9\n", charmap.Windows1252, "windows-1252"},
		"damaged UTF-8":          {strings.Repeat(chinese, 5) + "3,\xe4\xb8", encoding.Nop, "utf-8"},
		"a long file of Chinese": {strings.Repeat(chinese, 5000), simplifiedchinese.GB18030, "gb18030"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, err := tc.with.NewEncoder().Bytes([]byte(tc.text))
			require.NoError(t, err)
			found, err := rows.DetectEncoding(iotest.HalfReader(bytes.NewReader(file)))
			require.NoError(t, err)
			require.Equal(t, tc.found, found.Name)
			named, err := rows.NamedEncoding(tc.found)
			require.NoError(t, err)
			want, err := read(t, strings.NewReader(tc.text), utf8Encoding(t), rows.Format{NoHeader: true}, "1", "2")
			require.NoError(t, err)
			for _, e := range []rows.Encoding{found, named} {
				got, err := read(t, bytes.NewReader(file), e, rows.Format{NoHeader: true}, "1", "2")
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
		})
	}
}

func TestWhatIsNoTextIsNotGuessedAt(t *testing.T) {
	t.Parallel()
	arabic, err := charmap.Windows1256.NewEncoder().Bytes([]byte(strings.Repeat("رقم,الاسم\n1,محمد أحمد\n", 20)))
	require.NoError(t, err)
	for name, file := range map[string][]byte{
		"what fits nothing": arabic,
		"zeroes":            make([]byte, 1000),
	} {
		_, err := rows.DetectEncoding(bytes.NewReader(file))
		require.ErrorIs(t, err, rows.ErrEncoding, name)
	}
	_, err = rows.NamedEncoding("klingon")
	require.ErrorIs(t, err, rows.ErrEncoding)
	broken := errors.New("disk")
	_, err = rows.DetectEncoding(iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)
}

func TestAMarkOverrulesTheName(t *testing.T) {
	t.Parallel()
	named, err := rows.NamedEncoding("windows-1252")
	require.NoError(t, err)
	got, err := read(t, strings.NewReader("\ufeffid,name\n1,中\n"), named, rows.Format{}, "id", "name")
	require.NoError(t, err)
	require.Equal(t, []string{"1|中"}, got)
}

func TestCSVDialects(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text   string
		format rows.Format
		want   []string
	}{
		"quoted line ends and quotes": {"id,name\r\n1,\"a\r\nb \"\"c\"\", d\"\r\n\r\n2,e\r\n", rows.Format{}, []string{"1|a\nb \"c\", d", "2|e"}},
		"semicolons":                  {"id;name\n1;a,b\n", rows.Format{Delimiter: ';'}, []string{"1|a,b"}},
		"tabs, no last line end":      {"id\tname\n1\ta", rows.Format{Delimiter: '\t'}, []string{"1|a"}},
		"single quotes":               {"id,name\n1,'a, \"b\" ''c'''\n2,d\"e\n", rows.Format{Quote: '\''}, []string{"1|a, \"b\" 'c'", "2|d\"e"}},
		"a quote of many bytes":       {"id,name\n1,«a, b«\n", rows.Format{Quote: '«'}, []string{"1|a, b"}},
		"no quotes":                   {"id,name\n1,6\" nail\n2,\"x\n", rows.Format{NoQuotes: true}, []string{"1|6\" nail", "2|\"x"}},
		"spaces around names":         {" id , name\n1, a\n", rows.Format{}, []string{"1| a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(tc.text), iotest.OneByteReader(strings.NewReader(tc.text))} {
				got, err := read(t, r, utf8Encoding(t), tc.format, "id", "name")
				require.NoError(t, err)
				require.Equal(t, tc.want, got)
			}
		})
	}
}

func TestRowsCountAsInASpreadsheetAndLinesAsInAnEditor(t *testing.T) {
	t.Parallel()
	var got [][2]int64
	for row, err := range rows.Read(strings.NewReader("id,name\n1,\"a\nb\"\n\n2,c\n3,d\n"), utf8Encoding(t), rows.Format{}) {
		require.NoError(t, err)
		got = append(got, [2]int64{row.Number, row.Line})
	}
	require.Equal(t, [][2]int64{{2, 2}, {3, 5}, {4, 6}}, got)
}

// A stray quote swallows the rows after it. Each of them is told as a row that cannot be read, with its key, so that the
// orders they belong to are not taken for whole.
func TestBadRowsKeepTheirKeys(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"too few fields":         {"id,name,qty\n1,a,1\n2,b\n3,c,3\n", []string{"1", "fault 2", "3"}},
		"too many fields":        {"id,name,qty\n1,a,1\n2,b,2,x\n3,c,3\n", []string{"1", "fault 2", "3"}},
		"a quote in a field":     {"id,name,qty\n1,a,1\n2,b\"c,2\n3,c,3\n", []string{"1", "fault 2", "3"}},
		"text after a quote":     {"id,name,qty\n1,a,1\n2,\"b\"c,2\n3,c,3\n", []string{"1", "fault 2", "3"}},
		"a quote over two rows":  {"id,name,qty\n1,a,1\n2,\"b,2\n3,\"c\",3\n4,d,4\n", []string{"1", "fault 2", "fault 3", "4"}},
		"a quote over all names": {"id,name,qty\n1,a,1\n2,\"b,2\n3,c,3\n4,d\",4,9\n5,e,5\n", []string{"1", "fault 2", "fault 3", "fault 4", "5"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(t, strings.NewReader(tc.text), utf8Encoding(t), rows.Format{}, "id")
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestWhatIsNoTableIsRefusedWhole(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, says string }{
		"empty":                    {"", "no header"},
		"missing columns":          {"id,nam\n1,a\n", `no column "name"`},
		"a column twice":           {"id,name,name\n1,a,b\n", `"name" is in the header twice`},
		"a quote never closed":     {"id,name\n1,a\n2,\"b\n3,c\n4,d\n", "opened on line 3 and never closed"},
		"a row that does not end":  {"id,name\n1,\"" + strings.Repeat("x", rows.MaxRow+100_000) + "\"\n", "longer than 16 MiB"},
		"a quote in the header":    {"id,\"name\"x\n", "header"},
		"a header never finished":  {"id,\"name\n1,2\n", "header"},
		"a header of another kind": {"{\"id\":1}\n", "header"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := read(t, strings.NewReader(tc.text), utf8Encoding(t), rows.Format{Columns: []string{"id", "name"}}, "id")
			require.ErrorIs(t, err, rows.ErrTable)
			require.ErrorContains(t, err, tc.says)
		})
	}
	broken := errors.New("disk")
	_, err := read(t, io.MultiReader(strings.NewReader("id,name\n1,a\n2,"), iotest.ErrReader(broken)), utf8Encoding(t), rows.Format{}, "id")
	require.ErrorIs(t, err, broken)
}

func TestNDJSON(t *testing.T) {
	t.Parallel()
	text := `{"id":1,"who":{"name":"a","tags":["x","y"]},"big":9007199254740993,"ok":true,"none":null,"a/b":"slash"}

{"id":2
[3]
null
{"id":4} {"id":5}
{"id":6,"items":[{"sku":"A"},{"sku":"B"},7]}`
	var got []rows.Row
	for row, err := range rows.Read(strings.NewReader(text), utf8Encoding(t), rows.Format{NDJSON: true}) {
		require.NoError(t, err)
		got = append(got, row)
	}
	require.Len(t, got, 6)
	for column, want := range map[string]string{
		"id": "1", "/id": "1", "/who/name": "a", "/who/tags/1": "y", "big": "9007199254740993", "ok": "true", "/a~1b": "slash", "/who/tags": `["x","y"]`,
	} {
		value, ok := got[0].Text(column)
		require.True(t, ok, column)
		require.Equal(t, want, value)
	}
	for _, column := range []string{"none", "nothing", "/who/tags/2", "/who/tags/x", "/id/x"} {
		_, ok := got[0].Text(column)
		require.False(t, ok, column)
	}
	for _, bad := range got[1:5] {
		require.NotEmpty(t, bad.Fault)
	}
	require.Equal(t, int64(3), got[1].Line)
	require.Equal(t, int64(2), got[1].Number)
	items := got[5].Items("/items")
	require.Len(t, items, 3)
	sku, _ := items[1].Text("sku")
	require.Equal(t, "B", sku)
	require.NotEmpty(t, items[2].Fault)
	require.Empty(t, got[0].Items("items"))

	_, err := read(t, strings.NewReader(`{"x":"`+strings.Repeat("y", rows.MaxRow)), utf8Encoding(t), rows.Format{NDJSON: true}, "x")
	require.ErrorIs(t, err, rows.ErrTable)
}

func TestRowsShowThemselvesInReports(t *testing.T) {
	t.Parallel()
	var shown []string
	for row, err := range rows.Read(strings.NewReader("id,name\n1,a\n2,\"b\"c\n3\n"), utf8Encoding(t), rows.Format{}) {
		require.NoError(t, err)
		b, err := json.Marshal(row)
		require.NoError(t, err)
		shown = append(shown, string(b))
	}
	require.JSONEq(t, `{"row":2,"line":2,"fields":{"id":"1","name":"a"}}`, shown[0])
	require.Contains(t, shown[1], `"fields":"2,\"b\"c"`)
	require.Contains(t, shown[2], `"fault":"1 fields, not 2"`)
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("id,name\n1,\"a\nb\"\n2,\"x\"y\n"), byte(0))
	f.Add([]byte("id;name\n1;'a''b'\n"), byte(1))
	f.Add([]byte("{\"id\":[1,{}]}\n{\n"), byte(2))
	f.Add([]byte("\xff\xfei\x00,\x00n\x00\n\x001\x00,\x002\x00"), byte(0))
	f.Add([]byte("a,b\n\"1,2\n3,4\n"), byte(3))
	f.Fuzz(func(t *testing.T, file []byte, kind byte) {
		format := []rows.Format{{}, {Delimiter: ';', Quote: '\''}, {NDJSON: true}, {NoHeader: true}, {NoQuotes: true, Delimiter: '\t'}}[int(kind)%5]
		e, err := rows.DetectEncoding(bytes.NewReader(file))
		if err != nil {
			e = utf8Encoding(t)
		}
		var last rows.Row
		for row, err := range rows.Read(bytes.NewReader(file), e, format) {
			if err != nil {
				break
			}
			if row.Number <= last.Number || row.Line < last.Line {
				t.Fatalf("row %d on line %d after row %d on line %d", row.Number, row.Line, last.Number, last.Line)
			}
			last = row
			if _, err := json.Marshal(row); err != nil {
				t.Fatal(err)
			}
			row.Text("id")
			row.Items("/id")
		}
	})
}
