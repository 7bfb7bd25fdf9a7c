package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

// auxiliaryBench measures what the auxiliary systems cost the intake, and how long a sale takes to be in systems of others.
type auxiliaryBench struct {
	session
	connections   int
	rounds        int
	rate          int
	warm, measure time.Duration
}

func auxiliaryCommand() *cobra.Command {
	o := &auxiliaryBench{}
	cmd := &cobra.Command{
		Use:   "auxiliary",
		Short: "What orderaux costs the intake, and how long a sale takes to be in an ERP and a CRM",
		Long: `Measures the intake as throughput does, in turns without orderaux and with it running beside the store and level with the log.
Then, at a fixed rate, an ERP and a CRM hear of each order by server-sent events, pull it, and store a record about it: the time runs from the
moment at which an order was due to be sent until the store has answered that it has the record.

The instance must not run auxiliary systems of its own: --start makes such a one, orderstore dev --auxiliary=false another.`,
		Example: "  orderbench auxiliary --start --connections 64 --for 8s --rounds 3",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := o.session
			s.out, s.repeat = cmd.OutOrStdout(), 1
			return s.with(cmd.Context(), func(ctx context.Context, t *target) error { return o.all(ctx, &s, t) })
		},
	}
	o.runFlags(cmd)
	f := cmd.Flags()
	f.IntVar(&o.connections, "connections", 64, "connections of the intake")
	f.IntVar(&o.rounds, "rounds", 3, "how often each way is measured; the medians are compared")
	f.IntVar(&o.rate, "rate", 300, "orders a second, of which an ERP and a CRM hear; 0: that is not measured")
	f.DurationVar(&o.warm, "warm", 2*time.Second, "how long to submit before counting")
	f.DurationVar(&o.measure, "for", 8*time.Second, "how long to count, each time")
	return cmd
}

func (o *auxiliaryBench) all(ctx context.Context, s *session, t *target) error {
	var runs, without, with []*report.Run
	for range max(o.rounds, 1) {
		run, err := o.intake(ctx, t, "without orderaux")
		if err != nil {
			return err
		}
		run.Print(s.out)
		without = append(without, run)
		if run, err = o.beside(ctx, t); err != nil {
			return err
		}
		run.Print(s.out)
		with = append(with, run)
	}
	plain, loaded := report.Median(without), report.Median(with)
	loaded.Baseline = plain.Rate
	fmt.Fprintf(s.out, "medians of %d: %.0f orders/s without orderaux, %.0f with it: %+.1f %%\n",
		len(with), plain.Rate, loaded.Rate, 100*(loaded.Rate/plain.Rate-1))
	runs = append(without, with...)
	if o.rate > 0 {
		run, err := o.sales(ctx, t)
		if err != nil {
			return err
		}
		run.Print(s.out)
		runs = append(runs, run)
	}
	if s.jsonFile != "" {
		if err := writeJSON(s.jsonFile, runs); err != nil {
			return err
		}
	}
	return faults(runs)
}

// eventsAnOrder are what an order leaves that nobody handles: that it was placed, and offered.
const eventsAnOrder = 2

func (o *auxiliaryBench) intake(ctx context.Context, t *target, name string) (*report.Run, error) {
	sender, err := t.sender(o.connections)
	if err != nil {
		return nil, err
	}
	meter, err := t.metered()
	if err != nil {
		return nil, err
	}
	phases := load.Phases{Warm: o.warm, Measure: o.measure, Measuring: meter.restart}
	got := load.Closed(ctx, o.connections, phases, &atomic.Int64{}, submissions(sender, load.NewMix(o.seed, t.reference(), "")))
	run := report.FromOutcome(fmt.Sprintf("intake %s, %d connections, %s", name, o.connections, seconds(got.Took)), got, "sent -> answer")
	run.Events = run.Rate * eventsAnOrder
	return run, meter.settle(ctx, run)
}

// beside measures the intake while orderaux runs, and how long after the last answer it was level with the log.
func (o *auxiliaryBench) beside(ctx context.Context, t *target) (*report.Run, error) {
	aux, err := startSystems(ctx, t)
	if err != nil {
		return nil, err
	}
	defer aux.stop()
	if _, err := aux.level(ctx, t); err != nil {
		return nil, err
	}
	from := aux.position
	worked, err := load.StartMeter(aux.cmd.Process.Pid, 0)
	if err != nil {
		return nil, err
	}
	run, err := o.intake(ctx, t, "with orderaux")
	if err != nil {
		return nil, err
	}
	after, err := aux.level(ctx, t)
	if err != nil {
		return nil, err
	}
	used, err := worked.Stop()
	if err != nil {
		return nil, err
	}
	run.Notes = append(run.Notes, fmt.Sprintf("the auxiliary systems were level with the log %s later", seconds(after)))
	if orders := (aux.position - from) / eventsAnOrder; used != nil && orders > 0 {
		run.Notes = append(run.Notes, fmt.Sprintf("orderaux %.0f µs of processor time an order, until then", used.Service/float64(orders)*1e6))
	}
	return run, nil
}

// systems is an orderaux that this program started.
type systems struct {
	cmd      *exec.Cmd
	mail     string
	ended    chan error
	position int64 // of the log, when they were last level with it
}

// startSystems starts the orderaux that lies beside this program, or else the one in PATH, on the target's stores.
func startSystems(ctx context.Context, t *target) (*systems, error) {
	program, err := beside("orderaux")
	if err != nil {
		return nil, err
	}
	s := &systems{ended: make(chan error, 1)}
	if s.mail, err = os.MkdirTemp("", "orderbench-mail-"); err != nil {
		return nil, fmt.Errorf("make a folder for mails: %w", err)
	}
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), program) //nolint:gosec // our own program
	s.cmd.Env = append(os.Environ(), "ORDERSTORE_POSTGRES_AUXILIARY="+t.at.PostgresAuxiliary, "ORDERSTORE_POSTGRES_WRITE="+t.at.PostgresWrite,
		"ORDERSTORE_NATS="+t.at.NATS, "ORDERSTORE_METRICS=127.0.0.1:0", "ORDERSTORE_MAIL_DIR="+s.mail, "ORDERSTORE_LOG_LEVEL=warn")
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		_ = os.RemoveAll(s.mail)
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	return s, nil
}

// errNoSystems says that orderaux did not go on.
var errNoSystems = errors.New("the auxiliary systems ended; what they said is above")

// level waits until all systems are where the log is and their outside effects are made, and says how long that took.
func (s *systems) level(ctx context.Context, t *target) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, levelWithin)
	defer cancel()
	began := time.Now()
	ticker := time.NewTicker(startPoll)
	defer ticker.Stop()
	for {
		found, err := t.operator.AuxiliarySystems(ctx)
		if err != nil {
			return 0, err
		}
		behind := int64(0)
		for _, system := range found {
			behind = max(behind, system.Lag, system.Queued)
			s.position = system.Position
		}
		if len(found) > 0 && behind == 0 {
			return time.Since(began), nil
		}
		select {
		case <-ticker.C:
		case err := <-s.ended:
			s.ended <- err
			return 0, errNoSystems
		case <-ctx.Done():
			return 0, fmt.Errorf("wait until auxiliary systems are level with the log: %w", ctx.Err())
		}
	}
}

func (s *systems) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(stopWithin, func() { _ = s.cmd.Process.Kill() })
	if err := <-s.ended; err != nil {
		fmt.Fprintln(os.Stderr, "orderbench: orderaux did not end well:", err)
	}
	timer.Stop()
	_ = os.RemoveAll(s.mail)
}
