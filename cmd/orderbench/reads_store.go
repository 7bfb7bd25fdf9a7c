package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/jackc/pgx/v5"
)

// sampled is about how many orders are known by id at most. They are far more than a read node keeps in memory.
const sampled = 400_000

// A part of the table's pages is as good as all orders: which page one lies on has nothing to do with who reads it.
const (
	selectRows   = `SELECT reltuples::bigint FROM pg_class WHERE oid = 'order_view'::regclass`
	selectSample = `SELECT id::text FROM order_view TABLESAMPLE SYSTEM (%f) WHERE tenant = $1`
)

// sample gives ids of the user's orders, all or so many.
func (t *target) sample(ctx context.Context) ([]string, error) {
	conn, err := pgx.Connect(ctx, t.at.PostgresRead)
	if err != nil {
		return nil, fmt.Errorf("connect to the read database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var about int64
	if err := conn.QueryRow(ctx, selectRows).Scan(&about); err != nil {
		return nil, fmt.Errorf("count orders: %w", err)
	}
	percent := 100.0
	if about > sampled {
		percent = 100 * sampled / float64(about)
	}
	rows, err := conn.Query(ctx, fmt.Sprintf(selectSample, percent), t.tenant)
	if err != nil {
		return nil, fmt.Errorf("sample orders: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("sample orders: %w", err)
	}
	return ids, nil
}

// walk goes to a page of 50 of the filtered list, in larger steps, and gives its cursor and its number: the last page's where there are
// not so many.
func (t *target) walk(ctx context.Context, page int) (cursor string, reached int, err error) {
	const size, most = 50, 200
	path := t.at.HTTP + filtered
	reached = 1
	for reached < page {
		step := min((page-reached)*size, most)
		var body struct {
			Next string `json:"next"`
		}
		address := fmt.Sprintf("%s&limit=%d", path, step)
		if cursor != "" {
			address += "&cursor=" + url.QueryEscape(cursor)
		}
		if err := t.read(ctx, address, &body); err != nil {
			return "", 0, err
		}
		if body.Next == "" {
			break
		}
		cursor, reached = body.Next, reached+step/size
	}
	if cursor == "" {
		return "", 0, errors.New("the list has one page only")
	}
	return cursor, reached, nil
}

func (t *target) read(ctx context.Context, address string, into any) error {
	token, err := t.tokens.Token()
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	token.SetAuthHeader(req)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("read %s: %s", address, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
