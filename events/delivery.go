package events

import "slices"

// delivered says whether all that was fulfilled is known to have arrived: each result that fulfilled something names its parcels, and
// each parcel is told to be delivered, by that result or another. Late results count nothing here either.
func (o *Order) delivered() bool {
	if len(o.Results) == 0 {
		return false
	}
	type parcel struct{ carrier, number string }
	arrived := map[parcel]bool{}
	for i := range o.Results {
		r := &o.Results[i]
		if r.Late {
			continue
		}
		if len(r.Tracking) == 0 && slices.ContainsFunc(r.Lines, func(l ResultLine) bool { return l.Outcome == LineFulfilled }) {
			return false
		}
		for _, t := range r.Tracking {
			key := parcel{t.Carrier, t.Number}
			arrived[key] = arrived[key] || t.Status == ParcelDelivered
		}
	}
	for _, is := range arrived {
		if !is {
			return false
		}
	}
	return len(arrived) > 0
}
