package auxiliary

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

// What is written on paper is, character by character, what was given: in the order in which it is seen, with a shape of some
// font for each. The expectations were seen on a picture of the page.
func TestTextIsSetAsItIsRead(t *testing.T) {
	t.Parallel()
	faces, err := loadTypefaces()()
	require.NoError(t, err)
	set := newTypesetter(faces)
	for given, seen := range map[string]string{
		"王小明的发票与龍井茶葉":              "王小明的发票与龍井茶葉",
		"東京の紅茶カップ":                 "東京の紅茶カップ",
		"한국 녹차 잔":                  "한국 녹차 잔",
		"ถ้วยชา":                   "ถ้วยชา",
		"Crème brûlée Łódź Чай Ελ": "Crème brûlée Łódź Чай Ελ",
		"כוס קפה":                  "הפק סוכ",
		"سلام":                     "مﻼﺳ", // initial seen, lam and alef as one, meem by itself
		"كوب (كبير) 250":           "250 (ﺮﻴﺒﻛ) بﻮﻛ",
		"Cup كوب 杯":                "Cup بﻮﻛ 杯",
		"🎁":                        "□",
	} {
		lines := set.lines(given, bodySize, 400)
		require.Len(t, lines, 1)
		var text strings.Builder
		for _, p := range lines[0].pieces {
			text.WriteString(string(p.text))
			for _, r := range p.text {
				id, ok := p.face.font.NominalGlyph(r)
				assert.True(t, ok && id != 0, "%q of %q has no glyph in %s", r, given, p.face.name)
			}
		}
		assert.Equal(t, norm.NFC.String(seen), norm.NFC.String(text.String()), given)
		assert.Positive(t, lines[0].width)
	}
	wrapped := set.lines(strings.Repeat("杯", 50)+strings.Repeat("x", 80), bodySize, 100)
	require.Greater(t, len(wrapped), 5)
	for _, line := range wrapped {
		assert.LessOrEqual(t, line.width, 100.5)
	}
}
