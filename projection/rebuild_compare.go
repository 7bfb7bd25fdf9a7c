package projection

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/postgres"
)

// Comparison is what was found comparing the rows of the live and the next generation of a view, both at one position.
type Comparison struct {
	Done       bool  // false: the two were never at one position
	Earlier    bool  // done by a call that was interrupted since; what follows is not known any more
	Position   int64 // of both
	Rows       int64 // of the live generation
	Changed    int64 // rows that both have, and that differ
	OnlyOld    int64
	OnlyNew    int64
	Difference string // the first by the position of the next generation's row; empty where there is none
}

// Differences is how many rows are not the same.
func (c *Comparison) Differences() int64 { return c.Changed + c.OnlyOld + c.OnlyNew }

// compareWithin is how long the live generation is waited for to come to where the next one is.
const compareWithin = 2 * time.Second

const updateCompared = `UPDATE next_views.builds SET compared = true WHERE view = ANY ($1)`

// compare compares each view's generations, the one first whose live generation is least far.
func (b *builder) compare(ctx context.Context) error {
	if b.compared {
		for _, v := range b.views {
			b.found[v.name] = Comparison{Earlier: true}
		}
		return nil
	}
	points, err := b.live(ctx)
	if err != nil {
		return err
	}
	order := slices.Clone(b.views)
	slices.SortStableFunc(order, func(x, y view) int { return cmp.Compare(points[x.name].position, points[y.name].position) })
	for _, v := range order {
		c, err := b.compareOne(ctx, v)
		if err != nil {
			return fmt.Errorf("compare %s: %w", v.name, err)
		}
		b.found[v.name] = c
		if c.Differences() > 0 && points[v.name].code == v.code && !b.r.cfg.Accept {
			return fmt.Errorf("%d of %d rows of %s differ at position %d, and its code has not changed: %w: %s; "+
				"run it again with --accept to put the new table in its place", c.Differences(), c.Rows, v.name, c.Position, ErrRowsDiffer, c.Difference)
		}
	}
	if _, err := b.r.cfg.Pool.Exec(ctx, updateCompared, namesOf(b.views)); err != nil {
		return fmt.Errorf("note the comparison: %w", err)
	}
	b.compared = true
	return b.r.reach("compared")
}

// compareOne takes a snapshot of the live generation, brings the next one to where that is, and compares them.
func (b *builder) compareOne(ctx context.Context, v view) (c Comparison, err error) {
	within, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	for nothing := false; ; {
		err := postgres.InSnapshot(ctx, b.r.cfg.Pool, func(tx pgx.Tx) error {
			if err := holdTables(ctx, tx, table(b.r.schema, v.name)); err != nil {
				return err
			}
			points, err := readCheckpoints(ctx, tx)
			if err != nil {
				return err
			}
			at := points[v.name]
			if nothing = at.position == 0; nothing || at.position < b.at.position {
				return nil
			}
			if err := b.load(ctx, StageCompare, at.position); err != nil {
				return err
			}
			if at.digest != b.at.digest {
				return diverged(at.position)
			}
			b.tell(StageCompare, at.position)
			c.Done, c.Position = true, at.position
			return postgres.InSnapshot(ctx, b.r.cfg.Pool, func(fresh pgx.Tx) error { return b.compareRows(ctx, tx, fresh, v, &c) })
		})
		if err != nil || c.Done || nothing {
			return c, err
		}
		if pause(within, 20*time.Millisecond) != nil {
			return c, ctx.Err()
		}
	}
}

// rowKey is a view's key, how its rows fall into 256 parts of which each is compared by one digest, and the position of a row's last
// change, 0 where that is not kept.
func rowKey(name string) (key, part, position string) {
	switch name {
	case Timeline:
		return "position", "(position % 256)::int", "position"
	case OrderFacets:
		return "id::text || ' ' || facet", "get_byte(uuid_send(id), 15)", "0::bigint"
	case Catalog:
		return "kind || ' ' || tenant || ' ' || id", "(hashtext(id) & 255)", "position"
	}
	return "id", "get_byte(uuid_send(id), 15)", "position"
}

// rowDigest is 128 bits of a row. Their sum over rows does not depend on the rows' order, so nothing has to be sorted; it finds what went
// wrong, not who forged it: that is what verify is for.
const rowDigest = `hash_record_extended(t, 1) AS low, hash_record_extended(t, 2) AS high`

// gentleComparing leaves the processors to the readers.
const gentleComparing = `SET LOCAL max_parallel_workers_per_gather = 0`

// part is the digest of all rows of a part of a table.
type part struct {
	rows      int64
	low, high string
}

func parts(ctx context.Context, db querier, from, name string) (map[int]part, error) {
	_, by, _ := rowKey(name)
	rows, err := db.Query(ctx, "SELECT part, count(*), sum(low)::text, sum(high)::text FROM (SELECT "+by+" AS part, "+rowDigest+" FROM "+from+" t OFFSET 0) d GROUP BY 1")
	if err != nil {
		return nil, err
	}
	found := map[int]part{}
	var number int
	var p part
	_, err = pgx.ForEachRow(rows, []any{&number, &p.rows, &p.low, &p.high}, func() error {
		found[number] = p
		return nil
	})
	return found, err
}

// digestedRow is what is compared of a row.
type digestedRow struct {
	position  int64
	low, high int64
}

func partRows(ctx context.Context, db querier, from, name string, number int) (map[string]digestedRow, error) {
	key, by, position := rowKey(name)
	rows, err := db.Query(ctx, "SELECT ("+key+")::text, "+position+", "+rowDigest+" FROM "+from+" t WHERE "+by+" = $1", number)
	if err != nil {
		return nil, err
	}
	found := map[string]digestedRow{}
	var id string
	var row digestedRow
	_, err = pgx.ForEachRow(rows, []any{&id, &row.position, &row.low, &row.high}, func() error {
		found[id] = row
		return nil
	})
	return found, err
}

// compareRows compares the digests of all parts, and the rows of those that differ.
func (b *builder) compareRows(ctx context.Context, tx, nextTx pgx.Tx, v view, c *Comparison) error {
	for _, gentle := range []pgx.Tx{tx, nextTx} {
		if _, err := gentle.Exec(ctx, gentleComparing); err != nil {
			return err
		}
	}
	live, next := table(b.r.schema, v.name), table(nextSchema, v.name)
	old, err := parts(ctx, tx, live, v.name)
	if err != nil {
		return err
	}
	fresh, err := parts(ctx, nextTx, next, v.name)
	if err != nil {
		return err
	}
	first := int64(0)
	for number := range 256 {
		c.Rows += old[number].rows
		if old[number] == fresh[number] {
			continue
		}
		have, err := partRows(ctx, tx, live, v.name, number)
		if err != nil {
			return err
		}
		want, err := partRows(ctx, nextTx, next, v.name, number)
		if err != nil {
			return err
		}
		c.differ(have, want, &first)
	}
	return nil
}

// differ counts the differences of one part.
func (c *Comparison) differ(have, want map[string]digestedRow, first *int64) {
	note := func(at int64, format string, args ...any) {
		if *first == 0 || at < *first {
			*first, c.Difference = at, fmt.Sprintf(format, args...)
		}
	}
	for id, row := range want {
		switch old, ok := have[id]; {
		case !ok:
			c.OnlyNew++
			note(row.position, "row %s, last changed at %d, is missing in the live table", id, row.position)
		case old != row:
			c.Changed++
			note(row.position, "row %s, last changed at %d, is another one", id, row.position)
		}
	}
	for id, row := range have {
		if _, ok := want[id]; !ok {
			c.OnlyOld++
			note(row.position, "row %s, last changed at %d, is in the live table alone", id, row.position)
		}
	}
}
