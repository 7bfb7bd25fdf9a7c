package auxiliary

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"slices"
	"sync"

	"codeberg.org/go-fonts/dejavu/dejavusans"
	"github.com/go-text/typesetting/di"
	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/language"
	"github.com/go-text/typesetting/shaping"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/image/math/fixed"
	"golang.org/x/text/unicode/bidi"
)

//go:embed fonts/*.zst
var fontFiles embed.FS

// noGlyph is written in the place of what no font has. DejaVu Sans has it.
const noGlyph = '□'

// typeface is one font, safe for concurrent use.
type typeface struct {
	name string
	data []byte
	font *font.Font
	// runes gives for a glyph a character by which a PDF can ask for it: the shaped forms of Arabic letters have one each.
	runes map[font.GID]rune
}

// typefaces are the fonts by precedence.
type typefaces []*typeface

// loadTypefaces gives a function that reads the fonts when it is first called. They take some MB of memory, which a process
// that prints nothing does not need.
func loadTypefaces() func() (typefaces, error) {
	return sync.OnceValues(func() (typefaces, error) {
		all := typefaces{{name: "sans", data: dejavusans.TTF}}
		for _, name := range []string{"DroidSansFallbackFull", "NanumSquareR", "NotoSansThai-Regular"} {
			data, err := unpackFont(name)
			if err != nil {
				return nil, err
			}
			all = append(all, &typeface{name: name, data: data})
		}
		for _, t := range all {
			face, err := font.ParseTTF(bytes.NewReader(t.data))
			if err != nil {
				return nil, fmt.Errorf("read font %s: %w", t.name, err)
			}
			t.font, t.runes = face.Font, map[font.GID]rune{}
			for glyphs := face.Cmap.Iter(); glyphs.Next(); {
				r, id := glyphs.Char()
				if was, known := t.runes[id]; r <= 0xFFFF && (!known || r < was) {
					t.runes[id] = r
				}
			}
		}
		return all, nil
	})
}

func unpackFont(name string) ([]byte, error) {
	packed, err := fontFiles.ReadFile("fonts/" + name + ".ttf.zst")
	if err != nil {
		return nil, fmt.Errorf("read font: %w", err)
	}
	reader, err := zstd.NewReader(nil)
	if err != nil {
		return nil, fmt.Errorf("unpack font %s: %w", name, err)
	}
	defer reader.Close()
	data, err := reader.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack font %s: %w", name, err)
	}
	return data, nil
}

// typesetter sets one document's text. It is not safe for concurrent use.
type typesetter struct {
	faces   []*font.Face // of all
	all     typefaces
	split   shaping.Segmenter
	shape   shaping.HarfbuzzShaper
	wrapper shaping.LineWrapper
}

func newTypesetter(all typefaces) *typesetter {
	t := &typesetter{all: all}
	for _, f := range all {
		t.faces = append(t.faces, font.NewFace(f.font))
	}
	return t
}

// ResolveFace gives the first font that has a character.
func (t *typesetter) ResolveFace(r rune) *font.Face {
	for _, face := range t.faces {
		if _, ok := face.NominalGlyph(r); ok && r <= 0xFFFF {
			return face
		}
	}
	return t.faces[0]
}

// piece is a stretch of one font's characters as they stand on the paper, from left to right.
type piece struct {
	face *typeface
	text []rune
	x, y float64 // points from the line's beginning and, upwards, from its base line
}

// textLine is one line of set text.
type textLine struct {
	pieces      []piece
	width       float64
	rightToLeft bool // the paragraph begins on the right
}

// lines sets a text within a width, both in points. Long words are broken; a text without letters is one empty line.
func (t *typesetter) lines(text string, size, width float64) []textLine {
	runes := t.printable(text)
	if len(runes) == 0 {
		return []textLine{{}}
	}
	rtl := startsRightToLeft(runes)
	input := shaping.Input{
		Text: runes, RunEnd: len(runes), Direction: di.DirectionLTR, Size: fixed.Int26_6(size * 64), Language: language.NewLanguage("en"),
	}
	if rtl {
		input.Direction = di.DirectionRTL
	}
	// A PDF has no place for a glyph that no character stands for, so only those replacements are made that scripts cannot do without.
	for _, tag := range []string{"liga", "clig", "dlig", "calt", "kern"} {
		input.FontFeatures = append(input.FontFeatures, shaping.FontFeature{Tag: opentype.MustNewTag(tag)})
	}
	var shaped []shaping.Output
	for _, run := range t.split.Split(input, t) {
		shaped = append(shaped, t.shape.Shape(run))
	}
	wrapped, _ := t.wrapper.WrapParagraphF(shaping.WrapConfig{Direction: input.Direction, BreakPolicy: shaping.WhenNecessary},
		fixed.Int26_6(width*64), runes, shaping.NewSliceIterator(shaped))
	lines := make([]textLine, len(wrapped))
	for i, line := range wrapped {
		lines[i] = t.place(runes, line)
		lines[i].rightToLeft = rtl
	}
	return lines
}

// printable replaces what no font has.
func (t *typesetter) printable(text string) []rune {
	runes := []rune(clean(text))
	for i, r := range runes {
		face := t.ResolveFace(r)
		if _, ok := face.NominalGlyph(r); !ok || r > 0xFFFF {
			runes[i] = noGlyph
		}
	}
	return runes
}

func startsRightToLeft(runes []rune) bool {
	for _, r := range runes {
		p, _ := bidi.LookupRune(r)
		switch p.Class() {
		case bidi.L:
			return false
		case bidi.R, bidi.AL:
			return true
		}
	}
	return false
}

// place puts a line's runs beside each other, as they are seen.
func (t *typesetter) place(runes []rune, line shaping.Line) textLine {
	runs := slices.Clone(line)
	slices.SortFunc(runs, func(a, b shaping.Output) int { return cmp.Compare(a.VisualIndex, b.VisualIndex) })
	var out textLine
	for i := range runs {
		run := &runs[i]
		face := t.all[slices.Index(t.faces, run.Face)]
		joined := false
		for n, g := range run.Glyphs {
			moved := g.XOffset != 0 || g.YOffset != 0
			if !joined || moved {
				out.pieces = append(out.pieces, piece{face: face, x: out.width + points(g.XOffset), y: points(g.YOffset)})
			}
			last := &out.pieces[len(out.pieces)-1]
			last.text = append(last.text, runeOf(face, runes, run, n))
			out.width += points(g.Advance)
			// A glyph that moves the pen by other than its own width ends the stretch.
			nominal := fixed.Int26_6(run.Face.HorizontalAdvance(g.GlyphID) * float32(run.Size) / float32(face.font.Upem()))
			joined = !moved && (g.Advance-nominal).Ceil() == 0 && g.Advance != 0
		}
	}
	return out
}

// runeOf gives the character that makes the PDF draw a run's n-th glyph: its own one, or that of the shape that it got. A shape
// that no character asks for is drawn as the usual one of what is left of its cluster.
func runeOf(face *typeface, runes []rune, run *shaping.Output, n int) rune {
	if r, ok := direct(face, runes, run, n); ok {
		return r
	}
	g := &run.Glyphs[n]
	left := slices.Clone(runes[g.TextIndex() : g.TextIndex()+g.RunesCount()])
	if run.Direction == di.DirectionRTL {
		slices.Reverse(left)
	}
	others := 0 // shapes of this cluster before this one that have the same trouble
	for i := range run.Glyphs {
		if run.Glyphs[i].TextIndex() != g.TextIndex() {
			continue
		}
		r, ok := direct(face, runes, run, i)
		if at := slices.Index(left, r); ok && at >= 0 {
			left = slices.Delete(left, at, at+1)
		} else if !ok && i < n {
			others++
		}
	}
	if others < len(left) {
		return left[others]
	}
	return runes[g.TextIndex()]
}

func direct(face *typeface, runes []rune, run *shaping.Output, n int) (rune, bool) {
	g := &run.Glyphs[n]
	own := runes[g.TextIndex()]
	if id, ok := run.Face.NominalGlyph(own); ok && id == g.GlyphID {
		return own, true
	}
	r, ok := face.runes[g.GlyphID]
	return r, ok
}

func points(v fixed.Int26_6) float64 { return float64(v) / 64 }
