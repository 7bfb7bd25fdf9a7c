package auxiliary

import (
	"bytes"
	"fmt"
	"html/template"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"
)

// invoiceView is an invoice as it is read: the same words for paper and page.
type invoiceView struct {
	Title, Number, Seller, Date, Order string
	Notes, Customer                    []string
	Columns                            [7]string
	Lines                              []invoiceViewLine
	Sums                               []invoiceSum
}

type invoiceViewLine struct {
	SKU, Name, Quantity, UnitPrice, Discount, Tax, Total string
}

func (l *invoiceViewLine) cells() []string {
	return []string{l.SKU, l.Name, l.Quantity, l.UnitPrice, l.Discount, l.Tax, l.Total}
}

type invoiceSum struct{ Name, Amount string }

func viewOfInvoice(v *Invoice) invoiceView {
	view := invoiceView{
		Title: "Invoice", Number: v.Number, Seller: v.Seller.Name, Date: v.Date.UTC().Format("2006-01-02"),
		Order:    fmt.Sprintf("Order %s (%s), %s", v.ExternalRef, v.Channel, v.OrderID),
		Customer: addressee(v),
		Columns:  [7]string{"SKU", "Article", "Quantity", "Price", "Discount", "Tax", "Total"},
	}
	if view.Seller == "" {
		view.Seller = v.Seller.Tenant
	}
	if v.Kind == creditRecord {
		view.Title = "Credit note"
		view.Notes = []string{"For invoice " + v.Invoice, "Reason: " + v.Reason}
	}
	bare := func(minor int64) string {
		return decimal.New(minor, -int32(v.MinorDigits)).StringFixed(int32(v.MinorDigits)) //nolint:gosec // at most four digits
	}
	for i := range v.Lines {
		l := &v.Lines[i]
		view.Lines = append(view.Lines, invoiceViewLine{
			SKU: l.SKU, Name: l.Name, Quantity: strconv.FormatInt(l.Quantity, 10), UnitPrice: bare(l.UnitPrice),
			Discount: bare(l.Discount), Tax: bare(l.Tax), Total: bare(l.Total),
		})
	}
	view.Sums = []invoiceSum{
		{"Net", bare(v.Net)}, {"Tax", bare(v.Tax)}, {"Shipping", bare(v.Shipping)}, {"Total " + v.Currency, bare(v.Total)},
	}
	return view
}

// addressee is whom an invoice is for, a line of the address each.
func addressee(v *Invoice) []string {
	if v.Customer == nil {
		return nil
	}
	lines := []string{v.Customer.Name}
	if a := v.Customer.Address; a != nil {
		lines = append(lines, a.Line1, a.Line2, strings.TrimSpace(a.PostalCode+" "+a.City), a.Region, a.Country)
	}
	kept := lines[:0]
	for _, line := range lines {
		if line != "" {
			kept = append(kept, line)
		}
	}
	return kept
}

func parseInvoiceTemplate() (*template.Template, error) {
	t, err := template.ParseFS(templateFiles, "templates/invoice/invoice.html")
	if err != nil {
		return nil, fmt.Errorf("invoice template: %w", err)
	}
	return t, nil
}

func htmlOf(t *template.Template, v *Invoice) ([]byte, error) {
	var out bytes.Buffer
	if err := t.Execute(&out, viewOfInvoice(v)); err != nil {
		return nil, fmt.Errorf("write invoice %s: %w", v.Number, err)
	}
	return out.Bytes(), nil
}
