package customerkeys

import (
	netmail "net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/orderstore/orderstore/internal/searchtext"
)

// The limits of RFC 5321, in bytes.
const (
	maxLocalPart = 64
	maxAddress   = 254
)

// Address gives the address in the form in which it is sent to, its domain in ASCII; false for what is no plain
// address: with a display name, quoting, comments, blanks or control characters, or too long.
func Address(raw string) (string, bool) {
	raw = strings.TrimSpace(raw)
	at := strings.LastIndexByte(raw, '@')
	if at < 1 || at > maxLocalPart || !utf8.ValidString(raw) {
		return "", false
	}
	local, domain := raw[:at], raw[at+1:]
	if strings.ContainsAny(local, "\"\\(),:;<>[]@") || strings.ContainsFunc(local, notInAddress) {
		return "", false
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil || ascii == "" {
		return "", false
	}
	address := local + "@" + ascii
	parsed, err := netmail.ParseAddress(address)
	if err != nil || parsed.Address != address || len(address) > maxAddress {
		return "", false
	}
	return address, true
}

func notInAddress(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}

// Email gives an address in one form of the many it may be written in: the domain in ASCII, letters folded.
func Email(raw string) (string, bool) {
	if common(raw) {
		return raw, true
	}
	address, ok := Address(norm.NFC.String(raw))
	return cases.Fold().String(address), ok
}

// common recognises most of the addresses that are in their one form already, which saves looking through the tables of Unicode.
func common(raw string) bool {
	local, domain, found := strings.Cut(raw, "@")
	if !found || len(local) > maxLocalPart || len(raw) > maxAddress || strings.Contains(domain, "--") {
		return false
	}
	for _, part := range [2]string{local, domain} {
		before := byte('.')
		for i := range len(part) {
			c := part[i]
			switch {
			case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			case c == '.' || c == '-':
				if before == '.' || before == '-' {
					return false
				}
			default:
				return false
			}
			before = c
		}
		if before == '.' || before == '-' {
			return false
		}
	}
	return true
}

// Phone gives a number in E.164. Without a + it is read as one of the country, an ISO 3166 code, where that is known.
func Phone(raw, country string) (string, bool) {
	if strings.TrimSpace(raw) == "" {
		return "", false
	}
	number, err := phonenumbers.Parse(raw, strings.ToUpper(country))
	if err != nil || !phonenumbers.IsPossibleNumber(number) {
		return "", false
	}
	return phonenumbers.Format(number, phonenumbers.E164), true
}

// PlainEmail is Email, and what cannot be an address in one form all the same.
func PlainEmail(raw string) string {
	if plain, ok := Email(raw); ok {
		return plain
	}
	return searchtext.Customer(raw)
}

// PlainPhone is Phone, and what cannot be a number in one form all the same.
func PlainPhone(raw, country string) string {
	if plain, ok := Phone(raw, country); ok {
		return plain
	}
	return searchtext.Customer(raw)
}

// Found gives the marks by which an order is found by what is said of its customer, however that is written.
func (m *Master) Found(tenant string, values ...string) []string {
	var marks []string
	for _, value := range values {
		if folded := searchtext.Customer(value); folded != "" {
			marks = append(marks, m.Mark(tenant, searchtext.KindCustomer, folded))
		}
	}
	return marks
}
