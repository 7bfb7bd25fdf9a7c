package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/check"
	"github.com/orderstore/orderstore/internal/chaos/cluster"
	"github.com/orderstore/orderstore/internal/chaos/disk"
	"github.com/orderstore/orderstore/internal/chaos/faults"
	"github.com/orderstore/orderstore/internal/chaos/workload"
)

// settings are those of one run.
type settings struct {
	seed        uint64
	count       int           // of faults
	longest     time.Duration // of the time in which they are injected
	kinds       []string
	concurrency int
	rate        float64
	users       int
	dir         string
	binaries    string
	upgradeTo   string // folder of the programs of another version; empty: no upgrades
	keep        bool
	mount       bool
	out         io.Writer
}

// result is what a run comes to, and what the ledger is made of.
type result struct {
	Seed     uint64         `json:"seed"`
	Began    time.Time      `json:"began"`
	Version  string         `json:"version"`
	Seconds  float64        `json:"seconds"`
	Faults   map[string]int `json:"faults"`              // by kind, with evidence
	NoBite   map[string]int `json:"no_bite,omitempty"`   // by kind: injected, and nothing came of it
	Failed   []string       `json:"failed,omitempty"`    // faults that could not be injected
	Level    float64        `json:"level_after_seconds"` // from the healing of a quorum until every party had heard all
	Broken   []string       `json:"left_broken"`         // meanwhile
	Report   check.Report   `json:"report"`
	Trouble  string         `json:"trouble,omitempty"` // why the run did not come to its end
	Void     string         `json:"void,omitempty"`
	Injected []chaos.Bite   `json:"-"`
}

// errVoid says that too little happened in a run.
var errVoid = errors.New("the run says nothing")

func isVoid(err error) bool { return errors.Is(err, errVoid) }

func runCommand() *cobra.Command {
	s := &settings{}
	cmd := &cobra.Command{
		Use: "run", Short: "Start a cluster, break it while orders flow, heal it, and check every copy", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.out = cmd.OutOrStdout()
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&s.seed, "seed", 1, "what the faults are chosen by")
	f.IntVar(&s.count, "faults", 100, "how many faults are injected")
	f.DurationVar(&s.longest, "for", time.Hour, "no fault begins later")
	f.StringSliceVar(&s.kinds, "kinds", nil, "kinds of faults, or beginnings of them (default: all); see orderchaos faults")
	f.IntVar(&s.concurrency, "concurrency", 3, "faults at a time")
	f.Float64Var(&s.rate, "rate", 0, "requests a second of all users together; 0: as many as are answered")
	f.IntVar(&s.users, "users", 2, "users of each of three tenants, each with one call outstanding")
	f.StringVar(&s.dir, "dir", "", "folder of the run (default: a temporary one); kept when something was violated")
	f.StringVar(&s.binaries, "binaries", "bin", "folder of the programs orderstore and orderaux")
	f.StringVar(&s.upgradeTo, "upgrade-to", "", "folder of another version's orderstore and orderaux: upgrade.rolling goes over to them, and back")
	f.BoolVar(&s.mount, "disks", os.Geteuid() == 0, "give each store a file system of its own, for power cuts and full disks; takes root")
	f.BoolVar(&s.keep, "keep", false, "keep the folder in any case")
	return cmd
}

func (s *settings) run(ctx context.Context) error {
	chosen, err := s.chosen(ctx)
	if err != nil {
		return err
	}
	if s.mount {
		if _, err := disk.Sweep(ctx); err != nil {
			return err
		}
	}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "orderchaos-"); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil { //nolint:gosec // Postgres runs as another user below it
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.Chmod(s.dir, 0o755); err != nil { //nolint:gosec // as above
		return fmt.Errorf("open folder: %w", err)
	}
	r := &result{Seed: s.seed, Began: time.Now().UTC(), Faults: map[string]int{}, NoBite: map[string]int{}, Version: version(ctx, s.binaries)}
	err = s.through(ctx, r, chosen)
	if err != nil {
		r.Trouble = err.Error()
	}
	if void := r.tooLittle(s.count); void != "" {
		r.Void = void
	}
	kept := errors.Join(writeJSON(filepath.Join(s.dir, "result.json"), r), writeJSON(filepath.Join(s.dir, "bites.json"), r.Injected))
	return errors.Join(s.verdict(r, err), kept)
}

// chosen are the faults of the run.
func (s *settings) chosen(ctx context.Context) ([]faults.Fault, error) {
	all := faults.Catalog(s.mount)
	if s.upgradeTo != "" {
		upgrade, err := s.upgrade(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, upgrade)
	}
	if len(s.kinds) == 0 {
		return all, nil
	}
	var some []faults.Fault
	for _, f := range all {
		if slices.ContainsFunc(s.kinds, func(kind string) bool { return strings.HasPrefix(f.Kind, kind) }) {
			some = append(some, f)
		}
	}
	if len(some) == 0 {
		return nil, fmt.Errorf("no fault is of the kinds %s; see orderchaos faults", strings.Join(s.kinds, ", "))
	}
	return some, nil
}

// upgrade goes between the programs of two folders, which have to say that they are two versions.
func (s *settings) upgrade(ctx context.Context) (faults.Fault, error) {
	from, err := filepath.Abs(s.binaries)
	if err != nil {
		return faults.Fault{}, err
	}
	to, err := filepath.Abs(s.upgradeTo)
	if err != nil {
		return faults.Fault{}, err
	}
	was, is := version(ctx, from), version(ctx, to)
	if was == is {
		return faults.Fault{}, fmt.Errorf("%s and %s are both %s: build another version for --upgrade-to", from, to, was)
	}
	s.say("upgrades go from %s to %s", was, is)
	return faults.RollingUpgrade(from, to), nil
}

func version(ctx context.Context, binaries string) string {
	out, err := exec.CommandContext(ctx, filepath.Join(binaries, "orderstore"), "--version").Output() //nolint:gosec // the caller's own folder
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// through is a run from its start until what every copy has is known and judged.
func (s *settings) through(ctx context.Context, r *result, chosen []faults.Fault) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	binaries, err := filepath.Abs(s.binaries)
	if err != nil {
		return err
	}
	s.say("starting a cluster in %s", s.dir)
	disks := map[string]*disk.Disk{}
	defer func() {
		for _, d := range disks {
			_ = d.Close(context.WithoutCancel(ctx)) // the next run sweeps what is left
		}
	}()
	c, err := cluster.Start(ctx, cluster.Options{Dir: s.dir, Binaries: binaries, Self: self, Mount: s.mounting(ctx, disks)})
	if err != nil {
		return fmt.Errorf("start cluster: %w", err)
	}
	defer c.Stop(context.WithoutCancel(ctx))
	began := time.Now()
	load, err := workload.New(workload.Config{
		At: c.Endpoints(), Dir: filepath.Join(s.dir, "run"), Began: began, Seed: s.seed, Users: s.users, Rate: s.rate, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	if err := load.Prepare(ctx); err != nil {
		return fmt.Errorf("prepare workload: %w", err)
	}
	if err := load.Start(ctx); err != nil {
		return fmt.Errorf("start workload: %w", err)
	}
	s.inject(ctx, faults.NewTarget(c, load, began, disks), chosen, r)
	err = s.settle(ctx, c, load, r)
	r.Seconds = time.Since(began).Seconds()
	err = errors.Join(err, load.Close())
	if collected := check.Collect(ctx, c.Endpoints(), filepath.Join(s.dir, "run")); collected != nil {
		return errors.Join(err, fmt.Errorf("read every copy: %w", collected))
	}
	c.Stop(context.WithoutCancel(ctx))
	report, offline := check.Offline(filepath.Join(s.dir, "run"))
	r.Report = report
	return errors.Join(err, offline)
}

// mounting gives each store a disk of its own; nil: they lie in folders.
func (s *settings) mounting(ctx context.Context, disks map[string]*disk.Disk) func(name, dir string) error {
	if !s.mount {
		return nil
	}
	return func(name, dir string) error {
		d, err := disk.Make(ctx, disk.Config{Dir: filepath.Join(s.dir, "disks", name), Mount: dir, Size: diskSize})
		if err != nil {
			return err
		}
		disks[name] = d
		return nil
	}
}

// diskSize is that of each store's disk. It takes what is written to it.
const diskSize = 1 << 30

// settle goes through the end of a run: a quorum is healed, and with the rest broken all that was acknowledged has to reach everybody; then
// the rest is healed too.
func (s *settings) settle(ctx context.Context, c *cluster.Cluster, load *workload.Load, r *result) error {
	load.StopUsers()
	for _, p := range c.Processes() {
		p.Thaw()
	}
	for _, l := range c.Links() {
		if err := l.Heal(ctx, true); err != nil {
			return err
		}
	}
	away := s.leftBroken(c)
	for _, p := range c.Processes() {
		if slices.Contains(away, p) {
			if p.PID() == 0 {
				continue
			}
			if err := p.Kill(); err != nil {
				return err
			}
		} else if err := p.Start(ctx); err != nil {
			return err
		}
	}
	for _, p := range away {
		r.Broken = append(r.Broken, p.Name)
	}
	s.say("%d faults with evidence; waiting until all is level without %s", sum(r.Faults), strings.Join(r.Broken, ", "))
	healed := time.Now()
	if err := s.level(ctx, load); err != nil {
		return fmt.Errorf("with a quorum healed: %w", err)
	}
	r.Level = time.Since(healed).Seconds()
	for _, p := range away {
		if err := p.Start(ctx); err != nil {
			return err
		}
	}
	if err := c.Healthy(ctx, levelWithin); err != nil {
		return err
	}
	return s.level(ctx, load)
}

func (s *settings) level(ctx context.Context, load *workload.Load) error {
	within, cancel := context.WithTimeout(ctx, levelWithin)
	defer cancel()
	if err := load.Settle(within); err != nil {
		return fmt.Errorf("not level within %s: %w", levelWithin, err)
	}
	return nil
}

// leftBroken are the processes that stay down while the others have to come level: one of each that there are several of.
func (s *settings) leftBroken(c *cluster.Cluster) []*cluster.Process {
	random := dice(s.seed, 1<<32)
	var away []*cluster.Process
	for _, kind := range []string{cluster.KindCommand, cluster.KindRelay, cluster.KindBroadcast, cluster.KindNATS} {
		var all []*cluster.Process
		for _, p := range c.Processes() {
			if p.Kind == kind {
				all = append(all, p)
			}
		}
		away = append(away, all[random.IntN(len(all))])
	}
	return append(away, c.Process(cluster.Async))
}

// levelWithin is how long the cluster may take, once all is healed, until every party has heard everything.
const levelWithin = 3 * time.Minute

func (s *settings) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func sum(of map[string]int) int {
	n := 0
	for _, each := range of {
		n += each
	}
	return n
}

// tooLittle says why a run says nothing; empty: it does.
func (r *result) tooLittle(wanted int) string {
	bites, acknowledged := sum(r.Faults), r.Report.Acknowledged
	switch {
	case bites*2 < wanted:
		return fmt.Sprintf("%d of %d faults bit", bites, wanted)
	case float64(acknowledged) < leastRate*r.Seconds:
		return fmt.Sprintf("%d writes were acknowledged in %.0f s", acknowledged, r.Seconds)
	}
	return ""
}

// leastRate is how many writes a second have to be acknowledged, on average over a run, for it to say anything.
const leastRate = 5

// verdict prints what came out, and keeps or removes the run's folder.
func (s *settings) verdict(r *result, err error) error {
	r.print(s.out)
	_, _ = fmt.Fprintf(s.out, "kept in %s; check it again with: orderchaos check --dir %s\n", s.dir, s.dir)
	switch {
	case len(r.Report.Violations) > 0:
		return fmt.Errorf("%d violations with seed %d", len(r.Report.Violations)+int(r.Report.Suppressed), s.seed)
	case err != nil:
		return err
	case r.Void != "":
		return fmt.Errorf("%w: %s", errVoid, r.Void)
	}
	if !s.keep {
		return errors.Join(os.RemoveAll(filepath.Join(s.dir, "stores")), os.RemoveAll(filepath.Join(s.dir, "run")), os.RemoveAll(filepath.Join(s.dir, "logs")))
	}
	return nil
}

func (r *result) print(out io.Writer) {
	v := r.Report.Violations
	for _, each := range v {
		_, _ = fmt.Fprintf(out, "VIOLATION of %d at %s: %s\n", each.Invariant, each.Path, each.What)
	}
	for _, each := range r.Failed {
		_, _ = fmt.Fprintln(out, "not injected:", each)
	}
	_, _ = fmt.Fprintf(out, "%d faults of %d kinds bit in %.0f s (%d did not bite, %d could not be injected); level %.1f s after the last\n",
		sum(r.Faults), len(r.Faults), r.Seconds, sum(r.NoBite), len(r.Failed), r.Level)
	_, _ = fmt.Fprintf(out, "%d operations (%d judged, %d orders, %d illegal, %d not judged), %d writes acknowledged, %d unknown; %d events, %d copies, %d receipts: %d violations\n",
		r.Report.Ops, r.Report.Judged, r.Report.Orders, r.Report.Illegal, r.Report.Unjudged, r.Report.Acknowledged, r.Report.Unknown,
		r.Report.Events, r.Report.Copies, r.Report.Receipts, len(v)+int(r.Report.Suppressed))
}

func writeJSON(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// dice is a source of chance of its own for each of those who inject.
func dice(seed, n uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, n)) //nolint:gosec // it has to come out the same for the same seed
}
