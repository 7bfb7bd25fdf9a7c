package events

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag

const orderID = "01890a5d-ac96-774b-bcce-b302099a8057"

// samples is one event of each type, with every field that it may have.
func samples() []Event {
	at := time.Date(2026, 1, 31, 12, 30, 15, 123456789, time.FixedZone("", 3600))
	routing := Routing{Policy: PolicyLeastLoaded, Candidates: []Candidate{{Provider: "acme", Region: "eu", Load: 0.25, Chosen: true}}, Why: "nearest"}
	payloads := map[Type]any{
		OrderPlaced: &Placed{
			Channel: "web", ExternalRef: "R-1", Region: "eu", Currency: "EUR", Shipping: 490, Total: 1240,
			Lines:      []PlacedLine{{LineID: "1", SKU: "A", Name: "Füller 😀", VendorID: "v", Quantity: 3, UnitPrice: 250, Discount: 10, Tax: 10, Total: 750}},
			Customer:   &Customer{Name: "阿明", Email: "m@example.com", Phone: "+41 1", Address: &Address{Line1: "a", Line2: "b", City: "c", Region: "d", PostalCode: "e", Country: "f"}},
			Attributes: json.RawMessage(`{"gift":true}`),
		},
		OrderCompleted: &Closed{},
		OrderRejected:  &Closed{Reason: "no unit was fulfilled"},
		TaskOffered: &Offered{
			Lines: []TaskQuantity{{LineID: "1", Quantity: 3}}, Attempt: 1, AcceptBy: at.UTC(), CompleteBy: at.UTC(), DelegatedFrom: "t0",
			Delegation: 1, Depth: 2, Payload: json.RawMessage(`{"pick":"A"}`), Note: "please", Routing: routing,
		},
		TaskAccepted: &Accepted{},
		TaskRejected: &Rejection{ReasonCode: "no_capacity", Blocking: true, Message: "sorry"},
		TaskResultPosted: &ResultPosted{
			ResultID: "r1", Outcome: OutcomePartial, Lines: []ResultLine{{LineID: "1", Quantity: 2, Outcome: LineFulfilled}},
			Tracking: []Tracking{{Carrier: "bike", Number: "7", URL: "https://example.com/7"}}, Payload: json.RawMessage(`{"n":9007199254740993}`),
			OccurredAt: at.UTC(), TaskStatus: TaskStatusAccepted, Late: true,
		},
		OrderAmended: &Amended{
			Changed: []string{PartCustomer, PartAttributes, PartShipping, PartLines}, ExternalRef: "R-1",
			Lines:    []PlacedLine{{LineID: "2", SKU: "B", Name: "Heft", VendorID: "v", Quantity: 1, UnitPrice: 100, Discount: 10, Tax: 10, Total: 100}},
			Shipping: 500, Total: 600, Customer: &Customer{Name: "阿明"}, Attributes: json.RawMessage(`{"gift":false}`),
		},
		OrderCancelled: &OrderCancellation{Reason: "changed_mind", Message: "sorry", Lines: []TaskQuantity{{LineID: "1", Quantity: 3}}},
		TaskAmended:    &TaskAmendment{Changed: []string{PartCustomer}},
		TaskExpired:    &Expiry{Deadline: DeadlineAccept},
		TaskHeld:       &Held{ReasonCode: "no_stock", Message: "on Monday"},
		TaskResumed:    &Resumed{TaskStatus: TaskStatusOffered, AcceptBy: at.UTC(), CompleteBy: at.UTC()},
		TaskCancelled:  &Withdrawal{Reason: WithdrawnSilent, Forced: true},
		TaskCancellationRequested: &CancellationAsked{
			Reason: "changed_mind", Message: "sorry", AnswerBy: at.UTC(), CompleteBy: at.UTC(),
		},
		TaskCancellationRefused: &Refusal{ReasonCode: "shipped", Message: "too late"},
		TaskDelegated: &Delegated{
			Delegation: 1, BusinessType: "wms", Children: []string{"t2"}, Lines: []TaskQuantity{{LineID: "1", Quantity: 3}},
			Payload: json.RawMessage(`{"pick":"A"}`), Note: "please",
		},
		TaskDelegationAnswered: &DelegationAnswered{
			ChildTaskID: "t2", ChildProvider: "store", ChildStatus: TaskStatusCompleted, TaskStatus: TaskStatusAccepted, ResultID: "r2",
			Outcome: OutcomeCompleted, Lines: []ResultLine{{LineID: "1", Quantity: 3, Outcome: LineFulfilled}},
			Tracking: []Tracking{{Carrier: "bike"}}, Payload: json.RawMessage(`{"bin":7}`), OccurredAt: at.UTC(), Late: true,
		},
		TenantChanged:   &Tenant{ID: "demo", Name: "Demo"},
		ProviderChanged: &Provider{ID: "acme", Name: "Acme", BusinessTypes: []string{"retail.erp"}, Regions: []string{"eu"}, MaxLoad: 10},
		RouteChanged:    &Route{BusinessType: "retail.erp", Policy: PolicyAll, Regions: []string{"eu"}, AcceptWithin: 60, CompleteIn: 3600, CancelWithin: 600, MaxAttempts: 3},
		ProductChanged:  &Product{SKU: "A", Tenant: "demo", Name: "Pen", VendorID: "v", ReorderLevel: 5, TargetLevel: 10, Discontinued: true},
		VendorChanged:   &Vendor{ID: "v", Tenant: "demo", Name: "Vendor", Email: "v@example.com"},
		SubscriptionDisabled: &SubscriptionEnd{
			NoticeID: "n", SubscriptionID: "s", Name: "erp", Transport: "webhook", System: "crm", Reason: "nothing but failures for 5 days",
		},
		CustomerErased: &Erasure{ErasureID: "0197b0a0-6c1f-7c9e-9f1a-0d6f2a3b4c60", Key: "0197b0a0-6c1f-7c9e-9f1a-0d6f2a3b4c61"},
		StockAdjusted: &StockAdjustment{AdjustmentID: "count-1", Lines: []AdjustedStock{
			{SKU: "A", Delta: -2, OnOrderDelta: 5, Reason: "broken"}, {SKU: "B", Counted: new(int64), Reason: "counted"},
		}},
		OrderReturned: &OrderReturn{
			ReturnID: "RMA-1", Lines: []ReturnedLine{{LineID: "1", SKU: "A", Quantity: 2, Restock: true, Total: 500}}, Reason: "too small", OccurredAt: at.UTC(),
		},
		ReplenishmentDue: &ReplenishmentRun{RunID: "2026-01-31", Position: 17, Vendors: 1, Lines: 2},
	}
	all := make([]Event, 0, len(payloads))
	for i, t := range Types() {
		e := New(t, at, payloads[t])
		e.Position, e.Tenant, e.BusinessType, e.Provider = int64(i+1), "demo", "retail.erp", "acme"
		e.OrderID, e.OrderVersion, e.TaskID, e.Status = orderID, int64(i+1), "t1", OrderRouted
		e.FulfillmentStatus, e.Traceparent = Unfulfilled, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		all = append(all, e)
	}
	return all
}

// TestBytesOfEachTypeAreFixed compares with golden files: they are what lies in logs for ever.
func TestBytesOfEachTypeAreFixed(t *testing.T) {
	t.Parallel()
	for _, e := range samples() {
		body, err := e.Encode()
		require.NoError(t, err)
		path := filepath.Join("testdata", string(e.Type)+".v1.json")
		if *update {
			require.NoError(t, os.WriteFile(path, body, 0o600))
		}
		golden, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(golden), string(body), e.Type)

		decoded, err := Decode(e.Position, golden)
		require.NoError(t, err)
		require.Equal(t, e, decoded)
	}
}

// What a result says of a parcel is read by the quick reader as it was written, and by encoding/json as well.
func TestAParcelsStatusIsKept(t *testing.T) {
	t.Parallel()
	e := samples()[6]
	posted := *e.Data.(*ResultPosted)
	posted.Tracking = []Tracking{{Number: "7", Status: ParcelDelivered, DeliveredAt: posted.OccurredAt}, {Number: "8", Status: ParcelInTransit}}
	e.Data = &posted
	body, err := e.Encode()
	require.NoError(t, err)
	quick, ok := readEvent(body, e.Type, e.Version)
	require.True(t, ok)
	require.Equal(t, e.Data, quick.Data)
	slow, ok := decodeAny(body, e.Type, schemas[e.Type])
	require.True(t, ok)
	require.Equal(t, e.Data, slow.Data)
}

func TestUnknownTypeOrVersionIsToldAndKept(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"cell":1,"type":"order.teleported","version":1,"time":"2026-01-01T00:00:00Z","order_id":"x","data":{}}`,
		`{"cell":1,"type":"order.placed","version":2,"time":"2026-01-01T00:00:00Z","order_id":"x","data":{}}`,
		`{"cell":1,"type":"order.placed","version":0,"time":"2026-01-01T00:00:00Z","order_id":"x","data":{}}`,
	} {
		e, err := Decode(7, []byte(body))
		require.ErrorIs(t, err, ErrUnknown)
		require.Equal(t, "x", e.OrderID)
		require.Equal(t, int64(7), e.Position)
		_, data, err := DecodeHeader(7, []byte(body))
		require.NoError(t, err)
		require.JSONEq(t, `{}`, string(data))
	}
	_, err := Decode(7, []byte(`{`))
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrUnknown)
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	e := Event{Type: TaskOffered, Tenant: "demo", BusinessType: "retail.erp", Provider: "acme"}
	require.Equal(t, "orders.demo.retail~erp.acme.task.offered", e.Subject())
	e = Event{Type: ProviderChanged, Provider: "acme"}
	require.Equal(t, "orders.-.-.acme.provider.changed", e.Subject())
	require.Equal(t, "orders.demo.>", TenantFilter("demo"))
	require.Equal(t, "orders.*.*.acme.>", ProviderFilter("acme"))
}

// TestDigestChain fixes the chain's definition: SHA-256(previous ‖ position, 8 bytes big endian ‖ event).
func TestDigestChain(t *testing.T) {
	t.Parallel()
	var d Digest
	d = d.Next(1, []byte("a"))
	require.Equal(t, "00f87f5348b32d1caf5e59cbfadc31d568b7b2d04679e0d52b5aad8c5d4dfeed", hex.EncodeToString(d[:]))
	require.NotEqual(t, d.Next(2, []byte("b")), d.Next(3, []byte("b")))
	require.NotEqual(t, d.Next(2, []byte("b")), d.Next(2, []byte("c")))
	second := d.Next(2, []byte("b"))
	require.Equal(t, second, d.Next(2, []byte("b")))
}

func TestApplyRefusesWhatDoesNotFollow(t *testing.T) {
	t.Parallel()
	all := samples()
	placed, offered, result := all[0], all[3], all[6]
	_, err := Apply(nil, &offered)
	require.ErrorContains(t, err, "was not placed")
	placed.OrderVersion = 1
	o, err := Apply(nil, &placed)
	require.NoError(t, err)
	_, err = Apply(o, &placed)
	require.ErrorContains(t, err, "placed twice")
	before, err := o.Encode()
	require.NoError(t, err)
	offered.OrderVersion = 5
	_, err = Apply(o, &offered)
	require.ErrorContains(t, err, "makes order "+orderID+" version 5, which has 1")
	result.OrderVersion = 2
	_, err = Apply(o, &result)
	require.ErrorContains(t, err, "no task t1")
	after, err := o.Encode()
	require.NoError(t, err)
	require.Equal(t, before, after, "a refused event changes nothing")
}

// TestDocumentBytesAreStable: a document that was stored and read has the same bytes again, so that copies can be compared.
func TestDocumentBytesAreStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		e := New(OrderPlaced, time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds"), rapid.Int64Range(0, 1e9-1).Draw(t, "nanoseconds")), &Placed{
			Channel: "web", ExternalRef: text.Draw(t, "ref"), Currency: "EUR", Region: "eu",
			Lines:    []PlacedLine{{LineID: "1", SKU: text.Draw(t, "sku"), Name: text.Draw(t, "name"), Quantity: rapid.Int64Range(1, 1e6).Draw(t, "quantity")}},
			Customer: &Customer{Name: text.Draw(t, "customer")},
		})
		e.OrderID, e.OrderVersion, e.Tenant = orderID, 1, "demo"
		body, err := e.Encode()
		require.NoError(t, err)
		decoded, err := Decode(1, body)
		require.NoError(t, err)
		o, err := Apply(nil, &decoded)
		require.NoError(t, err)
		first, err := o.Encode()
		require.NoError(t, err)
		read, err := DecodeOrder(first)
		require.NoError(t, err)
		second, err := read.Encode()
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
	})
}

func BenchmarkEncode(b *testing.B) {
	e := samples()[0]
	for b.Loop() {
		_, _ = e.Encode()
	}
}

func BenchmarkDecode(b *testing.B) {
	body, err := samples()[0].Encode()
	require.NoError(b, err)
	for b.Loop() {
		_, _ = Decode(1, body)
	}
}
