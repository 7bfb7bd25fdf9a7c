package simulation

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/orderstore/orderstore/broadcast"
	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/projection"
)

// node is a place where a process runs, again and again.
type node struct {
	w     *world
	name  string
	roles roles

	mu  sync.Mutex
	now *program
}

// roles are what a node's processes do.
type roles struct {
	writes bool       // a committer and a relay
	views  *viewStore // a projection of it; nil: none
}

// program is one life of a node.
type program struct {
	*process

	committer *command.Committer // nil: it takes no commands
	cancel    context.CancelFunc
}

// worker is what runs until its context ends.
type worker interface {
	Run(ctx context.Context) error
}

// start begins a life that knows nothing but what the stores have.
func (n *node) start() {
	p := &program{process: newProcess(n.w, n.name)}
	ctx, cancel := context.WithCancel(n.w.ctx)
	p.cancel = cancel
	for _, one := range n.workers(p) {
		n.w.goes(func() { _ = one.Run(ctx) })
	}
	n.mu.Lock()
	n.now = p
	n.mu.Unlock()
}

func (n *node) workers(p *program) []worker {
	var all []worker
	quiet := slog.New(slog.DiscardHandler)
	db := &ledger{p: p.process, db: n.w.db}
	var recent *stream.Recent
	if n.roles.writes {
		recent = &stream.Recent{}
		tip := &stream.Tip{}
		p.committer = command.NewCommitter(command.Config{Ledger: db, Tip: tip, Recent: recent, Now: time.Now, Logger: quiet})
		relay := broadcast.NewRelayOn(broadcast.RelayConfig{Waker: tip, Recent: recent, Logger: quiet}, broadcast.RelayParts{
			JS: &js{p: p.process, b: n.w.broker}, Connection: newWire(p.process, n.w.broker), Log: db, Rows: db, Kept: keepAll,
			Lock: &session{p: p.process, db: n.w.db},
		})
		all = append(all, p.committer, relay)
	}
	if n.roles.views != nil {
		all = append(all, projection.New(projection.Config{
			Store: &views{p: p.process, s: n.roles.views}, Logger: quiet,
			Spread: func(d time.Duration) time.Duration { return n.w.draw(n.name, "spread", 0).upTo(d) },
			NewFollower: func(after int64, digest [32]byte) projection.Follower {
				return stream.NewFollower(stream.FollowerConfig{
					Broker: &source{p: p.process, b: n.w.broker}, Log: db, Recent: recent, After: after, Digest: digest, Name: n.name, Logger: quiet,
				})
			},
		}))
	}
	return all
}

func (n *node) life() *program {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// kill ends a life at whatever it is doing, and says whether there was one. What it had sent may still arrive.
func (n *node) kill() bool {
	p := n.life()
	if p.isDead() {
		return false
	}
	p.kill()
	p.cancel()
	return true
}
