package check

import (
	"net/http"

	"github.com/orderstore/orderstore/internal/chaos/history"
)

// attempts are all operations that ask for the same.
type attempts struct {
	refused *history.Op // the last that was; nil: none
	open    bool        // one was answered, or may have been done without an answer
	known   int64       // when the first was acknowledged, ns; 0: none was
}

// checkRefused finds what is in the log though every attempt at it was refused: a refusal says that nothing was done. And it finds what was
// refused though it had been acknowledged before: the same again is answered the same.
func (l *ledger) checkRefused(ops []history.Op) {
	all := map[string]*attempts{}
	for i := range ops {
		op := &ops[i]
		at, key, again := l.applied(op)
		if at == 0 {
			continue
		}
		a := all[key]
		if a == nil {
			a = &attempts{}
			all[key] = a
		}
		switch {
		case op.Outcome == history.Refused:
			a.refused = op
		case op.Outcome == history.OK && (a.known == 0 || op.Return < a.known):
			a.open, a.known = true, op.Return
		default:
			a.open = true
		}
		if again == 0 || op.Outcome != history.Refused || op.Status != http.StatusConflict && op.Status != http.StatusNotFound {
			continue
		}
		if a.known > 0 && a.known < op.Call {
			l.report.add(again, pathOf(op), "%s was acknowledged, and was refused (%d %s) when it was sent again", op.Mark, op.Status, op.Problem)
		}
	}
	for _, a := range all {
		if a.refused != nil && !a.open {
			at, _, _ := l.applied(a.refused)
			l.report.add(1, pathOf(a.refused), "%s%s was refused (%d %s) each time, and is in the log at %d", a.refused.Ref, a.refused.Mark, a.refused.Status, a.refused.Problem, at)
		}
	}
}

// applied is where the log has what an operation asked for, 0: nowhere; a key that all attempts at it share; and the invariant that one which
// was acknowledged is not refused by, 0: what comes of the same again is checked elsewhere.
func (l *ledger) applied(op *history.Op) (at int64, key string, again int) {
	switch op.Kind {
	case history.Submit, history.Replay, history.Conflict, history.Again:
		key = refKey(op.Tenant, op.Ref)
		if s := l.byRef[key]; s != nil && s.mark == op.Mark {
			return s.entries[0].position, "order " + key, 0
		}
	case history.Result:
		key = resultKey(op.Party, op.Mark)
		if positions := l.results[key]; len(positions) > 0 {
			return positions[0], "result " + key, 6
		}
	case history.Stock:
		key = refKey(op.Tenant, op.Mark)
		if positions := l.facts[key]; len(positions) > 0 {
			return positions[0], "adjustment " + key, 5
		}
	}
	return 0, "", 0
}
