package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/providersim"
)

func providerSimCommand(c *connection) *cobra.Command {
	var config providersim.Config
	var asJSON bool
	var manner mannerFlags
	cmd := &cobra.Command{
		Use:   "provider-sim",
		Short: "Play a provider: accept and complete every task, or be slow, silent or unwilling, until told to stop",
		Long: `Play a provider over the public API: follow the feed with the orders' data, accept every task and complete it.

With --state it remembers how far it got and goes on there; without, it looks at everything from the beginning and leaves
alone what is done. Stopped in the middle, it loses nothing and does nothing twice.

To watch deadlines pass, tasks go to the next provider and orders be cancelled, it can be told to be otherwise: --silent answers
nothing, --reject gives every task back, --accept-after and --delay let time pass before a task is accepted and completed, and
--cancellations says what it answers when the user wants to cancel what it has accepted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := c.resolve(asProvider)
			if err != nil {
				return err
			}
			if config.Client, err = client.New(r.config); err != nil {
				return err
			}
			if config.Manner, err = manner.manner(); err != nil {
				return err
			}
			return simulate(cmd.Context(), config, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&config.Once, "once", false, "stop when no task is open")
	f.IntVar(&config.Concurrency, "concurrency", providersim.DefaultConcurrency, "tasks at a time")
	f.StringVar(&config.StateFile, "state", "", "file that keeps the position between runs")
	f.DurationVar(&config.ReportLoad, "report-load", 0, "time between two reports of its load (default: none)")
	f.Int64Var(&config.After, "after", 0, "begin after this position")
	f.BoolVar(&asJSON, "json", false, "print the summary as JSON")
	manner.flags(f)
	return cmd
}

// mannerFlags are the flags that say how the provider treats its tasks.
type mannerFlags struct {
	is            providersim.Manner
	reject        string
	blocking      bool
	cancellations string
}

func (m *mannerFlags) flags(f *pflag.FlagSet) {
	f.BoolVar(&m.is.Silent, "silent", false, "answer nothing, so that deadlines pass")
	f.StringVar(&m.reject, "reject", "", "give every task back for this reason, such as no_capacity")
	f.BoolVar(&m.blocking, "blocking", false, "with --reject: do not ask again for the same order")
	f.DurationVar(&m.is.AcceptAfter, "accept-after", 0, "time that passes before a task is accepted")
	f.DurationVar(&m.is.CompleteAfter, "delay", 0, "time that passes before an accepted task is completed")
	f.StringVar(&m.cancellations, "cancellations", string(providersim.Agree), "what to answer when the user wants to cancel: agree, refuse or ignore")
}

func (m *mannerFlags) manner() (providersim.Manner, error) {
	switch m.is.Cancellations = providersim.Answer(m.cancellations); m.is.Cancellations {
	case providersim.Agree, providersim.Refuse, providersim.Ignore:
	default:
		return m.is, fmt.Errorf("--cancellations %s: it is agree, refuse or ignore", m.cancellations)
	}
	if m.blocking && m.reject == "" {
		return m.is, errors.New("--blocking is for --reject")
	}
	if m.reject != "" {
		m.is.Reject = &client.Rejection{ReasonCode: m.reject, Blocking: m.blocking}
	}
	return m.is, nil
}

// reportEvery is the time between two lines of progress.
const reportEvery = 2 * time.Second

func simulate(ctx context.Context, config providersim.Config, asJSON bool, out, progress io.Writer) error {
	started := time.Now()
	var mu sync.Mutex
	last := started
	config.Report = func(s providersim.Stats) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(last) >= reportEvery {
			last = now
			_, _ = fmt.Fprintf(progress, "%d tasks completed, %.0f/s, position %d\n", s.Completed, float64(s.Completed)/now.Sub(started).Seconds(), s.Position)
		}
	}
	stats, err := providersim.Run(ctx, config)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // told to stop, which is how it ends
	}
	if asJSON {
		return errors.Join(err, json.NewEncoder(out).Encode(stats))
	}
	took := time.Since(started)
	_, _ = fmt.Fprintf(out, "%d tasks completed (%d of them before), %d skipped, %d rejected, %d ignored; %d cancellations agreed to, %d refused; "+
		"%d events, up to position %d, in %.1f s\n", stats.Completed, stats.Replayed, stats.Skipped, stats.Rejected, stats.Ignored,
		stats.Agreed, stats.Refused, stats.Events, stats.Position, took.Seconds())
	return err
}
