package broadcast

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	shards = 32 // parts of all webhook subscriptions, each delivered by one node

	// The first halves of advisory locks' keys: one of each shard, and one that all nodes share by which they count each other.
	shardLocks    = 0x6f737768 // "oswh"
	presenceLocks = 0x6f737770 // "oswp"
)

const (
	joinNodes = `SELECT pg_advisory_lock_shared($1, 0)`
	// Both counts are of the moment: a node that died is not among them, since its connection is gone.
	countNodes = `SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objsubid = 2`
	takeShard = `SELECT pg_try_advisory_lock($1, $2)`
	freeShard = `SELECT pg_advisory_unlock($1, $2)`
)

// shardOf says which part a subscription belongs to. The end of an id is random; its beginning is a time.
func shardOf(id uuid.UUID) int32 { return int32(binary.BigEndian.Uint32(id[12:]) % shards) } //nolint:gosec // below 32

// shardKeeper holds a node's share of all shards by advisory locks of one connection. They end with it, so what a node that died held is
// free at once.
type shardKeeper struct {
	conn *pgx.Conn
	held map[int32]bool // true: it is being given up
}

// join counts this node among those that deliver.
func (k *shardKeeper) join(ctx context.Context) error {
	if _, err := k.conn.Exec(ctx, joinNodes, int32(presenceLocks)); err != nil {
		return fmt.Errorf("join the delivering nodes: %w", err)
	}
	return nil
}

// balance takes free shards up to this node's share, and marks those above it to be given up.
func (k *shardKeeper) balance(ctx context.Context) error {
	var nodes int
	if err := k.conn.QueryRow(ctx, countNodes, int32(presenceLocks)).Scan(&nodes); err != nil {
		return fmt.Errorf("count the delivering nodes: %w", err)
	}
	share := (shards + max(nodes, 1) - 1) / max(nodes, 1)
	staying := 0
	for _, leaving := range k.held {
		if !leaving {
			staying++
		}
	}
	for shard := int32(0); shard < shards; shard++ {
		leaving, have := k.held[shard]
		switch {
		case staying > share && have && !leaving:
			k.held[shard] = true
			staying--
		case staying < share && have && leaving:
			k.held[shard] = false
			staying++
		case staying < share && !have:
			got, err := k.take(ctx, shard)
			if err != nil {
				return err
			}
			if got {
				staying++
			}
		}
	}
	return nil
}

func (k *shardKeeper) take(ctx context.Context, shard int32) (bool, error) {
	var got bool
	if err := k.conn.QueryRow(ctx, takeShard, int32(shardLocks), shard).Scan(&got); err != nil {
		return false, fmt.Errorf("take shard %d: %w", shard, err)
	}
	if got {
		k.held[shard] = false
	}
	return got, nil
}

func (k *shardKeeper) free(ctx context.Context, shard int32) error {
	if _, err := k.conn.Exec(ctx, freeShard, int32(shardLocks), shard); err != nil {
		return fmt.Errorf("free shard %d: %w", shard, err)
	}
	delete(k.held, shard)
	return nil
}

// delivers says whether a subscription is this node's.
func (k *shardKeeper) delivers(id uuid.UUID) bool {
	leaving, have := k.held[shardOf(id)]
	return have && !leaving
}
