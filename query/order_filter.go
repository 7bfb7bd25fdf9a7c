package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/searchtext"
)

// orderStatuses are the statuses that the list can be filtered by.
func orderStatuses() []string {
	return []string{
		"routed", "processing", "partially_completed", "completed", "unrouted", "action_required", "rejected", "cancelled", "expired",
	}
}

const (
	maxReference = 256 // characters of an external_ref
	maxText      = 200 // characters of a text to search for
	maxCustomer  = 320 // characters of a name, an email address or a telephone number
	maxValues    = 20  // of a parameter that may be given several times
)

// filter is which orders are listed. What is empty does not count; of several values of one field, any will do.
type filter struct {
	tenant                      string
	status                      []string
	channels                    []string
	businessTypes               []string
	regions                     []string
	provider                    string // that has, or had, a task of the order
	sku                         string
	customer                    string // as searchtext.Customer gives it
	mark                        string // what stands for it where it is sealed
	reference                   string
	currency                    string
	totalMin, totalMax          *int64 // inclusive, in minor units of the currency
	from, before                time.Time
	updatedAfter, updatedBefore time.Time
	text                        string // folded
}

// filterParams are the parameters that filterOf reads; those of severalParams may be given several times.
func filterParams() []string {
	return append(severalParams(), "provider", "sku", "customer", "external_ref", "currency", "total_min", "total_max", "created_after",
		"created_before", "updated_after", "updated_before", "text")
}

func severalParams() []string { return []string{"status", "channel", "business_type", "region"} }

func filterOf(c echo.Context, tenant string) (filter, error) {
	f := filter{tenant: tenant}
	var errs [15]error
	f.status, errs[0] = many(c, "status", orderStatuses())
	f.channels, errs[1] = several(c, "channel", httpapi.ValidName)
	f.businessTypes, errs[2] = several(c, "business_type", httpapi.ValidName)
	f.regions, errs[3] = several(c, "region", isRegion)
	f.currency, errs[4] = one(c, "currency", isCurrency)
	f.reference, errs[5] = text(c, "external_ref", maxReference)
	f.from, errs[6] = moment(c, "created_after")
	f.before, errs[7] = moment(c, "created_before")
	f.text, errs[8] = text(c, "text", maxText)
	f.provider, errs[9] = one(c, "provider", httpapi.ValidID)
	f.sku, errs[10] = text(c, "sku", maxSKU)
	f.customer, errs[11] = text(c, "customer", maxCustomer)
	f.updatedAfter, errs[12] = moment(c, "updated_after")
	f.updatedBefore, errs[13] = moment(c, "updated_before")
	errs[14] = f.totals(c)
	for _, err := range errs {
		if err != nil {
			return f, err
		}
	}
	if c.QueryParam("customer") != "" {
		if f.customer = searchtext.Customer(f.customer); f.customer == "" {
			return f, fault.New(fault.BadParameter, "customer is not a valid value")
		}
	}
	f.text = searchtext.Fold(f.text)
	return f, nil
}

// totals reads the bounds of the amount. Minor units of different currencies are not to be compared, so one has to be named.
func (f *filter) totals(c echo.Context) error {
	var err error
	if f.totalMin, err = amount(c, "total_min"); err != nil {
		return err
	}
	if f.totalMax, err = amount(c, "total_max"); err != nil {
		return err
	}
	if (f.totalMin != nil || f.totalMax != nil) && !c.QueryParams().Has("currency") {
		return fault.New(fault.BadParameter, "total_min and total_max are in minor units of a currency, which has to be named")
	}
	return nil
}

// views are those that a list is made from.
func (f filter) views() []string {
	views := []string{viewOrders}
	if f.text != "" {
		views = append(views, viewSearch)
	}
	if len(f.byFacets()) > 0 {
		views = append(views, viewFacets)
	}
	return views
}

// name is the filter in a form that is the same for the same filter: a cursor belongs to it.
func (f filter) name(s sorting) string {
	return fmt.Sprintf("orders %s %s %q %q %q %q %q %q %q %q %q %s %s %s %s %s %s %q", s.column, s.direction(), f.status, f.channels, f.businessTypes,
		f.regions, f.provider, f.sku, f.customer, f.reference, f.currency, number(f.totalMin), number(f.totalMax), stamp(f.from), stamp(f.before),
		stamp(f.updatedAfter), stamp(f.updatedBefore), f.text)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return strconv.FormatInt(t.UnixMicro(), 10)
}

func number(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}

// place is where a list goes on: after the order with this id and this value of the sorted column, a time in microseconds or an
// amount.
type place struct {
	Value int64  `json:"v"`
	ID    string `json:"i"`
}

// statement is a list's SQL, put together from constants; every value is bound.
type statement struct {
	where []string
	args  []any
	probe bool // facets are looked up order by order, never joined
}

// bind adds a condition; each %s in it stands for one of the values.
func (st *statement) bind(condition string, values ...any) {
	names := make([]any, len(values))
	for i, value := range values {
		names[i] = st.arg(value)
	}
	st.where = append(st.where, fmt.Sprintf(condition, names...))
}

// arg binds a value and gives the name by which the SQL calls it.
func (st *statement) arg(value any) string {
	st.args = append(st.args, value)
	return "$" + strconv.Itoa(len(st.args))
}

// conditions gives those that were added since it was asked last.
func (st *statement) conditions() string {
	all := strings.Join(st.where, " AND ")
	st.where = nil
	return all
}

// selectSeen is the position that all the views which a list is made from reflect.
func (st *statement) selectSeen(views []string) string {
	return "SELECT min(position) AS checkpoint, coalesce(sum(generation), 0)::bigint AS generation FROM checkpoints WHERE view = ANY (" + st.arg(views) + ")"
}

// value is what a place's value is in the database.
func (s sorting) value(v int64) any {
	if s.column == "total" {
		return v
	}
	return time.UnixMicro(v).UTC()
}

// bind adds the conditions on order_view, which the statement calls v: whole, so that nothing else has to be known of the filter but its
// text.
func (f filter) bind(st *statement, s sorting, after *place) {
	f.bindWithout(kindNone, st)
	st.bindPlace("v", s, after)
}

// bindWithout leaves out the conditions of one kind, which something else sees to, and the place.
func (f filter) bindWithout(kind string, st *statement) {
	st.bind("v.tenant = %s", f.tenant)
	for _, in := range f.columns() {
		switch {
		case in.kind == kind || len(in.values) == 0:
		case len(in.values) == 1:
			st.bind("v."+in.column+" = %s", in.values[0])
		default:
			st.bind("v."+in.column+" = ANY (%s)", in.values)
		}
	}
	fence := ""
	if st.probe {
		fence = " OFFSET 0" // keeps it from being made a join
	}
	for _, has := range f.sets() {
		if has.kind != kind {
			st.bind("EXISTS (SELECT FROM order_facets f WHERE f.facet = ANY (%s) AND f.placed_at = v.placed_at AND f.id = v.id"+fence+")",
				f.facets(has.kind, has.values))
		}
	}
	f.bindRanges(st)
}

// columnValues are the values that a column of order_view may have.
type columnValues struct {
	kind, column string
	values       []string
}

// Kinds that are beside those of facets.
const (
	kindNone   = ""       // of nothing
	kindStatus = "status" // it changes too often for a facet
	kindOther  = "other"
)

func (f filter) columns() []columnValues {
	return []columnValues{
		{kindStatus, "status", f.status},
		{searchtext.KindRegion, "region", f.regions},
		{searchtext.KindBusinessType, "business_type", f.businessTypes},
		{searchtext.KindChannel, "channel", f.channels},
		{kindOther, "external_ref", valueOf(f.reference)},
		{kindOther, "currency", valueOf(f.currency)},
	}
}

func valueOf(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// setValue is a kind of which an order has several values; one of these has to be among them.
type setValue struct {
	kind   string
	values []string
}

// sets has a customer by both that it may be stored as: as it is, in orders that are older than the sealing, and as its mark.
func (f filter) sets() []setValue {
	all := []setValue{{searchtext.KindCustomer, valueOf(f.customer)}, {searchtext.KindSKU, valueOf(f.sku)}, {searchtext.KindProvider, valueOf(f.provider)}}
	if f.customer != "" && f.mark != "" {
		all[0].values = append(all[0].values, f.mark)
	}
	return slices.DeleteFunc(all, func(v setValue) bool { return len(v.values) == 0 })
}

func (f filter) facets(kind string, values []string) []int64 {
	facets := make([]int64, len(values))
	for i, value := range values {
		facets[i] = searchtext.Facet(f.tenant, kind, value)
	}
	return facets
}

// marked gives the filter with the mark of its customer.
func (q *queries) marked(f filter) filter {
	if m := q.cfg.Keys.Master(); m != nil && f.customer != "" {
		f.mark = m.Mark(f.tenant, searchtext.KindCustomer, f.customer)
	}
	return f
}

func (f filter) bindRanges(st *statement) {
	for _, bound := range []struct {
		condition string
		at        time.Time
	}{
		{"v.placed_at >= %s", f.from},
		{"v.placed_at < %s", f.before},
		{"v.updated_at >= %s", f.updatedAfter},
		{"v.updated_at < %s", f.updatedBefore},
	} {
		if !bound.at.IsZero() {
			st.bind(bound.condition, bound.at)
		}
	}
	if f.totalMin != nil {
		st.bind("v.total >= %s", *f.totalMin)
	}
	if f.totalMax != nil {
		st.bind("v.total <= %s", *f.totalMax)
	}
}

// byFacet is a kind of facet that the filter asks for, and the facets of which an order has to have one.
type byFacet struct {
	kind   string
	facets []int64
}

// byFacets gives the kinds that the filter asks for, the rarest first, as a rule.
func (f filter) byFacets() []byFacet {
	var all []byFacet
	for _, has := range f.sets() {
		all = append(all, byFacet{has.kind, f.facets(has.kind, has.values)})
	}
	for _, in := range f.columns() {
		if in.kind == kindOther || in.kind == kindStatus || len(in.values) == 0 {
			continue
		}
		all = append(all, byFacet{in.kind, f.facets(in.kind, in.values)})
	}
	return slices.Clip(all)
}
