package projection

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
)

// catalog keeps tenants' products and vendors as they were last registered.
func catalog() view {
	return view{name: Catalog, code: 1, needs: needPayload, pace: together, about: changesCatalog, write: writeCatalog}
}

func changesCatalog(t events.Type) bool {
	return t == events.ProductChanged || t == events.VendorChanged
}

// Kinds of what is in the catalog.
const (
	kindProduct = "product"
	kindVendor  = "vendor"
)

const upsertCatalog = `
INSERT INTO catalog (kind, tenant, id, vendor_id, position, document)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[])
ON CONFLICT (kind, tenant, id) DO UPDATE
SET vendor_id = excluded.vendor_id, position = excluded.position, document = excluded.document`

// catalogKey is a product or a vendor. The tenant of a vendor that is every tenant's is empty.
type catalogKey struct{ kind, tenant, id string }

// catalogRow is what the catalog has of it.
type catalogRow struct {
	vendor   string
	position int64
	document string
}

// productDocument is a product as it is answered.
type productDocument struct {
	*events.Product
	UpdatedAt time.Time `json:"updated_at"`
}

// vendorDocument is a vendor as it is answered.
type vendorDocument struct {
	*events.Vendor
	UpdatedAt time.Time `json:"updated_at"`
}

// catalogRowOf gives what an event says of the catalog; false where that is nothing.
func catalogRowOf(position int64, e *events.Event) (catalogKey, catalogRow, bool, error) {
	var key catalogKey
	var document any
	row := catalogRow{position: position}
	switch data := e.Data.(type) {
	case *events.Product:
		key, row.vendor = catalogKey{kindProduct, data.Tenant, data.SKU}, data.VendorID
		document = productDocument{data, e.Time.UTC()}
	case *events.Vendor:
		key = catalogKey{kindVendor, data.Tenant, data.ID}
		document = vendorDocument{data, e.Time.UTC()}
	default:
		return key, row, false, nil
	}
	bytes, err := json.Marshal(document)
	if err != nil {
		return key, row, false, fmt.Errorf("encode %s %s: %w", key.kind, key.id, err)
	}
	row.document = string(bytes)
	return key, row, true, nil
}

// catalogColumns are the columns of rows that change, each an array.
type catalogColumns struct {
	kinds, tenants, ids, vendors []string
	positions                    []int64
	documents                    [][]byte
}

func writeCatalog(b *batch, to *postgres.Bulk) error {
	var order []catalogKey
	last := map[catalogKey]catalogRow{}
	for i := range b.facts {
		key, row, ok, err := catalogRowOf(b.facts[i].Position, b.facts[i].event)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if _, again := last[key]; !again {
			order = append(order, key)
		}
		last[key] = row
	}
	if len(order) == 0 {
		return nil
	}
	var c catalogColumns
	for _, key := range order {
		row := last[key]
		c.kinds, c.tenants, c.ids = append(c.kinds, key.kind), append(c.tenants, key.tenant), append(c.ids, key.id)
		c.vendors, c.positions = append(c.vendors, row.vendor), append(c.positions, row.position)
		c.documents = append(c.documents, []byte(row.document))
	}
	to.Query(upsertCatalog, c.kinds, c.tenants, c.ids, c.vendors, c.positions, c.documents)
	return nil
}
