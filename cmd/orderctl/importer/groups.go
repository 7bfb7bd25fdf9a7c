package importer

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/orderstore/orderstore/cmd/orderctl/mapping"
	"github.com/orderstore/orderstore/cmd/orderctl/rows"
)

// counts says how many rows each order has. Orders are told apart by a hash: two that share one wait for each other's last row
// and are not mixed up.
type counts struct {
	seed maphash.Seed
	left map[uint64]uint32
	rows int64
}

// surveyEvery is how many rows are read between two reports of progress.
const surveyEvery = 1000

// survey reads the file for the first time. Whatever is wrong with the file as a whole is found here, before anything is sent.
func (s *source) survey(ctx context.Context, c *Config) (*counts, error) {
	all, err := s.rows(ctx)
	if err != nil {
		return nil, err
	}
	n := &counts{seed: maphash.MakeSeed(), left: map[uint64]uint32{}}
	for row, err := range all {
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", c.Path, err)
		}
		n.rows++
		if key, told := c.Mapping.Key(row); told && len(c.Mapping.GroupBy) > 0 {
			n.left[maphash.String(n.seed, key)]++
		}
		if n.rows%surveyEvery == 0 {
			c.Progress.Surveyed(s.read.Load(), s.size)
		}
	}
	c.Progress.Surveyed(s.size, s.size)
	return n, nil
}

// group is the rows of one order.
type group struct {
	key   string
	rows  []rows.Row
	fault error // why they make none, whatever they hold
}

// grouper gathers rows into orders.
type grouper struct {
	mapping *mapping.Mapping
	counts  *counts
	most    int // rows held
	held    int
	open    map[uint64][]*group
}

func newGrouper(m *mapping.Mapping, n *counts, most int) *grouper {
	return &grouper{mapping: m, counts: n, most: most, open: map[uint64][]*group{}}
}

// errUntold is the fault of a row whose order is not known.
var errUntold = errors.New("the row does not say which order it belongs to: its group_by columns are empty")

// add takes a row and gives the orders that it completes.
func (g *grouper) add(row rows.Row) ([]*group, error) {
	if len(g.mapping.GroupBy) == 0 {
		return []*group{{rows: []rows.Row{row}}}, nil
	}
	key, told := g.mapping.Key(row)
	if !told {
		fault := &mapping.Fault{Row: row.Number, Err: errUntold}
		if row.Fault != "" {
			fault.Err = fmt.Errorf("%s; %w", row.Fault, errUntold)
		}
		return []*group{{rows: []rows.Row{row}, fault: fault}}, nil
	}
	hash := maphash.String(g.counts.seed, key)
	if g.counts.left[hash] == 0 {
		return nil, errChanged
	}
	g.put(hash, key, row)
	g.counts.left[hash]--
	if g.counts.left[hash] > 0 {
		if g.held > g.most {
			return nil, fmt.Errorf("rows of the same orders stand so far apart that more than %d have to be held in memory: "+
				"sort the file by its group_by column, or allow more with --max-open-rows", g.most)
		}
		return nil, nil
	}
	whole := g.open[hash]
	delete(g.open, hash)
	delete(g.counts.left, hash)
	for _, one := range whole {
		g.held -= len(one.rows)
	}
	return whole, nil
}

func (g *grouper) put(hash uint64, key string, row rows.Row) {
	g.held++
	for _, one := range g.open[hash] {
		if one.key == key {
			one.rows = append(one.rows, row)
			return
		}
	}
	g.open[hash] = append(g.open[hash], &group{key: key, rows: []rows.Row{row}})
}

var errChanged = errors.New("the file has changed while it was read")

// end is called after the last row: every order must be whole by then.
func (g *grouper) end() error {
	if len(g.open) > 0 || len(g.counts.left) > 0 {
		return errChanged
	}
	return nil
}
