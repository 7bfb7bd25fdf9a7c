package command

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

// Limits of a load report.
const (
	maxReportedLoad = 1_000.0
	shortestReport  = 1    // seconds
	longestReport   = 3600 // seconds
	usualReport     = 60   // seconds, when the provider does not say
)

// unlimitedLoad is the number of open tasks at which a provider without a limit counts as half loaded.
const unlimitedLoad = 1000

// loadReport is what a provider said of itself, as long as it counts.
type loadReport struct {
	load      float64
	capacity  *int64 // open tasks it takes; nil: as registered
	expiresAt time.Time
}

// load is the larger of two: the share of its limit that the provider's open tasks fill, and what it reports of itself. Without
// a limit the first is a small number that still grows with them, so that the least loaded can be told, and that fills nobody.
func (r *Registry) load(p *events.Provider, at time.Time) float64 {
	limit, reported := p.MaxLoad, 0.0
	if report, ok := r.reports[p.ID]; ok && at.Before(report.expiresAt) {
		reported = report.load
		if report.capacity != nil {
			if limit = *report.capacity; limit == 0 {
				return max(1, reported)
			}
		}
	}
	open := float64(r.open[p.ID])
	if limit > 0 {
		return max(open/float64(limit), reported)
	}
	return max(open/(open+unlimitedLoad), reported)
}

// ReportLoad takes down what a provider says of its load. It is a measurement and no event: it changes no order, and counts until
// it expires. A later report replaces it.
type ReportLoad struct {
	Provider string  // from the token
	Load     float64 // 0: idle; 1: full; more: overloaded
	Capacity *int64  // open tasks it takes at most, instead of its max_load; nil: that stands
	TTL      int64   // seconds
}

// reportAnswer is what a report is answered with.
type reportAnswer struct {
	Provider  string    `json:"provider"`
	Load      float64   `json:"load"`
	Capacity  *int64    `json:"capacity,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (c *ReportLoad) wants(w *wants) { w.first = true }

func (c *ReportLoad) apply(r *round) (reply, error) {
	report := loadReport{load: c.Load, capacity: c.Capacity, expiresAt: r.at.Add(time.Duration(c.TTL) * time.Second)}
	document, err := json.Marshal(reportAnswer{c.Provider, c.Load, c.Capacity, report.expiresAt})
	if err != nil {
		return reply{}, fmt.Errorf("encode load report of %s: %w", c.Provider, err)
	}
	r.reports[c.Provider] = report
	return reply{status: http.StatusOK, document: document, position: r.from.position}, nil
}

const (
	upsertReports = `
INSERT INTO provider_reports (provider, load, capacity, reported_at, expires_at)
SELECT p, l, c, $5, e FROM unnest($1::text[], $2::float8[], $3::bigint[], $4::timestamptz[]) AS r (p, l, c, e)
ON CONFLICT (provider) DO UPDATE
SET load = excluded.load, capacity = excluded.capacity, reported_at = excluded.reported_at, expires_at = excluded.expires_at`
	selectReports     = `SELECT provider, load, capacity, expires_at FROM provider_reports WHERE expires_at > $1`
	selectRegistryEnd = `SELECT coalesce(max(position), 0) FROM registry`
)

// putReports stores the round's reports. They are sorted, so that two nodes that store the same ones do not lock each other out.
func putReports(query func(sql string, args ...any), r *round) {
	if len(r.reports) == 0 {
		return
	}
	providers := make([]string, 0, len(r.reports))
	for provider := range r.reports {
		providers = append(providers, provider)
	}
	slices.Sort(providers)
	loads, capacities := make([]float64, len(providers)), make([]*int64, len(providers))
	expire := make([]time.Time, len(providers))
	for i, provider := range providers {
		report := r.reports[provider]
		loads[i], capacities[i], expire[i] = report.load, report.capacity, report.expiresAt
	}
	query(upsertReports, providers, loads, capacities, expire, r.at)
}

// surroundings is what a node can learn without a command: the reports that count, and the position of the latest registry entry.
func (s *store) surroundings(ctx context.Context, at time.Time) (reports map[string]loadReport, registryEnd int64, err error) {
	reports = map[string]loadReport{}
	batch := &pgx.Batch{}
	batch.Queue(selectReports, at).Query(func(rows pgx.Rows) error {
		var provider string
		var report loadReport
		_, err := pgx.ForEachRow(rows, []any{&provider, &report.load, &report.capacity, &report.expiresAt}, func() error {
			reports[provider] = report
			return nil
		})
		return err
	})
	batch.Queue(selectRegistryEnd).QueryRow(func(row pgx.Row) error { return row.Scan(&registryEnd) })
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, 0, fmt.Errorf("read load reports: %w", err)
	}
	return reports, registryEnd, nil
}
