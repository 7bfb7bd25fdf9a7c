package command

import (
	"math"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// Limits of a result.
const (
	maxPayload  = 64 << 10 // bytes of JSON
	maxTracking = 100
	maxMessage  = 2_000
)

// decodeResult reads a posted result strictly.
func decodeResult(body []byte, c *PostResult) error {
	r := resultReader{Reader: httpapi.NewReader(body), c: c}
	r.Object(r.member)
	r.Require("result_id", r.given.has(hasRef))
	r.Require("outcome", r.given.has(hasBusinessType))
	if r.OK() && c.Result.Outcome == events.OutcomePartial && len(c.Result.Lines) == 0 {
		r.InvalidAt("/lines", "a partial result names the lines it is about")
	}
	if err := r.Finish(); err != nil {
		return err
	}
	return c.seal()
}

type resultReader struct {
	*httpapi.Reader
	c     *PostResult
	given fields
}

func (r *resultReader) member(name string) {
	p := &r.c.Result
	switch name {
	case "result_id":
		r.given |= hasRef
		r.String(&p.ResultID, 1, maxRef)
	case "outcome":
		r.given |= hasBusinessType
		oneOf(r.Reader, &p.Outcome, events.OutcomeCompleted, events.OutcomePartial, events.OutcomeFailed)
	case "lines":
		r.Array(maxLines, r.line)
	case "tracking":
		r.Array(maxTracking, r.tracking)
	case "payload":
		r.payload()
	case "occurred_at":
		r.Time(&p.OccurredAt)
	case "task_id":
		r.same(r.c.TaskID)
	case "provider":
		r.same(r.c.Provider)
	case "posted_at", "late", "position":
		r.ReadOnly()
	default:
		r.Unknown()
	}
}

// same reads a member that may only say what the path or the token said already.
func (r *resultReader) same(want string) {
	var got string
	r.String(&got, 1, maxRef)
	if got != "" && !strings.EqualFold(got, want) {
		r.Invalid("differs from what the request is about")
	}
}

func (r *resultReader) payload() {
	var raw jsontext.Value
	r.RawObject(&raw, maxPayload)
	if httpapi.HasCardNumber(string(raw)) {
		r.Invalid("holds what looks like a payment card number, which is not taken")
		return
	}
	if len(raw) > 0 {
		r.c.Result.Payload = []byte(raw)
	}
}

func (r *resultReader) line(int) {
	line := events.ResultLine{Outcome: events.LineFulfilled}
	var given fields
	r.Object(func(name string) {
		switch name {
		case "line_id":
			given |= hasLines
			r.ID(&line.LineID)
		case "quantity":
			given |= hasQuantity
			r.Int(&line.Quantity, 1, maxQuantity)
		case "outcome":
			oneOf(r.Reader, &line.Outcome, events.LineFulfilled, events.LineRejected, events.LineCancelled)
		default:
			r.Unknown()
		}
	})
	r.Require("line_id", given.has(hasLines))
	r.Require("quantity", given.has(hasQuantity))
	r.c.Result.Lines = append(r.c.Result.Lines, line)
}

func (r *resultReader) tracking(int) {
	var t events.Tracking
	r.Object(func(name string) {
		switch name {
		case "carrier":
			r.String(&t.Carrier, 0, maxRef)
		case "number":
			r.String(&t.Number, 0, maxRef)
		case "url":
			r.String(&t.URL, 0, maxMessage)
		case "status":
			oneOf(r.Reader, &t.Status, events.ParcelInTransit, events.ParcelDelivered)
		case "delivered_at":
			r.Time(&t.DeliveredAt)
		default:
			r.Unknown()
		}
	})
	if r.OK() && !t.DeliveredAt.IsZero() && t.Status != events.ParcelDelivered {
		r.Invalid("has delivered_at and not the status delivered")
	}
	r.c.Result.Tracking = append(r.c.Result.Tracking, t)
}

// oneOf reads one of a few words.
func oneOf[T ~string](r *httpapi.Reader, dst *T, words ...T) {
	var s string
	r.String(&s, 1, 64)
	if s == "" {
		return
	}
	names := make([]string, len(words))
	for i, word := range words {
		if s == string(word) {
			*dst = word
			return
		}
		names[i] = string(word)
	}
	r.Invalid("must be one of " + strings.Join(names, ", "))
}

// decodeRejection reads why a task is rejected.
func decodeRejection(body []byte) (events.Rejection, error) {
	var rejection events.Rejection
	err := decodeWhy(body, &rejection.ReasonCode, &rejection.Message, func(r *orderReader, name string) {
		if name != "blocking" {
			r.Unknown()
			return
		}
		r.Bool(&rejection.Blocking)
	})
	return rejection, err
}

// decodeWhy reads the reason that a provider gives, and hands other members to more.
func decodeWhy(body []byte, code, message *string, more func(r *orderReader, name string)) error {
	var given fields
	r := orderReader{Reader: httpapi.NewReader(body)}
	r.Object(func(name string) {
		switch name {
		case "reason_code":
			given |= hasRef
			r.Name(code)
		case "message":
			r.text(message, 0, maxMessage)
		default:
			more(&r, name)
		}
	})
	r.Require("reason_code", given.has(hasRef))
	return r.Finish()
}

// decodeNothing reads a body that has nothing to say: {}.
func decodeNothing(body []byte) error {
	r := httpapi.NewReader(body)
	r.Object(func(string) { r.Unknown() })
	return r.Finish()
}

// decodeProvider reads a provider as an operator gives it.
func decodeProvider(body []byte, id string) (*events.Provider, error) {
	p := &events.Provider{ID: id, BusinessTypes: []string{}, Regions: []string{}}
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		switch name {
		case "provider":
			sameID(r, id)
		case "name":
			r.String(&p.Name, 0, maxName)
		case "business_types":
			r.Array(maxWords, func(int) { p.BusinessTypes = appendName(r, p.BusinessTypes) })
		case "regions":
			r.Array(maxWords, func(int) { p.Regions = appendRegion(r, p.Regions) })
		case "max_load":
			r.Int(&p.MaxLoad, 0, math.MaxInt32)
		default:
			r.Unknown()
		}
	})
	return p, r.Finish()
}

// maxWords bounds a list of business types or regions.
const maxWords = 1_000

func appendName(r *httpapi.Reader, to []string) []string {
	var s string
	if r.Name(&s); s != "" {
		return append(to, s)
	}
	return to
}

func appendRegion(r *httpapi.Reader, to []string) []string {
	var s string
	if readRegion(r, &s); s != "" {
		return append(to, s)
	}
	return to
}

func sameID(r *httpapi.Reader, id string) {
	var s string
	if r.String(&s, 1, maxRef); s != "" && s != id {
		r.Invalid("differs from the path")
	}
}

// decodeRoute reads a route. Times are whole seconds or Go durations such as "15m".
func decodeRoute(body []byte, businessType string) (*events.Route, error) {
	route := &events.Route{BusinessType: businessType, Policy: events.PolicyLeastLoaded, Regions: []string{}}
	attempts := int64(0)
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		switch name {
		case "business_type":
			sameID(r, businessType)
		case "policy":
			oneOf(r, &route.Policy, events.PolicyAll, events.PolicyLeastLoaded)
		case "regions":
			r.Array(maxWords, func(int) { route.Regions = appendRegion(r, route.Regions) })
		case "accept_within":
			readSeconds(r, &route.AcceptWithin)
		case "complete_within":
			readSeconds(r, &route.CompleteIn)
		case "cancel_within":
			readSeconds(r, &route.CancelWithin)
		case "max_attempts":
			r.Int(&attempts, 0, 100)
		default:
			r.Unknown()
		}
	})
	route.MaxAttempts = int(attempts)
	return route, r.Finish()
}
