package auxiliary

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/events"
)

// StockBucket is the key-value bucket that has each SKU's level under <tenant>.<sku>, the latter as StockKey writes it.
const StockBucket = "STOCK"

const (
	bucketRows   = 1000                  // levels written at a time
	bucketPause  = 40 * time.Millisecond // between looks for levels that changed
	bucketLook   = 2 * time.Second       // between looks whether it is still the same bucket
	bucketWithin = 10 * time.Second      // for the broker to answer
	bucketRetry  = time.Second
)

// StockKey is the bucket's key of a tenant's SKU. Of the SKU's bytes letters, digits, dash and underscore stand for themselves; all
// others are = and two hexadecimal digits, so that every SKU has one key, of two parts.
func StockKey(tenant, sku string) string {
	var b strings.Builder
	b.WriteString(tenant)
	b.WriteByte('.')
	for i := range len(sku) {
		c := sku[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// stockLevel is a level as the bucket has it: as the API answers it.
type stockLevel struct {
	SKU          string `json:"sku"`
	Name         string `json:"name"`
	VendorID     string `json:"vendor_id"`
	OnHand       int64  `json:"on_hand"`
	Reserved     int64  `json:"reserved"`
	Available    int64  `json:"available"`
	OnOrder      int64  `json:"on_order"`
	ReorderLevel int64  `json:"reorder_level"`
	TargetLevel  int64  `json:"target_level"`
	Position     int64  `json:"position"`
}

// bucketWriter brings levels into the bucket after they are committed. It has no memory but the bucket: each level there says of
// which position it is, and is replaced by a later one alone, whoever writes.
type bucketWriter struct {
	pool   *pgxpool.Pool
	js     jetstream.JetStream
	logger *slog.Logger
}

// inBucket is what the bucket has under a key.
type inBucket struct {
	revision uint64
	position int64
	sum      [sha256.Size]byte // of the value
}

// stands says whether a level need not be written: the bucket has it, or a later one. One of the same position that is another was
// computed by an earlier version of this code.
func (i inBucket) stands(s *sending) bool {
	return i.position > s.level.Position || i.position == s.level.Position && i.sum == sha256.Sum256(s.value)
}

// openBucket is the bucket as it was found.
type openBucket struct {
	kv      jetstream.KeyValue
	created time.Time
	have    map[string]inBucket
	// What was written: all changes before the position, and those at it up to tenant and SKU.
	position    int64
	tenant, sku string
}

var errBucketLost = errors.New("the bucket was made anew")

// run writes until ctx ends. What fails is tried again; a bucket that was lost is filled again.
func (w *bucketWriter) run(ctx context.Context) {
	away := false
	for ctx.Err() == nil {
		err := w.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		if !away {
			w.logger.WarnContext(ctx, "stock levels cannot be written to the bucket", "bucket", StockBucket, "cause", err)
		}
		away = !errors.Is(err, errBucketLost)
		pause(ctx, bucketRetry)
	}
}

func (w *bucketWriter) serve(ctx context.Context) error {
	b, err := w.open(ctx)
	if err != nil {
		return err
	}
	looked := time.Now()
	for {
		n, err := w.write(ctx, b)
		if err != nil {
			return err
		}
		if time.Since(looked) > bucketLook {
			if err := w.same(ctx, b); err != nil {
				return err
			}
			looked = time.Now()
		}
		if n < bucketRows {
			pause(ctx, bucketPause)
		}
	}
}

// open finds or makes the bucket, with as many replicas as the stream has, and reads what is in it.
func (w *bucketWriter) open(ctx context.Context) (*openBucket, error) {
	within, cancel := context.WithTimeout(ctx, bucketWithin)
	defer cancel()
	kv, err := w.js.KeyValue(within, StockBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		replicas := 1
		if s, err := w.js.Stream(within, events.Stream); err == nil {
			replicas = s.CachedInfo().Config.Replicas
		}
		kv, err = w.js.CreateKeyValue(within, jetstream.KeyValueConfig{
			Bucket: StockBucket, Description: "stock levels by tenant and SKU", Replicas: replicas, Storage: jetstream.FileStorage,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	b := &openBucket{kv: kv, have: map[string]inBucket{}}
	if b.created, err = bucketCreated(within, kv); err != nil {
		return nil, err
	}
	return b, b.load(ctx)
}

func bucketCreated(ctx context.Context, kv jetstream.KeyValue) (time.Time, error) {
	status, err := kv.Status(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("look at bucket: %w", err)
	}
	known, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return time.Time{}, fmt.Errorf("look at bucket: %T tells not when it was made", status)
	}
	return known.StreamInfo().Created, nil
}

func (w *bucketWriter) same(ctx context.Context, b *openBucket) error {
	within, cancel := context.WithTimeout(ctx, bucketWithin)
	defer cancel()
	created, err := bucketCreated(within, b.kv)
	if err == nil && !created.Equal(b.created) {
		return errBucketLost
	}
	return err
}

func (b *openBucket) load(ctx context.Context) error {
	watcher, err := b.kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("read bucket: %w", err)
	}
	defer func() { _ = watcher.Stop() }() // it has ended
	silent := time.NewTimer(bucketWithin)
	defer silent.Stop()
	for {
		select {
		case entry := <-watcher.Updates():
			if entry == nil {
				return nil
			}
			b.know(entry)
			silent.Reset(bucketWithin)
		case <-silent.C:
			return fmt.Errorf("read bucket: %w", context.DeadlineExceeded)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// know takes over what is under a key. What is not a level is as old as can be.
func (b *openBucket) know(entry jetstream.KeyValueEntry) inBucket {
	var level stockLevel
	have := inBucket{revision: entry.Revision(), sum: sha256.Sum256(entry.Value())}
	if json.Unmarshal(entry.Value(), &level) == nil {
		have.position = level.Position
	}
	b.have[entry.Key()] = have
	return have
}

const selectMovedStock = `SELECT ` + stockColumns + ` FROM stock s
WHERE (s.position, s.tenant, s.sku) > ($1, $2, $3) AND (s.listed OR s.adjusted)
ORDER BY s.position, s.tenant, s.sku LIMIT $4`

// write puts what has changed into the bucket and says how many levels that were.
func (w *bucketWriter) write(ctx context.Context, b *openBucket) (int, error) {
	rows, err := w.pool.Query(ctx, selectMovedStock, b.position, b.tenant, b.sku, bucketRows)
	if err != nil {
		return 0, fmt.Errorf("read stock: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanStock)
	if err != nil {
		return 0, fmt.Errorf("read stock: %w", err)
	}
	if len(found) == 0 {
		return 0, nil
	}
	if err := w.put(ctx, b, found); err != nil {
		return 0, err
	}
	last := found[len(found)-1]
	b.position, b.tenant, b.sku = last.position, last.tenant, last.sku
	return len(found), nil
}

// sending is a level on its way.
type sending struct {
	key   string
	level *stockLevel
	value []byte
	done  jetstream.PubAckFuture
}

// put sends all levels that are later than what the bucket has, each for what it has: somebody else's level makes it fail.
func (w *bucketWriter) put(ctx context.Context, b *openBucket, items []*stockItem) error {
	var all []sending
	for _, item := range items {
		key := StockKey(item.tenant, item.sku)
		have := b.have[key]
		if have.position > item.position {
			continue
		}
		s := sending{key: key, level: levelOf(item)}
		var err error
		if s.value, err = json.Marshal(s.level); err != nil {
			return fmt.Errorf("encode level: %w", err)
		}
		if have.stands(&s) {
			continue
		}
		msg := nats.NewMsg("$KV." + StockBucket + "." + key)
		msg.Data = s.value
		msg.Header.Set(nats.ExpectedLastSubjSeqHdr, strconv.FormatUint(have.revision, 10))
		if s.done, err = w.js.PublishMsgAsync(msg); err != nil {
			return fmt.Errorf("write level: %w", err)
		}
		all = append(all, s)
	}
	within, cancel := context.WithTimeout(ctx, bucketWithin)
	defer cancel()
	for i := range all {
		if err := b.settle(within, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *openBucket) settle(ctx context.Context, s *sending) error {
	select {
	case ack := <-s.done.Ok():
		b.wrote(s, ack.Sequence)
		return nil
	case err := <-s.done.Err():
		if !writtenByAnother(err) {
			return fmt.Errorf("write level: %w", err)
		}
	case <-ctx.Done():
		return fmt.Errorf("write level: %w", ctx.Err())
	}
	return b.contend(ctx, s)
}

func (b *openBucket) wrote(s *sending, revision uint64) {
	b.have[s.key] = inBucket{revision: revision, position: s.level.Position, sum: sha256.Sum256(s.value)}
}

// wrongSequenceOfReplica is what a bucket with replicas says instead of JSErrCodeStreamWrongLastSequence.
const wrongSequenceOfReplica = 10164

func writtenByAnother(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == wrongSequenceOfReplica)
}

// contend writes a level whose key another process has written, as long as that is an older one.
func (b *openBucket) contend(ctx context.Context, s *sending) error {
	for ctx.Err() == nil {
		entry, err := b.kv.Get(ctx, s.key)
		have := inBucket{}
		switch {
		case err == nil:
			have = b.know(entry)
		case !errors.Is(err, jetstream.ErrKeyNotFound):
			return fmt.Errorf("read level: %w", err)
		}
		if have.stands(s) {
			return nil
		}
		revision, err := b.kv.Update(ctx, s.key, s.value, have.revision)
		if err == nil {
			b.wrote(s, revision)
			return nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return fmt.Errorf("write level: %w", err)
		}
	}
	return ctx.Err()
}

func levelOf(i *stockItem) *stockLevel {
	return &stockLevel{
		SKU: i.sku, Name: i.name, VendorID: i.vendorID, OnHand: i.onHand, Reserved: i.reserved, Available: i.onHand - i.reserved,
		OnOrder: i.onOrder, ReorderLevel: i.reorderLevel, TargetLevel: i.targetLevel, Position: i.position,
	}
}
