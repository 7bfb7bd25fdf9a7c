package command

import (
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// decodeAmendment reads a JSON merge patch of an order strictly. What customer and attributes come to is checked when they are
// merged with what the order has.
func decodeAmendment(body []byte) (*Amendment, error) {
	p := &Amendment{}
	lines := orderReader{Reader: httpapi.NewReader(body), s: &Submission{}}
	r := lines.Reader
	r.Object(func(name string) {
		switch name {
		case "customer":
			readPatch(r, &p.Customer)
		case "attributes":
			readPatch(r, &p.Attributes)
		case "shipping":
			p.Shipping = new(int64)
			r.Int(p.Shipping, 0, math.MaxInt64)
		case "total":
			p.Total = new(int64)
			r.Int(p.Total, 0, math.MaxInt64)
		case "lines":
			lines.given |= hasLines
			r.Array(maxLines, func(i int) { lines.amendedLine(i) })
		case "channel", "external_ref", "business_type", "region", "currency",
			"id", "tenant", "version", "status", "fulfillment_status", "cancellation", "sync_status", "tasks", "results",
			"placed_at", "updated_at", "position":
			r.ReadOnly()
		default:
			r.Unknown()
		}
	})
	if lines.given.has(hasLines) {
		if p.Lines = lines.s.Placed.Lines; r.OK() && len(p.Lines) == 0 {
			r.InvalidAt("/lines", "must have 1 to 1000 lines")
		}
		if r.OK() {
			lines.lineTotals()
		}
	}
	return p, r.Finish()
}

// amendedLine reads a line of which it has to be clear whether it is a new one.
func (r *orderReader) amendedLine(i int) {
	n := len(r.s.Placed.Lines)
	r.lineID = ""
	r.line(i)
	if len(r.s.Placed.Lines) > n {
		r.Require("line_id", r.lineID != "")
	}
}

// readPatch reads an object or null.
func readPatch(r *httpapi.Reader, dst *[]byte) {
	if r.Null() {
		*dst = []byte("null")
		return
	}
	var raw jsontext.Value
	r.RawObject(&raw, maxAttributes)
	*dst = raw
}

// decodeParts reads one member of an order by the rules of a submission.
func decodeParts(name string, value []byte) (*Submission, error) {
	body := append([]byte(strconv.Quote(name)), ':')
	body = append(append([]byte{'{'}, body...), append(value, '}')...)
	p := orderReader{Reader: httpapi.NewReader(body), s: &Submission{}}
	p.Object(p.member)
	return p.s, p.Finish()
}

// decodeCancellation reads why an order is cancelled. It may say nothing.
func decodeCancellation(body []byte, c *CancelOrder) error {
	r := orderReader{Reader: httpapi.NewReader(body)}
	r.Object(func(name string) {
		switch name {
		case "reason":
			r.text(&c.Reason, 0, maxRef)
		case "message":
			r.text(&c.Message, 0, maxMessage)
		default:
			r.Unknown()
		}
	})
	return r.Finish()
}

// decodeHold reads why a task is put on hold.
func decodeHold(body []byte) (events.Held, error) {
	var held events.Held
	err := decodeWhy(body, &held.ReasonCode, &held.Message, func(r *orderReader, _ string) { r.Unknown() })
	return held, err
}

// decodeDelegation reads what help is asked for.
func decodeDelegation(body []byte, c *DelegateTask) error {
	var given fields
	r := orderReader{Reader: httpapi.NewReader(body)}
	r.Object(func(name string) {
		switch name {
		case "business_type":
			given |= hasBusinessType
			r.Name(&c.BusinessType)
		case "lines":
			r.Array(maxLines, func(int) { r.delegatedLine(c) })
		case "payload":
			var raw jsontext.Value
			r.RawObject(&raw, maxPayload)
			if httpapi.HasCardNumber(string(raw)) {
				r.Invalid("holds what looks like a payment card number, which is not taken")
			}
			c.Payload = raw
		case "note":
			r.text(&c.Note, 0, maxMessage)
		default:
			r.Unknown()
		}
	})
	r.Require("business_type", given.has(hasBusinessType))
	return r.Finish()
}

func (r *orderReader) delegatedLine(c *DelegateTask) {
	var line events.TaskQuantity
	var given fields
	r.Object(func(name string) {
		switch name {
		case "line_id":
			given |= hasLines
			r.ID(&line.LineID)
		case "quantity":
			given |= hasQuantity
			r.Int(&line.Quantity, 1, maxQuantity)
		default:
			r.Unknown()
		}
	})
	r.Require("line_id", given.has(hasLines))
	r.Require("quantity", given.has(hasQuantity))
	for _, before := range c.Lines {
		if before.LineID == line.LineID && line.LineID != "" {
			r.Invalid("names a line twice")
		}
	}
	c.Lines = append(c.Lines, line)
}
