package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/faults"
)

// instanceProcess names the one process of an instance.
const instanceProcess = "orderstore"

func (p *powered) Stores() []faults.Store {
	return []faults.Store{{Name: "instance", Process: instanceProcess, Dir: p.data, Disk: p.disk}}
}

func (p *powered) Brokers() []faults.Store {
	return []faults.Store{{Name: "nats", Process: instanceProcess, Dir: filepath.Join(p.data, "nats")}}
}

func (p *powered) Endpoints() chaos.Endpoints {
	return chaos.Endpoints{Direct: chaos.Direct{NATS: []string{p.at.NATS}, Views: []string{p.at.PostgresRead}}}
}

func (p *powered) Kill(context.Context, string) error {
	p.signal(syscall.SIGKILL)
	<-p.done
	return nil
}

func (p *powered) Start(context.Context, string) error {
	if p.ended() {
		p.start()
	}
	return nil
}

// storeFaults are the faults that an instance is put through: those that ORDERSTORE_CHAOS_KINDS names, or all for "all", or one of each sort.
func storeFaults() []chaos.Fault[*powered] {
	all := []chaos.Fault[*powered]{
		faults.StreamOlder[*powered](), faults.StreamTruncated[*powered](), faults.StreamFlipped[*powered](), faults.StreamDeleted[*powered](),
		faults.StreamReconfigured[*powered](), faults.PoisonEvent[*powered](), faults.ViewsWiped[*powered](), faults.DiskFull[*powered](),
	}
	asked := os.Getenv("ORDERSTORE_CHAOS_KINDS")
	if asked == "" {
		asked = "stream.older,stream.reconfigured,views.wiped,disk.full"
	}
	var chosen []chaos.Fault[*powered]
	for _, f := range all {
		if asked == "all" || strings.Contains(","+asked+",", ","+f.Kind+",") {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

// What happens to the stores while orders flow takes nothing that was acknowledged, and all copies find together again.
func TestChaosStoreFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &powered{system: &system{t: t, data: filepath.Join(dir, "disk", "data")}}
	mounted := p.mount(dir)
	p.start()
	// Users find it where it was.
	p.listen = strings.TrimPrefix(p.at.HTTP, "http://")
	p.register("retail.erp")
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // moments, no secrets
	all := map[string]string{}
	p.submitMany(50)
	for i, fault := range storeFaults() {
		if fault.Kind == "disk.full" && !mounted {
			_, err := fault.Inject(t.Context(), p, random)
			require.Error(t, err, "it says that it cannot be had")
			continue
		}
		stop := p.submitBeside(fault.Kind, i, all)
		bite, err := fault.Inject(t.Context(), p, random)
		stop()
		require.NoError(t, err, fault.Kind)
		require.NotEmpty(t, bite.Evidence, "%s has to bite", fault.Kind)
		p.levelWithin(filledWithin)
		t.Logf("%s: %s", fault.Kind, bite.Evidence)
	}
	require.NotEmpty(t, all)
	p.has(all)
	p.verified()
}

// submitBeside submits until it is told to stop, whatever becomes of the program, and notes what was acknowledged.
func (p *powered) submitBeside(kind string, round int, acknowledged map[string]string) (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var senders sync.WaitGroup
	user := p.user()
	senders.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			order, err := user.SubmitOrder(ctx, sampleOrder(fmt.Sprintf("%s-%d-%d", kind, round, i)))
			if err == nil {
				acknowledged[order.ExternalRef] = order.ID
			}
		}
	})
	return func() {
		cancel()
		senders.Wait()
	}
}
