package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Files of the plots, beside the page.
const (
	LatencyPlot = "latency.png"
	RatePlot    = "rates.png"
)

// Markdown writes the report as a page.
func (r *Report) Markdown(out io.Writer) error {
	w := &writer{}
	w.line("# Measured %s", r.Started.UTC().Format("2006-01-02 15:04 UTC"))
	w.line("")
	w.line("`orderbench report`, %s in all. Nothing else may have run meanwhile; \"host took\" is the share of processor time that went to other", time.Duration(r.Took*float64(time.Second)).Round(time.Second))
	w.line("guests of the host. Percentiles are of all that was counted after a warm-up. Ours are medians where a measurement was repeated.")
	w.line("")
	r.machine(w)
	r.goals(w)
	r.sideBySide(w)
	w.line("![rates](%s)", RatePlot)
	w.line("")
	w.line("![latencies](%s)", LatencyPlot)
	w.line("")
	w.line("## Each measurement")
	w.line("")
	for _, section := range r.Sections {
		section.write(w)
	}
	w.line("### Peers and ceilings")
	w.line("")
	for _, run := range r.Peers {
		run.write(w)
	}
	_, err := io.WriteString(out, strings.TrimRight(w.text.String(), "\n")+"\n")
	return err
}

type writer struct{ text strings.Builder }

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.text, format, args...)
	w.text.WriteByte('\n')
}

// row writes a line of a table.
func (w *writer) row(cells ...string) { w.line("| %s |", strings.Join(cells, " | ")) }

func (w *writer) head(cells ...string) {
	w.row(cells...)
	w.line("|%s", strings.Repeat("---|", len(cells)))
}

func (r *Report) machine(w *writer) {
	w.head("machine and versions", "")
	for _, fact := range r.Machine {
		w.row(fact.Name, fact.Value)
	}
	w.line("")
}

func (r *Report) goals(w *writer) {
	if len(r.Goals) == 0 {
		return
	}
	w.line("## Against the goals")
	w.line("")
	w.head("", "goal", "measured", "")
	for _, goal := range r.Goals {
		verdict := "missed"
		if goal.Hit {
			verdict = "reached"
		}
		w.row(goal.What, goal.Wanted, goal.Reached, verdict)
	}
	w.line("")
}

// sideBySide compares the first section, which is the main one, with the peers.
func (r *Report) sideBySide(w *writer) {
	if len(r.Sections) == 0 || r.Sections[0].Median() == nil {
		return
	}
	ours := r.Sections[0].Median()
	w.line("## Side by side")
	w.line("")
	w.line("The last two columns say how many times the peer's rate the store has in %q.", r.Sections[0].Title)
	w.line("")
	w.head("", "orders/s", "events/s", "p50 ms", "p99 ms", "orders ratio", "events ratio", "faults")
	for _, section := range r.Sections {
		if run := section.Median(); run != nil && run.Events > 0 {
			w.row("**"+section.Title+"**", rate(run.Rate), rate(run.Events), milliseconds(run.P50()), milliseconds(run.P99()), "", "", run.faultText())
		}
	}
	for _, run := range r.Peers {
		w.row(run.Name, rate(run.Rate), rate(run.Events), milliseconds(run.P50()), milliseconds(run.P99()),
			times(ours.Rate, run.Rate), times(ours.Events, run.Events), run.faultText())
	}
	w.line("")
}

// faultText lists the faults that there were.
func (r *Run) faultText() string {
	var parts []string
	for _, name := range sortedKeys(r.Faults) {
		if r.Faults[name] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", r.Faults[name], name))
		}
	}
	if n := r.Errors.Total(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d errors", n))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func (s *Section) write(w *writer) {
	w.line("### %s", s.Title)
	w.line("")
	w.line("`%s`", s.Command)
	w.line("")
	for _, run := range s.Runs {
		run.write(w)
	}
	if len(s.Runs) > 1 {
		run := s.Median()
		w.line("Median of %d: **%.0f orders/s**, p50 %s ms, p99 %s ms.", len(s.Runs), run.Rate, milliseconds(run.P50()), milliseconds(run.P99()))
		w.line("")
	}
}

func (r *Run) write(w *writer) {
	title := "**" + r.Name + "**"
	if r.Rate > 0 {
		title += fmt.Sprintf(": %.0f orders/s", r.Rate)
	}
	if r.Events > 0 {
		title += fmt.Sprintf(", %.0f events/s", r.Events)
	}
	w.line("%s, %d stored", title, r.Stored)
	w.line("")
	if len(r.Stages) > 0 {
		w.head("ms", "p50", "p90", "p99", "p99.9", "max", "of")
		for _, stage := range r.Stages {
			l := stage.Latency
			w.row(stage.Name, milliseconds(l.P50), milliseconds(l.P90), milliseconds(l.P99), milliseconds(l.P999), milliseconds(l.Max), fmt.Sprint(l.Count))
		}
		w.line("")
	}
	if r.Level >= 0 {
		w.line("- all level %.0f ms after the last answer", r.Level*1000)
	}
	if r.Usage != nil {
		w.line("- %s", r.Usage.Describe(r.Stored))
	}
	for _, note := range r.Notes {
		w.line("- %s", note)
	}
	w.line("- faults: %s; errors: %s", r.faultText(), r.Errors)
	w.line("")
}
