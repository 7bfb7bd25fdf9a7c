package projection

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func (w *world) verify(perPass int64) *Report {
	w.t.Helper()
	read := int64(0)
	report, err := verify(w.t.Context(), w.read, w.log, perPass, func(n int64) { read += n })
	require.NoError(w.t, err)
	require.GreaterOrEqual(w.t, read, w.head())
	return report
}

func TestVerifyIsCleanInAnyNumberOfPasses(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(maxBatch + 100)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	stop()
	for _, perPass := range []int64{ordersPerPass, 300, 100} {
		report := w.verify(perPass)
		require.True(t, report.OK(), "%+v", report)
		rows := map[string]int64{}
		for _, view := range report.Views {
			require.Equal(t, w.head(), view.Position)
			rows[view.View] = view.Rows
		}
		n, tasks := int64(len(w.orders)), int64(0)
		for _, o := range w.orders {
			tasks += int64(len(o.Tasks))
		}
		require.Positive(t, rows[Catalog])
		require.Equal(t, map[string]int64{OrderView: n, TaskInbox: tasks, OrderSearch: n, OrderFacets: n, Timeline: w.head(), Catalog: rows[Catalog]}, rows)
	}
	// Views that are at different positions are each compared at their own.
	require.NoError(t, Reset(t.Context(), w.read, TaskInbox, OrderSearch, OrderFacets))
	require.True(t, w.verify(300).OK())
}

func TestVerifyFindsEachChange(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(200)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	stop()
	const order = `(SELECT id FROM order_view ORDER BY id LIMIT 1)`
	for name, c := range map[string]struct{ view, change string }{
		"order document":    {OrderView, `UPDATE order_view SET document = replace(convert_from(document, 'UTF8'), 'default', 'defaulT')::bytea WHERE id = ` + order},
		"order column":      {OrderView, `UPDATE order_view SET total = total + 1 WHERE id = ` + order},
		"order time":        {OrderView, `UPDATE order_view SET updated_at = updated_at + interval '1 microsecond' WHERE id = ` + order},
		"order missing":     {OrderView, `DELETE FROM order_view WHERE id = ` + order},
		"order too many":    {OrderView, `INSERT INTO order_view SELECT gen_random_uuid(), tenant, channel, external_ref, business_type, region, status, fulfillment_status, currency, total, placed_at, updated_at, version, position, document FROM order_view WHERE id = ` + order},
		"task column":       {TaskInbox, `UPDATE task_inbox SET provider = 'gamma' WHERE order_id = ` + order},
		"task document":     {TaskInbox, `UPDATE task_inbox SET document = document || ' ' WHERE order_id = ` + order},
		"task missing":      {TaskInbox, `DELETE FROM task_inbox WHERE order_id = ` + order},
		"event changed":     {Timeline, `UPDATE timeline SET event = event || ' ' WHERE position = 7`},
		"event of another":  {Timeline, `UPDATE timeline SET tenant = 'x' WHERE position = 7`},
		"event missing":     {Timeline, `DELETE FROM timeline WHERE position = 7`},
		"last missing":      {Timeline, `DELETE FROM timeline WHERE position = (SELECT max(position) FROM timeline)`},
		"event too many":    {Timeline, `INSERT INTO timeline SELECT 1000000, tenant, provider, order_id, event FROM timeline WHERE position = 7`},
		"search text":       {OrderSearch, `UPDATE order_search SET search = search || 'x' WHERE id = ` + order},
		"search grams":      {OrderSearch, `UPDATE order_search SET grams = '{}' WHERE id = ` + order},
		"search missing":    {OrderSearch, `DELETE FROM order_search WHERE id = ` + order},
		"facet changed":     {OrderFacets, `UPDATE order_facets SET facet = facet + 1 WHERE ctid = (SELECT min(ctid) FROM order_facets)`},
		"facet time":        {OrderFacets, `UPDATE order_facets SET placed_at = placed_at + interval '1 microsecond' WHERE ctid = (SELECT min(ctid) FROM order_facets)`},
		"facet missing":     {OrderFacets, `DELETE FROM order_facets WHERE ctid = (SELECT min(ctid) FROM order_facets)`},
		"facets of none":    {OrderFacets, `INSERT INTO order_facets SELECT 7, now(), gen_random_uuid()`},
		"product changed":   {Catalog, `UPDATE catalog SET document = document || ' ' WHERE ctid = (SELECT min(ctid) FROM catalog)`},
		"product's vendor":  {Catalog, `UPDATE catalog SET vendor_id = 'v-9' WHERE ctid = (SELECT min(ctid) FROM catalog)`},
		"product missing":   {Catalog, `DELETE FROM catalog WHERE ctid = (SELECT min(ctid) FROM catalog)`},
		"product too many":  {Catalog, `INSERT INTO catalog SELECT kind, tenant, 'more', vendor_id, position, document FROM catalog LIMIT 1`},
		"digest":            {Timeline, `UPDATE checkpoints SET digest = decode(repeat('11', 32), 'hex') WHERE view = 'timeline'`},
		"position too low":  {OrderView, `UPDATE checkpoints SET position = 1 WHERE view = 'order_view'`},
		"position too high": {OrderView, `UPDATE checkpoints SET position = 100000 WHERE view = 'order_view'`},
	} {
		w.damaged(name, c.view, c.change)
	}
}

// damaged makes one change, and takes it back after it was found.
func (w *world) damaged(name, view, change string) {
	w.t.Helper()
	w.exec(`CREATE SCHEMA kept`)
	for _, table := range append(Views(), "checkpoints") {
		w.exec(`CREATE TABLE kept.` + table + ` AS TABLE ` + table)
	}
	w.exec(change)
	report := w.verify(100)
	for _, v := range report.Views {
		if v.View == view {
			require.NotEmpty(w.t, v.Difference, name)
			require.Positive(w.t, v.Differences, name)
		} else {
			require.Empty(w.t, v.Difference, name)
		}
	}
	require.False(w.t, report.OK(), name)
	for _, table := range append(Views(), "checkpoints") {
		w.exec(`DELETE FROM ` + table)
		w.exec(`INSERT INTO ` + table + ` TABLE kept.` + table)
	}
	w.exec(`DROP SCHEMA kept CASCADE`)
	require.True(w.t, w.verify(100).OK(), name)
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.read.Exec(w.t.Context(), sql, args...)
	require.NoError(w.t, err)
}

func TestVerifyNamesTheFirstDifference(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(100)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	stop()
	w.exec(`DELETE FROM timeline WHERE position IN (20, 40, 60)`)
	view := w.verify(100).Views[2]
	require.Equal(t, ViewReport{
		View: Timeline, Position: w.head(), Rows: w.head() - 3, Differences: 3, Difference: "event 20 is missing", At: 20, Generation: 1,
	}, view)
}
