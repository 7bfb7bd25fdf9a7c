package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	idleWait   = time.Second            // how long the broker is asked to wait for a message
	refillWait = time.Second            // how long it is read while the stream is being filled again and ends far before the reader
	brokerDown = 5 * time.Second        // how long the log alone is read after the broker failed
	logPoll    = 50 * time.Millisecond  // between looks at the log while the broker is away
	retryPause = 200 * time.Millisecond // when both the broker and the log are away
	ownWait    = 20 * time.Millisecond  // for this process to append more, before the broker is asked for what others did
	ownMost    = 500 * time.Millisecond // the same, while a commit of this process is on its way
	ownStreak  = 2048                   // records in a row that memory was quicker with, before the broker is told to send no more
)

// FollowerConfig says from where a follower reads on.
type FollowerConfig struct {
	JS     jetstream.JetStream
	Broker Broker    // the stream is read here; nil: by JS
	Log    LogReader // what the stream no longer or not yet holds is read here; nil: the stream alone
	Recent *Recent   // what this process appended itself and need not read again; nil: nothing
	After  int64     // the last position that was read
	Digest [32]byte  // its digest
	Name   string    // for the log lines
	Logger *slog.Logger
}

// LogReader gives up to limit records after a position, in order and without a gap; none where the log ends there. *Log is one.
type LogReader interface {
	Read(ctx context.Context, after int64, limit int) ([]Record, error)
}

// Follower reads the log in order, each position once: what its own process appended from memory, all else from the stream as long as
// it can, and from the log where the stream does not reach back, has a hole, holds something else, or is away. It is used by one
// goroutine.
type Follower struct {
	cfg      FollowerConfig
	position int64
	digest   [32]byte
	feed     *feed     // nil: no consumer at the broker
	own      int       // records in a row that came from memory
	downTill time.Time // until then the broker is not asked again
}

// NewFollower makes a follower. It asks nothing of anybody until Next.
func NewFollower(cfg FollowerConfig) *Follower {
	if log, ok := cfg.Log.(*Log); ok && log == nil {
		cfg.Log = nil
	}
	if cfg.Broker == nil {
		cfg.Broker = jetStreamBroker{cfg.JS}
	}
	return &Follower{cfg: cfg, position: cfg.After, digest: cfg.Digest}
}

// Position is the last position that Next returned.
func (f *Follower) Position() int64 { return f.position }

// Next waits for the next records, one at least and limit at most, and takes those that are there. Trouble with the broker or
// the database is waited out. It returns ctx's error, or ErrDiverged (test with errors.Is) when the log itself does not chain.
func (f *Follower) Next(ctx context.Context, limit int) ([]Record, error) {
	for {
		records, err := f.read(ctx, limit)
		if len(records) > 0 {
			last := &records[len(records)-1]
			f.position, f.digest = last.Position, last.Digest
			return records, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, ErrDiverged) {
			return nil, err
		}
		if err != nil {
			f.cfg.Logger.WarnContext(ctx, "reading is waiting", "reader", f.cfg.Name, "position", f.position, "cause", err)
			pause(ctx, retryPause)
		}
	}
}

// read tries memory, then the broker, then the log.
func (f *Follower) read(ctx context.Context, limit int) ([]Record, error) {
	if records := f.remembered(ctx, limit); len(records) > 0 || ctx.Err() != nil {
		return records, nil
	}
	if time.Now().Before(f.downTill) {
		records, err := f.readLog(ctx, limit)
		if len(records) == 0 && err == nil {
			pause(ctx, logPoll)
		}
		return records, err
	}
	records, err := f.readStream(ctx, limit)
	if len(records) > 0 || ctx.Err() != nil {
		return records, nil
	}
	if err != nil {
		f.cfg.Logger.InfoContext(ctx, "stream gives nothing, reading the log", "reader", f.cfg.Name, "position", f.position, "cause", err)
		f.Close()
		if f.cfg.Log == nil {
			return nil, err
		}
		f.downTill = time.Now().Add(f.penalty(err))
	}
	return f.readLog(ctx, limit)
}

// remembered gives what this process appended itself. While that is all there is, which a busy process that appends alone sees
// for thousands of events on end, the broker need not send the same again: its consumer is given up, and made again after a while
// without anything new.
func (f *Follower) remembered(ctx context.Context, limit int) []Record {
	if f.cfg.Recent == nil {
		return nil
	}
	records, changed := f.appended(limit)
	for waited := time.Duration(0); len(records) == 0 && f.feed == nil && f.own > 0 && ctx.Err() == nil; waited += ownWait {
		if waited >= ownMost || waited >= ownWait && !f.cfg.Recent.Appending() {
			break
		}
		awaitChange(ctx, changed, ownWait)
		records, changed = f.appended(limit)
	}
	if len(records) == 0 {
		if f.feed == nil {
			f.own = 0
		}
		return nil
	}
	f.ours(records)
	return records
}

// ours counts what came from memory.
func (f *Follower) ours(records []Record) {
	f.own += len(records)
	if f.feed != nil && f.own >= ownStreak {
		f.Close()
	}
}

// penalty is how long the stream is left alone: a position that it does not have is read from the log at once and the stream
// tried again; a broker that is away is left alone for longer.
func (f *Follower) penalty(err error) time.Duration {
	switch {
	case errors.Is(err, errNotInStream):
		return 0
	case errors.Is(err, errRefilling):
		return refillWait
	}
	return brokerDown
}

func (f *Follower) readLog(ctx context.Context, limit int) ([]Record, error) {
	if f.cfg.Log == nil {
		return nil, nil
	}
	records, err := f.cfg.Log.Read(ctx, f.position, limit)
	if err != nil {
		return nil, err
	}
	kept, err := f.chained(records)
	if err != nil {
		return kept, fmt.Errorf("log at %d: %w", f.position+int64(len(kept))+1, err)
	}
	return kept, nil
}

// chained gives the records that follow each other from where the follower is.
func (f *Follower) chained(records []Record) ([]Record, error) {
	position, digest := f.position, f.digest
	for i := range records {
		if !records[i].follows(position, digest) {
			return records[:i], ErrDiverged
		}
		position, digest = records[i].Position, records[i].Digest
	}
	return records, nil
}

// Close gives up the broker's consumer. Next may be called again and makes another.
func (f *Follower) Close() {
	if f.feed != nil {
		f.feed.stop()
		f.feed = nil
	}
}

func pause(ctx context.Context, d time.Duration) { awaitChange(ctx, nil, d) }

func awaitChange(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changed:
	case <-ctx.Done():
	case <-timer.C:
	}
}
