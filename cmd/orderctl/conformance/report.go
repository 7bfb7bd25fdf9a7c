// Package conformance is what both sides of the conformance kit report: what was checked, against which sentence of the contract, what
// was expected and what was seen.
package conformance

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Status is how a check ended.
type Status string

// The statuses of a check.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped" // it could not be made; Seen says why
)

// Check is one scenario and how it ended.
type Check struct {
	Name     string `json:"name"`
	Status   Status `json:"status"`
	Contract string `json:"contract"` // the sentence that it checks
	Expected string `json:"expected"`
	Seen     string `json:"seen"`
	// Took is how long the scenario was played, in milliseconds; what was seen later may still have failed it.
	Took int64 `json:"took_ms"`
}

// Report is a run of the kit.
type Report struct {
	Side    string  `json:"side"` // what was checked: provider or hub
	Checks  []Check `json:"checks"`
	Passed  int     `json:"passed"`
	Failed  int     `json:"failed"`
	Skipped int     `json:"skipped"`
}

// Of counts the checks.
func Of(side string, checks []Check) Report {
	r := Report{Side: side, Checks: checks}
	for i := range checks {
		switch checks[i].Status {
		case Passed:
			r.Passed++
		case Failed:
			r.Failed++
		case Skipped:
			r.Skipped++
		}
	}
	return r
}

// Finding is what a scenario found.
type Finding struct {
	OK       bool
	Expected string
	Seen     string
}

// Check makes the check of a scenario out of what it found.
func (f Finding) Check(name, contract string, took time.Duration) Check {
	c := Check{Name: name, Status: Failed, Contract: contract, Expected: f.Expected, Seen: f.Seen, Took: took.Milliseconds()}
	if f.OK {
		c.Status = Passed
	}
	return c
}

// Skip is the check of a scenario that could not be played.
func Skip(name, contract, why string) Check {
	return Check{Name: name, Status: Skipped, Contract: contract, Seen: why}
}

// Print writes the report as a table: a line for each check, and one that counts them.
func (r *Report) Print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "RESULT\tSCENARIO\tWHAT WAS SEEN [WHAT THE CONTRACT SAYS]") // Flush says what failed
	for i := range r.Checks {
		c := &r.Checks[i]
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s [%s]\n", mark(c.Status), c.Name, c.said(), oneLine(c.Contract))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	if _, err := fmt.Fprintf(out, "\n%d passed, %d failed, %d skipped\n", r.Passed, r.Failed, r.Skipped); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	return nil
}

// said is what was seen and, where that is not what it should have been, what should.
func (c *Check) said() string {
	if c.Status != Failed {
		return oneLine(c.Seen)
	}
	return oneLine("saw " + c.Seen + "; expected " + c.Expected)
}

func mark(s Status) string {
	switch s {
	case Passed:
		return "pass"
	case Failed:
		return "FAIL"
	}
	return "skip"
}

// oneLine keeps what somebody else wrote from breaking the table.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
