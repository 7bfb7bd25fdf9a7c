package main

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/postgres"
)

// pools are a node's connections to the databases. Each acts as one component's role; those that its roles do not need are nil.
type pools struct {
	write      *pgxpool.Pool // the primary, for commands
	identity   *pgxpool.Pool // the primary, for who calls; every node has it
	relayed    *pgxpool.Pool // the primary, for the relay
	projected  *pgxpool.Pool // the primary, for a projector whose events the stream no longer has
	subscribed *pgxpool.Pool // the primary, for subscriptions
	ledger     *pgxpool.Pool // the primary, for what webhooks were delivered
	views      *pgxpool.Pool // the read database, for the projector
	read       *pgxpool.Pool // the read database, for queries
	heard      *pgxpool.Pool // the read database, for those who listen
	auxiliary  *pgxpool.Pool // the auxiliary database, for queries
	records    *pgxpool.Pool // the auxiliary database, for the routes that write to it
}

// opened are the pools that there are.
func (p *pools) opened() []*pgxpool.Pool {
	all := []*pgxpool.Pool{
		p.write, p.identity, p.relayed, p.projected, p.subscribed, p.ledger, p.views, p.read, p.heard, p.auxiliary, p.records,
	}
	return slices.DeleteFunc(all, func(pool *pgxpool.Pool) bool { return pool == nil })
}

// neededPool is a pool that a node opens where its roles need it.
type neededPool struct {
	pool      **pgxpool.Pool
	needed    bool
	component string
	url       string
	cfg       postgres.PoolConfig
}

func (n *node) neededPools() []neededPool {
	write, read, aux := n.cfg.PostgresWrite, n.cfg.PostgresRead, n.cfg.PostgresAuxiliary
	return []neededPool{
		{&n.write, n.has(roleCommand), componentCommand, write, postgres.PoolConfig{Name: "orderstore-write", MaxConns: 14}},
		{&n.identity, true, componentIdentity, write, postgres.PoolConfig{Name: "orderstore-identity", MaxConns: 6}},
		{&n.relayed, n.has(roleRelay), componentRelay, write, postgres.PoolConfig{Name: "orderstore-relay", MaxConns: 4}},
		{&n.projected, n.has(roleProjection), componentProjection, write, postgres.PoolConfig{Name: "orderstore-projection-log", MaxConns: 3}},
		{&n.subscribed, n.has(roleBroadcast), componentBroadcast, write, postgres.PoolConfig{Name: "orderstore-subscriptions", MaxConns: 6}},
		{&n.views, n.has(roleProjection), componentProjection, read, postgres.PoolConfig{Name: "orderstore-projection", MaxConns: 6, AsyncCommit: true}},
		{&n.read, n.has(roleQuery, roleBroadcast), componentQuery, read, postgres.PoolConfig{
			Name: "orderstore-query", MaxConns: 16, StatementTimeout: 10 * time.Second, Scoped: true,
		}},
		// Listeners who are far behind read long stretches: they keep no connection from reads.
		{&n.heard, n.has(roleBroadcast), componentBroadcast, read, postgres.PoolConfig{
			Name: "orderstore-broadcast", MaxConns: 8, StatementTimeout: 10 * time.Second, Scoped: true,
		}},
		{&n.auxiliary, aux != "" && n.has(roleQuery), componentQuery, aux, postgres.PoolConfig{
			Name: "orderstore-auxiliary", MaxConns: 8, StatementTimeout: 5 * time.Second, Scoped: true,
		}},
		{&n.records, aux != "" && n.has(roleCommand), componentAuxiliary, aux, postgres.PoolConfig{
			Name: "orderstore-records", MaxConns: 6, StatementTimeout: 5 * time.Second, Scoped: true,
		}},
	}
}

func (n *node) openPools(ctx context.Context) error {
	for _, p := range n.neededPools() {
		if !p.needed {
			continue
		}
		pool, err := n.cfg.openAs(ctx, p.component, p.url, p.cfg)
		if err != nil {
			return err
		}
		*p.pool = pool
	}
	return nil
}
