package httpapi

// Card numbers have 13 to 19 digits (ISO/IEC 7812).
const (
	minCard = 13
	maxCard = 19
)

// HasCardNumber tells whether text holds what looks like a payment card number: 13 to 19 digits, perhaps in groups with a
// single space or dash between them, with a right check digit and a prefix and length that card schemes use. Free text
// with one is refused, so that no card number gets into events or logs. It is for free text alone: one in ten 13-digit
// article numbers (EAN) that begin with 4 has a right check digit too.
func HasCardNumber(s string) bool {
	for i := range len(s) {
		if isDigit(s[i]) && (i == 0 || !isDigit(s[i-1])) && cardStartsAt(s, i) {
			return true
		}
	}
	return false
}

// cardStartsAt tries each end of a group of digits after start, which is the beginning of one.
func cardStartsAt(s string, start int) bool {
	var digits [maxCard]byte
	n := 0
	for i := start; i < len(s); i++ {
		if !isDigit(s[i]) {
			if (s[i] != ' ' && s[i] != '-') || i+1 == len(s) || !isDigit(s[i+1]) {
				return false
			}
			continue
		}
		if n == maxCard {
			return false
		}
		digits[n] = s[i] - '0'
		n++
		ends := i+1 == len(s) || !isDigit(s[i+1])
		if ends && n >= minCard && knownScheme(digits[:n]) && luhn(digits[:n]) {
			return true
		}
	}
	return false
}

// knownScheme holds prefix and length against those in use: Visa, Mastercard, American Express, Discover, JCB, UnionPay.
func knownScheme(d []byte) bool {
	two := int(d[0])*10 + int(d[1])
	four := two*100 + int(d[2])*10 + int(d[3])
	switch {
	case d[0] == 4:
		return len(d) == 13 || len(d) == 16 || len(d) == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720:
		return len(d) == 16
	case two == 34, two == 37:
		return len(d) == 15
	case four == 6011, two == 65, four/10 >= 644 && four/10 <= 649, two == 35, two == 62:
		return len(d) >= 16
	}
	return false
}

// luhn checks the check digit (ISO/IEC 7812-1, annex B).
func luhn(d []byte) bool {
	sum := 0
	for i, v := range d {
		n := int(v)
		if (len(d)-i)%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
