package check

import (
	"github.com/orderstore/orderstore/internal/chaos/history"
	"github.com/orderstore/orderstore/internal/chaos/workload"
)

// checkParties holds what each party received against what the log has for it.
func (l *ledger) checkParties(world *workload.World, receipts map[string][]history.Receipt) {
	wanted := map[string][]int64{}
	for i := range l.rows {
		if at := int64(i) + 1; at > world.Start && (at <= world.Settled || world.Settled == 0) {
			t := &l.rows[i]
			wanted[t.tenant] = append(wanted[t.tenant], at)
			wanted[t.provider] = append(wanted[t.provider], at)
		}
	}
	for _, m := range world.Members {
		got := receipts[m.Name]
		l.report.Receipts += int64(len(got))
		l.checkReceipts(&m, got)
		l.checkComplete(m.Name, wanted[m.Name], got)
	}
}

func (l *ledger) checkReceipts(m *workload.Member, got []history.Receipt) {
	path, last := "receipts of "+m.Name, int64(0)
	for i := range got {
		r := &got[i]
		t := l.at(r.Position)
		switch {
		case t == nil:
			l.report.add(3, path, "it was told of position %d, which is not in the log", r.Position)
			continue
		case m.Tenant != "" && (t.tenant != m.Tenant || r.Tenant != m.Tenant), m.Provider != "" && (t.provider != m.Provider || r.Provider != m.Provider):
			l.report.add(8, path, "it was told of position %d, which is %s's and %s's", r.Position, t.tenant, t.provider)
		case r.Digest != t.notice:
			l.report.add(3, path, "what it was told of position %d is not what the log has there", r.Position)
		case m.Ordered && r.Position <= last:
			l.report.add(3, path, "position %d came after %d", r.Position, last)
		}
		last = r.Position
	}
}

// checkComplete finds what a party was never told: a hole where it was told of later events, and lag where it was not.
func (l *ledger) checkComplete(name string, wanted []int64, got []history.Receipt) {
	has := make(map[int64]bool, len(got))
	last := int64(0)
	for i := range got {
		has[got[i].Position] = true
		last = max(last, got[i].Position)
	}
	for _, at := range wanted {
		if has[at] {
			continue
		}
		if at < last {
			l.report.add(3, "receipts of "+name, "it was not told of position %d, and of %d it was", at, last)
		} else {
			l.report.add(10, "receipts of "+name, "it was not told of anything from position %d on", at)
			return
		}
	}
}

// checkLag finds the copies that did not get to where the log was, and what was in the way.
func (l *ledger) checkLag(m *meta) {
	for _, c := range m.Copies {
		switch {
		case c.Trouble != "":
			l.report.add(10, c.Name, "it could not be read: %s", c.Trouble)
		case c.Within < 0:
			l.report.add(10, c.Name, "it did not get from %d to where the log is, %d", c.Position, m.Head)
		}
	}
	if int64(len(l.rows)) != m.Head {
		l.report.add(2, "log", "it says that it ends at %d, and ends at %d", m.Head, len(l.rows))
	}
}

// lastDigest compares the end of the chain with what the log says it is.
func (l *ledger) lastDigest(m *meta) {
	if len(l.rows) == 0 {
		return
	}
	digest := l.rows[len(l.rows)-1].digest
	if hexOf(digest) != m.Digest {
		l.report.add(2, "log", "its head has another digest than its last row")
	}
}
