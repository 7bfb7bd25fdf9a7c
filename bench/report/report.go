package report

import (
	"fmt"
	"time"
)

// Report is all that was measured in one go, on one machine.
type Report struct {
	Started  time.Time  `json:"started"`
	Took     float64    `json:"took_s"`
	Machine  []Fact     `json:"machine"`
	Sections []*Section `json:"sections"`
	Peers    []*Run     `json:"peers"`
	Goals    []Goal     `json:"goals"`
}

// Fact is something to know about the machine or the software.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Section is one kind of measurement of the store, repeated.
type Section struct {
	Title   string `json:"title"`
	Command string `json:"command"`
	Runs    []*Run `json:"runs"`
}

// Median is the section's run in the middle.
func (s *Section) Median() *Run { return Median(s.Runs) }

// Goal is a number to reach, and what was reached.
type Goal struct {
	What    string `json:"what"`
	Wanted  string `json:"wanted"`
	Reached string `json:"reached"`
	Hit     bool   `json:"hit"`
}

// Stage finds a stage of a run by its name; nil where it has none such.
func (r *Run) Stage(name string) *Stage {
	for i := range r.Stages {
		if r.Stages[i].Name == name {
			return &r.Stages[i]
		}
	}
	return nil
}

// times writes how often b fits into a, for a table.
func times(a, b float64) string {
	if a == 0 || b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f x", a/b)
}

// rate writes a number of things a second, for a table.
func rate(perSecond float64) string {
	if perSecond == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f", perSecond)
}

func milliseconds(ms float64) string {
	switch {
	case ms == 0:
		return "–"
	case ms < 10:
		return fmt.Sprintf("%.2f", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}
