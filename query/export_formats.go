package query

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
)

// exportLine is a line of an order as CSV and Parquet have it: a row a line, with the order's columns on each. Amounts are in minor units
// of the order's currency.
type exportLine struct {
	OrderID             string    `parquet:"order_id"`
	Tenant              string    `parquet:"tenant,dict"`
	Channel             string    `parquet:"channel,dict"`
	ExternalRef         string    `parquet:"external_ref"`
	BusinessType        string    `parquet:"business_type,dict"`
	Region              string    `parquet:"region,dict"`
	Version             int64     `parquet:"version"`
	Status              string    `parquet:"status,dict"`
	FulfillmentStatus   string    `parquet:"fulfillment_status,dict"`
	Currency            string    `parquet:"currency,dict"`
	OrderTotal          int64     `parquet:"order_total"`
	Shipping            int64     `parquet:"shipping"`
	PlacedAt            time.Time `parquet:"placed_at,timestamp(microsecond)"`
	UpdatedAt           time.Time `parquet:"updated_at,timestamp(microsecond)"`
	CustomerName        string    `parquet:"customer_name"`
	CustomerEmail       string    `parquet:"customer_email"`
	CustomerPhone       string    `parquet:"customer_phone"`
	AddressLine1        string    `parquet:"address_line1"`
	AddressLine2        string    `parquet:"address_line2"`
	AddressCity         string    `parquet:"address_city"`
	AddressRegion       string    `parquet:"address_region"`
	AddressPostalCode   string    `parquet:"address_postal_code"`
	AddressCountry      string    `parquet:"address_country,dict"`
	Attributes          string    `parquet:"attributes"` // the JSON object, as it is
	LineID              string    `parquet:"line_id"`
	SKU                 string    `parquet:"sku"`
	Name                string    `parquet:"name"`
	VendorID            string    `parquet:"vendor_id,dict"`
	Quantity            int64     `parquet:"quantity"`
	UnitPrice           int64     `parquet:"unit_price"`
	Discount            int64     `parquet:"discount"`
	Tax                 int64     `parquet:"tax"`
	LineTotal           int64     `parquet:"line_total"`
	QuantitiesOrdered   int64     `parquet:"quantities_ordered"`
	QuantitiesAssigned  int64     `parquet:"quantities_assigned"`
	QuantitiesAccepted  int64     `parquet:"quantities_accepted"`
	QuantitiesFulfilled int64     `parquet:"quantities_fulfilled"`
	QuantitiesRejected  int64     `parquet:"quantities_rejected"`
	QuantitiesCancelled int64     `parquet:"quantities_cancelled"`
	QuantitiesReturned  int64     `parquet:"quantities_returned"`
}

// exportedOrder is what is read of a document for such rows.
type exportedOrder struct {
	ID                string          `json:"id"`
	Tenant            string          `json:"tenant"`
	Channel           string          `json:"channel"`
	ExternalRef       string          `json:"external_ref"`
	BusinessType      string          `json:"business_type"`
	Region            string          `json:"region"`
	Version           int64           `json:"version"`
	Status            string          `json:"status"`
	FulfillmentStatus string          `json:"fulfillment_status"`
	Currency          string          `json:"currency"`
	Total             int64           `json:"total"`
	Shipping          int64           `json:"shipping"`
	PlacedAt          time.Time       `json:"placed_at"`
	UpdatedAt         time.Time       `json:"updated_at"`
	Attributes        json.RawMessage `json:"attributes"`
	Customer          struct {
		Name    string `json:"name"`
		Email   string `json:"email"`
		Phone   string `json:"phone"`
		Address struct {
			Line1      string `json:"line1"`
			Line2      string `json:"line2"`
			City       string `json:"city"`
			Region     string `json:"region"`
			PostalCode string `json:"postal_code"`
			Country    string `json:"country"`
		} `json:"address"`
	} `json:"customer"`
	Lines []exportedLine `json:"lines"`
}

type exportedLine struct {
	LineID     string `json:"line_id"`
	SKU        string `json:"sku"`
	Name       string `json:"name"`
	VendorID   string `json:"vendor_id"`
	Quantity   int64  `json:"quantity"`
	UnitPrice  int64  `json:"unit_price"`
	Discount   int64  `json:"discount"`
	Tax        int64  `json:"tax"`
	Total      int64  `json:"total"`
	Quantities struct {
		Ordered   int64 `json:"ordered"`
		Assigned  int64 `json:"assigned"`
		Accepted  int64 `json:"accepted"`
		Fulfilled int64 `json:"fulfilled"`
		Rejected  int64 `json:"rejected"`
		Cancelled int64 `json:"cancelled"`
		Returned  int64 `json:"returned"`
	} `json:"quantities"`
}

// linesOf are the rows of an order, put behind rows.
func linesOf(rows []exportLine, document []byte) ([]exportLine, error) {
	var o exportedOrder
	if err := json.Unmarshal(document, &o); err != nil {
		return rows, fmt.Errorf("order document: %w", err)
	}
	to := o.Customer.Address
	order := exportLine{
		OrderID: o.ID, Tenant: o.Tenant, Channel: o.Channel, ExternalRef: o.ExternalRef, BusinessType: o.BusinessType, Region: o.Region,
		Version: o.Version, Status: o.Status, FulfillmentStatus: o.FulfillmentStatus, Currency: o.Currency, OrderTotal: o.Total,
		Shipping: o.Shipping, PlacedAt: o.PlacedAt, UpdatedAt: o.UpdatedAt,
		CustomerName: o.Customer.Name, CustomerEmail: o.Customer.Email, CustomerPhone: o.Customer.Phone,
		AddressLine1: to.Line1, AddressLine2: to.Line2, AddressCity: to.City, AddressRegion: to.Region, AddressPostalCode: to.PostalCode,
		AddressCountry: to.Country, Attributes: string(o.Attributes),
	}
	for _, l := range o.Lines {
		row := order
		row.LineID, row.SKU, row.Name, row.VendorID = l.LineID, l.SKU, l.Name, l.VendorID
		row.Quantity, row.UnitPrice, row.Discount, row.Tax, row.LineTotal = l.Quantity, l.UnitPrice, l.Discount, l.Tax, l.Total
		n := l.Quantities
		row.QuantitiesOrdered, row.QuantitiesAssigned, row.QuantitiesAccepted, row.QuantitiesFulfilled = n.Ordered, n.Assigned, n.Accepted, n.Fulfilled
		row.QuantitiesRejected, row.QuantitiesCancelled, row.QuantitiesReturned = n.Rejected, n.Cancelled, n.Returned
		rows = append(rows, row)
	}
	return rows, nil
}

// ndjson is the documents as the API answers them, one a line.
type ndjson struct{ w io.Writer }

func newNDJSON(w io.Writer) (orderEncoder, error) { return ndjson{w}, nil }

func (e ndjson) Encode(document []byte) error {
	if _, err := e.w.Write(document); err != nil {
		return err
	}
	_, err := e.w.Write([]byte{'\n'})
	return err
}

func (e ndjson) Close() error { return nil }

// csvLines is RFC 4180: lines end with CR LF, the first names the columns.
type csvLines struct {
	w      *csv.Writer
	rows   []exportLine
	record []string
}

func newCSV(w io.Writer) (orderEncoder, error) {
	e := &csvLines{w: csv.NewWriter(w)}
	e.w.UseCRLF = true
	columns := reflect.TypeFor[exportLine]()
	for i := range columns.NumField() {
		name, _, _ := strings.Cut(columns.Field(i).Tag.Get("parquet"), ",")
		e.record = append(e.record, name)
	}
	return e, e.w.Write(e.record)
}

func (e *csvLines) Encode(document []byte) error {
	var err error
	if e.rows, err = linesOf(e.rows[:0], document); err != nil {
		return err
	}
	for i := range e.rows {
		if err := e.put(&e.rows[i]); err != nil {
			return err
		}
	}
	return nil
}

func (e *csvLines) put(line *exportLine) error {
	row := reflect.ValueOf(line).Elem()
	for n := range e.record {
		e.record[n] = cell(row.Field(n).Interface())
	}
	return e.w.Write(e.record)
}

func (e *csvLines) Close() error {
	e.w.Flush()
	return e.w.Error()
}

// cell is a value as CSV has it. A text that a spreadsheet would take for a formula gets a quotation mark before it.
func cell(value any) string {
	switch v := value.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case string:
		if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
			return "'" + v
		}
		return v
	}
	return ""
}

// rowGroup is how many rows are in memory before they become a part of a Parquet file, and rowGroupBytes about how much text of them.
const (
	rowGroup      = 16384
	rowGroupBytes = 6 << 20
)

type parquetLines struct {
	w     *parquet.GenericWriter[exportLine]
	rows  []exportLine
	held  int // rows of the group that is being filled
	bytes int

	most, mostBytes int // of a group
}

func newParquet(w io.Writer) (orderEncoder, error) {
	return &parquetLines{most: rowGroup, mostBytes: rowGroupBytes, w: parquet.NewGenericWriter[exportLine](w,
		parquet.Compression(&parquet.Zstd), parquet.CreatedBy("orderstore", "", ""),
		// The bounds of all pages are in memory until the end, and these are long and of no use.
		parquet.SkipPageBounds("attributes"),
	)}, nil
}

func (e *parquetLines) Encode(document []byte) error {
	var err error
	if e.rows, err = linesOf(e.rows[:0], document); err != nil {
		return err
	}
	begin := 0
	for i := range e.rows {
		row := &e.rows[i]
		e.held++
		e.bytes += len(row.Attributes) + len(row.Name) + len(row.SKU) + len(row.CustomerName)
		if e.held < e.most && e.bytes < e.mostBytes {
			continue
		}
		if err := e.put(e.rows[begin : i+1]); err != nil {
			return err
		}
		begin, e.held, e.bytes = i+1, 0, 0
		if err := e.w.Flush(); err != nil {
			return fmt.Errorf("write row group: %w", err)
		}
	}
	return e.put(e.rows[begin:])
}

func (e *parquetLines) put(rows []exportLine) error {
	if _, err := e.w.Write(rows); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	return nil
}

func (e *parquetLines) Close() error { return e.w.Close() }
