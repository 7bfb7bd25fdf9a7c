package customerkeys

import (
	"bytes"
	"crypto/rand"
	"iter"
	"slices"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2/simplelru"
)

// made are keys that this process has made and that are not known to be in the primary: each is stored with the first order that is sealed
// under it. One that never is, because its orders were refused, is used for the customer's next order.
type made struct {
	byFingerprint *lru.LRU[string, *Key]
	byID          map[string]*Key
}

// unstored is what the primary is to have of a key.
type unstored struct{ fingerprint, wrapped []byte }

func newMade() made {
	m := made{byID: map[string]*Key{}}
	m.byFingerprint = newCache(func(_ string, key *Key) { delete(m.byID, key.ID) })
	return m
}

func newCache(evicted func(string, *Key)) *lru.LRU[string, *Key] {
	cache, err := lru.NewLRU(cachedKeys, evicted)
	if err != nil {
		panic("customer keys: " + err.Error()) // a size that is not positive
	}
	return cache
}

// Own gives the key of a customer who is known by one order alone. There is none before that order is stored, so nobody is asked for one.
func (k *Keys) Own(tenant string, fingerprint []byte) (*Key, error) {
	if key := k.kept(k.living, string(fingerprint)); key != nil {
		return key, nil
	}
	return k.make(tenant, fingerprint)
}

// make gives the key that this process has made for a customer, and makes it.
func (k *Keys) make(tenant string, fingerprint []byte) (*Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.living.Get(string(fingerprint)); ok && k.cfg.Now().Before(k.believed) {
		return key, nil // stored meanwhile
	}
	if key, ok := k.made.byFingerprint.Get(string(fingerprint)); ok {
		return key, nil
	}
	secret := make([]byte, keyLength)
	_, _ = rand.Read(secret) // never fails: the program ends instead
	id := uuid.Must(uuid.NewV7()).String()
	key, err := newKey(secret, tenant, id)
	if err != nil {
		return nil, err
	}
	key.unstored = &unstored{fingerprint: fingerprint, wrapped: k.cfg.Master.wrapped(secret, tenant, id)}
	k.made.byFingerprint.Add(string(fingerprint), key)
	k.made.byID[id] = key
	return key, nil
}

// Of two nodes that make the same customer's key the database keeps the first. The other one's is then missing, which fails its transaction.
const insertKeys = `
INSERT INTO customer_keys (id, tenant, fingerprint, wrapped, created_at)
SELECT u.id::uuid, u.tenant, u.fingerprint, u.wrapped, now()
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[]) AS u (id, tenant, fingerprint, wrapped)
ON CONFLICT DO NOTHING`

// Storing gives the statement that stores those of the keys that this process made; none where there are none. It belongs into the
// transaction that stores what is sealed under them, before one that requires them all.
func (k *Keys) Storing(ids iter.Seq[string]) (statement string, args []any) {
	if k == nil {
		return "", nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var keys []*Key
	for id := range ids {
		if key := k.made.byID[id]; key != nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return "", nil
	}
	slices.SortFunc(keys, func(a, b *Key) int { return bytes.Compare(a.unstored.fingerprint, b.unstored.fingerprint) })
	named, tenants := make([]string, len(keys)), make([]string, len(keys))
	fingerprints, wrapped := make([][]byte, len(keys)), make([][]byte, len(keys))
	for i, key := range keys {
		named[i], tenants[i], fingerprints[i], wrapped[i] = key.ID, key.tenant, key.unstored.fingerprint, key.unstored.wrapped
	}
	return insertKeys, []any{named, tenants, fingerprints, wrapped}
}

// Stored says that the transaction has committed.
func (k *Keys) Stored(ids iter.Seq[string]) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range ids {
		if key := k.made.byID[id]; key != nil {
			fingerprint := string(key.unstored.fingerprint)
			k.made.byFingerprint.Remove(fingerprint)
			k.living.Add(fingerprint, key)
			k.byID.Add(id, key)
		}
	}
}
