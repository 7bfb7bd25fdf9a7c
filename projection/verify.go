package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

// ordersPerPass is how many orders verify folds in memory at once, a kilobyte or so each. More take more passes over the log.
const ordersPerPass = 250_000

// LogReader reads the log in order, up to limit records after a position, and none at its end. *stream.Log is one.
type LogReader interface {
	Read(ctx context.Context, after int64, limit int) ([]stream.Record, error)
}

// Report is what verify found, a part for each view.
type Report struct {
	Views []ViewReport
	// Audit is what operators did to the read database.
	Audit []Audit
}

// ViewReport is what was found comparing a view with a fresh fold of the log up to the view's checkpoint.
type ViewReport struct {
	View        string
	Position    int64 // of the view's checkpoint
	Rows        int64 // rows that are as they have to be
	Differences int64
	Difference  string // the first one by position; empty where there is none
	At          int64  // its position
	Stopped     string // why the view does not go on; empty while it does
	Skipped     int    // events that an operator had it go past, which the fold leaves out too
	Generation  int64
}

// OK says whether all views hold what they have to.
func (r *Report) OK() bool {
	for i := range r.Views {
		if r.Views[i].Differences > 0 {
			return false
		}
	}
	return true
}

func (v *ViewReport) differs(at int64, format string, args ...any) {
	v.Differences++
	if v.Difference == "" || at < v.At {
		v.Difference, v.At = fmt.Sprintf(format, args...), at
	}
}

// Verify folds the log anew and compares every row of every view with it, both ways and byte for byte, in one snapshot of the
// read database. progress hears how many log rows were read since it was told last.
func Verify(ctx context.Context, pool *pgxpool.Pool, log LogReader, progress func(events int64)) (*Report, error) {
	return verify(ctx, pool, log, ordersPerPass, progress)
}

func verify(ctx context.Context, pool *pgxpool.Pool, log LogReader, perPass int64, progress func(int64)) (*Report, error) {
	report := &Report{}
	err := postgres.InSnapshot(ctx, pool, func(tx pgx.Tx) error {
		v := &verifier{tx: tx, log: log, progress: progress, perPass: perPass, views: map[string]*ViewReport{}}
		return v.run(ctx, report)
	})
	return report, err
}

type verifier struct {
	tx       pgx.Tx
	log      LogReader
	progress func(int64)
	perPass  int64
	views    map[string]*ViewReport
	skips    map[string]skips
	digests  map[string][32]byte // of the checkpoints
	placed   int64               // orders in the log, as far as the furthest view is
	catalog  map[catalogKey]catalogRow
}

// errTooShort says that the log ends before a view does.
var errTooShort = errors.New("the log ends before the view")

func (v *verifier) run(ctx context.Context, report *Report) error {
	if err := holdTables(ctx, v.tx, Views()...); err != nil {
		return err
	}
	points, err := readCheckpoints(ctx, v.tx)
	if err != nil {
		return err
	}
	if report.Audit, err = readAudits(ctx, v.tx); err != nil {
		return err
	}
	v.skips = map[string]skips{}
	report.Views = make([]ViewReport, len(Views()))
	v.digests, v.catalog = map[string][32]byte{}, map[catalogKey]catalogRow{}
	for i, name := range Views() {
		at := points[name]
		if v.skips[name], err = loadSkips(ctx, v.tx, name, at.generation); err != nil {
			return err
		}
		report.Views[i] = ViewReport{
			View: name, Position: at.position, Stopped: at.stopped, Skipped: len(v.skips[name]), Generation: at.generation,
		}
		v.views[name], v.digests[name] = &report.Views[i], at.digest
	}
	if err := v.compareTimeline(ctx); err != nil {
		return err
	}
	if err := v.compareCatalog(ctx); err != nil {
		return err
	}
	for of, names := range v.folded() {
		if err := v.compareFolded(ctx, of.position, names); err != nil {
			return err
		}
	}
	return nil
}

// folding is what views have to have in common to be compared in one fold.
type folding struct {
	position int64
	skips    string
}

// folded groups the views that are made from events about orders. The search is not made from orders, and goes with any.
func (v *verifier) folded() map[folding][]string {
	groups := map[folding][]string{}
	for _, name := range []string{OrderView, TaskInbox, OrderFacets, OrderSearch} {
		of := folding{position: v.views[name].Position, skips: fmt.Sprint(slices.Sorted(maps.Keys(v.skips[name])))}
		if orders := v.views[OrderView]; name == OrderSearch && of.position == orders.Position {
			of.skips = fmt.Sprint(slices.Sorted(maps.Keys(v.skips[OrderView])))
		}
		groups[of] = append(groups[of], name)
	}
	return groups
}

// scan reads the log from its start up to a position.
func (v *verifier) scan(ctx context.Context, to int64, take func(records []stream.Record) error) error {
	for at := int64(0); at < to; {
		records, err := v.log.Read(ctx, at, int(min(maxBatch, to-at)))
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return errTooShort
		}
		if err := take(records); err != nil {
			return err
		}
		at = records[len(records)-1].Position
		v.progress(int64(len(records)))
	}
	return nil
}

// compareTimeline reads the log once: it compares the timeline, and each checkpoint's digest with the log's.
func (v *verifier) compareTimeline(ctx context.Context) error {
	furthest := int64(0)
	for _, view := range v.views {
		furthest = max(furthest, view.Position)
	}
	var digest [32]byte
	var last int64
	v.checkDigests(0, digest)
	err := v.scan(ctx, furthest, func(records []stream.Record) error {
		facts := decode(records, needHeader)
		for i := range facts {
			last = facts[i].Position
			digest = stream.Chain(digest, last, facts[i].Body)
			v.checkDigests(last, digest)
			if facts[i].event.Type == placedType {
				v.placed++
			}
			v.register(&facts[i])
		}
		return v.compareEvents(ctx, facts)
	})
	if errors.Is(err, errTooShort) {
		for _, view := range v.views {
			if view.Position > last {
				view.differs(last+1, "the log ends at %d, the view is at %d", last, view.Position)
			}
		}
		err = nil
	}
	if err != nil {
		return err
	}
	return v.noneBeyond(ctx)
}

func (v *verifier) checkDigests(position int64, digest [32]byte) {
	for name, view := range v.views {
		if view.Position == position && v.digests[name] != digest {
			view.differs(position, "the checkpoint's digest at %d is not the log's", position)
		}
	}
}

const selectTimelineRange = `
SELECT position, coalesce(tenant, ''), coalesce(provider, ''), coalesce(order_id::text, ''), event
FROM timeline WHERE position > $1 AND position <= $2 ORDER BY position`

// timelineRow is the columns of a row of the timeline, as they are or as they have to be.
type timelineRow struct {
	position                int64
	tenant, provider, order string
}

func (v *verifier) compareEvents(ctx context.Context, facts []fact) error {
	view, from := v.views[Timeline], facts[0].Position-1
	to := min(facts[len(facts)-1].Position, view.Position)
	facts = slices.DeleteFunc(facts, func(f fact) bool { return v.skips[Timeline][f.Position] })
	rows, err := v.tx.Query(ctx, selectTimelineRange, from, to)
	if err != nil {
		return fmt.Errorf("read timeline: %w", err)
	}
	next := 0
	missing := func(before int64) {
		for ; next < len(facts) && facts[next].Position < before; next++ {
			view.differs(facts[next].Position, "event %d is missing", facts[next].Position)
		}
	}
	var have timelineRow
	var body pgtype.DriverBytes
	_, err = pgx.ForEachRow(rows, []any{&have.position, &have.tenant, &have.provider, &have.order, &body}, func() error {
		missing(have.position)
		if next == len(facts) || facts[next].Position != have.position {
			view.differs(have.position, "event %d is there, and was skipped", have.position)
			return nil
		}
		f := &facts[next]
		want := timelineRow{f.Position, f.event.Tenant, f.event.Provider, f.event.OrderID}
		if next++; have != want || !bytes.Equal(body, f.Body) {
			view.differs(f.Position, "event %d is not the log's", f.Position)
			return nil
		}
		view.Rows++
		return nil
	})
	if err != nil {
		return fmt.Errorf("read timeline: %w", err)
	}
	missing(to + 1)
	return nil
}

// noneBeyond looks for events that the view cannot have yet.
func (v *verifier) noneBeyond(ctx context.Context) error {
	view := v.views[Timeline]
	var n, first int64
	err := v.tx.QueryRow(ctx, `SELECT count(*), coalesce(min(position), 0) FROM timeline WHERE position > $1 OR position < 1`,
		view.Position).Scan(&n, &first)
	if err != nil {
		return fmt.Errorf("read timeline: %w", err)
	}
	if n > 0 {
		view.differs(first, "event %d is there, and the view is at %d", first, view.Position)
		view.Differences += n - 1
	}
	return nil
}
