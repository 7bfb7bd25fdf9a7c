package customerkeys

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	cachedKeys     = 1 << 16          // of each kind
	pollEvery      = 5 * time.Second  // between looks for destroyed keys
	believedFor    = 30 * time.Second // after the last look that succeeded, keys in memory are used
	pollOverlap    = time.Minute      // clocks of transactions that end late
	fetchWithin    = 2 * time.Second  // an answer waits no longer for keys
	seekWithin     = 5 * time.Second  // a submission waits no longer for its key
	soughtTogether = 512              // keys in one statement
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
	made     made
	believed time.Time // until when both are
	polled   time.Time // the database's time of the last look
	forgets  int64     // counts when keys were dropped: who read before that does not keep what was read

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
	return &Keys{cfg: cfg, byID: newCache(nil), living: newCache(nil), made: newMade(), wanted: make(chan *wish, 8*soughtTogether)}
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

// Run looks for destroyed keys and for those that are wanted until ctx ends.
func (k *Keys) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { k.seekAll(ctx) })
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
		if key := k.made.byID[id]; key != nil {
			k.made.byFingerprint.Remove(string(key.unstored.fingerprint))
		}
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

// Of gives the key of a customer, and makes it where there is none: see Storing.
func (k *Keys) Of(ctx context.Context, tenant string, fingerprint []byte) (*Key, error) {
	if key := k.kept(k.living, string(fingerprint)); key != nil {
		return key, nil
	}
	ctx, cancel := context.WithTimeout(ctx, seekWithin)
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

// seekAll looks for what is wanted: all that came while the last statement was under way go into one.
func (k *Keys) seekAll(ctx context.Context) {
	for {
		var wishes []*wish
		select {
		case w := <-k.wanted:
			wishes = append(wishes, w)
		case <-ctx.Done():
			return
		}
		for more := true; more && len(wishes) < soughtTogether; {
			select {
			case w := <-k.wanted:
				wishes = append(wishes, w)
			default:
				more = false
			}
		}
		found, err := k.seek(ctx, wishes)
		for _, w := range wishes {
			if w.err = err; err == nil {
				if w.key = found[string(w.fingerprint)]; w.key == nil {
					w.key, w.err = k.make(w.tenant, w.fingerprint)
				}
			}
			close(w.done)
		}
	}
}

// One that is planned in no time: it is asked some hundred times a second.
const selectLiving = `SELECT fingerprint, id::text, tenant, wrapped FROM customer_keys WHERE fingerprint = ANY ($1::bytea[]) AND destroyed_at IS NULL`

// seek gives those that are in the primary, by fingerprint.
func (k *Keys) seek(ctx context.Context, wishes []*wish) (map[string]*Key, error) {
	ctx, cancel := context.WithTimeout(ctx, seekWithin)
	defer cancel()
	fingerprints := make([][]byte, len(wishes))
	for i, w := range wishes {
		fingerprints[i] = w.fingerprint
	}
	found, before := map[string]*Key{}, k.forgotten()
	rows, err := k.cfg.Pool.Query(ctx, selectLiving, fingerprints)
	if err == nil {
		err = k.take(rows, found)
	}
	if err != nil {
		return nil, fmt.Errorf("read customer keys: %w", err)
	}
	k.keep(found, before)
	return found, nil
}

// take reads keys by their fingerprints.
func (k *Keys) take(rows pgx.Rows, into map[string]*Key) error {
	var id, tenant string
	var fingerprint, wrapped []byte
	_, err := pgx.ForEachRow(rows, []any{&fingerprint, &id, &tenant, &wrapped}, func() error {
		key, err := k.cfg.Master.unwrap(wrapped, tenant, id)
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
		err = k.take(rows, found)
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
