package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// The table of the ledger's page is made between these lines; what stands around them is written by hand.
const (
	tableBegins = "<!-- made by orderchaos ledger -->"
	tableEnds   = "<!-- end of what is made -->"
)

// addToLedger appends the results of runs to the lines beside the page, and makes the page's table of all of them.
func addToLedger(page string, files []string) error {
	lines := strings.TrimSuffix(page, ".md") + ".jsonl"
	out, err := os.OpenFile(lines, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // a page for everybody
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file) //nolint:gosec // named by the caller
		if err != nil {
			return fmt.Errorf("read result: %w", err)
		}
		var one bytes.Buffer
		if err := json.Compact(&one, raw); err != nil {
			return fmt.Errorf("read result %s: %w", file, err)
		}
		if _, err := out.Write(append(one.Bytes(), '\n')); err != nil {
			return fmt.Errorf("write ledger: %w", err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	all, err := readLedger(lines)
	if err != nil {
		return err
	}
	return replaceTable(page, tableOf(all))
}

func readLedger(lines string) ([]result, error) {
	raw, err := os.ReadFile(lines) //nolint:gosec // named by the caller
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	var all []result
	scanner := bufio.NewScanner(bytes.NewReader(raw))
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var r result
		if err := json.Unmarshal(scanner.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		all = append(all, r)
	}
	return all, scanner.Err()
}

// tableOf is the faults by kind, and what all runs came to.
func tableOf(all []result) string {
	faults, runsWith := map[string]int{}, map[string]int{}
	var hours float64
	var ops, judged, acknowledged, violations, illegal, unjudged, void int64
	for i := range all {
		r := &all[i]
		for kind, n := range r.Faults {
			faults[kind] += n
			runsWith[kind]++
		}
		hours += r.Seconds / 3600
		ops, judged, acknowledged = ops+r.Report.Ops, judged+r.Report.Judged, acknowledged+r.Report.Acknowledged
		violations += int64(len(r.Report.Violations)) + r.Report.Suppressed
		illegal, unjudged = illegal+r.Report.Illegal, unjudged+r.Report.Unjudged
		if r.Void != "" {
			void++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| runs | hours | faults | operations | judged by porcupine | illegal | not judged | writes acknowledged | violations | void runs |\n|---|---|---|---|---|---|---|---|---|---|\n")
	fmt.Fprintf(&b, "| %d | %.1f | %d | %d | %d | %d | %d | %d | %d | %d |\n\n", len(all), hours, sum(faults), ops, judged, illegal, unjudged, acknowledged, violations, void)
	b.WriteString("| fault | with evidence | runs |\n|---|---|---|\n")
	for _, kind := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(&b, "| `%s` | %d | %d |\n", kind, faults[kind], runsWith[kind])
	}
	return b.String()
}

func replaceTable(page, table string) error {
	raw, err := os.ReadFile(page) //nolint:gosec // named by the caller
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	before, rest, found := strings.Cut(string(raw), tableBegins)
	_, after, ended := strings.Cut(rest, tableEnds)
	if !found || !ended {
		return fmt.Errorf("%s has no place for the table: the lines %q and %q", page, tableBegins, tableEnds)
	}
	text := before + tableBegins + "\n" + table + tableEnds + after
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil { //nolint:gosec // a page for everybody
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}
