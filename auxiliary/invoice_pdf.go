package auxiliary

import (
	"bytes"
	"fmt"
	"strings"

	"codeberg.org/go-pdf/fpdf"
)

// The page, in points: A4.
const (
	pageWidth, pageHeight   = 595.28, 841.89
	pageMargin              = 48.0
	textWidth               = pageWidth - 2*pageMargin
	bodySize, titleSize     = 9.0, 18.0
	lineHeight, titleHeight = 13.0, 26.0
)

// column is where a figure or text of a line stands: its left edge and width.
type column struct {
	x, width float64
	right    bool
}

//nolint:gochecknoglobals // a table that nothing changes
var invoiceColumns = []column{
	{0, 75, false}, {80, 160, false}, {240, 40, true}, {282, 70, true}, {354, 45, true}, {401, 45, true}, {448, textWidth - 448, true},
}

// sheet is a PDF that is being written.
type sheet struct {
	pdf   *fpdf.Fpdf
	set   *typesetter
	known map[string]bool // fonts that are in it
	y     float64
}

// pdfOf prints an invoice. The same invoice gives the same bytes.
func pdfOf(v *Invoice, faces typefaces) ([]byte, error) {
	pdf := fpdf.NewCustom(&fpdf.InitType{UnitStr: "pt", Size: fpdf.SizeType{Wd: pageWidth, Ht: pageHeight}})
	pdf.SetAutoPageBreak(false, 0)
	pdf.SetCatalogSort(true)
	pdf.SetCreationDate(v.Date)
	pdf.SetModificationDate(v.Date)
	pdf.SetProducer("orderstore", true)
	pdf.SetTitle(v.Number, true)
	s := &sheet{pdf: pdf, set: newTypesetter(faces), known: map[string]bool{}}
	s.page()
	s.head(viewOfInvoice(v))
	var out bytes.Buffer
	if err := pdf.Output(&out); err != nil {
		return nil, fmt.Errorf("print invoice %s: %w", v.Number, err)
	}
	return out.Bytes(), nil
}

func (s *sheet) page() {
	s.pdf.AddPage()
	s.y = pageMargin
}

// room begins a new page where this one has not that much left.
func (s *sheet) room(height float64) {
	if s.y+height > pageHeight-pageMargin {
		s.page()
	}
}

func (s *sheet) head(v invoiceView) {
	s.paragraph(v.Title+" "+v.Number, column{0, textWidth, false}, titleSize, titleHeight)
	for _, line := range append([]string{v.Seller, v.Date, v.Order}, v.Notes...) {
		s.paragraph(line, column{0, textWidth, false}, bodySize, lineHeight)
	}
	s.y += lineHeight
	for _, line := range v.Customer {
		s.paragraph(line, column{0, textWidth, false}, bodySize, lineHeight)
	}
	s.y += lineHeight
	s.row(v.Columns[:])
	s.rule()
	for i := range v.Lines {
		s.row(v.Lines[i].cells())
	}
	s.rule()
	for _, sum := range v.Sums {
		s.row([]string{"", "", "", "", "", sum.Name, sum.Amount})
	}
}

func (s *sheet) rule() {
	s.pdf.SetLineWidth(0.5)
	s.pdf.Line(pageMargin, s.y+3, pageWidth-pageMargin, s.y+3)
	s.y += 6
}

func (s *sheet) paragraph(text string, at column, size, height float64) {
	if strings.TrimSpace(text) == "" {
		return
	}
	for _, line := range s.set.lines(text, size, at.width) {
		s.room(height)
		s.y += height
		s.draw(line, at, size, s.y)
	}
}

// row writes texts beside each other; it is as high as the highest of them.
func (s *sheet) row(texts []string) {
	cells, high := make([][]textLine, len(texts)), 1
	for i, text := range texts {
		width := invoiceColumns[i].width
		if i == len(texts)-2 && texts[0] == "" { // what a sum is called reaches to the left
			width = textWidth
		}
		cells[i] = s.set.lines(text, bodySize, width)
		high = max(high, len(cells[i]))
	}
	s.room(float64(high)*lineHeight + 2)
	for i, lines := range cells {
		for n, line := range lines {
			s.draw(line, invoiceColumns[i], bodySize, s.y+float64(n+1)*lineHeight)
		}
	}
	s.y += float64(high)*lineHeight + 2
}

// draw writes a line whose base line is at y. One that reads from right to left stands at the column's right.
func (s *sheet) draw(line textLine, at column, size, y float64) {
	left := pageMargin + at.x
	if at.right || line.rightToLeft {
		left += at.width - line.width
	}
	for _, p := range line.pieces {
		if !s.known[p.face.name] {
			s.pdf.AddUTF8FontFromBytes(p.face.name, "", p.face.data)
			s.known[p.face.name] = true
		}
		s.pdf.SetFont(p.face.name, "", size)
		s.pdf.Text(left+p.x, y-p.y, string(p.text))
	}
}
