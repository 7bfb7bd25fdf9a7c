package searchtext_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/internal/searchtext"
)

func TestFold(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                  "",
		"  ABC \t\n d ":     "abc d",
		"ＡＢＣ１２３":            "abc123",
		"Straße":            "straße",
		"e\u0301":           "é",
		"機械\u3000鍵盤":        "機械 鍵盤",
		"a\x00b\x07\uFFFDc": "abc",
		"🍵 TEA":             "🍵 tea",
	} {
		require.Equal(t, want, searchtext.Fold(text), "%q", text)
	}
}

func TestGrams(t *testing.T) {
	t.Parallel()
	require.Empty(t, searchtext.QueryGrams("t", "ab"))
	require.Empty(t, searchtext.QueryGrams("t", "- % 🍵"))
	require.Len(t, searchtext.QueryGrams("t", "abcabc"), 3) // abc bca cab
	require.Len(t, searchtext.QueryGrams("t", "abc-def"), 2)
	require.Len(t, searchtext.QueryGrams("t", "键"), 1)
	require.Len(t, searchtext.QueryGrams("t", "机械键盘"), 3)
	require.Len(t, searchtext.Grams("t", "机械键盘"), 7)
	require.Len(t, searchtext.QueryGrams("t", "abc机械def"), 3)
	require.NotEqual(t, searchtext.Grams("t", "abc"), searchtext.Grams("u", "abc"))
}

// texts are of few letters of several scripts, so that pieces meet.
func texts() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.RuneFrom([]rune("abcABC 12-_%\\机械键盘กขค한글كرسي🍵ＡßéÉ\n\u0301")), 0, 40, -1)
}

// Whatever contains a query has all of the query's pieces: the index never hides a hit.
func TestIndexNeverHidesAHit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := searchtext.Fold(texts().Draw(t, "text"))
		runes := []rune(text)
		from := rapid.IntRange(0, len(runes)).Draw(t, "from")
		to := rapid.IntRange(from, len(runes)).Draw(t, "to")
		query := string(runes[from:to])
		stored := searchtext.Grams("t", text)
		for _, gram := range searchtext.QueryGrams("t", query) {
			if !slices.Contains(stored, gram) {
				t.Fatalf("%q has %q and lacks one of its pieces", text, query)
			}
		}
		if !slices.IsSorted(stored) {
			t.Fatalf("not sorted: %v", stored)
		}
	})
}

func TestCustomersAreFoundHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		" Ada@Example.COM ": "ada@example.com", "ＡＤＡ  Løve": "ada løve", "+49 (30) 12-345": "493012345", "0049 30 12345": "493012345", "030/12345": "03012345",
		"12.34": "12.34", "阿明 😀": "阿明 😀", " \t": "", "123 Main": "123 main",
	} {
		require.Equal(t, want, searchtext.Customer(value), "%q", value)
	}
	require.NotEqual(t, searchtext.Facet("t", searchtext.KindSKU, "a"), searchtext.Facet("u", searchtext.KindSKU, "a"))
	require.NotEqual(t, searchtext.Facet("t", searchtext.KindSKU, "a"), searchtext.Facet("t", searchtext.KindRegion, "a"))
	require.EqualValues(t, -9157516415823086526, searchtext.Facet("t", searchtext.KindSKU, "a"), "what is stored is found by later versions too")
}

func FuzzFold(f *testing.F) {
	for _, seed := range []string{"", "Ａ é", "\x00\xff", "机械 键", strings.Repeat("ﷺ", 3)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		folded := searchtext.Fold(s)
		if !utf8.ValidString(folded) || strings.ContainsRune(folded, 0) {
			t.Fatalf("Postgres refuses %q", folded)
		}
		searchtext.Grams("t", folded)
		pattern := searchtext.Contains(folded)
		if !strings.HasPrefix(pattern, "%") || !strings.HasSuffix(pattern, "%") {
			t.Fatalf("pattern %q", pattern)
		}
	})
}
