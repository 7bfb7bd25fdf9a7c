package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/orderstore/orderstore/internal/chaos/history"
)

// batchTimes is how much longer than a single call a batch may take.
const batchTimes = 4

// batch submits many orders in one request, a few of which were submitted before. Each line is an operation of its own; all are outstanding at
// the same time.
func (u *user) batch(ctx context.Context) {
	var body []byte
	orders, ops := make([]known, u.load.cfg.Batch), make([]*history.Op, u.load.cfg.Batch)
	for i := range orders {
		kind := history.Submit
		again, ok := u.load.shared.pick(u.random, u.own)
		if ok && u.random.IntN(5) == 0 {
			orders[i], kind = again, history.Replay
		} else {
			orders[i], _ = u.order(u.newRef())
		}
		ops[i] = orders[i].op(kind)
		body = append(append(body, orders[i].body...), '\n')
	}
	u.sendBatch(ctx, body, ops)
	for i, op := range ops {
		if op.Kind == history.Submit {
			orders[i].id = op.Order
			u.submitted(&orders[i], op)
		}
	}
}

// batchAnswer is the answer to one line.
type batchAnswer struct {
	Line     int    `json:"line"`
	Status   int    `json:"status"`
	ID       string `json:"id"`
	Position int64  `json:"position"`
	Problem  struct {
		Type string `json:"type"`
		Code string `json:"code"`
	} `json:"problem"`
}

// sendBatch makes the request, and records what is known of each line.
func (u *user) sendBatch(ctx context.Context, body []byte, ops []*history.Op) {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchTimes*u.load.cfg.Timeout)
	defer cancel()
	access, err := u.load.tokens.of(within, u.who)
	if err != nil {
		u.moveOn(ctx, &u.write)
		return
	}
	node := u.load.cfg.At.Write[u.write%len(u.load.cfg.At.Write)]
	for _, op := range ops {
		op.Client, op.Tenant, op.Node = u.client, u.who.Tenant, node
		u.load.log.Begin(op)
	}
	a, err := u.send(within, node+"/v1/orders/batch", access, request{method: http.MethodPost, body: body, kind: "application/x-ndjson"})
	u.takeBatch(ops, a, err)
	if err == nil && a.status < http.StatusInternalServerError {
		return
	}
	u.client = u.load.nextClient()
	u.moveOn(ctx, &u.write)
}

func (u *user) takeBatch(ops []*history.Op, a answer, err error) {
	lines := bytes.Split(a.body, []byte{'\n'})
	whole := outcomeOf(a, err)
	for i, op := range ops {
		op.Outcome = history.Unknown
		var line batchAnswer
		switch {
		case whole == history.Refused:
			op.Outcome, op.Status, op.Problem = whole, a.status, a.problem
		case a.status == http.StatusOK && i < len(lines) && json.Unmarshal(lines[i], &line) == nil && line.Line == i+1:
			problem := line.Problem.Type[bytes.LastIndexByte([]byte(line.Problem.Type), '/')+1:]
			op.Outcome = outcomeOf(answer{status: line.Status, problem: problem}, nil)
			op.Status, op.Order, op.Position, op.Problem = line.Status, orKeep(line.ID, op.Order), line.Position, problem
			op.Replayed = line.Status == http.StatusOK
			u.seen = max(u.seen, line.Position)
		}
		u.load.log.End(op)
	}
}

func orKeep(id, had string) string {
	if id == "" {
		return had
	}
	return id
}

// recordEvery is between two records of the outside system.
const recordEvery = 50 * time.Millisecond
