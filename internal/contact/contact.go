// Package contact gives e-mail addresses and telephone numbers in one form of the many they may be written in, so that the same
// customer is recognised.
package contact

import (
	netmail "net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
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
	address, ok := Address(norm.NFC.String(raw))
	return cases.Fold().String(address), ok
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
