package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

type batch struct {
	session
	orders   int64
	requests int
	tasks    bool
}

func batchCommand() *cobra.Command {
	o := &batch{}
	cmd := &cobra.Command{
		Use:   "batch",
		Short: "How many orders a second in NDJSON batches, and what memory that takes",
		Long: `Submits orders as NDJSON in one request (POST /v1/orders/batch), or in several at once, made while they are sent and
answered while they are read, so that neither side holds more than a window of them. Shows the service's resident memory before
and after, and its peak.`,
		Example: "  orderbench batch --start --orders 1000000\n  orderbench batch --data .data --requests 4",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.execute(cmd, o.run) },
	}
	o.runFlags(cmd)
	cmd.Flags().Int64Var(&o.orders, "orders", 100_000, "orders in all")
	cmd.Flags().IntVar(&o.requests, "requests", 1, "requests at once")
	cmd.Flags().BoolVar(&o.tasks, "tasks", true, "orders that one provider serves; --tasks=false: orders that nobody serves")
	return cmd
}

func (o *batch) run(ctx context.Context, t *target) (*report.Run, error) {
	kind := ""
	if !o.tasks {
		kind = load.Unserved
	}
	meter, err := load.StartMeter(t.service, t.postmaster)
	if err != nil {
		return nil, err
	}
	before, err := meter.Resident()
	if err != nil {
		return nil, err
	}
	run, err := fill(ctx, t, load.NewMix(o.seed, t.reference(), kind), o.orders, o.requests)
	if err != nil {
		return nil, err
	}
	run.Name = fmt.Sprintf("batch of %d orders in %d requests", o.orders, o.requests)
	if o.tasks {
		run.Name += ", one task each"
		run.Events *= 2
	}
	if err := t.settle(ctx, run, meter); err != nil {
		return nil, err
	}
	after, err := meter.Resident()
	if err != nil {
		return nil, err
	}
	run.Notes = append(run.Notes, fmt.Sprintf("service resident: %d MiB before, %d MiB after", before>>20, after>>20))
	return run, nil
}

// fill submits orders by batches, all at once, and counts the answers.
func fill(ctx context.Context, t *target, mix *load.Mix, orders int64, requests int) (*report.Run, error) {
	if requests < 1 || orders < int64(requests) {
		return nil, fmt.Errorf("%d orders in %d requests: each request must have one", orders, requests)
	}
	run := &report.Run{Errors: load.Tally{}, Level: -1}
	faults := make([]error, requests)
	var mu sync.Mutex
	var sending sync.WaitGroup
	began := time.Now()
	for i := range int64(requests) {
		from, to := orders*i/int64(requests), orders*(i+1)/int64(requests)
		sending.Go(func() {
			stored, refused, err := t.sendBatch(ctx, &lines{draw: mix.Draw(), next: from, end: to})
			mu.Lock()
			defer mu.Unlock()
			run.Stored += stored
			run.Errors.Merge(refused)
			faults[i] = err
		})
	}
	sending.Wait()
	run.Rate = float64(run.Stored) / time.Since(began).Seconds()
	run.Events = run.Rate
	return run, errors.Join(faults...)
}

// lines are orders as NDJSON, made while they are read.
type lines struct {
	draw      *load.Draw
	next, end int64
	buf       []byte
	off       int
}

// Read gives what fits of the orders that follow.
func (l *lines) Read(p []byte) (int, error) {
	if l.off == len(l.buf) {
		l.buf, l.off = l.buf[:0], 0
		for ; l.next < l.end && len(l.buf) < len(p)/2; l.next++ {
			l.buf = append(l.draw.Append(l.buf, l.next), '\n')
		}
		if len(l.buf) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, l.buf[l.off:])
	l.off += n
	return n, nil
}

// sendBatch sends one request and reads an answer for each of its lines.
func (t *target) sendBatch(ctx context.Context, body *lines) (stored int64, refused load.Tally, err error) {
	expected := body.end - body.next
	token, err := t.tokens.Token()
	if err != nil {
		return 0, nil, fmt.Errorf("fetch token: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.at.HTTP+"/v1/orders/batch", body)
	if err != nil {
		return 0, nil, fmt.Errorf("make request: %w", err)
	}
	token.SetAuthHeader(req)
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("send batch: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return 0, nil, fmt.Errorf("send batch: status %d %s", resp.StatusCode, strings.TrimSpace(string(said)))
	}
	refused = load.Tally{}
	answers := bufio.NewScanner(resp.Body)
	answers.Buffer(make([]byte, 64<<10), 1<<20)
	for answers.Scan() {
		expected--
		if reason := refusal(answers.Bytes()); reason != "" {
			refused.Add(reason)
			continue
		}
		stored++
	}
	if err := answers.Err(); err != nil {
		return stored, refused, fmt.Errorf("read the answers of a batch: %w", err)
	}
	if expected != 0 {
		return stored, refused, fmt.Errorf("a batch ended with %d orders unanswered", expected)
	}
	return stored, refused, nil
}

// refusal is why a line was not stored, empty when it was.
func refusal(answer []byte) string {
	if bytes.Contains(answer, []byte(`"status":201`)) || bytes.Contains(answer, []byte(`"status":200`)) {
		return ""
	}
	_, after, ok := bytes.Cut(answer, []byte(`"status":`))
	if !ok {
		return "a line without a status"
	}
	status, _, _ := bytes.Cut(after, []byte(","))
	return "line status " + strings.TrimRight(string(status), "}")
}
