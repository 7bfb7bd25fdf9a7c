package command

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

// quota is how many orders a tenant may place on one day in UTC.
type quota struct {
	most  int64
	used  int64 // as of the head that the round starts from
	added int64 // by the round
}

// days keeps what tenants with a quota have used. It holds as long as this node alone moves the head, as the rest of its cache does.
type days struct {
	day  time.Time
	used map[string]int64 // by tenant
}

const selectDays = `SELECT tenant, orders FROM order_days WHERE day = $1 AND tenant = ANY($2)`

// quotas makes known to a round what the tenants that place orders in it may still do. Tenants without a quota cost nothing.
func (c *Committer) quotas(ctx context.Context, placing []string, r *round) error {
	var missing []string
	day := r.at.Truncate(24 * time.Hour)
	if !c.days.day.Equal(day) {
		c.days = days{day: day, used: map[string]int64{}}
	}
	for _, id := range placing {
		tenant := c.registry.tenants[id]
		if tenant == nil || tenant.Limits == nil || tenant.Limits.OrdersPerDay == 0 || r.quotas[id] != nil {
			continue
		}
		used, known := c.days.used[id]
		if !known {
			missing = append(missing, id)
		}
		r.quotas[id] = &quota{most: tenant.Limits.OrdersPerDay, used: used}
	}
	if len(missing) == 0 {
		return nil
	}
	found, err := c.store.days(ctx, day, missing)
	if err != nil {
		return err
	}
	for _, id := range missing {
		r.quotas[id].used, c.days.used[id] = found[id], found[id]
	}
	return nil
}

func (s *store) days(ctx context.Context, day time.Time, tenants []string) (map[string]int64, error) {
	rows, err := s.pool.Query(ctx, selectDays, day, tenants)
	if err != nil {
		return nil, fmt.Errorf("read orders of the day: %w", err)
	}
	found := map[string]int64{}
	var tenant string
	var orders int64
	_, err = pgx.ForEachRow(rows, []any{&tenant, &orders}, func() error {
		found[tenant] = orders
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read orders of the day: %w", err)
	}
	return found, nil
}

// admit counts a new order of a tenant, or refuses it until the next day.
func (r *round) admit(tenant string) error {
	q := r.quotas[tenant]
	if q == nil {
		return nil
	}
	if q.used+q.added >= q.most {
		if !r.checked {
			return errLookFirst // it may be one that was placed before
		}
		next := r.at.Truncate(24 * time.Hour).Add(24 * time.Hour)
		return fault.New(fault.TooManyRequests, "the tenant has placed the %d orders that it may place on one day", q.most).
			Retry(next.Sub(r.at)).With("orders_per_day", q.most)
	}
	q.added++
	return nil
}

const addDays = `
INSERT INTO order_days AS d (tenant, day, orders) SELECT t, $1, n FROM unnest($2::text[], $3::bigint[]) AS u (t, n)
ON CONFLICT (tenant, day) DO UPDATE SET orders = d.orders + excluded.orders`

func putDays(bulk *postgres.Bulk, r *round) {
	var tenants []string
	var orders []int64
	for tenant, q := range r.quotas {
		if q.added > 0 {
			tenants, orders = append(tenants, tenant), append(orders, q.added)
		}
	}
	if len(tenants) > 0 {
		bulk.Query(addDays, r.at.Truncate(24*time.Hour), tenants, orders)
	}
}

// settled takes over what a stored round used.
func (d *days) settled(r *round) {
	for tenant, q := range r.quotas {
		d.used[tenant] = q.used + q.added
	}
}

// place notes the tenant of a new order once.
func (w *wants) place(tenant string) {
	if !slices.Contains(w.placing, tenant) {
		w.placing = append(w.placing, tenant)
	}
}
