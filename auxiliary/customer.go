package auxiliary

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/fault"
)

const (
	favourites = 5     // SKUs
	usualOrder = 1_000 // the tenant's last orders, whose average an order is compared with
)

// Customer is what is known of a customer over all channels. Orders that were cancelled, rejected or returned count in Orders
// alone.
type Customer struct {
	ID         string           `json:"customer_id"`
	Merged     []string         `json:"merged"` // ids that lead here too
	Orders     map[string]int64 `json:"orders"` // by what became of them, and all
	Totals     []CustomerTotal  `json:"totals"`
	FirstOrder *CustomerOrder   `json:"first_order,omitempty"`
	LastOrder  *CustomerOrder   `json:"last_order,omitempty"`
	Channels   []ChannelCount   `json:"channels"`   // the most used first
	Favourites []SKUCount       `json:"favourites"` // the most bought first
	Segment    Segment          `json:"segment"`
	Loyalty    LoyaltyBalance   `json:"loyalty"`
	Position   int64            `json:"position"` // of the log, which the profile reflects
}

// CustomerTotal is what a customer ordered in one currency, in its minor units.
type CustomerTotal struct {
	Currency    string `json:"currency"`
	MinorDigits int    `json:"minor_digits"`
	Orders      int64  `json:"orders"`
	Total       int64  `json:"total"`
}

// CustomerOrder names an order.
type CustomerOrder struct {
	OrderID  string    `json:"order_id"`
	Channel  string    `json:"channel"`
	PlacedAt time.Time `json:"placed_at"`
}

// ChannelCount is how many orders came by a channel.
type ChannelCount struct {
	Channel string `json:"channel"`
	Orders  int64  `json:"orders"`
}

// SKUCount is how many units of a product were ordered.
type SKUCount struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// LoyaltyBalance is the sum of a customer's points.
type LoyaltyBalance struct {
	Points   int64 `json:"points"`
	Earned   int64 `json:"earned"` // points and those that were taken back
	Position int64 `json:"position"`
}

const selectCustomer = `
SELECT coalesce(merged_into, customer_id)::text FROM customers WHERE customer_id = $1 AND tenant = $2`

const selectCustomerByKey = `SELECT customer_id::text FROM customer_keys WHERE tenant = $1 AND key = ANY ($2) ORDER BY key`

const selectMergedCustomers = `SELECT customer_id::text FROM customers WHERE merged_into = $1 ORDER BY since, customer_id`

const countCustomerOrders = `
SELECT state, channel, currency, count(*), sum(total)::bigint FROM customer_orders WHERE customer_id = $1 GROUP BY 1, 2, 3`

const selectFirstAndLast = `
(SELECT order_id::text, channel, placed_at FROM customer_orders WHERE customer_id = $1 ORDER BY position LIMIT 1)
UNION ALL
(SELECT order_id::text, channel, placed_at FROM customer_orders WHERE customer_id = $1 ORDER BY position DESC LIMIT 1)`

const selectFavourites = `
SELECT g.sku, sum(g.quantity)::bigint FROM customer_orders o, unnest(o.skus, o.quantities) AS g (sku, quantity)
WHERE o.customer_id = $1 AND o.state IN ('open', 'completed') AND g.quantity > 0 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $2`

const sumPoints = `
SELECT coalesce(sum(p.counts), 0)::bigint, coalesce(sum(p.points), 0)::bigint
FROM customer_orders o JOIN loyalty_points p ON p.order_id = o.order_id WHERE o.customer_id = $1`

const averageOrder = `
SELECT coalesce(avg(total), 0)::float8 FROM (
    SELECT total FROM customer_orders WHERE tenant = $1 AND currency = $2 ORDER BY position DESC LIMIT $3) last`

const selectPosition = `SELECT coalesce((SELECT position FROM checkpoints WHERE system = $1), 0)`

// findCustomer finds whom an id leads to; fault.NotFound for nobody of the tenant.
func findCustomer(ctx context.Context, tx pgx.Tx, tenant string, id uuid.UUID) (string, error) {
	var found string
	err := tx.QueryRow(ctx, selectCustomer, id, tenant).Scan(&found)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", fault.New(fault.NotFound, "there is no such customer")
	}
	if err != nil {
		return "", fmt.Errorf("find customer: %w", err)
	}
	return found, nil
}

// findCustomers finds who is known by one of the keys.
func findCustomers(ctx context.Context, tx pgx.Tx, tenant string, keys []customerKey) ([]string, error) {
	hashes := make([][]byte, len(keys))
	for i := range keys {
		hashes[i] = keys[i].hash[:]
	}
	rows, err := tx.Query(ctx, selectCustomerByKey, tenant, hashes)
	if err != nil {
		return nil, fmt.Errorf("find customers: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("find customers: %w", err)
	}
	return distinct(ids), nil
}

// readCustomer reads a profile in a transaction that sees one state. day is what recency is reckoned from.
func readCustomer(ctx context.Context, tx pgx.Tx, tenant, id string, day time.Time) (*Customer, error) {
	c := &Customer{ID: id, Orders: map[string]int64{"all": 0}}
	if err := c.counts(ctx, tx); err != nil {
		return nil, fmt.Errorf("count orders: %w", err)
	}
	if err := c.details(ctx, tx); err != nil {
		return nil, fmt.Errorf("read customer: %w", err)
	}
	usual := 0.0
	if len(c.Totals) > 0 {
		if err := tx.QueryRow(ctx, averageOrder, tenant, c.Totals[0].Currency, usualOrder).Scan(&usual); err != nil {
			return nil, fmt.Errorf("read usual order: %w", err)
		}
	}
	c.Segment = segmentOf(c, usual, day)
	return c, nil
}

func (c *Customer) counts(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, countCustomerOrders, c.ID)
	if err != nil {
		return err
	}
	totals, channels := map[string]*CustomerTotal{}, map[string]int64{}
	var state, channel, currency string
	var n, sum int64
	_, err = pgx.ForEachRow(rows, []any{&state, &channel, &currency, &n, &sum}, func() error {
		c.Orders["all"] += n
		c.Orders[state] += n
		if state != stateOpen && state != stateCompleted {
			return nil
		}
		if totals[currency] == nil {
			totals[currency] = &CustomerTotal{Currency: currency, MinorDigits: minorDigits(currency)}
		}
		totals[currency].Orders += n
		totals[currency].Total += sum
		channels[channel] += n
		return nil
	})
	c.Totals, c.Channels = []CustomerTotal{}, []ChannelCount{}
	for _, t := range totals {
		c.Totals = append(c.Totals, *t)
	}
	slices.SortFunc(c.Totals, func(a, b CustomerTotal) int {
		return cmp.Or(cmp.Compare(b.Orders, a.Orders), cmp.Compare(a.Currency, b.Currency))
	})
	for _, name := range slices.Sorted(maps.Keys(channels)) {
		c.Channels = append(c.Channels, ChannelCount{name, channels[name]})
	}
	slices.SortStableFunc(c.Channels, func(a, b ChannelCount) int { return cmp.Compare(b.Orders, a.Orders) })
	return err
}

func (c *Customer) details(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, selectMergedCustomers, c.ID)
	if err != nil {
		return err
	}
	if c.Merged, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return err
	}
	if rows, err = tx.Query(ctx, selectFirstAndLast, c.ID); err != nil {
		return err
	}
	ends, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByPos[CustomerOrder])
	if err != nil {
		return err
	}
	for _, o := range ends {
		o.PlacedAt = o.PlacedAt.UTC()
	}
	if len(ends) == 2 {
		c.FirstOrder, c.LastOrder = ends[0], ends[1]
	}
	if rows, err = tx.Query(ctx, selectFavourites, c.ID, favourites); err != nil {
		return err
	}
	if c.Favourites, err = pgx.CollectRows(rows, pgx.RowToStructByPos[SKUCount]); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, sumPoints, c.ID).Scan(&c.Loyalty.Points, &c.Loyalty.Earned); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, selectPosition, ProfileName).Scan(&c.Position); err != nil {
		return err
	}
	return tx.QueryRow(ctx, selectPosition, LoyaltyName).Scan(&c.Loyalty.Position)
}

// Segment says how a customer buys: three scores from 1 to 5, and a word for them.
type Segment struct {
	Name      string `json:"name"`
	AsOf      string `json:"as_of"`     // the day, in UTC
	Days      int64  `json:"days"`      // since the last order
	Recency   int    `json:"recency"`   // 5: within 30 days, 4: 90, 3: 180, 2: 365
	Frequency int    `json:"frequency"` // 5: 10 orders, 4: 5, 3: 3, 2: 2
	// Value compares what was ordered in the customer's main currency with the tenant's usual order in it, the average of its last
	// thousand: 5: 10 times as much, 4: 5 times, 3: twice, 2: as much.
	Value int `json:"value"`
}

// segmentOf follows from what is stored and the day alone.
func segmentOf(c *Customer, usual float64, now time.Time) Segment {
	day := now.UTC().Truncate(24 * time.Hour)
	s := Segment{Name: "none", AsOf: day.Format(time.DateOnly)}
	if len(c.Totals) == 0 || c.LastOrder == nil {
		return s
	}
	var orders int64
	for _, t := range c.Totals {
		orders += t.Orders
	}
	s.Days = max(0, int64(day.Sub(c.LastOrder.PlacedAt.Truncate(24*time.Hour))/(24*time.Hour)))
	s.Recency = score(-float64(s.Days), -30, -90, -180, -365)
	s.Frequency = score(float64(orders), 10, 5, 3, 2)
	s.Value = 1
	if usual > 0 {
		s.Value = score(float64(c.Totals[0].Total)/usual, 10, 5, 2, 1)
	}
	switch {
	case s.Recency >= 4 && s.Frequency >= 4 && s.Value >= 4:
		s.Name = "champion"
	case s.Recency >= 3 && s.Frequency >= 4:
		s.Name = "loyal"
	case s.Recency <= 2 && s.Frequency >= 3:
		s.Name = "at_risk"
	case s.Recency == 1:
		s.Name = "lost"
	case s.Recency == 5 && s.Frequency == 1:
		s.Name = "new"
	default:
		s.Name = "regular"
	}
	return s
}

// score is 5 from the first bound on, 4 from the second, and so on; 1 below all.
func score(v float64, bounds ...float64) int {
	for i, bound := range bounds {
		if v >= bound {
			return len(bounds) + 1 - i
		}
	}
	return 1
}
