package query

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// plan is what is read of an answer to EXPLAIN.
type plan []struct {
	Plan struct {
		Rows float64 `json:"Plan Rows"`
	} `json:"Plan"`
}

// estimate is about how many orders the whole list has: what the planner believes, from its statistics. Nothing is counted. What it cannot
// believe anything of, how many of the orders with one facet have another or a text, is taken to be independent.
func (f filter) estimate(ctx context.Context, db sqlx.QueryerContext) (*int64, error) {
	st, without := &statement{}, f
	without.customer, without.sku, without.provider = "", "", ""
	without.bind(st, sorting{}, nil)
	sql := "SELECT FROM order_view v WHERE " + st.conditions()
	about, err := planRows(ctx, db, sql, st.args...)
	if err != nil || len(f.sets()) == 0 && f.text == "" {
		n := int64(about)
		return &n, err
	}
	all, err := planRows(ctx, db, "SELECT FROM order_view v WHERE v.tenant = $1", f.tenant)
	if err != nil {
		return nil, err
	}
	for _, has := range f.sets() {
		rows, err := planRows(ctx, db, "SELECT FROM order_facets f WHERE f.facet = ANY ($1)", f.facets(has.kind, has.values))
		if err != nil {
			return nil, err
		}
		about *= min(1, rows/max(1, all))
	}
	if f.text != "" {
		rows, err := f.textRows(ctx, db)
		if err != nil {
			return nil, err
		}
		about *= min(1, rows/max(1, all))
	}
	n := int64(about)
	return &n, nil
}

// textRows gives how many orders of the tenant the planner believes to have the text.
func (f filter) textRows(ctx context.Context, db sqlx.QueryerContext) (float64, error) {
	st := &statement{}
	sql := "SELECT estimate_search(" + f.forIndex(st)
	var rows float64
	if err := sqlx.GetContext(ctx, db, &rows, sql, append([]any{planned}, st.args...)...); err != nil {
		return 0, fmt.Errorf("estimate text: %w", err)
	}
	return rows, nil
}

// planRows gives how many rows the planner believes a statement to give.
func planRows(ctx context.Context, db sqlx.QueryerContext, sql string, args ...any) (float64, error) {
	var answer []byte
	if err := sqlx.GetContext(ctx, db, &answer, "EXPLAIN (FORMAT JSON) "+sql, append([]any{planned}, args...)...); err != nil {
		return 0, fmt.Errorf("estimate orders: %w", err)
	}
	var p plan
	if err := json.Unmarshal(answer, &p); err != nil {
		return 0, fmt.Errorf("read the plan: %w", err)
	}
	if len(p) != 1 {
		return 0, fmt.Errorf("read the plan: it has %d parts", len(p))
	}
	return p[0].Plan.Rows, nil
}
