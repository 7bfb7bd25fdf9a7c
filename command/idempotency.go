package command

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

// Key is a request's Idempotency-Key: the first answer given under it is given again, byte for byte.
type Key struct {
	Client      string
	Key         string
	Fingerprint [sha256.Size]byte // of method, path and body

	unkeyed [sha256.Size]byte // Fingerprint as it was stored before customers were sealed; zero where that is Fingerprint
}

// key hashes the fingerprint of what may be guessed: a body names its customer.
func (s seals) key(k *Key) *Key {
	if k == nil || s.keys == nil {
		return k
	}
	with := *k
	with.unkeyed, with.Fingerprint = k.Fingerprint, s.keys.Master().Keyed(k.Fingerprint)
	return &with
}

func (k *Key) ref() keyRef { return keyRef{k.Client, k.Key} }

type keyRef struct{ client, key string }

// Answer is what a command is answered with once it is committed.
type Answer struct {
	Status      int
	Body        []byte
	ETag        string
	Location    string
	Position    int64 // of the order's last event, as the answer shows it
	OrderID     string
	ExternalRef string
	Replayed    bool
}

// storedAnswer is the answer that was first given under a key.
type storedAnswer struct {
	fingerprint [sha256.Size]byte
	answer      Answer
}

// keptAnswer is one to be stored.
type keptAnswer struct {
	key    *Key
	answer Answer
}

// replay gives the stored answer, or says that the key was used for another request.
func (s *storedAnswer) replay(k *Key) (Answer, error) {
	if s.fingerprint != k.Fingerprint && (s.fingerprint != k.unkeyed || k.unkeyed == [sha256.Size]byte{}) {
		return Answer{}, fault.New(fault.KeyReused, "the Idempotency-Key was used before with another request")
	}
	answer := s.answer
	answer.Replayed = true
	return answer, nil
}

// answerHeaders are the parts of an answer that are kept beside its status and body.
type answerHeaders struct {
	ETag        string `json:"etag,omitempty"`
	Location    string `json:"location,omitempty"`
	Position    int64  `json:"position,omitempty"`
	OrderID     string `json:"order_id,omitempty"`
	ExternalRef string `json:"external_ref,omitempty"`
}

const (
	selectAnswers = `
SELECT k.client_id, k.key, k.fingerprint, k.status, k.headers::text, k.body
FROM unnest($1::text[], $2::text[]) AS u (client_id, key) JOIN idempotency_keys k USING (client_id, key)`
	copyAnswers     = `idempotency_keys (client_id, key, fingerprint, status, headers, body, created_at)`
	insertNewAnswer = `
INSERT INTO idempotency_keys (client_id, key, fingerprint, status, headers, body, created_at)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7) ON CONFLICT (client_id, key) DO NOTHING`
	deleteAnswers = `DELETE FROM idempotency_keys WHERE created_at < $1`
)

// KeepAnswers is how long the first answer under an Idempotency-Key is kept.
const KeepAnswers = 7 * 24 * time.Hour

func splitKeys(refs []keyRef) (clients, keys []string) {
	for _, ref := range refs {
		clients, keys = append(clients, ref.client), append(keys, ref.key)
	}
	return clients, keys
}

func takeAnswers(rows pgx.Rows, r *round) error {
	var ref keyRef
	var fingerprint, body []byte
	var headers string
	var status int
	_, err := pgx.ForEachRow(rows, []any{&ref.client, &ref.key, &fingerprint, &status, &headers, &body}, func() error {
		var h answerHeaders
		if err := json.Unmarshal([]byte(headers), &h); err != nil {
			return fmt.Errorf("decode kept answer: %w", err)
		}
		stored := storedAnswer{answer: Answer{
			Status: status, Body: append([]byte(nil), body...), ETag: h.ETag, Location: h.Location, Position: h.Position,
			OrderID: h.OrderID, ExternalRef: h.ExternalRef,
		}}
		copy(stored.fingerprint[:], fingerprint)
		r.answers[ref] = stored
		return nil
	})
	return err
}

func putAnswers(bulk *postgres.Bulk, kept []keptAnswer, at time.Time) error {
	if len(kept) == 0 {
		return nil
	}
	bulk.Copy(copyAnswers, 7)
	for _, k := range kept {
		headers, err := k.answer.headers()
		if err != nil {
			return err
		}
		bulk.Row()
		bulk.Text(k.key.Client)
		bulk.Text(k.key.Key)
		bulk.Bytes(k.key.Fingerprint[:])
		bulk.Int4(int32(k.answer.Status)) //nolint:gosec // three digits
		bulk.JSONB(headers)
		bulk.Bytes(k.answer.Body)
		bulk.Time(at)
	}
	return nil
}

func (a *Answer) headers() ([]byte, error) {
	h, err := json.Marshal(answerHeaders{a.ETag, a.Location, a.Position, a.OrderID, a.ExternalRef})
	if err != nil {
		return nil, fmt.Errorf("encode kept answer: %w", err)
	}
	return h, nil
}

// keep stores the answers and load reports of a round that changed nothing else. An answer that another round has kept
// meanwhile stands.
func (s *store) keep(ctx context.Context, r *round) error {
	if s.ledger != nil {
		return s.ledgerKeep(ctx, r)
	}
	batch := &pgx.Batch{}
	putReports(func(sql string, args ...any) { batch.Queue(sql, args...) }, r)
	for _, k := range r.kept {
		headers, err := k.answer.headers()
		if err != nil {
			return err
		}
		batch.Queue(insertNewAnswer, k.key.Client, k.key.Key, k.key.Fingerprint[:], k.answer.Status, string(headers), k.answer.Body, r.at)
	}
	if batch.Len() == 0 {
		return nil
	}
	return postgres.CommitBatch(ctx, s.pool, batch)
}

// forget deletes the answers that were kept long enough.
func (s *store) forget(ctx context.Context, before time.Time) error {
	if _, err := s.pool.Exec(ctx, deleteAnswers, before); err != nil {
		return fmt.Errorf("delete kept answers: %w", err)
	}
	return nil
}

// keep notes a command's first answer, unless it is a fault of ours.
func (r *round) keep(k *Key, answer Answer) {
	if k == nil || answer.Status >= http.StatusInternalServerError {
		return
	}
	r.kept = append(r.kept, keptAnswer{k, answer})
	r.answers[k.ref()] = storedAnswer{k.Fingerprint, answer}
}
