package check

import (
	"encoding/hex"
)

// checkLinks compares a copy of the log, row by row.
func (l *ledger) checkLinks(dir string, c *Copy) error {
	last := int64(0)
	err := load(dir, c.File, func(got *link) error {
		switch {
		case got.Position <= last:
			l.report.add(3, c.Name, "position %d comes after %d", got.Position, last)
		case got.Position != last+1 && (last > 0 || c.Kind != kindStream): // the stream may begin later: it is a cache
			l.report.add(3, c.Name, "positions %d to %d are missing", last+1, got.Position-1)
		}
		last = max(last, got.Position)
		want := l.at(got.Position)
		switch {
		case want == nil:
			l.report.add(3, c.Name, "position %d is not in the log, which ends at %d", got.Position, len(l.rows))
		case got.Sum != hex.EncodeToString(want.sum[:]):
			l.report.add(3, c.Name, "position %d has other bytes than the log", got.Position)
		case c.Kind == kindTime && (got.Tenant != want.tenant || got.Provider != want.provider):
			l.report.add(8, c.Name, "position %d is shown to %q and %q, and is for %q and %q", got.Position, got.Tenant, got.Provider, want.tenant, want.provider)
		case c.Kind != kindTime && got.Subject != want.subject:
			l.report.add(3, c.Name, "position %d is under subject %s, and %s in the log", got.Position, got.Subject, want.subject)
		case c.Kind != kindTime && got.Digest != hex.EncodeToString(want.digest[:]):
			l.report.add(3, c.Name, "position %d has another digest than the log", got.Position)
		}
		return nil
	})
	if last < c.Position {
		l.report.add(3, c.Name, "it says that it is at %d, and has nothing after %d", c.Position, last)
	}
	return err
}

// checkOrders compares rows of orders with the fold at the position that the copy is of.
func (l *ledger) checkOrders(dir string, c *Copy) error {
	seen := map[string]bool{}
	err := load(dir, c.File, func(got *order) error {
		if seen[got.ID] {
			l.report.add(4, c.Name, "order %s is there twice", got.ID)
		}
		seen[got.ID] = true
		l.compare(c.Name, got, c.Position, true)
		return nil
	})
	for id, s := range l.orders {
		if !seen[id] && s.asOf(c.Position) != nil {
			l.report.add(4, c.Name, "order %s, placed at %d, is missing", id, s.entries[0].position)
		}
	}
	return err
}

// compare holds an order as a copy has it against the fold.
func (l *ledger) compare(path string, got *order, position int64, stored bool) {
	s := l.orders[got.ID]
	var want *entry
	if s != nil {
		want = s.asOf(position)
	}
	if want == nil {
		l.report.add(4, path, "order %s is in no event up to %d", got.ID, position)
		return
	}
	expected := order{
		ID: s.id, Tenant: s.tenant, Ref: s.ref, Status: want.status, Fulfillment: want.fulfillment, Total: want.total, Version: want.version,
		Quantities: want.quantities, Results: want.results,
	}
	if stored {
		expected.Position, expected.Customer = want.position, want.customer
	}
	if *got != expected {
		l.report.add(4, path, "order %s is %+v at %d, and %+v by the log", got.ID, *got, position, expected)
	}
}

// checkTasks compares the providers' inboxes.
func (l *ledger) checkTasks(dir string, c *Copy) error {
	seen := map[string]bool{}
	err := load(dir, c.File, func(got *task) error {
		seen[got.ID] = true
		t := l.tasks[got.ID]
		if t == nil {
			l.report.add(4, c.Name, "task %s is in no event", got.ID)
			return nil
		}
		if got.Provider != t.provider || got.Tenant != t.tenant {
			l.report.add(8, c.Name, "task %s is in the inbox of %s for %s, and is %s's for %s", got.ID, got.Provider, got.Tenant, t.provider, t.tenant)
		}
		if want := t.asOf(c.Position); got.Status != want || got.Order != t.order {
			l.report.add(4, c.Name, "task %s of order %s is %s, and %s of %s by the log", got.ID, got.Order, got.Status, want, t.order)
		}
		return nil
	})
	for id, t := range l.tasks {
		if !seen[id] && t.asOf(c.Position) != "" {
			l.report.add(4, c.Name, "task %s is missing", id)
		}
	}
	return err
}

// checkListed compares what a read node answered to tenants.
func (l *ledger) checkListed(dir string, c *Copy, tenants []string) error {
	seen := map[string]bool{}
	asOf := c.Position
	err := load(dir, c.File, func(got *listedOrder) error {
		seen[got.ID] = true
		s := l.orders[got.ID]
		if got.AsOf < c.Position {
			l.report.add(7, c.Name, "a list that was to reflect %d is of %d", c.Position, got.AsOf)
		}
		if s != nil && s.tenant != got.For || got.Tenant != got.For {
			l.report.add(8, c.Name, "order %s of another tenant is listed for %s", got.ID, got.For)
		}
		l.compare(c.Name, &got.order, got.AsOf, false)
		return nil
	})
	whose := map[string]bool{}
	for _, tenant := range tenants {
		whose[tenant] = true
	}
	for id, s := range l.orders {
		if whose[s.tenant] && !seen[id] && s.asOf(asOf) != nil {
			l.report.add(4, c.Name, "order %s, placed at %d, is not listed for its tenant", id, s.entries[0].position)
		}
	}
	return err
}
