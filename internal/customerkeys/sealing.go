// Package customerkeys keeps the keys of customers: what the store says of a customer at rest is sealed under a key of that customer's,
// which is in the primary, wrapped by a master key that is in no database. Destroying the key makes all of it unreadable.
//
// A sealed customer stands in a document as {"key":"<key id>","sealed":"<base64url>"}, followed by marks: keyed hashes by which the
// customer is found without being known.
package customerkeys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"sync"
)

const (
	keyLength  = 32 // bytes, of AES-256
	markLength = 12 // bytes of a mark that are kept: 96 bits tell all customers of an installation apart
)

// errSealed says that something cannot be opened with the key that it names.
var errSealed = errors.New("not sealed under this key")

// Master wraps the keys of customers and makes marks. It is the one secret that is in no database.
type Master struct {
	wrap  cipher.AEAD
	marks []byte
	macs  sync.Pool // of hash.Hash under marks: setting one up costs more than what is hashed
}

// NewMaster takes a master key of 32 bytes.
func NewMaster(secret []byte) (*Master, error) {
	if len(secret) != keyLength {
		return nil, fmt.Errorf("a master key has %d bytes, not %d", keyLength, len(secret))
	}
	wrap, err := aead(derive(secret, "orderstore wrapping of customer keys"))
	if err != nil {
		return nil, err
	}
	m := &Master{wrap: wrap, marks: derive(secret, "orderstore marks of customers")}
	m.macs.New = func() any { return hmac.New(sha256.New, m.marks) }
	return m, nil
}

// derive makes a key of its own for each purpose.
func derive(secret []byte, purpose string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(purpose))
	return h.Sum(nil)
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("AES: %w", err)
	}
	sealed, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("AES-GCM: %w", err)
	}
	return sealed, nil
}

// hash is a keyed hash of several parts.
func (m *Master) hash(parts ...string) []byte {
	text := make([]byte, 0, 256)
	for _, part := range parts {
		text = append(append(text, part...), 0)
	}
	return m.mac(text, make([]byte, 0, sha256.Size))
}

// mac appends the HMAC-SHA-256 of a text.
func (m *Master) mac(text, to []byte) []byte {
	h, ok := m.macs.Get().(hash.Hash)
	if !ok {
		panic("customer keys: a pool of hashes has something else")
	}
	defer m.macs.Put(h)
	h.Reset()
	h.Write(text)
	return h.Sum(to)
}

// Mark is what a value of a tenant's customer is found by. Nobody without the master key can tell which value it is of.
func (m *Master) Mark(tenant, kind, value string) string {
	return base64.RawURLEncoding.EncodeToString(m.hash("mark", tenant, kind, value)[:markLength])
}

// Joined gives the marks by which a tenant's orders are known to be the same customer's; empty where there is no usable address or number.
func Joined(m *Master, tenant, email, phone, country string) (emailMark, phoneMark string) {
	if plain, ok := Email(email); ok {
		emailMark = m.Mark(tenant, "email", plain)
	}
	if plain, ok := Phone(phone, country); ok {
		phoneMark = m.Mark(tenant, "phone", plain)
	}
	return emailMark, phoneMark
}

// Keyed hashes what may be guessed, so that guesses cannot be tried without the master key.
func (m *Master) Keyed(sum [sha256.Size]byte) [sha256.Size]byte {
	var keyed [sha256.Size]byte
	m.mac(append([]byte("sum"), sum[:]...), keyed[:0])
	return keyed
}

// Key is one customer's.
type Key struct {
	ID       string
	tenant   string
	seal     cipher.AEAD
	unstored *unstored // what was made here; nil: it was read
}

// Seal encrypts what is known of the customer. Each time it comes out differently.
func (k *Key) Seal(plain []byte) string {
	nonce := make([]byte, k.seal.NonceSize(), k.seal.NonceSize()+len(plain)+k.seal.Overhead())
	_, _ = rand.Read(nonce) // never fails: the program ends instead
	return base64.RawURLEncoding.EncodeToString(k.seal.Seal(nonce, nonce, plain, k.about()))
}

// Open is the opposite of Seal.
func (k *Key) Open(sealed string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(raw) < k.seal.NonceSize() {
		return nil, errSealed
	}
	plain, err := k.seal.Open(nil, raw[:k.seal.NonceSize()], raw[k.seal.NonceSize():], k.about())
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// about is what is sealed in with the text, so that it is nobody else's: the tenant and the key's id.
func (k *Key) about() []byte { return []byte(k.tenant + "\x00" + k.ID) }

// wrapped encrypts a key for the database.
func (m *Master) wrapped(secret []byte, tenant, id string) []byte {
	nonce := make([]byte, m.wrap.NonceSize())
	_, _ = rand.Read(nonce) // never fails: the program ends instead
	return m.wrap.Seal(nonce, nonce, secret, []byte(tenant+"\x00"+id))
}

// unwrap makes a key of what the database has of it.
func (m *Master) unwrap(wrapped []byte, tenant, id string) (*Key, error) {
	n := m.wrap.NonceSize()
	if len(wrapped) < n {
		return nil, fmt.Errorf("customer key %s: %w", id, errSealed)
	}
	secret, err := m.wrap.Open(nil, wrapped[:n], wrapped[n:], []byte(tenant+"\x00"+id))
	if err != nil {
		return nil, fmt.Errorf("customer key %s was wrapped by another master key: %w", id, errSealed)
	}
	return newKey(secret, tenant, id)
}

func newKey(secret []byte, tenant, id string) (*Key, error) {
	seal, err := aead(secret)
	if err != nil {
		return nil, err
	}
	return &Key{ID: id, tenant: tenant, seal: seal}, nil
}
