package main

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/chaos/disk"
	"github.com/orderstore/orderstore/internal/chaos/faults"
)

// powered is an instance that lies on a disk of its own, Postgres, broker and all.
type powered struct {
	*system
	disk *disk.Disk
}

func (p *powered) PIDs() map[string]int {
	return map[string]int{"orderstore": p.cmd.Process.Pid, "postgres": postmasterOf(p.t, p.data)}
}

func (p *powered) Disks() map[string]*disk.Disk { return map[string]*disk.Disk{"instance": p.disk} }

func (p *powered) StartAll(context.Context) error {
	<-p.done
	p.start()
	return nil
}

// filledWithin is for the broker to have again what the power cut took, on a machine that does much else.
const filledWithin = 3 * time.Minute

// cuts is how often the power is cut: as often as ORDERSTORE_CHAOS_CUTS says, or once.
func cuts(t *testing.T) int {
	t.Helper()
	asked := os.Getenv("ORDERSTORE_CHAOS_CUTS")
	if asked == "" {
		return 1
	}
	n, err := strconv.Atoi(asked)
	require.NoError(t, err)
	return n
}

// Invariants 1 to 4 and 10: what was acknowledged is there after the power was cut amid submitting, although the broker flushes rarely. Where
// this user may not mount, the instance is killed, and its disk stays as it is.
func TestChaosPowerCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &powered{system: &system{t: t, data: filepath.Join(dir, "disk", "data")}}
	if !p.mount(dir) {
		p.start()
		p.submitUntilKilled(0, map[string]string{}, (*program).killGroup)
		p.start()
		p.level()
		p.verified()
		return
	}
	p.start()
	p.register("retail.erp")
	fault, random := faults.PowerCut[*powered](), rand.New(rand.NewPCG(1, 2)) //nolint:gosec // moments, no secrets
	all := map[string]string{}
	for round := range cuts(t) {
		acknowledged := map[string]string{} // external_ref -> id
		p.submitUntilKilled(round, acknowledged, func(*program) {
			bite, err := fault.Inject(t.Context(), p, random)
			require.NoError(t, err)
			require.NotEmpty(t, bite.Evidence, "it has to bite")
			t.Logf("cut %d: %s", round+1, bite.Evidence)
		})
		require.NotEmpty(t, acknowledged)
		p.has(acknowledged)
		p.levelWithin(filledWithin)
		t.Logf("cut %d: all of %d acknowledged orders are there", round+1, len(acknowledged))
		maps.Copy(all, acknowledged)
	}
	p.has(all) // later cuts took nothing from earlier rounds
	p.verified()
}

// mount gives the instance's folder, with all that it keeps, a disk, or tells that this user may not.
func (p *powered) mount(dir string) bool {
	p.t.Helper()
	d, err := disk.Make(p.t.Context(), disk.Config{Dir: filepath.Join(dir, "images"), Mount: filepath.Dir(p.data), Size: 1 << 30})
	if errors.Is(err, disk.ErrMayNotMount) {
		p.t.Log("the instance is killed and keeps its disk:", err)
		return false
	}
	require.NoError(p.t, err)
	p.t.Cleanup(func() { require.NoError(p.t, d.Close(context.WithoutCancel(p.t.Context()))) })
	p.disk = d
	return true
}
