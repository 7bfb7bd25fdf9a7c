package simulation

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

const (
	codeHeadMoved = "OS001"
	codeUnique    = "23505"
	codeShutdown  = "57P01"
	lockIdle      = 3 * time.Second // after which a session that stands still loses the head's lock
)

func refused(code string) error { return &pgconn.PgError{Severity: "ERROR", Code: code} }

func lostConnection() error { return &pgconn.PgError{Severity: "FATAL", Code: codeShutdown} }

// primary is the write database: what is committed stays.
type primary struct {
	w *world

	mu      sync.Mutex
	rows    []stream.Record
	head    command.Head
	orders  map[string]command.StoredOrder
	byRef   map[command.Reference]string
	answers map[command.KeyReference]command.KeptAnswer
	placed  map[command.Reference]int // order.placed events
	holder  *held
	freed   chan struct{} // closed when the head's lock is free
	lease   *session      // that has the relays' lock

	// What a view has to hold, folded here from the rows alone.
	folded    map[string]*events.Order
	documents map[int64][]byte // the order's document after each position
	orderAt   map[int64]string
}

func newPrimary(w *world) *primary {
	return &primary{
		w: w, orders: map[string]command.StoredOrder{}, byRef: map[command.Reference]string{}, placed: map[command.Reference]int{},
		answers: map[command.KeyReference]command.KeptAnswer{}, freed: make(chan struct{}),
		folded: map[string]*events.Order{}, documents: map[int64][]byte{}, orderAt: map[int64]string{},
	}
}

func (db *primary) end() int64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.head.Position
}

func (db *primary) row(position int64) (stream.Record, bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if position < 1 || position > int64(len(db.rows)) {
		return stream.Record{}, false
	}
	return db.rows[position-1], true
}

// ledger is a process's connection to the primary, for its committer and its relay.
type ledger struct {
	p  *process
	db *primary
}

// Find implements command.Ledger.
func (l *ledger) Find(ctx context.Context, w *command.Wanted) (*command.Found, error) {
	if _, ok := l.p.call(ctx, "find", int64(len(w.References)+len(w.Orders))); !ok {
		return nil, lostConnection()
	}
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	found := &command.Found{Head: l.db.head}
	if n := len(l.db.rows); l.db.w.broken == BreakStaleHead && n > 0 {
		found.Head.Digest = l.db.rows[max(0, n-2)].Digest
	}
	for _, id := range w.Orders {
		if o, ok := l.db.orders[id]; ok {
			found.Orders = append(found.Orders, o)
		}
	}
	for _, ref := range w.References {
		if id, ok := l.db.byRef[ref]; ok {
			found.Orders = append(found.Orders, l.db.orders[id])
		}
	}
	for _, ref := range w.Keys {
		if a, ok := l.db.answers[ref]; ok {
			found.Answers = append(found.Answers, a)
		}
	}
	if at := w.DigestAt; at > 0 && at <= int64(len(l.db.rows)) {
		digest := l.db.rows[at-1].Digest
		found.Digest = &digest
	}
	return found, nil
}

// Append implements command.Ledger.
func (l *ledger) Append(ctx context.Context, a *command.Appending) error {
	return l.append(ctx, a, nil)
}

func (l *ledger) append(ctx context.Context, a *command.Appending, by *held) error {
	f, ok := l.p.call(ctx, "commit", a.To.Position)
	if !ok {
		if f != nil && l.p.isDead() && f.oneIn(2) { // it was on its way when its sender died
			_ = l.db.store(a, by)
		}
		return lostConnection()
	}
	unknown := !l.db.w.healed.Load() && f.oneIn(10)
	if unknown && f.oneIn(2) { // the server has it, and comes to it later or never
		if f.oneIn(2) {
			later := f.upTo(3 * time.Second)
			l.db.w.goes(func() {
				if sleep(l.db.w.ctx, later) {
					_ = l.db.store(a, nil)
				}
			})
		}
		return fmt.Errorf("commit: %w", postgres.ErrOutcomeUnknown)
	}
	if err := l.db.wait(ctx, by); err != nil {
		return err
	}
	if l.db.w.broken == BreakAcknowledgeFirst && f.oneIn(failOne) {
		return nil
	}
	err := l.db.store(a, by)
	if err != nil {
		return err
	}
	if unknown || !l.p.back(ctx, f) {
		return fmt.Errorf("commit: %w", postgres.ErrOutcomeUnknown)
	}
	return nil
}

// wait waits for the head's lock to be free, as the compare-and-set does.
func (db *primary) wait(ctx context.Context, by *held) error {
	for {
		db.mu.Lock()
		db.expire()
		holder, freed := db.holder, db.freed
		db.mu.Unlock()
		if holder == nil || holder == by {
			return nil
		}
		timer := time.NewTimer(lockIdle)
		select {
		case <-freed:
		case <-timer.C:
		case <-ctx.Done():
		case <-db.w.ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil || db.w.ctx.Err() != nil {
			return lostConnection()
		}
	}
}

// expire ends the session that stands still with the lock. mu is held.
func (db *primary) expire() {
	if db.holder != nil && (time.Since(db.holder.used) >= lockIdle || db.holder.l.p.isDead()) {
		db.free()
	}
}

func (db *primary) free() {
	db.holder = nil
	close(db.freed)
	db.freed = make(chan struct{})
}

// store is the transaction: all or nothing.
func (db *primary) store(a *command.Appending, by *held) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.expire()
	if by != nil && db.holder != by {
		return lostConnection()
	}
	moves := a.To.Position > a.From.Position
	if moves && a.From.Position != db.head.Position && db.w.broken != BreakCompareAndSet {
		return refused(codeHeadMoved)
	}
	if moves && db.w.broken != BreakUnique {
		for i := range a.Orders {
			if _, there := db.byRef[a.Orders[i].Reference]; a.Orders[i].New && there {
				return refused(codeUnique)
			}
		}
		for _, k := range a.Answers {
			if _, there := db.answers[k.Ref]; there {
				return refused(codeUnique)
			}
		}
	}
	for _, k := range a.Answers {
		if _, there := db.answers[k.Ref]; !there {
			db.answers[k.Ref] = k
		}
	}
	for _, o := range a.Orders {
		o.New = false
		db.orders[o.ID], db.byRef[o.Reference] = o, o.ID
	}
	if moves {
		db.extend(a)
	}
	return nil
}

// extend adds rows, and checks that they go on where the log ends.
func (db *primary) extend(a *command.Appending) {
	for _, r := range a.Records {
		if r.Position != db.head.Position+1 {
			db.w.fails("position %d was appended behind %d", r.Position, db.head.Position)
		}
		if stream.Chain(db.head.Digest, r.Position, r.Body) != r.Digest {
			db.w.fails("the digest of position %d does not follow from the one before it", r.Position)
		}
		db.head = command.Head{Position: r.Position, Digest: r.Digest}
		db.fold(&r)
		r.Fact = nil
		db.rows = append(db.rows, r)
	}
	if a.To != db.head {
		db.w.fails("the head was moved to %d, the rows go to %d", a.To.Position, db.head.Position)
	}
}

func (db *primary) fold(r *stream.Record) {
	e, err := events.Decode(r.Position, r.Body)
	if err != nil {
		db.w.fails("position %d cannot be read: %w", r.Position, err)
		return
	}
	order, err := events.Apply(db.folded[e.OrderID], &e)
	if err != nil {
		db.w.fails("position %d does not fold: %w", r.Position, err)
		return
	}
	document, err := order.Encode()
	if err != nil {
		db.w.fails("position %d: %w", r.Position, err)
	}
	db.folded[e.OrderID], db.documents[r.Position], db.orderAt[r.Position] = order, document, e.OrderID
	if e.Type == events.OrderPlaced {
		ref := command.Reference{Tenant: order.Tenant, Channel: order.Channel, External: order.ExternalRef}
		if db.placed[ref]++; db.placed[ref] > 1 {
			db.w.fails("order %s is in the log twice, again at %d", ref.External, r.Position)
		}
	}
}

// held is the head's lock in a session of a process.
type held struct {
	l    *ledger
	used time.Time
}

// Lock implements command.Ledger.
func (l *ledger) Lock(ctx context.Context) (command.Head, command.Hold, error) {
	if _, ok := l.p.call(ctx, "lock", 0); !ok {
		return command.Head{}, nil, lostConnection()
	}
	h := &held{l: l}
	for {
		if err := l.db.wait(ctx, nil); err != nil {
			return command.Head{}, nil, err
		}
		l.db.mu.Lock()
		if l.db.holder == nil {
			break
		}
		l.db.mu.Unlock()
	}
	defer l.db.mu.Unlock()
	l.db.holder, h.used = h, time.Now()
	return l.db.head, h, nil
}

// Append implements command.Hold. The lock goes with the transaction's end, or with the connection.
func (h *held) Append(ctx context.Context, a *command.Appending) error {
	err := h.l.append(ctx, a, h)
	h.free()
	return err
}

// Release implements command.Hold.
func (h *held) Release(context.Context) { h.free() }

func (h *held) free() {
	h.l.db.mu.Lock()
	defer h.l.db.mu.Unlock()
	if h.l.db.holder == h {
		h.l.db.free()
	}
}

// Read implements broadcast.Log and stream.LogReader.
func (l *ledger) Read(ctx context.Context, after int64, limit int) ([]stream.Record, error) {
	if _, ok := l.p.call(ctx, "read", after); !ok {
		return nil, lostConnection()
	}
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	from := min(after, int64(len(l.db.rows)))
	to := min(from+int64(limit), int64(len(l.db.rows)))
	return append([]stream.Record(nil), l.db.rows[from:to]...), nil
}

// Head implements broadcast.Log.
func (l *ledger) Head(ctx context.Context) (int64, [32]byte, error) {
	if _, ok := l.p.call(ctx, "head", 0); !ok {
		return 0, [32]byte{}, lostConnection()
	}
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	return l.db.head.Position, l.db.head.Digest, nil
}

// Digest implements broadcast.Log.
func (l *ledger) Digest(ctx context.Context, position int64) ([32]byte, bool, error) {
	if _, ok := l.p.call(ctx, "digest", position); !ok {
		return [32]byte{}, false, lostConnection()
	}
	if position == 0 {
		return [32]byte{}, true, nil
	}
	r, ok := l.db.row(position)
	return r.Digest, ok, nil
}

func keepAll(context.Context, stream.Limits, time.Time) (int64, error) { return 1, nil }

// session asks for the relays' lock, and loses it with its connection.
type session struct {
	p  *process
	db *primary
}

// Try implements broadcast.Lock.
func (s *session) Try(ctx context.Context) (bool, error) {
	if _, ok := s.p.call(ctx, "try lease", 0); !ok {
		return false, lostConnection()
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	if s.db.lease != nil && s.db.lease != s && !s.db.lease.p.isDead() {
		return false, nil
	}
	s.db.lease = s
	return true, nil
}

// Held implements broadcast.Lock.
func (s *session) Held(ctx context.Context) bool {
	if _, ok := s.p.call(ctx, "lease", 0); !ok {
		s.Free(ctx)
		return false
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	return s.db.lease == s
}

// Free implements broadcast.Lock.
func (s *session) Free(context.Context) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	if s.db.lease == s {
		s.db.lease = nil
	}
}
