// Package searchtext is what text search compares: the folded form of a text, and the hashed short pieces of it that an index
// can be made of. The side that stores and the side that asks use the same code, so that they cannot disagree, and neither
// depends on the locale of a database: Chinese, Japanese and Korean are found in pieces of one and two characters, which
// the trigram index of Postgres does not do.
package searchtext

import (
	"hash/fnv"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// gramLen is the length of a piece of an alphabetic script, in characters. A shorter query has no pieces.
const gramLen = 3

// Fold gives the form in which texts are compared: compatibility forms are one (NFKC), case does not count, any white space is
// one space, and characters that no text has are left out.
func Fold(s string) string {
	if !norm.NFKC.IsNormalString(s) {
		s = norm.NFKC.String(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = true
			continue
		case unicode.IsControl(r), r == unicode.ReplacementChar:
			continue
		case space && b.Len() > 0:
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Grams gives the hashes of a folded text's pieces, sorted and each once. They are of one tenant: the pieces of different tenants
// never meet in an index. A hash may stand for several pieces, so what an index finds has to be looked at again.
func Grams(tenant, folded string) []int32 {
	return grams(tenant, folded, true)
}

// QueryGrams gives the hashes that every text of the tenant has that contains the folded query. There are none for a query
// of one or two letters.
func QueryGrams(tenant, folded string) []int32 {
	return grams(tenant, folded, false)
}

func grams(tenant, folded string, stored bool) []int32 {
	h := hasher{seed: seed(tenant), out: make([]int32, 0, len(folded))}
	var run []rune
	wide := false
	flush := func() {
		if wide {
			h.wide(run, stored)
		} else {
			h.narrow(run)
		}
		run = run[:0]
	}
	for _, r := range folded {
		isWide := isWide(r)
		switch {
		case !isWide && !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
			continue
		case isWide != wide:
			flush()
			wide = isWide
		}
		run = append(run, r)
	}
	flush()
	slices.Sort(h.out)
	return slices.Compact(h.out)
}

// isWide tells the scripts that are written without spaces, in which one character says as much as a syllable or a word.
func isWide(r rune) bool {
	return r >= 0x0E00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai)
}

type hasher struct {
	seed uint32
	out  []int32
}

func seed(tenant string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(tenant)) //nolint:gosec // a hash never fails
	h.Write([]byte{0})      //nolint:gosec // a hash never fails
	return h.Sum32()
}

func (h *hasher) narrow(run []rune) {
	for i := 0; i+gramLen <= len(run); i++ {
		h.add(run[i : i+gramLen])
	}
}

// wide takes pairs; single characters are stored as well, but asked for only where the query has no pair.
func (h *hasher) wide(run []rune, stored bool) {
	for i := 0; i+2 <= len(run); i++ {
		h.add(run[i : i+2])
	}
	if stored || len(run) == 1 {
		for i := range run {
			h.add(run[i : i+1])
		}
	}
}

// add is FNV-1a over the characters, four bytes each.
func (h *hasher) add(piece []rune) {
	sum := h.seed
	for _, r := range piece {
		for shift := 0; shift < 32; shift += 8 {
			sum = (sum ^ uint32(r>>shift)&0xff) * 16777619 //nolint:gosec // a hash: any 32 bits will do
		}
	}
	h.out = append(h.out, int32(sum)) //nolint:gosec // a hash: any 32 bits will do
}

// Contains makes a folded query the pattern of a LIKE that finds it anywhere.
func Contains(folded string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(folded) + "%"
}
