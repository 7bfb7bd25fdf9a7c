package httpapi_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/httpapi"
)

// The numbers are those that card schemes and payment services publish for tests.
func TestHasCardNumber(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"4111111111111111", "4222222222222", "5555555555554444", "2223003122003222", "378282246310005", "371449635398431",
		"6011111111111117", "3530111333300000", "6200000000000005", "6445644564456445", "4000002500001001000",
		"4111 1111 1111 1111", "4111-1111-1111-1111", "3782 822463 10005", "my card: 4111111111111111.", "a4111111111111111b",
		"4111 1111-1111 1111", "6222220123456789013", "12 4111 1111 1111 1111", "4111111111111111 04/29", "茶4111111111111111茶", "1 2 3 4111111111111111",
	} {
		require.True(t, httpapi.HasCardNumber(text), text)
	}
	for _, text := range []string{
		"", "4", "4111111111111112", "4111  1111 1111 1111", "4111.1111.1111.1111", "1234567890123456", "0000000000000000",
		"9780201379624", "+49 30 1234567890", "order 2026-01-31 12:00:00", "41111111111111110", "004111111111111111100",
		"DE89370400440532013000", "5955555555554444", "411111111111", strings.Repeat("4", 100),
	} {
		require.False(t, httpapi.HasCardNumber(text), text)
	}
}

func FuzzHasCardNumber(f *testing.F) {
	f.Add("pay ", " thanks")
	f.Add("1", "-")
	f.Add("99-", "-99")
	f.Fuzz(func(t *testing.T, before, after string) {
		endsInDigit := before != "" && strings.ContainsRune("0123456789", rune(before[len(before)-1]))
		startsWithDigit := after != "" && strings.ContainsRune("0123456789", rune(after[0]))
		if endsInDigit || startsWithDigit {
			return
		}
		require.True(t, httpapi.HasCardNumber(before+"4111 1111 1111 1111"+after), "%q %q", before, after)
	})
}
