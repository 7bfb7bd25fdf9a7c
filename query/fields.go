package query

import (
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/disclose"
	"github.com/orderstore/orderstore/internal/fault"
)

const (
	maxFields     = 2000 // characters of ?fields=
	maxFieldDepth = 6
)

// orderFields are the members of an order document by their paths. Below one that ends with ".*" is what others chose to write, or what is
// not told apart here.
func orderFields() []string {
	return strings.Fields(`
id tenant channel external_ref business_type region version status fulfillment_status currency total shipping placed_at updated_at
customer customer.name customer.email customer.phone customer.address customer.address.*
attributes attributes.* cancellation cancellation.*
lines lines.line_id lines.sku lines.name lines.vendor_id lines.quantity lines.unit_price lines.discount lines.tax lines.total
lines.quantities lines.quantities.ordered lines.quantities.assigned lines.quantities.accepted lines.quantities.fulfilled
lines.quantities.rejected lines.quantities.cancelled lines.quantities.returned
sync_status sync_status.party sync_status.kind sync_status.status sync_status.since sync_status.position
tasks tasks.id tasks.order_id tasks.provider tasks.business_type tasks.status tasks.supported_actions tasks.version tasks.attempt
tasks.accept_by tasks.complete_by tasks.answer_by tasks.offered_at tasks.accepted_at tasks.updated_at tasks.delegated_from tasks.delegation
tasks.depth tasks.payload tasks.payload.* tasks.note tasks.lines tasks.lines.* tasks.rejected tasks.rejected.* tasks.expired
tasks.expired.* tasks.hold tasks.hold.* tasks.cancelled tasks.cancelled.* tasks.cancellation_refused tasks.cancellation_refused.*
tasks.delegations tasks.delegations.* tasks.routing tasks.routing.*
results results.result_id results.task_id results.provider results.outcome results.lines results.lines.* results.tracking
results.tracking.* results.payload results.payload.* results.occurred_at results.posted_at results.late
returns returns.*
timeline timeline.* timeline_next auxiliary auxiliary.* catalog catalog.* degraded`)
}

// KnownField tells whether an order document may have a member at a path such as lines.sku.
func KnownField(path string) bool {
	for _, known := range orderFields() {
		prefix, open := strings.CutSuffix(known, "*")
		if path == known || open && strings.HasPrefix(path, prefix) && len(path) > len(prefix) {
			return true
		}
	}
	return false
}

// fieldsOf reads ?fields=id,status,lines.sku; nil when it is not given.
func fieldsOf(c echo.Context) (disclose.Fields, error) {
	if !c.QueryParams().Has("fields") {
		return nil, nil
	}
	value, err := text(c, "fields", maxFields)
	if err != nil {
		return nil, err
	}
	fields := disclose.Fields{}
	for path := range strings.SplitSeq(value, ",") {
		if !KnownField(path) || strings.Count(path, ".") >= maxFieldDepth {
			return nil, fault.New(fault.BadParameter, "fields names %q, which an order does not have", path)
		}
		fields.Add(path)
	}
	return fields, nil
}
