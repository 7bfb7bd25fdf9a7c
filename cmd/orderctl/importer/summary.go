package importer

import (
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/mapping"
)

// Summary is what an import did. Lines and totals are of the orders that are in the store now, new and replayed; of a dry run,
// of the orders that could be made.
type Summary struct {
	File     string `json:"file"`
	Mapping  string `json:"mapping"`
	Encoding string `json:"encoding"`
	DryRun   bool   `json:"dry_run,omitempty"`
	Rows     int64  `json:"rows"`
	Orders   int64  `json:"orders"` // that have been answered or refused
	New      int64  `json:"new"`
	Replayed int64  `json:"replayed"`
	Rejected int64  `json:"rejected"`
	Lines    int64  `json:"lines"`
	// LineTotals are the sums of the lines' totals by currency, in minor units.
	LineTotals      map[string]*big.Int `json:"line_totals"`
	Seconds         float64             `json:"seconds"`
	OrdersPerSecond float64             `json:"orders_per_second"`
	RejectFile      string              `json:"reject_file,omitempty"`
}

func newSummary(c *Config) *Summary {
	return &Summary{File: c.Path, Mapping: c.MappingName, DryRun: c.Store == nil, LineTotals: map[string]*big.Int{}}
}

// add counts an order that was not refused.
func (s *Summary) add(i *item, dry bool) {
	switch {
	case i.outcome == stored:
		s.New++
	case i.outcome == replayed:
		s.Replayed++
	case !dry:
		return // not answered
	}
	s.Orders++
	s.Lines += int64(len(i.order.Lines))
	for _, line := range i.order.Lines {
		s.total(i.order.Currency, line)
	}
}

func (s *Summary) total(currency string, line client.LineSubmission) {
	total, err := mapping.LineTotal(line)
	if err != nil {
		return // such a line is a fault of its order
	}
	sum := s.LineTotals[currency]
	if sum == nil {
		sum = new(big.Int)
		s.LineTotals[currency] = sum
	}
	sum.Add(sum, big.NewInt(total))
}

func (s *Summary) finish(took time.Duration) {
	s.Seconds = took.Seconds()
	if s.Seconds > 0 {
		s.OrdersPerSecond = float64(s.Orders) / s.Seconds
	}
}

// Print writes the summary for people.
func (s *Summary) Print(w io.Writer) {
	p := message.NewPrinter(language.English)
	_, _ = p.Fprintf(w, "%s: %d rows, %d orders", s.File, s.Rows, s.Orders)
	if s.Encoding != "" {
		_, _ = fmt.Fprintf(w, ", %s", s.Encoding)
	}
	_, _ = fmt.Fprintln(w)
	if s.DryRun {
		_, _ = p.Fprintf(w, "  valid     %12d\n", s.Orders-s.Rejected)
	} else {
		_, _ = p.Fprintf(w, "  new       %12d\n  replayed  %12d\n", s.New, s.Replayed)
	}
	_, _ = p.Fprintf(w, "  rejected  %12d\n  lines     %12d\n", s.Rejected, s.Lines)
	for _, currency := range slices.Sorted(maps.Keys(s.LineTotals)) {
		_, _ = fmt.Fprintf(w, "  %-8s  %12s minor units, the sum of the lines\n", currency, grouped(s.LineTotals[currency].String()))
	}
	_, _ = p.Fprintf(w, "  took      %12.1f s, %.0f orders/s\n", s.Seconds, s.OrdersPerSecond)
	if s.RejectFile != "" {
		_, _ = fmt.Fprintf(w, "  what was rejected, and why, is in %s\n", s.RejectFile)
	}
}

// grouped puts a comma before every third digit from the right.
func grouped(digits string) string {
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
