package query

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/fault"
)

const (
	exportPage  = 1000    // orders in one statement, at most
	exportBegin = 50      // in the first
	exportBytes = 4 << 20 // of documents in memory before they are sent
)

// frozen is one state of the read database, for as long as it takes to read all that is in it. It holds no lock between two pages: a
// rebuilt view takes a table's place meanwhile, and the snapshot goes on reading the table that it began with, wherever that was put.
type frozen struct {
	tx       *sqlx.Tx
	keys     *customerkeys.Keys
	views    []string
	tables   []uint32 // of the views: the tables' ids, which stay theirs
	position int64
	access   *access // by what the orders are found; nil before the first page
}

const (
	markPlace   = `SAVEPOINT place`
	backToPlace = `ROLLBACK TO SAVEPOINT place` // lets go of the locks that were taken since
	// A page has its own time, which is what is left of the export's.
	noStatementLimit = `SET LOCAL statement_timeout = 0`
	selectFrozen     = `SELECT $1::text::regclass::oid AS id, (SELECT min(position) FROM checkpoints WHERE view = ANY ($2)) AS position`
	selectTableName  = `SELECT ($1::text)::oid::regclass::text`
)

// errViewGone says that a table was dropped which an export was reading.
var errViewGone = errors.New("a view was dropped that is being exported")

// freeze begins a snapshot of views. End it.
func (q *queries) freeze(ctx context.Context, views []string) (*frozen, error) {
	tx, err := q.db.BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	s := &frozen{tx: tx, views: views, keys: q.cfg.Keys}
	if err := s.begin(ctx); err != nil {
		s.end()
		return nil, fmt.Errorf("freeze views: %w", err)
	}
	return s, nil
}

func (s *frozen) begin(ctx context.Context) error {
	// As with holdViews, the locks come before the snapshot.
	for _, statement := range []string{noStatementLimit, markPlace, "LOCK TABLE " + strings.Join(s.views, ", ") + " IN ACCESS SHARE MODE"} {
		if _, err := s.tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	for _, view := range s.views {
		var row struct {
			ID       uint32        `db:"id"`
			Position sql.NullInt64 `db:"position"`
		}
		if err := s.tx.GetContext(ctx, &row, selectFrozen, view, s.views); err != nil {
			return err
		}
		s.tables, s.position = append(s.tables, row.ID), row.Position.Int64
	}
	return s.release(ctx)
}

func (s *frozen) end() {
	if s != nil {
		_ = s.tx.Rollback() // it has only read
	}
}

func (s *frozen) release(ctx context.Context) error {
	_, err := s.tx.ExecContext(ctx, backToPlace)
	return err
}

// names are what the tables are called at this moment.
func (s *frozen) names(ctx context.Context) ([]string, error) {
	names := make([]string, len(s.tables))
	for i, id := range s.tables {
		if err := s.tx.GetContext(ctx, &names[i], selectTableName, fmt.Sprint(id)); err != nil {
			return nil, err
		}
		if names[i] == fmt.Sprint(id) {
			return nil, errViewGone
		}
	}
	return names, nil
}

// hold keeps the tables where they are until release, and tells their names.
func (s *frozen) hold(ctx context.Context) ([]string, error) {
	names, err := s.names(ctx)
	for err == nil {
		if _, err = s.tx.ExecContext(ctx, "LOCK TABLE "+strings.Join(names, ", ")+" IN ACCESS SHARE MODE"); err != nil {
			return nil, err
		}
		var again []string
		if again, err = s.names(ctx); err == nil && slices.Equal(names, again) {
			return names, nil
		}
		if err == nil { // they were put elsewhere while this waited for its lock
			names, err = again, s.release(ctx)
		}
	}
	return nil, err
}

// orders gives all documents of a filter to take, in order. Nothing is read while take works.
func (s *frozen) orders(ctx context.Context, f filter, by sorting, take func(document []byte) error) error {
	var after *place
	for limit := exportBegin; ; {
		page, err := s.page(ctx, f, by, after, limit)
		if err != nil {
			return fmt.Errorf("read orders: %w", err)
		}
		if s.keys.OpenAll(ctx, page.items) == customerkeys.Away {
			return fault.New(fault.Unavailable, "customers cannot be read at the moment").Retry(retryAfter)
		}
		size := 0
		for _, document := range page.items {
			size += len(document)
			if err := take(document); err != nil {
				return err
			}
		}
		if !page.more {
			return nil
		}
		after = &page.last
		limit = min(exportPage, limit*4, max(1, exportBytes*len(page.items)/max(size, 1)))
	}
}

// page reads up to limit of the orders after a place, or fewer where they are large.
func (s *frozen) page(ctx context.Context, f filter, by sorting, after *place, limit int) (orderPage, error) {
	names, err := s.hold(ctx)
	if err != nil {
		return orderPage{}, err
	}
	if s.access == nil {
		found, err := f.accessOf(ctx, s.tx, by)
		if err != nil {
			return orderPage{}, err
		}
		s.access = &found
	}
	statement, args := f.statement(*s.access, by, after, limit+1)
	if f.text != "" {
		statement, args = f.lookup(by, after, limit+1)
	}
	page, err := s.read(ctx, s.renamed(statement, names), args, by, limit)
	if err != nil {
		return page, err
	}
	return page, s.release(ctx)
}

func (s *frozen) read(ctx context.Context, statement string, args []any, by sorting, limit int) (page orderPage, err error) {
	rows, err := s.tx.QueryxContext(ctx, statement, args...)
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for size := 0; rows.Next(); {
		var row listRow
		if err := rows.StructScan(&row); err != nil {
			return page, err
		}
		if row.ID == nil {
			continue
		}
		if len(page.items) == limit || size >= 2*exportBytes {
			page.more = true
			break
		}
		size += len(row.Document)
		page.items, page.last = append(page.items, row.Document), row.place(by)
	}
	return page, rows.Err()
}

// renamed is a statement with the names that the views' tables have now.
func (s *frozen) renamed(statement string, names []string) string {
	if slices.Equal(names, s.views) {
		return statement
	}
	for i, view := range s.views {
		named := regexp.MustCompile(`\b(FROM|JOIN) ` + regexp.QuoteMeta(view) + `\b`)
		statement = named.ReplaceAllString(statement, "${1} "+strings.ReplaceAll(names[i], "$", "$$"))
		statement = strings.ReplaceAll(statement, "'"+view+"'", "'"+names[i]+"'") // an argument of search_orders
	}
	return statement
}
