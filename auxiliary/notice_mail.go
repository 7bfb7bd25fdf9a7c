package auxiliary

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	htmltemplate "html/template"
	netmail "net/mail"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/Rhymond/go-money"
	"github.com/shopspring/decimal"
	gomail "github.com/wneessen/go-mail"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/customerkeys"
)

//go:embed templates
var templateFiles embed.FS

const (
	maxText      = 200 // characters of a customer's text in a mail
	maxMailLines = 100 // lines of an order that a mail lists
)

// noticeMail is what a mail is made of. It waits in the outbox.
type noticeMail struct {
	Event    events.Type `json:"event"`
	Tenant   string      `json:"tenant,omitempty"`
	Language string      `json:"language,omitempty"` // that the order asks for
	Phone    string      `json:"phone,omitempty"`
	At       time.Time   `json:"at"`
	Name     string      `json:"name,omitempty"`
	Address  string      `json:"address"`
	Channel  string      `json:"channel"`
	Ref      string      `json:"ref"`
	Currency string      `json:"currency"`
	Total    int64       `json:"total"`
	Shipping int64       `json:"shipping,omitempty"`
	Reason   string      `json:"reason,omitempty"`
	Lines    []mailLine  `json:"lines,omitempty"` // what was ordered, or what came back
	More     int         `json:"more,omitempty"`  // lines that are not listed
}

type mailLine struct {
	Name     string `json:"name"`
	Quantity int64  `json:"quantity"`
	Total    int64  `json:"total"`
}

func noticeMailOf(n *notice, o *noticeOrder) noticeMail {
	m := noticeMail{
		Event: n.event, At: n.at, Name: o.name, Address: o.address, Channel: o.channel, Ref: o.ref,
		Currency: o.currency, Total: o.total, Reason: n.reason, Tenant: o.tenant, Language: o.language, Phone: o.phone,
	}
	if n.returned != nil {
		for i := range n.returned.Lines {
			l := &n.returned.Lines[i]
			m.list(mailLine{Name: l.SKU, Quantity: l.Quantity, Total: l.Total})
		}
	}
	if n.placed == nil {
		return m
	}
	m.Shipping = n.placed.Shipping
	for i := range n.placed.Lines {
		l := &n.placed.Lines[i]
		m.list(mailLine{Name: cmp.Or(l.Name, l.SKU), Quantity: l.Quantity, Total: l.Total})
	}
	return m
}

// list adds a line, as long as there are not too many.
func (m *noticeMail) list(l mailLine) {
	if len(m.Lines) == maxMailLines {
		m.More++
		return
	}
	m.Lines = append(m.Lines, l)
}

// mailer makes mails out of templates and hands them to a target.
type mailer struct {
	from   *netmail.Address
	domain string // of the message ids
	target Target
	words  *words
	text   *texttemplate.Template
	html   *htmltemplate.Template
}

func newMailer(from string, target Target, w *words) (*mailer, error) {
	address, err := netmail.ParseAddress(from)
	if err != nil {
		return nil, fmt.Errorf("sender address: %w", err)
	}
	usable, ok := usableAddress(address.Address)
	if !ok {
		return nil, fmt.Errorf("sender address %q cannot be used", address.Address)
	}
	address.Address = usable
	m := &mailer{from: address, domain: usable[strings.LastIndexByte(usable, '@')+1:], target: target, words: w}
	if m.text, err = texttemplate.ParseFS(templateFiles, "templates/en/*.txt"); err != nil {
		return nil, fmt.Errorf("mail templates: %w", err)
	}
	if m.html, err = htmltemplate.ParseFS(templateFiles, "templates/en/*.html"); err != nil {
		return nil, fmt.Errorf("mail templates: %w", err)
	}
	return m, nil
}

func (m *mailer) send(ctx context.Context, position int64, orderID string, n *noticeMail) error {
	words, err := m.word(ctx, n)
	if err != nil {
		return err
	}
	msg := m.message(position, orderID, n, words)
	return m.target.Deliver(ctx, position, msg)
}

// mailView is what the templates see.
type mailView struct {
	Name, Channel, Ref, Total, Shipping, Reason string
	Lines                                       []lineView
	More                                        int
}

type lineView struct {
	Name, Total string
	Quantity    int64
}

func viewOf(n *noticeMail) mailView {
	v := mailView{
		Name: clean(n.Name), Channel: clean(n.Channel), Ref: clean(n.Ref), Reason: clean(n.Reason),
		Total: amount(n.Total, n.Currency), More: n.More,
	}
	if n.Shipping != 0 {
		v.Shipping = amount(n.Shipping, n.Currency)
	}
	for _, l := range n.Lines {
		v.Lines = append(v.Lines, lineView{Name: clean(l.Name), Quantity: l.Quantity, Total: amount(l.Total, n.Currency)})
	}
	return v
}

// word puts a notice in the tenant's own words, or in those that ship with the project.
func (m *mailer) word(ctx context.Context, n *noticeMail) (wording, error) {
	tenant, err := m.words.of(ctx, n.Tenant)
	if err != nil {
		return wording{}, err
	}
	view := viewOf(n)
	var w wording
	if own := tenant.find(string(n.Event), n.Language); own != nil {
		w, err = own.render(&view)
	} else {
		w, err = m.shipped(string(n.Event), &view)
	}
	if err != nil {
		return w, Undeliverable(err)
	}
	w.subject = clean(w.subject)
	return w, nil
}

// shipped is the wording by the project's own templates.
func (m *mailer) shipped(event string, view *mailView) (w wording, err error) {
	if w.subject, err = rendered(func(to *bounded) error { return m.text.ExecuteTemplate(to, event+".subject", view) }); err != nil {
		return w, fmt.Errorf("subject: %w", err)
	}
	if w.text, err = rendered(func(to *bounded) error { return m.text.ExecuteTemplate(to, event+".txt", view) }); err != nil {
		return w, fmt.Errorf("text: %w", err)
	}
	if w.html, err = rendered(func(to *bounded) error { return m.html.ExecuteTemplate(to, event+".html", view) }); err != nil {
		return w, fmt.Errorf("html: %w", err)
	}
	return w, nil
}

// message makes the mail of an event. Made again of the same words it is the same, byte for byte.
func (m *mailer) message(position int64, orderID string, n *noticeMail, w wording) *gomail.Msg {
	// Nobody can write a text that holds the hash of itself, so the boundary is in none of the parts.
	boundary := sha256.Sum256([]byte(w.text + w.html))
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithBoundary(hex.EncodeToString(boundary[:])))
	msg.FromMailAddress(m.from)
	msg.ToMailAddress(&netmail.Address{Name: displayName(clean(n.Name)), Address: n.Address})
	msg.Subject(w.subject)
	msg.SetDateWithValue(n.At.UTC())
	msg.SetMessageIDWithValue(fmt.Sprintf("notice.%d.%s@%s", position, orderID, m.domain))
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, w.text)
	if w.html != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, w.html)
	}
	return msg
}

// amount writes minor units as people do: 123450 USD is "1234.50 USD".
func amount(minor int64, currency string) string {
	digits := minorDigits(currency)
	return decimal.New(minor, -int32(digits)).StringFixed(int32(digits)) + " " + currency //nolint:gosec // at most four digits
}

// minorDigits is how many digits of an amount come after the point: 2 for USD, 0 for JPY, 3 for KWD (ISO 4217).
func minorDigits(currency string) int {
	if c := money.GetCurrency(currency); c != nil {
		return c.Fraction
	}
	return 0
}

// clean makes a customer's text fit for one line of a mail: no control characters, no overrides of the writing direction, not
// too long. Joiners and marks that scripts and emoji need stay.
func clean(s string) string {
	kept := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case '\u202a' <= r && r <= '\u202e', '\u2066' <= r && r <= '\u2069', r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
	// An encoded word (RFC 2047) that a customer wrote would be decoded by the reader's program.
	kept = strings.ReplaceAll(strings.Join(strings.Fields(kept), " "), "=?", "= ?")
	if utf8.RuneCountInString(kept) > maxText {
		kept = string([]rune(kept)[:maxText]) + "…"
	}
	return kept
}

// displayName leaves out the one character that net/mail writes into an encoded word where RFC 2047 does not allow it.
func displayName(name string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(name, `\`, "")), " ")
}

// usableAddress gives the address in the form in which it is sent to; false for what is no plain address.
func usableAddress(raw string) (string, bool) { return customerkeys.Address(raw) }

// masked shows enough of an address to recognise one's own: c***@example.com.
func masked(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 1 {
		return "***"
	}
	_, first := utf8.DecodeRuneInString(address)
	return address[:first] + "***" + address[at:]
}
