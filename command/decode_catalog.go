package command

import (
	"fmt"
	"math"
	"time"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// maxSeconds bounds a deadline: ten years.
const maxSeconds = 10 * 365 * 24 * 3600

// readSeconds reads a length of time: whole seconds as a number, or text such as "15m".
func readSeconds(r *httpapi.Reader, dst *int64) { readSecondsWithin(r, dst, 0, maxSeconds) }

// readSecondsWithin is readSeconds with bounds.
func readSecondsWithin(r *httpapi.Reader, dst *int64, min, max int64) {
	if !r.Text() {
		r.Int(dst, min, max)
		return
	}
	var s string
	r.String(&s, 1, 32)
	if s == "" {
		return
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil || d < 0 || d%time.Second != 0:
		r.Invalid(`must be whole seconds, or a time such as "15m"`)
		return
	case d < time.Duration(min)*time.Second || d > time.Duration(max)*time.Second:
		r.Invalid(fmt.Sprintf("must be from %v to %v", time.Duration(min)*time.Second, time.Duration(max)*time.Second))
		return
	}
	*dst = int64(d / time.Second)
}

// decodeTenant reads a tenant as an operator gives it.
func decodeTenant(body []byte, id string) (*events.Tenant, error) {
	t := &events.Tenant{ID: id}
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		switch name {
		case "tenant":
			sameID(r, id)
		case "name":
			r.String(&t.Name, 0, maxName)
		case "limits":
			t.Limits = &events.Limits{}
			readLimits(r, t.Limits, true)
		default:
			r.Unknown()
		}
	})
	if t.Limits != nil && *t.Limits == (events.Limits{}) {
		t.Limits = nil
	}
	return t, r.Finish()
}

// maxPerSecond bounds a rate, a burst and what may be open: more is no limit.
const maxPerSecond = 1_000_000

// readLimits reads the limits of a tenant or of a client, which has no quota of orders.
func readLimits(r *httpapi.Reader, l *events.Limits, quota bool) {
	r.Object(func(name string) {
		switch name {
		case "orders_per_second":
			r.Int(&l.OrdersPerSecond, 0, maxPerSecond)
		case "reads_per_second":
			r.Int(&l.ReadsPerSecond, 0, maxPerSecond)
		case "searches_per_second":
			r.Int(&l.SearchesPerSecond, 0, maxPerSecond)
		case "writes_per_second":
			r.Int(&l.WritesPerSecond, 0, maxPerSecond)
		case "burst":
			r.Int(&l.Burst, 0, maxPerSecond)
		case "max_streams":
			r.Int(&l.MaxStreams, 0, maxPerSecond)
		case "orders_per_day":
			if !quota {
				r.Unknown()
				return
			}
			r.Int(&l.OrdersPerDay, 0, math.MaxInt32)
		default:
			r.Unknown()
		}
	})
}

// decodeClientLimits reads what a client may ask for. It is kept as limits.Limits reads it.
func decodeClientLimits(body []byte) (events.Limits, error) {
	var l events.Limits
	r := httpapi.NewReader(body)
	readLimits(r, &l, false)
	return l, r.Finish()
}

// decodeProduct reads a product. The target level is twice the reorder level unless given.
func decodeProduct(body []byte, sku string) (*events.Product, error) {
	p := &events.Product{SKU: sku, TargetLevel: -1}
	var given fields
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		switch name {
		case "sku":
			sameID(r, sku)
		case "tenant":
			given |= hasRef
			r.ID(&p.Tenant)
		case "name":
			r.String(&p.Name, 0, maxName)
		case "vendor_id":
			r.ID(&p.VendorID)
		case "reorder_level":
			r.Int(&p.ReorderLevel, 0, math.MaxInt32)
		case "target_level":
			r.Int(&p.TargetLevel, 0, math.MaxInt32)
		case "discontinued":
			r.Bool(&p.Discontinued)
		default:
			r.Unknown()
		}
	})
	r.Require("tenant", given.has(hasRef))
	if p.TargetLevel < 0 {
		p.TargetLevel = 2 * p.ReorderLevel
	}
	return p, r.Finish()
}

// decodeVendor reads a vendor. Without a tenant it is every tenant's.
func decodeVendor(body []byte, id string) (*events.Vendor, error) {
	v := &events.Vendor{ID: id}
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		switch name {
		case "vendor_id":
			sameID(r, id)
		case "tenant":
			r.ID(&v.Tenant)
		case "name":
			r.String(&v.Name, 0, maxName)
		case "email":
			r.String(&v.Email, 0, maxEmail)
		default:
			r.Unknown()
		}
	})
	return v, r.Finish()
}
