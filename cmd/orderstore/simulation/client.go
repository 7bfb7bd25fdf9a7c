package simulation

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

const commandsEach = 5

// client sends one command after the other, each until it is answered for good.
type client struct {
	w     *world
	name  string
	nodes []*node
	done  chan struct{}

	acknowledged []acknowledged
}

// acknowledged is what a client was told.
type acknowledged struct {
	ref      command.Reference
	id       string
	position int64
	version  string
}

func newClient(w *world, name string, nodes []*node) *client {
	return &client{w: w, name: name, nodes: nodes, done: make(chan struct{})}
}

func (c *client) run() {
	defer close(c.done)
	for i := range commandsEach {
		f := c.w.draw(c.name, "command", int64(i))
		sleep(c.w.ctx, f.upTo(trouble/commandsEach))
		ref := command.Reference{Tenant: "demo", Channel: "web", External: fmt.Sprintf("%s %d", c.name, i)}
		id, ok := c.place(f, ref)
		if ok && f.oneIn(2) {
			cancel := &command.CancelOrder{Reason: "changed_mind"}
			cancel.Tenant, cancel.OrderID = ref.Tenant, id
			_, ok = c.send(f, ref, cancel)
		}
		if !ok {
			return
		}
	}
}

func (c *client) place(f *fate, ref command.Reference) (id string, ok bool) {
	placed := events.Placed{
		Channel: ref.Channel, ExternalRef: ref.External, Region: "eu", Currency: "EUR", Total: 2,
		Lines: []events.PlacedLine{{LineID: "1", SKU: "S", Quantity: 2, UnitPrice: 1, Total: 2}},
	}
	a, ok := c.send(f, ref, &command.PlaceOrder{Submission: command.Submission{
		Tenant: ref.Tenant, BusinessType: "retail.erp", Placed: placed, Hash: sha256.Sum256([]byte(ref.External)),
	}})
	return a.OrderID, ok
}

// send asks until there is an answer that will stay.
func (c *client) send(f *fate, ref command.Reference, what command.Command) (command.Answer, bool) {
	var key *command.Key
	if _, cancels := what.(*command.CancelOrder); cancels || f.oneIn(2) {
		name := fmt.Sprintf("%s %T", ref.External, what)
		key = &command.Key{Client: c.name, Key: name, Fingerprint: sha256.Sum256([]byte(name))}
	}
	for c.w.ctx.Err() == nil {
		p := c.nodes[f.below(len(c.nodes))].life()
		answer, err := c.ask(p, what, key)
		if err == nil {
			c.acknowledged = append(c.acknowledged, acknowledged{ref: ref, id: answer.OrderID, position: answer.Position, version: answer.ETag})
			return answer, true
		}
		switch fault.CodeOf(err) {
		case fault.Unavailable, fault.OutcomeUnknown, fault.Overloaded:
		default:
			c.w.fails("order %s was acknowledged, or never refused, and is now: %w", ref.External, err)
			return answer, false
		}
		sleep(c.w.ctx, 100*time.Millisecond+f.upTo(time.Second))
	}
	return command.Answer{}, false
}

// ask sends once. From a process that dies there is no answer.
func (c *client) ask(p *program, what command.Command, key *command.Key) (command.Answer, error) {
	if p.isDead() {
		return command.Answer{}, fault.New(fault.Unavailable, "nobody listens")
	}
	type answered struct {
		answer command.Answer
		err    error
	}
	got := make(chan answered, 1)
	c.w.goes(func() {
		answer, err := p.committer.Submit(c.w.ctx, what, key)
		got <- answered{answer, err}
	})
	select {
	case a := <-got:
		if !p.isDead() {
			return a.answer, a.err
		}
	case <-p.gone:
	}
	return command.Answer{}, fault.New(fault.OutcomeUnknown, "the connection broke")
}

// check looks for what was acknowledged in the log.
func (c *client) check() {
	db := c.w.db
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, a := range c.acknowledged {
		switch {
		case db.placed[a.ref] != 1:
			c.w.fails("order %s was acknowledged and is %d times in the log", a.ref.External, db.placed[a.ref])
		case a.position < 1 || db.orderAt[a.position] != a.id:
			c.w.fails("order %s was acknowledged at %d, where the log has another", a.ref.External, a.position)
		case db.folded[a.id] == nil || uuid.Validate(a.id) != nil:
			c.w.fails("order %s was acknowledged as %s, which the log does not have", a.ref.External, a.id)
		}
	}
}
