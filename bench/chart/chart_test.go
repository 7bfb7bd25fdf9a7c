package chart_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/bench/chart"
	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

func example() *report.Report {
	h := load.NewHistogram()
	for i := 1; i <= 4000; i++ {
		h.Record(time.Duration(i) * 5 * time.Microsecond)
	}
	return &report.Report{
		Sections: []*report.Section{
			{Title: "one task each", Runs: []*report.Run{{Rate: 10_000, Events: 20_000, Stages: []report.Stage{
				{Name: "sent -> answer", Latency: h.Summary()}, {Name: "heard on NATS", Latency: h.Summary(), Aside: true},
			}}}},
			{Title: "batch", Runs: []*report.Run{{Rate: 15_000, Events: 30_000}}},
		},
		Peers: []*report.Run{{Name: "ceiling: echo, JSON", Rate: 28_000}, {Name: "outbox by hand, with HTTP", Rate: 3_000, Events: 90}},
	}
}

func TestPlotsAreDrawn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		draw        func(*report.Report, chart.Format, io.Writer) error
		has, hasNot []string
	}{
		"latencies": {chart.Latencies, []string{"one task each, sent -> answer", "99.9", "percentile"}, []string{"heard on NATS"}},
		"rates":     {chart.Rates, []string{"one task each", "20000", "batch", "ceiling: echo (orders)", "outbox by hand"}, nil},
	} {
		var svg, empty bytes.Buffer
		require.NoError(t, c.draw(example(), chart.SVG, &svg), name)
		texts := textsOf(t, svg.Bytes())
		for _, text := range c.has {
			require.Contains(t, texts, text, name)
		}
		for _, text := range c.hasNot {
			require.NotContains(t, texts, text, name)
		}
		require.NoError(t, c.draw(&report.Report{}, chart.SVG, &empty), "%s of nothing", name)
		textsOf(t, empty.Bytes())
		var image bytes.Buffer
		require.NoError(t, c.draw(example(), chart.PNG, &image), name)
		_, err := png.DecodeConfig(&image)
		require.NoError(t, err, name)
	}
}

// textsOf reads a well-formed SVG and gives what is written in it.
func textsOf(t *testing.T, svg []byte) string {
	t.Helper()
	var texts bytes.Buffer
	for decoder := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return texts.String()
		}
		require.NoError(t, err)
		if data, ok := token.(xml.CharData); ok {
			texts.Write(data)
			texts.WriteByte('\n')
		}
	}
}
