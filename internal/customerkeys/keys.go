package customerkeys

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	cachedKeys   = 1 << 16          // of each kind
	pollEvery    = 5 * time.Second  // between looks for destroyed keys
	believedFor  = 30 * time.Second // after the last look that succeeded, keys in memory are used
	pollOverlap  = time.Minute      // clocks of transactions that end late
	fetchWithin  = 2 * time.Second  // an answer waits no longer for keys
	makeWithin   = 5 * time.Second  // a submission waits no longer for its key
	madeTogether = 512              // keys in one statement
)

// Config is what Keys works with.
type Config struct {
	Pool   *pgxpool.Pool // the primary
	Master *Master
	Now    func() time.Time
	Logger *slog.Logger
}

// Keys finds and makes the keys of customers, and keeps late ones in memory. Those are used only while it is known which keys
// were destroyed: a node that is cut off from the primary stops knowing anybody half a minute later.
//
// A nil *Keys seals nothing and opens nothing. All methods may be called at once from many goroutines.
type Keys struct {
	cfg Config

	mu       sync.Mutex
	byID     *lru.LRU[string, *Key]
	living   *lru.LRU[string, *Key] // by fingerprint
	believed time.Time              // until when both are
	polled   time.Time              // the database's time of the last look
	forgets  int64                  // counts when keys were dropped: who read before that does not keep what was read

	wanted chan *wish
}

// wish is a key that somebody waits for.
type wish struct {
	tenant      string
	fingerprint []byte
	key         *Key
	err         error
	done        chan struct{}
}

// New makes the keys of an installation. Nothing in memory is used before Run has looked once.
func New(cfg Config) *Keys {
	byID, err := lru.NewLRU[string, *Key](cachedKeys, nil)
	if err != nil {
		panic("customer keys: " + err.Error()) // a size that is not positive
	}
	living, err := lru.NewLRU[string, *Key](cachedKeys, nil)
	if err != nil {
		panic("customer keys: " + err.Error())
	}
	return &Keys{cfg: cfg, byID: byID, living: living, wanted: make(chan *wish, 8*madeTogether)}
}

// Master gives what makes marks; nil where nothing is sealed.
func (k *Keys) Master() *Master {
	if k == nil {
		return nil
	}
	return k.cfg.Master
}

// Name names the worker.
func (k *Keys) Name() string { return "customer keys" }

// Run looks for destroyed keys and makes those that are wanted until ctx ends.
func (k *Keys) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { k.makeAll(ctx) })
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		if err := k.Poll(ctx); err != nil && ctx.Err() == nil {
			k.cfg.Logger.WarnContext(ctx, "it is not known which customers were erased; without that none is shown", "cause", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

const selectDestroyed = `SELECT now(), coalesce(array_agg(id::text), '{}') FROM customer_keys WHERE destroyed_at >= $1`

// Poll looks which keys were destroyed since the last look.
func (k *Keys) Poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	k.mu.Lock()
	since := k.polled.Add(-pollOverlap)
	k.mu.Unlock()
	asked := k.cfg.Now()
	var at time.Time
	var gone []string
	if err := k.cfg.Pool.QueryRow(ctx, selectDestroyed, since).Scan(&at, &gone); err != nil {
		return fmt.Errorf("read destroyed keys: %w", err)
	}
	k.Forget(gone...)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.polled, k.believed = at, asked.Add(believedFor)
	return nil
}

// Forget drops keys that were destroyed, or that the primary no longer has.
func (k *Keys) Forget(ids ...string) {
	if k == nil || len(ids) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	gone := map[string]bool{}
	for _, id := range ids {
		gone[id] = true
		k.byID.Remove(id)
	}
	k.forgets++
	for _, fingerprint := range k.living.Keys() {
		if key, ok := k.living.Peek(fingerprint); ok && gone[key.ID] {
			k.living.Remove(fingerprint)
		}
	}
}

// kept gives what is in memory and believed.
func (k *Keys) kept(of *lru.LRU[string, *Key], name string) *Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.cfg.Now().Before(k.believed) {
		return nil
	}
	key, _ := of.Get(name)
	return key
}

// Fingerprint is by what a tenant's customer is recognised: the e-mail address, else the telephone number, else the order that is the
// only one it has.
func (k *Keys) Fingerprint(tenant, kind, value string) []byte {
	return k.cfg.Master.hash("customer", tenant, kind, value)
}

// Of gives the key of a customer, and makes it where there is none. It is in the primary when Of returns.
func (k *Keys) Of(ctx context.Context, tenant string, fingerprint []byte) (*Key, error) {
	if key := k.kept(k.living, string(fingerprint)); key != nil {
		return key, nil
	}
	ctx, cancel := context.WithTimeout(ctx, makeWithin)
	defer cancel()
	w := &wish{tenant: tenant, fingerprint: fingerprint, done: make(chan struct{})}
	select {
	case k.wanted <- w:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a customer's key: %w", ctx.Err())
	}
	select {
	case <-w.done:
		return w.key, w.err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a customer's key: %w", ctx.Err())
	}
}

// makeAll makes what is wanted: all that came while the last statement was under way go into one.
func (k *Keys) makeAll(ctx context.Context) {
	for {
		var wishes []*wish
		select {
		case w := <-k.wanted:
			wishes = append(wishes, w)
		case <-ctx.Done():
			return
		}
		for more := true; more && len(wishes) < madeTogether; {
			select {
			case w := <-k.wanted:
				wishes = append(wishes, w)
			default:
				more = false
			}
		}
		err := k.findOrMake(ctx, wishes)
		for _, w := range wishes {
			if w.key == nil {
				w.err = err
				if err == nil {
					w.err = errors.New("a customer's key was destroyed as it was made")
				}
			}
			close(w.done)
		}
	}
}

const (
	insertKeys = `
INSERT INTO customer_keys (id, tenant, fingerprint, wrapped, created_at)
SELECT u.id::uuid, u.tenant, u.fingerprint, u.wrapped, now()
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[]) AS u (id, tenant, fingerprint, wrapped)
ON CONFLICT (tenant, fingerprint) WHERE destroyed_at IS NULL DO NOTHING`
	selectLiving = `
SELECT k.fingerprint, k.id::text, k.tenant, k.wrapped
FROM unnest($1::text[], $2::bytea[]) AS u (tenant, fingerprint)
JOIN customer_keys k ON k.tenant = u.tenant AND k.fingerprint = u.fingerprint AND k.destroyed_at IS NULL`
)

// findOrMake does so in one round trip. Of two nodes that make the same customer's key one wins, and the second statement, which has a
// later snapshot, reads that one.
func (k *Keys) findOrMake(ctx context.Context, wishes []*wish) error {
	ctx, cancel := context.WithTimeout(ctx, makeWithin)
	defer cancel()
	// In one order everywhere: two nodes that make the same keys would else wait for each other.
	slices.SortFunc(wishes, func(a, b *wish) int { return bytes.Compare(a.fingerprint, b.fingerprint) })
	seen, own := map[string]bool{}, map[string][]byte{}
	var ids, tenants []string
	var fingerprints, wrapped [][]byte
	for _, w := range wishes {
		if seen[string(w.fingerprint)] {
			continue
		}
		seen[string(w.fingerprint)] = true
		secret := make([]byte, keyLength)
		_, _ = rand.Read(secret) // never fails: the program ends instead
		id := uuid.Must(uuid.NewV7()).String()
		own[id] = secret
		ids, tenants = append(ids, id), append(tenants, w.tenant)
		fingerprints, wrapped = append(fingerprints, w.fingerprint), append(wrapped, k.cfg.Master.wrapped(secret, w.tenant, id))
	}
	found, before := map[string]*Key{}, k.forgotten()
	batch := &pgx.Batch{}
	batch.Queue(insertKeys, ids, tenants, fingerprints, wrapped)
	batch.Queue(selectLiving, tenants, fingerprints).Query(func(rows pgx.Rows) error { return k.take(rows, found, own) })
	if err := k.cfg.Pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("make customer keys: %w", err)
	}
	for _, w := range wishes {
		w.key = found[string(w.fingerprint)]
	}
	k.keep(found, before)
	return nil
}

// take reads keys by their fingerprints. Those whose secrets are at hand are not unwrapped.
func (k *Keys) take(rows pgx.Rows, into map[string]*Key, own map[string][]byte) error {
	var id, tenant string
	var fingerprint, wrapped []byte
	_, err := pgx.ForEachRow(rows, []any{&fingerprint, &id, &tenant, &wrapped}, func() error {
		var key *Key
		var err error
		if secret, ours := own[id]; ours {
			key, err = newKey(secret, tenant, id)
		} else {
			key, err = k.cfg.Master.unwrap(wrapped, tenant, id)
		}
		if err != nil {
			return err
		}
		into[string(fingerprint)] = key
		return nil
	})
	return err
}

func (k *Keys) forgotten() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.forgets
}

// keep puts living keys into memory, unless one was destroyed while they were read.
func (k *Keys) keep(found map[string]*Key, before int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.forgets != before {
		return
	}
	for fingerprint, key := range found {
		k.living.Add(fingerprint, key)
		k.byID.Add(key.ID, key)
	}
}

const selectKeys = `SELECT fingerprint, id::text, tenant, wrapped FROM customer_keys WHERE id = ANY ($1::text[]::uuid[]) AND wrapped IS NOT NULL`

// fetch gives the keys by their ids, in one statement for those that are not in memory. Destroyed ones are left out.
func (k *Keys) fetch(ctx context.Context, ids []string) (map[string]*Key, error) {
	all := map[string]*Key{}
	var missing []string
	for _, id := range ids {
		if key := k.kept(k.byID, id); key != nil {
			all[id] = key
		} else {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return all, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	before, found := k.forgotten(), map[string]*Key{}
	rows, err := k.cfg.Pool.Query(ctx, selectKeys, missing)
	if err == nil {
		err = k.take(rows, found, nil)
	}
	if err != nil {
		return all, fmt.Errorf("read customer keys: %w", err)
	}
	for _, key := range found {
		all[key.ID] = key
	}
	k.keep(found, before)
	return all, nil
}
