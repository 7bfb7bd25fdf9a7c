package projection

import (
	"bytes"
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
const compareWithin = 5 * time.Second

const updateCompared = `UPDATE next_views.builds SET compared = true WHERE view = ANY ($1)`

// compare compares each view's generations, the one first whose live generation is least far.
func (b *builder) compare(ctx context.Context) error {
	if b.compared {
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
	for {
		err := postgres.InSnapshot(ctx, b.r.cfg.Pool, func(tx pgx.Tx) error {
			if err := holdTables(ctx, tx, table(b.r.schema, v.name)); err != nil {
				return err
			}
			points, err := readCheckpoints(ctx, tx)
			if err != nil {
				return err
			}
			at := points[v.name]
			if at.position == 0 || at.position < b.at.position {
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
			return b.compareRows(ctx, tx, v, &c)
		})
		if err != nil || c.Done {
			return c, err
		}
		if pause(within, 20*time.Millisecond) != nil {
			return c, ctx.Err()
		}
	}
}

// rowKey is a view's key, and how its rows fall into 256 parts of which each is compared by one digest.
func rowKey(name string) (key, part string) {
	if name == Timeline {
		return "position", "(position % 256)::int"
	}
	return "id", "get_byte(uuid_send(id), 15)"
}

const rowDigest = `sha256(convert_to(t::text, 'UTF8'))`

// part is the digest of all rows of a part of a table.
type part struct {
	rows   int64
	digest []byte
}

func parts(ctx context.Context, db querier, from, name string) (map[int]part, error) {
	key, by := rowKey(name)
	rows, err := db.Query(ctx, "SELECT "+by+", count(*), sha256(string_agg("+rowDigest+", ''::bytea ORDER BY "+key+")) FROM "+from+" t GROUP BY 1")
	if err != nil {
		return nil, err
	}
	found := map[int]part{}
	var number int
	var p part
	_, err = pgx.ForEachRow(rows, []any{&number, &p.rows, &p.digest}, func() error {
		found[number] = part{rows: p.rows, digest: bytes.Clone(p.digest)}
		return nil
	})
	return found, err
}

// digestedRow is what is compared of a row.
type digestedRow struct {
	position int64
	digest   [32]byte
}

func partRows(ctx context.Context, db querier, from, name string, number int) (map[string]digestedRow, error) {
	key, by := rowKey(name)
	rows, err := db.Query(ctx, "SELECT "+key+"::text, position, "+rowDigest+" FROM "+from+" t WHERE "+by+" = $1", number)
	if err != nil {
		return nil, err
	}
	found := map[string]digestedRow{}
	var id string
	var row digestedRow
	var digest []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &row.position, &digest}, func() error {
		copy(row.digest[:], digest)
		found[id] = row
		return nil
	})
	return found, err
}

// compareRows compares the digests of all parts, and the rows of those that differ.
func (b *builder) compareRows(ctx context.Context, tx pgx.Tx, v view, c *Comparison) error {
	live, next := table(b.r.schema, v.name), table(nextSchema, v.name)
	old, err := parts(ctx, tx, live, v.name)
	if err != nil {
		return err
	}
	fresh, err := parts(ctx, b.r.cfg.Pool, next, v.name)
	if err != nil {
		return err
	}
	first := int64(0)
	for number := range 256 {
		c.Rows += old[number].rows
		if bytes.Equal(old[number].digest, fresh[number].digest) {
			continue
		}
		have, err := partRows(ctx, tx, live, v.name, number)
		if err != nil {
			return err
		}
		want, err := partRows(ctx, b.r.cfg.Pool, next, v.name, number)
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
		case old.digest != row.digest:
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
