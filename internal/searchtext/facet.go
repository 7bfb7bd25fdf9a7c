package searchtext

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// Kinds of facets: what an order can be found by as a whole value.
const (
	KindChannel      = "channel"
	KindBusinessType = "business_type"
	KindRegion       = "region"
	KindProvider     = "provider"
	KindSKU          = "sku"
	KindCustomer     = "customer"
)

// Facet gives the number that stands for a value of a kind in a tenant's orders: 64 bits of a hash. Two values may have the same one by
// a chance that no store of orders is large enough to meet; nobody can find two of them on purpose for another tenant's values.
func Facet(tenant, kind, value string) int64 {
	// Neither tenants nor kinds hold a zero byte.
	text := make([]byte, 0, 128)
	text = append(append(text, tenant...), 0)
	text = append(append(text, kind...), 0)
	sum := sha256.Sum256(append(text, value...))
	return int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // a hash: any 64 bits will do
}

// minPhone is how many digits a telephone number has at least.
const minPhone = 5

// Customer gives the form in which a customer's name, email address or telephone number is compared. Of a number only the digits count,
// without the zeros that some dial before a country: "+49 (30) 12-34" and "0049301234" are the same.
func Customer(value string) string {
	folded := Fold(value)
	if number := digitsOf(folded); len(number) >= minPhone {
		return strings.TrimPrefix(number, "00")
	}
	return folded
}

// digitsOf gives the digits of what looks like a telephone number; none where it is something else.
func digitsOf(folded string) string {
	var b strings.Builder
	for _, r := range folded {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case !strings.ContainsRune(" +-()./", r):
			return ""
		}
	}
	return b.String()
}
