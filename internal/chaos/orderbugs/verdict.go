package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/orderstore/orderstore/internal/chaos/check"
	"github.com/orderstore/orderstore/internal/seeded"
)

// verdict is what came of a bug.
type verdict struct {
	bug    seeded.Name // empty: none was made
	report check.Report
	took   time.Duration // of all tries
	tries  int
	bites  []bite
	err    error
}

// bite is a fault that was injected, and how that is known; empty: it did not bite.
type bite struct{ fault, evidence string }

// leastAcknowledged is how many writes a run must have had answered to say anything.
const leastAcknowledged = 100

// right says whether the run came to what it had to: a violation with a bug, and none without, though every fault bit.
func (v *verdict) right() bool {
	if v.err != nil || v.report.Acknowledged < leastAcknowledged {
		return false
	}
	if v.bug != "" {
		return !v.report.Clean()
	}
	return v.report.Clean() && !slices.ContainsFunc(v.bites, func(b bite) bool { return b.evidence == "" })
}

// String says what was found first.
func (v *verdict) String() string {
	var broke []string
	for _, b := range v.bites {
		broke = append(broke, b.fault+": "+b.evidence)
	}
	said := fmt.Sprintf("in %s, %d tries, %d acknowledged (%s)", v.took.Round(time.Second), v.tries, v.report.Acknowledged, strings.Join(broke, "; "))
	switch {
	case v.err != nil:
		return "could not be run: " + v.err.Error() + "; " + said
	case v.report.Clean():
		return "clean " + said
	}
	first := v.report.Violations[0]
	return fmt.Sprintf("%d violations %s, the first of invariant %d by %s: %s", int64(len(v.report.Violations))+v.report.Suppressed, said, first.Invariant, first.Path, first.What)
}

// row is a line of what is kept beside the page, and of its table.
type row struct {
	Bug          string   `json:"bug"`
	Breaks       string   `json:"breaks"`
	Caught       bool     `json:"caught"`
	By           []string `json:"by"` // invariant and path of what was found, each once
	Seconds      int      `json:"seconds"`
	Tries        int      `json:"tries"`
	Faults       []string `json:"faults"` // that bit
	Acknowledged int64    `json:"acknowledged"`
}

// row is what of a verdict is kept.
func (v *verdict) row() row {
	r := row{Bug: orNone(v.bug), Caught: !v.report.Clean() && v.err == nil, Seconds: int(v.took.Seconds()), Tries: v.tries, Acknowledged: v.report.Acknowledged}
	for _, b := range seeded.All() {
		if b.Name == v.bug {
			r.Breaks = b.Breaks
		}
	}
	for _, found := range v.report.Violations {
		if by := fmt.Sprintf("%d, %s", found.Invariant, found.Path); !slices.Contains(r.By, by) {
			r.By = append(r.By, by)
		}
	}
	for _, b := range v.bites {
		if b.evidence != "" {
			r.Faults = append(r.Faults, b.fault)
		}
	}
	return r
}

// note keeps a verdict beside the page in the place of an earlier one, and makes the page's table of all.
func (o *options) note(v *verdict) error {
	if o.page == "" || v.err != nil {
		return nil
	}
	name := strings.TrimSuffix(o.page, ".md") + "-bugs.jsonl"
	kept, err := readRows(name)
	if err != nil {
		return err
	}
	kept[orNone(v.bug)] = v.row()
	var lines bytes.Buffer
	var all []row
	for _, bug := range wanted(nil) {
		r, has := kept[orNone(bug)]
		if !has {
			continue
		}
		if err := json.NewEncoder(&lines).Encode(r); err != nil {
			return fmt.Errorf("keep what came of %s: %w", r.Bug, err)
		}
		all = append(all, r)
	}
	if err := os.WriteFile(name, lines.Bytes(), 0o644); err != nil { //nolint:gosec // a page for everybody
		return fmt.Errorf("keep what came of bugs: %w", err)
	}
	return replaceTable(o.page, tableOf(all))
}

func readRows(name string) (map[string]row, error) {
	kept := map[string]row{}
	raw, err := os.ReadFile(name) //nolint:gosec // named by the caller
	if errors.Is(err, fs.ErrNotExist) {
		return kept, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what came of bugs: %w", err)
	}
	for line := range bytes.Lines(raw) {
		var r row
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("read what came of bugs: %w", err)
		}
		kept[r.Bug] = r
	}
	return kept, nil
}

// The table of the page is made between these lines.
const (
	tableBegins = "<!-- made by orderbugs -->"
	tableEnds   = "<!-- end of what orderbugs made -->"
	shownBy     = 3 // of what was found
)

func tableOf(all []row) string {
	var b strings.Builder
	caught, bugs := 0, 0
	for i := range all {
		if r := &all[i]; r.Bug != none {
			bugs++
			if r.Caught {
				caught++
			}
		}
	}
	fmt.Fprintf(&b, "%d of %d bugs caught.\n\n| bug | breaks | caught by (invariant, path) | seconds | faults | writes acknowledged |\n|---|---|---|---|---|---|\n", caught, bugs)
	for i := range all {
		r := &all[i]
		by := "**not caught**"
		switch {
		case r.Caught:
			by = strings.Join(r.By[:min(len(r.By), shownBy)], "; ")
			if more := len(r.By) - shownBy; more > 0 {
				by += fmt.Sprintf("; %d more", more)
			}
		case r.Bug == none:
			by = "nothing, as it should"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %d | %s | %d |\n", r.Bug, r.Breaks, by, r.Seconds, counted(r.Faults), r.Acknowledged)
	}
	return b.String()
}

// counted names each once, with how often it is there.
func counted(names []string) string {
	var out []string
	for i, name := range names {
		if slices.Index(names, name) != i {
			continue
		}
		n := 0
		for _, other := range names {
			if other == name {
				n++
			}
		}
		if n > 1 {
			name = fmt.Sprintf("%d x %s", n, name)
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
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
