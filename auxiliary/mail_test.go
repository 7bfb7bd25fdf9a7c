package auxiliary

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/events"
)

// readMail is a mail as its reader sees it.
type readMail struct {
	header     netmail.Header
	raw        string
	subject    string
	to         *netmail.Address
	text, html string
}

func parseMail(t testing.TB, raw []byte) readMail {
	t.Helper()
	msg, err := netmail.ReadMessage(bytes.NewReader(raw))
	require.NoError(t, err)
	m := readMail{header: msg.Header, raw: string(raw)}
	m.subject, err = new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	require.NoError(t, err)
	list, err := msg.Header.AddressList("To")
	require.NoError(t, err, msg.Header.Get("To"))
	require.Len(t, list, 1)
	m.to = list[0]
	media, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", media)
	parts := multipart.NewReader(msg.Body, params["boundary"])
	m.text = part(t, parts, "text/plain; charset=UTF-8")
	m.html = part(t, parts, "text/html; charset=UTF-8")
	_, err = parts.NextRawPart()
	require.ErrorIs(t, err, io.EOF)
	return m
}

func part(t testing.TB, parts *multipart.Reader, contentType string) string {
	t.Helper()
	p, err := parts.NextRawPart()
	require.NoError(t, err)
	require.Equal(t, contentType, p.Header.Get("Content-Type"))
	require.Equal(t, "quoted-printable", p.Header.Get("Content-Transfer-Encoding"))
	body, err := io.ReadAll(quotedprintable.NewReader(p))
	require.NoError(t, err)
	require.True(t, utf8.Valid(body))
	return strings.ReplaceAll(string(body), "\r\n", "\n")
}

func render(t testing.TB, position int64, n noticeMail) []byte {
	t.Helper()
	m, err := newMailer(`"Łódź Shop 店" <orders@shop.example>`, nil, newWords(nil, noon))
	require.NoError(t, err)
	words, err := m.word(t.Context(), &n)
	require.NoError(t, err)
	msg := m.message(position, "0198c0de-0000-7000-8000-000000000001", &n, words)
	var out bytes.Buffer
	_, err = msg.WriteTo(&out)
	require.NoError(t, err)
	return out.Bytes()
}

func TestMailSaysWhatHappened(t *testing.T) {
	t.Parallel()
	n := noticeMail{
		Event: events.OrderPlaced, At: noon(), Name: "王小明", Address: "ming@example.com", Ref: "订单-١٢٣-🎁", Currency: "JPY", Total: 120500,
		Shipping: 500, Lines: []mailLine{{Name: "قهوة <b>عربية</b>", Quantity: 3, Total: 120000}}, More: 2,
	}
	m := parseMail(t, render(t, 12, n))
	assert.Equal(t, "We have your order 订单-١٢٣-🎁", m.subject)
	assert.Equal(t, netmail.Address{Name: "王小明", Address: "ming@example.com"}, *m.to)
	assert.Equal(t, "<notice.12.0198c0de-0000-7000-8000-000000000001@shop.example>", m.header.Get("Message-ID"))
	assert.Equal(t, "Sun, 01 Mar 2026 12:00:00 +0000", m.header.Get("Date"))
	assert.Equal(t, "auto-generated", m.header.Get("Auto-Submitted"))
	from, err := m.header.AddressList("From")
	require.NoError(t, err)
	assert.Equal(t, "Łódź Shop 店", from[0].Name)
	assert.Equal(t, `Hello 王小明,

thank you for your order 订单-١٢٣-🎁. We have it and will see to it.

  3 x قهوة <b>عربية</b>: 120000 JPY
  and 2 more
  Shipping: 500 JPY

Total: 120500 JPY
`, m.text)
	assert.Contains(t, m.html, "<bdi>قهوة &lt;b&gt;عربية&lt;/b&gt;</bdi>")
	assert.NotContains(t, m.html, "<b>")

	n.Event, n.Currency = events.OrderCompleted, "USD"
	m = parseMail(t, render(t, 13, n))
	assert.Equal(t, "Your order 订单-١٢٣-🎁 is complete", m.subject)
	assert.Contains(t, m.text, "Total: 1205.00 USD")
	n.Event, n.Currency, n.Reason, n.Name = events.OrderRejected, "KWD", "sold out", ""
	m = parseMail(t, render(t, 14, n))
	assert.Equal(t, "Your order 订单-١٢٣-🎁 could not be carried out", m.subject)
	assert.True(t, strings.HasPrefix(m.text, "Hello,\n"), m.text)
	assert.Contains(t, m.text, "over 120.500 KWD")
	assert.Contains(t, m.text, "Reason: sold out")
	assert.Contains(t, m.html, "<bdi>sold out</bdi>")
}

func TestMailListsWhatCameBack(t *testing.T) {
	t.Parallel()
	order := placed(&events.Customer{Name: "Ann", Email: "ann@example.com"})
	back := broughtBack(order)
	found := noticesIn([]events.Event{order, back})
	require.Len(t, found, 2)
	found[0].customer = found[0].placed.Customer
	o := noticeOrderOf(&found[0])
	m := parseMail(t, render(t, 2, noticeMailOf(&found[1], &o)))
	assert.Equal(t, "We have what came back of your order "+o.ref, m.subject)
	assert.Contains(t, m.text, "\n  1 x cup: 10.00 USD\n\nReason: chipped")
	assert.Contains(t, m.html, "<bdi>cup</bdi>")
}

func TestTheSameMailAgainHasTheSameBytes(t *testing.T) {
	t.Parallel()
	n := noticeMail{Event: events.OrderPlaced, At: noon(), Name: "A", Address: "a@example.com", Ref: "1", Currency: "USD", Total: 1}
	first, second := render(t, 9, n), render(t, 9, n)
	assert.Equal(t, string(first), string(second))
}

// hostile is text that customers might send, with what breaks mails in the wild.
func hostile() *rapid.Generator[string] {
	bits := rapid.SampledFrom([]string{
		"a", "\r\nBcc: victim@example.com\r\n", "\n\n", "\r", "\x00", "=?utf-8?q?x?=", "王小明", "العربية", "👩‍👩‍👧", "\u202egnp", "\u2028",
		"\"", "<", ">", "@", ",", ";", ":", "\\", " ", "\t", strings.Repeat("x", 90), "{{.Name}}", "\xff", "é", ".\r\n",
	})
	return rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(bits, 0, 12).Draw(t, "bits"), "") })
}

func TestHeadersCannotBeInjected(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := noticeMail{
			Event: events.OrderPlaced, At: noon(), Address: "a@example.com", Currency: "USD",
			Name: hostile().Draw(rt, "name"), Ref: hostile().Draw(rt, "ref"),
			Lines: []mailLine{{Name: hostile().Draw(rt, "line"), Quantity: 1}},
		}
		m := parseMail(t, render(t, 5, n))
		var names []string
		for name := range m.header {
			names = append(names, name)
		}
		require.ElementsMatch(rt, []string{"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}, names)
		for name, values := range m.header {
			require.Len(rt, values, 1, name)
		}
		require.Equal(rt, "a@example.com", m.to.Address)
		require.Equal(rt, displayName(clean(n.Name)), m.to.Name)
		require.Equal(rt, clean("We have your order "+clean(n.Ref)), m.subject)
		head, _, _ := strings.Cut(m.raw, "\r\n\r\n")
		for line := range strings.SplitSeq(head, "\r\n") {
			require.LessOrEqual(rt, len(line), 998, "RFC 5322")
			require.NotContains(rt, line, "\n")
		}
	})
}

func TestUsableAddress(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"a@example.com": "a@example.com", " a.b+c@Example.COM ": "a.b+c@example.com", "ann@例え.jp": "ann@xn--r8jz45g.jp",
		"用户@例え.jp": "用户@xn--r8jz45g.jp", "o'neil@example.com": "o'neil@example.com",
		"": "", "a": "", "@example.com": "", "a@": "", "a@b@example.com": "", "Ann <a@example.com>": "", "a@example.com, b@example.com": "",
		"a@example.com\r\nBcc: b@example.com": "", "a\n@example.com": "", "a b@example.com": "", `"a b"@example.com`: "", "a@exa mple.com": "",
		"a@[127.0.0.1]": "", "a@-x-.com": "", "a..b@example.com": "", "a\u200b@example.com": "", "a@exa\u202emple.com": "", "(x)a@example.com": "",
		strings.Repeat("a", 65) + "@example.com": "", "a@" + strings.Repeat("b.", 130) + "com": "", "a\x00@example.com": "", "\xff@example.com": "",
	} {
		got, ok := usableAddress(raw)
		assert.Equal(t, want, got, "%q", raw)
		assert.Equal(t, want != "", ok, "%q", raw)
	}
}

func FuzzUsableAddress(f *testing.F) {
	f.Add("a@example.com")
	f.Add("a@example.com>\r\nRCPT TO:<b@example.com")
	f.Add("用户@例え.jp")
	f.Fuzz(func(t *testing.T, raw string) {
		address, ok := usableAddress(raw)
		if !ok {
			return
		}
		if strings.ContainsAny(address, "\r\n<>, \x00") || strings.Count(address, "@") != 1 || len(address) > 254 {
			t.Fatalf("%q became %q", raw, address)
		}
		if again, ok := usableAddress(address); !ok || again != address {
			t.Fatalf("%q became %q, then %q", raw, address, again)
		}
		parsed, err := netmail.ParseAddress((&netmail.Address{Name: "N", Address: address}).String())
		if err != nil || parsed.Address != address {
			t.Fatalf("%q is written as something else: %v", address, err)
		}
	})
}

func TestMasked(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "c***@example.com", masked("carol@example.com"))
	assert.Equal(t, "用***@xn--r8jz45g.jp", masked("用户@xn--r8jz45g.jp"))
}

func TestMailFolderKeepsOneFileAnEvent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	d, err := NewMailDir(dir)
	require.NoError(t, err)
	m, err := newMailer("shop@example.com", d, newWords(nil, noon))
	require.NoError(t, err)
	n := noticeMail{Event: events.OrderCompleted, At: noon(), Address: "a@example.com", Ref: "R", Currency: "USD"}
	require.NoError(t, m.send(t.Context(), 7, "o", &n))
	require.NoError(t, m.send(t.Context(), 7, "o", &n))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, "7.eml", entries[0].Name())
	info, err := entries[0].Info()
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "mails hold personal data")

	require.NoError(t, os.RemoveAll(dir))
	assert.ErrorIs(t, m.send(t.Context(), 8, "o", &n), errTargetAway)
}

func TestSenderAddressIsChecked(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"", "nobody", "a@", "a@example.com\r\nBcc: b@example.com", "Shop <a@[127.0.0.1]>"} {
		_, err := NewNotices(NoticesConfig{From: from})
		assert.Error(t, err, "%q", from)
	}
}
