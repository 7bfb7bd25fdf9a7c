package check

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/history"
	"github.com/orderstore/orderstore/internal/chaos/workload"
)

// add notes a violation.
func (r *Report) add(invariant int, path, format string, args ...any) {
	if r.kinds == nil {
		r.kinds = map[string]int64{}
	}
	kind := fmt.Sprintf("%d %s", invariant, path)
	r.kinds[kind]++
	if r.kinds[kind] > listed {
		r.Suppressed++
		return
	}
	r.Violations = append(r.Violations, chaos.Violation{Invariant: invariant, Path: path, What: fmt.Sprintf(format, args...)})
}

// Clean says whether nothing was found.
func (r *Report) Clean() bool { return len(r.Violations) == 0 }

func hexOf(digest [32]byte) string { return hex.EncodeToString(digest[:]) }

// Offline holds what lies in a run's folder against the ten invariants: history, receipts, and what Collect read. It needs no cluster. The error
// says that the folder is not one of a run that was collected.
func Offline(dir string) (Report, error) {
	report := Report{Violations: []chaos.Violation{}}
	m, err := loadMeta(dir)
	if err != nil {
		return report, err
	}
	world, err := workload.ReadWorld(dir)
	if err != nil {
		return report, err
	}
	ops, err := history.All(dir)
	if err != nil {
		return report, err
	}
	receipts, err := history.AllReceipts(dir)
	if err != nil {
		return report, err
	}
	l := newLedger(&report)
	for _, c := range m.Copies {
		if c.Kind == kindStock {
			l.stock.until = c.Position
		}
	}
	if err := load(dir, logFile, l.take); err != nil {
		return report, err
	}
	report.Events = int64(len(l.rows))
	l.checkLag(&m)
	l.lastDigest(&m)
	records, err := l.checkCopies(dir, &m, &world)
	if err != nil {
		return report, err
	}
	l.checkParties(&world, receipts)
	l.checkOps(ops, records)
	l.judge(ops)
	slices.SortStableFunc(report.Violations, func(a, b chaos.Violation) int { return a.Invariant - b.Invariant })
	return report, nil
}

// checkCopies compares every copy, and gives the revisions of the outside system's records; nil where they could not be read.
func (l *ledger) checkCopies(dir string, m *meta, world *workload.World) (map[string]int64, error) {
	tenants := make([]string, len(world.Tenants))
	for i := range world.Tenants {
		tenants[i] = world.Tenants[i].Tenant
	}
	var records map[string]int64
	for i := range m.Copies {
		c := &m.Copies[i]
		if c.File == "" {
			continue // checkLag has said so
		}
		l.report.Copies++
		var err error
		switch c.Kind {
		case kindStandby, kindStream, kindTime:
			err = l.checkLinks(dir, c)
		case kindOrders, kindView:
			err = l.checkOrders(dir, c)
		case kindTasks:
			err = l.checkTasks(dir, c)
		case kindHTTP:
			err = l.checkListed(dir, c, tenants)
		case kindStock:
			err = l.checkStock(dir, c)
		case kindRecords:
			records = map[string]int64{}
			err = load(dir, c.File, func(r *record) error {
				records[recordKey(r.Order, r.System, r.ID)] = r.Revision
				if s := l.orders[r.Order]; s != nil && s.tenant != r.Tenant {
					l.report.add(8, c.Name, "a record of order %s is %s's, and the order is %s's", r.Order, r.Tenant, s.tenant)
				}
				return nil
			})
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		if err != nil {
			l.report.add(10, c.Name, "what was read of it cannot be read: %v", err)
		}
	}
	return records, nil
}
