package check

import (
	"cmp"
	"math"
	"net/http"
	"slices"

	"github.com/orderstore/orderstore/internal/chaos/history"
)

// checkOps holds what clients were answered against the log, operation by operation. What only their order shows is for judge.
func (l *ledger) checkOps(ops []history.Op, records map[string]int64) {
	created, posted, adjusted := map[string]int64{}, map[string]int64{}, map[string]int64{}
	for i := range ops {
		op := &ops[i]
		l.report.Ops += int64(op.Count())
		switch {
		case op.Outcome == history.Refused:
			l.report.Refused++
		case op.Outcome != history.OK:
			l.report.Unknown++
		case op.Kind.Writes():
			l.report.Acknowledged++
		}
		switch op.Kind {
		case history.Submit, history.Replay, history.Conflict, history.Again:
			l.checkPlaced(op, created)
		case history.Amend, history.Cancel:
			l.checkChanged(op)
		case history.Result:
			l.checkResult(op, posted)
		case history.Stock:
			l.checkAdjusted(op, adjusted)
		case history.Attach:
			l.checkRecord(op, records)
		case history.Read, history.Pull:
			l.checkRead(op)
		case history.List:
			l.checkList(op)
		case history.Foreign:
			if op.Outcome == history.OK {
				l.report.add(8, pathOf(op), "%s read order %s of another tenant", op.Tenant, op.Order)
			}
		}
	}
	l.checkCommitOrder(ops)
	l.checkKeys(ops)
	l.checkRefused(ops)
}

// checkKeys holds answers under one Idempotency-Key against each other: all of them are the first.
func (l *ledger) checkKeys(ops []history.Op) {
	first := map[string]*history.Op{}
	for i := range ops {
		op := &ops[i]
		if op.Outcome != history.OK || op.Kind != history.Again && (op.Kind != history.Submit || op.Version == 0) {
			continue
		}
		key := refKey(op.Tenant, op.Ref)
		had := first[key]
		switch {
		case had == nil:
			first[key] = op
		case had.Position != op.Position || had.Version != op.Version || had.Status != op.Status:
			l.report.add(5, pathOf(op), "%s was answered %d, version %d, at %d, and under the same key %d, version %d, at %d",
				key, had.Status, had.Version, had.Position, op.Status, op.Version, op.Position)
		}
	}
}

func pathOf(op *history.Op) string { return "client, " + string(op.Kind) }

// once notes that something was acknowledged as new, which happens once.
func (l *ledger) once(invariant int, had map[string]int64, key string, op *history.Op) {
	if op.Status != http.StatusCreated || op.Replayed {
		return
	}
	if first, twice := had[key]; twice && first != op.ID {
		l.report.add(invariant, pathOf(op), "%s was acknowledged as new twice, again at position %d", key, op.Position)
	}
	had[key] = op.ID
}

func (l *ledger) checkPlaced(op *history.Op, created map[string]int64) {
	s := l.byRef[refKey(op.Tenant, op.Ref)]
	switch {
	case op.Outcome == history.Refused && op.Status == http.StatusConflict && op.Problem == "order_conflict" && s == nil:
		l.report.add(1, pathOf(op), "%s of %s is said to have another order, and has none in the log", op.Ref, op.Tenant)
	case op.Outcome == history.Refused && op.Status == http.StatusConflict && op.Problem == "order_conflict" && s.mark == op.Mark:
		l.report.add(1, pathOf(op), "%s of %s was refused, and its content is in the log", op.Ref, op.Tenant)
	}
	if op.Outcome != history.OK {
		return
	}
	l.once(5, created, refKey(op.Tenant, op.Ref), op)
	switch {
	case s == nil:
		l.report.add(1, pathOf(op), "order %s (%s of %s) was acknowledged at position %d and is not in the log", op.Order, op.Ref, op.Tenant, op.Position)
		return
	case op.Order != s.id:
		l.report.add(1, pathOf(op), "%s of %s was acknowledged as order %s, and is %s in the log", op.Ref, op.Tenant, op.Order, s.id)
	case op.Mark != s.mark:
		l.report.add(1, pathOf(op), "order %s was acknowledged with other content than the log has", s.id)
	}
	l.checkAnswer(op, s)
}

// checkAnswer holds version, status and position of an acknowledgement against the log.
func (l *ledger) checkAnswer(op *history.Op, s *story) {
	at := s.asOf(op.Position)
	switch {
	case at == nil || at.position != op.Position:
		l.report.add(1, pathOf(op), "order %s was acknowledged at position %d, where the log has no event of it", s.id, op.Position)
	case op.Version > 0 && at.version != op.Version, op.State != "" && at.status != op.State:
		l.report.add(1, pathOf(op), "order %s was acknowledged as version %d, %s, at %d, and is version %d, %s there", s.id, op.Version, op.State, op.Position, at.version, at.status)
	}
	if op.Seen != "" && op.Seen != s.tenant || op.Party == "" && s.tenant != op.Tenant {
		l.report.add(8, pathOf(op), "order %s of %s was answered to %s", s.id, s.tenant, op.Tenant)
	}
}

// checkUnchanged holds that an amendment came to the version of the order that it was made for: or else it undid what it did not know of.
func (l *ledger) checkUnchanged(op *history.Op, s *story, at int64) {
	if e := s.asOf(at); e != nil && op.IfVersion > 0 && e.version-1 != op.IfVersion {
		l.report.add(1, pathOf(op), "%s of order %s was made for version %d, and is in the log at %d after version %d", op.Mark, op.Order, op.IfVersion, at, e.version-1)
	}
}

func (l *ledger) checkChanged(op *history.Op) {
	s := l.orders[op.Order]
	marks := l.amends
	if op.Kind == history.Cancel {
		marks = l.cancels
	}
	at, applied := marks[op.Mark]
	if applied && op.Kind == history.Amend && s != nil {
		l.checkUnchanged(op, s, at)
	}
	switch {
	case op.Outcome == history.Refused && applied:
		l.report.add(1, pathOf(op), "%s of order %s was refused (%d %s), and is in the log at %d", op.Mark, op.Order, op.Status, op.Problem, at)
	case op.Outcome != history.OK:
	case s == nil:
		l.report.add(1, pathOf(op), "%s of order %s was acknowledged, and the log has no such order", op.Mark, op.Order)
	case !applied && (op.Kind == history.Amend || !s.cancelling(op.Position)):
		l.report.add(1, pathOf(op), "%s of order %s was acknowledged at %d and is not in the log", op.Mark, op.Order, op.Position)
	default:
		l.checkAnswer(op, s)
		if applied && op.Position < at {
			l.report.add(1, pathOf(op), "%s of order %s was acknowledged at %d, before it is in the log, at %d", op.Mark, op.Order, op.Position, at)
		}
	}
}

// cancelling says whether the order was cancelled, or was to be, by a position: to say so again changes nothing.
func (s *story) cancelling(position int64) bool {
	for i := range s.entries {
		e := &s.entries[i]
		if e.position > position {
			return false
		}
		switch e.kind {
		case "order.cancelled", "task.cancellation_requested", "task.cancelled":
			return true
		}
	}
	return false
}

func (l *ledger) checkResult(op *history.Op, posted map[string]int64) {
	key := resultKey(op.Party, op.Mark)
	at := l.results[key]
	switch {
	case op.Outcome == history.OK && len(at) == 0:
		l.report.add(1, pathOf(op), "result %s was acknowledged at %d and is not in the log", key, op.Position)
	case op.Outcome == history.OK:
		l.once(6, posted, key, op)
		if s := l.orders[op.Order]; s != nil {
			l.checkAnswer(op, s)
		}
	}
}

func (l *ledger) checkAdjusted(op *history.Op, adjusted map[string]int64) {
	key := refKey(op.Tenant, op.Mark)
	if op.Outcome != history.OK {
		return
	}
	l.once(5, adjusted, key, op)
	if at := l.facts[key]; len(at) == 0 || at[0] != op.Position {
		l.report.add(1, pathOf(op), "adjustment %s was acknowledged at %d, and is in the log at %v", op.Mark, op.Position, at)
	}
}

// checkRecord looks for what an outside system stored. records are the revisions that are there; nil: they could not be read.
func (l *ledger) checkRecord(op *history.Op, records map[string]int64) {
	if op.Outcome != history.OK || records == nil {
		return
	}
	if had := records[recordKey(op.Order, op.Party, op.Mark)]; had < op.Total {
		l.report.add(1, "auxiliary records", "revision %d of %s's record of order %s was acknowledged, and %d is stored", op.Total, op.Party, op.Order, had)
	}
}

func recordKey(order, system, id string) string { return order + " " + system + " " + id }

// checkRead holds a read against the order as of the position that the answer names.
func (l *ledger) checkRead(op *history.Op) {
	s := l.orders[op.Order]
	if op.Status == http.StatusNotFound {
		if told := max(op.Token, op.Heard); s != nil && s.asOf(max(op.Position, told)) != nil {
			l.report.add(7, pathOf(op), "order %s was told of at %d (answer of %d), and was not found by %s%s", op.Order, told, op.Position, op.Tenant, op.Party)
		}
		return
	}
	if op.Outcome != history.OK {
		return
	}
	if op.Position < op.Token {
		l.report.add(7, pathOf(op), "order %s was to be read as of %d, and is of %d", op.Order, op.Token, op.Position)
	}
	if op.Version < op.Told {
		l.report.add(7, pathOf(op), "order %s was announced at version %d, and is read at version %d", op.Order, op.Told, op.Version)
	}
	if s == nil {
		l.report.add(1, pathOf(op), "order %s was read, and is not in the log", op.Order)
		return
	}
	if op.Party == "" && s.tenant != op.Tenant || op.Party != "" && !s.providers[op.Party] {
		l.report.add(8, pathOf(op), "order %s of %s was answered to %s%s", s.id, s.tenant, op.Tenant, op.Party)
	}
	l.checkSeen(op, s, op.Version, op.State)
}

// checkSeen holds version and status that a read showed against the log.
func (l *ledger) checkSeen(op *history.Op, s *story, version int64, status string) {
	want := s.asOf(op.Position)
	switch {
	case want == nil:
		l.report.add(4, pathOf(op)+" at "+op.Node, "order %s was shown as of %d, before it is in the log", s.id, op.Position)
	case s.asOf(op.Token) != nil && version < s.asOf(op.Token).version:
		l.report.add(7, pathOf(op)+" at "+op.Node, "order %s was shown at version %d, and had %d at %d, which was asked for", s.id, version, s.asOf(op.Token).version, op.Token)
	case want.version != version || want.status != status:
		l.report.add(4, pathOf(op)+" at "+op.Node, "order %s was shown as version %d, %s, as of %d, and is version %d, %s by the log", s.id, version, status, op.Position, want.version, want.status)
	}
}

func (l *ledger) checkList(op *history.Op) {
	if op.Outcome != history.OK {
		return
	}
	if op.Position < op.Token {
		l.report.add(7, pathOf(op), "a list was to be read as of %d, and is of %d", op.Token, op.Position)
	}
	for _, shown := range op.Items {
		s := l.orders[shown.Order]
		if s == nil {
			l.report.add(1, pathOf(op), "order %s was listed, and is not in the log", shown.Order)
			continue
		}
		if s.tenant != op.Tenant || shown.Tenant != op.Tenant {
			l.report.add(8, pathOf(op), "order %s of %s was listed for %s", s.id, s.tenant, op.Tenant)
		}
		if op.Mark != "" && shown.Status != op.Mark {
			l.report.add(4, pathOf(op), "order %s, %s, was listed among those that are %s", s.id, shown.Status, op.Mark)
		}
		l.checkSeen(op, s, shown.Version, shown.Status)
	}
}

// checkCommitOrder holds positions against time: what is acknowledged before another write begins has the lower position.
func (l *ledger) checkCommitOrder(ops []history.Op) {
	type write struct{ call, ret, position int64 }
	var writes []write
	for i := range ops {
		op := &ops[i]
		if op.Outcome == history.OK && op.Status == http.StatusCreated && !op.Replayed && op.Kind != history.Attach {
			writes = append(writes, write{op.Call, op.Return, op.Position})
		}
	}
	byReturn := slices.Clone(writes)
	slices.SortFunc(byReturn, func(a, b write) int { return cmp.Compare(a.ret, b.ret) })
	slices.SortFunc(writes, func(a, b write) int { return cmp.Compare(a.call, b.call) })
	highest, next := int64(math.MinInt64), 0
	for _, w := range writes {
		for next < len(byReturn) && byReturn[next].ret < w.call {
			highest = max(highest, byReturn[next].position)
			next++
		}
		if w.position <= highest {
			l.report.add(2, "log", "position %d was given to a write that began after %d was acknowledged", w.position, highest)
		}
	}
}
