// Package chart draws what benchmarks measured.
package chart

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

// The size of a plot.
const (
	plotWidth  = 9 * vg.Inch
	plotHeight = 5 * vg.Inch
	barWidth   = 14
)

// Format is what a plot is written as.
type Format string

// PNG looks the same everywhere. SVG is as wide as it should be only where its font is installed.
const (
	PNG Format = "png"
	SVG Format = "svg"
)

// Latencies draws the latencies of all sections by percentile, both axes logarithmic: what the slowest in a hundred, in
// a thousand waited is what people notice.
func Latencies(r *report.Report, as Format, out io.Writer) error {
	p := plot.New()
	p.Title.Text = "Latency by percentile"
	p.X.Label.Text, p.Y.Label.Text = "percentile", "ms"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(percentileTicks()), plot.ConstantTicks(millisecondTicks())
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	drawn := 0
	for _, section := range r.Sections {
		run := section.Median()
		if run == nil {
			continue
		}
		for i := range run.Stages {
			points := curve(&run.Stages[i].Latency)
			if len(points) < 2 || run.Stages[i].Aside {
				continue
			}
			line, err := plotter.NewLine(points)
			if err != nil {
				return fmt.Errorf("draw %s: %w", section.Title, err)
			}
			line.Color, line.Dashes = plotutil.Color(drawn), plotutil.Dashes(i)
			line.Width = vg.Points(1.5)
			p.Add(line)
			p.Legend.Add(section.Title+", "+run.Stages[i].Name, line)
			drawn++
		}
	}
	if drawn == 0 {
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 1, 1000, 0.1, 1000
	}
	p.Y.Max *= 50 // room for the legend
	return write(p, as, out)
}

// curve gives the points of a latency: at x = 1/(1-p) the p-th part was no slower than y.
func curve(l *load.Summary) plotter.XYs {
	var points plotter.XYs
	for i, percent := range load.CurvePercents() {
		left := 1 / (1 - percent/100)
		// Where less than one order is left, the curve says nothing more.
		if i >= len(l.Curve) || l.Curve[i] <= 0 || left > float64(l.Count) {
			break
		}
		points = append(points, plotter.XY{X: left, Y: l.Curve[i]})
	}
	return points
}

func percentileTicks() []plot.Tick {
	return []plot.Tick{
		{Value: 1, Label: "0"},
		{Value: 2, Label: "50"},
		{Value: 10, Label: "90"},
		{Value: 100, Label: "99"},
		{Value: 1000, Label: "99.9"},
		{Value: 10_000, Label: "99.99"},
	}
}

func millisecondTicks() []plot.Tick {
	var ticks []plot.Tick
	for _, ms := range []float64{0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000} {
		ticks = append(ticks, plot.Tick{Value: ms, Label: fmt.Sprint(ms)})
	}
	return ticks
}

// wholeTicks are the usual marks, without decimals.
func wholeTicks(from, to float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(from, to)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = fmt.Sprintf("%.0f", ticks[i].Value)
		}
	}
	return ticks
}

// Rates draws the events a second of the store and its peers as bars, and orders a second where no events are counted.
func Rates(r *report.Report, as Format, out io.Writer) error {
	var names []string
	var ours, theirs plotter.Values
	add := func(name string, run *report.Run, own bool) {
		value := run.Events
		if value == 0 {
			value, name = run.Rate, name+" (orders)"
		}
		names = append(names, name)
		a, b := value, 0.0
		if !own {
			a, b = b, a
		}
		ours, theirs = append(ours, a), append(theirs, b)
	}
	// The first bar is drawn lowest.
	for i := len(r.Peers) - 1; i >= 0; i-- {
		short, _, _ := strings.Cut(r.Peers[i].Name, ", ")
		add(short, r.Peers[i], false)
	}
	for i := len(r.Sections) - 1; i >= 0; i-- {
		if run := r.Sections[i].Median(); run != nil && run.Events > 0 {
			add(r.Sections[i].Title, run, true)
		}
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text = "Events a second", "events/s"
	p.X.Min = 0
	p.X.Tick.Marker = plot.TickerFunc(wholeTicks)
	for _, bars := range []struct {
		values plotter.Values
		color  color.Color
	}{{ours, color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}}, {theirs, color.Gray{Y: 0xa0}}} {
		if len(bars.values) == 0 {
			continue
		}
		chart, err := plotter.NewBarChart(bars.values, vg.Points(barWidth))
		if err != nil {
			return fmt.Errorf("draw rates: %w", err)
		}
		chart.Horizontal, chart.Color, chart.LineStyle.Width = true, bars.color, 0
		p.Add(chart)
	}
	if err := label(p, ours, theirs); err != nil {
		return err
	}
	if len(names) > 0 {
		p.NominalY(names...)
	}
	return write(p, as, out)
}

// label writes each bar's value behind it.
func label(p *plot.Plot, ours, theirs plotter.Values) error {
	var at plotter.XYLabels
	most := 1.0
	for i := range ours {
		value := math.Max(ours[i], theirs[i])
		most = math.Max(most, value)
		at.XYs = append(at.XYs, plotter.XY{X: value, Y: float64(i)})
		at.Labels = append(at.Labels, fmt.Sprintf(" %.0f", value))
	}
	p.X.Max = most * 1.12
	if len(at.XYs) == 0 {
		return nil
	}
	labels, err := plotter.NewLabels(at)
	if err != nil {
		return fmt.Errorf("label rates: %w", err)
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].YAlign = -0.5
	}
	p.Add(labels)
	return nil
}

func write(p *plot.Plot, as Format, out io.Writer) error {
	p.BackgroundColor = color.White
	drawn, err := p.WriterTo(plotWidth, plotHeight, string(as))
	if err != nil {
		return fmt.Errorf("draw as %s: %w", as, err)
	}
	if _, err := drawn.WriteTo(out); err != nil {
		return fmt.Errorf("write %s: %w", as, err)
	}
	return nil
}
