package broadcast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/orderstore/orderstore/internal/stream"
)

const (
	keeperEvery = time.Second // between rounds
	keeperShare = 10          // a round that takes long is followed by a pause of so many times as long
	keeperAsks  = 8           // consumers made or deleted at once

	keeperWithin = 30 * time.Second // to make a consumer: one of 1,400 subjects takes 0.7 s on an idle machine
)

// behindStream is the reason of a subscription whose next events the stream has dropped.
const behindStream = "the next events are no longer in the stream: read them from the feed and acknowledge them, and delivery on NATS goes on"

// ConsumerKeeperConfig is what a keeper works with.
type ConsumerKeeperConfig struct {
	NATS   *nats.Conn
	Pool   *pgxpool.Pool // of the primary: subscriptions and the lease
	Logger *slog.Logger
}

// ConsumerKeeper keeps a durable consumer for each active subscription on NATS, and copies what was acknowledged there into the
// database. The database is what counts: a consumer that was lost, or knows of a stream that is no more, is made again from the stored
// position. Several keepers may run; a lease lets one of them work.
type ConsumerKeeper struct {
	cfg     ConsumerKeeperConfig
	js      jetstream.JetStream
	store   *SubscriptionStore
	written map[uuid.UUID]int64 // positions that this keeper has seen or stored last
	ended   int64               // where the stream ended in the round before
}

// NewConsumerKeeper makes a keeper. It does nothing until Run.
func NewConsumerKeeper(cfg ConsumerKeeperConfig) (*ConsumerKeeper, error) {
	js, err := jetstream.New(cfg.NATS, jetstream.WithDefaultTimeout(keeperWithin))
	if err != nil {
		return nil, fmt.Errorf("consumer keeper: %w", err)
	}
	return &ConsumerKeeper{cfg: cfg, js: js, store: NewSubscriptionStore(cfg.Pool), written: map[uuid.UUID]int64{}}, nil
}

// Name names the worker.
func (k *ConsumerKeeper) Name() string { return "consumer keeper" }

// Run works until ctx ends. Trouble with broker or database is waited out.
func (k *ConsumerKeeper) Run(ctx context.Context) error {
	lease := newLease(k.cfg.Pool, consumersLease)
	defer lease.release(context.WithoutCancel(ctx))
	for ctx.Err() == nil {
		began := time.Now()
		got, err := lease.take(ctx)
		if err == nil && got {
			err = k.round(ctx)
		}
		if err != nil && ctx.Err() == nil {
			k.cfg.Logger.WarnContext(ctx, "consumers on NATS are not looked after", "cause", err)
		}
		pause(ctx, max(keeperEvery, keeperShare*time.Since(began)))
	}
	return nil
}

// round brings all consumers to what the subscriptions ask for, once. The order of its looks matters: a consumer is never older than the
// subscription it is compared with, and before is not younger than any consumer.
func (k *ConsumerKeeper) round(ctx context.Context) error {
	subs, err := k.store.ByTransport(ctx, TransportNATS)
	if err != nil {
		return err
	}
	before, err := stream.BoundsOf(ctx, k.js)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // the relay makes it
	}
	if err != nil {
		return err
	}
	found, err := k.consumers(ctx)
	if err != nil {
		return err
	}
	after, err := stream.BoundsOf(ctx, k.js)
	if err != nil {
		return err
	}
	var acked []moved
	group := &errgroup.Group{}
	group.SetLimit(keeperAsks)
	for i := range subs {
		s := &subs[i]
		name := consumerName(s.ID)
		do, position := k.judge(s, found[name], before, after)
		delete(found, name)
		if do == leave && position > s.Position {
			acked = append(acked, moved{s.ID, s.Version, position})
		}
		k.written[s.ID] = position
		group.Go(func() error { return k.act(ctx, s, do) })
	}
	for name := range found { // of subscriptions that are no more
		group.Go(func() error { return k.drop(ctx, name) })
	}
	k.forget(subs)
	k.ended = min(before.Last, after.Last)
	return errors.Join(group.Wait(), k.store.acknowledge(ctx, acked, time.Now()))
}

// forget drops what is remembered of subscriptions that are no more.
func (k *ConsumerKeeper) forget(subs []Subscription) {
	if len(k.written) == len(subs) {
		return
	}
	kept := make(map[uuid.UUID]int64, len(subs))
	for i := range subs {
		kept[subs[i].ID] = k.written[subs[i].ID]
	}
	k.written = kept
}

// consumers are those of subscriptions, by name.
func (k *ConsumerKeeper) consumers(ctx context.Context) (map[string]*jetstream.ConsumerInfo, error) {
	s, err := k.js.Stream(ctx, stream.Name)
	if err != nil {
		return nil, fmt.Errorf("list consumers: %w", err)
	}
	all := map[string]*jetstream.ConsumerInfo{}
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		id, ours := strings.CutPrefix(info.Name, "sub-")
		if _, err := uuid.Parse(id); ours && err == nil {
			all[info.Name] = info
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list consumers: %w", err)
	}
	return all, nil
}

// deed is what is done about a subscription's consumer.
type deed int

const (
	leave   deed = iota
	create       // it is missing
	remake       // it is another one than the subscription needs
	remove       // it is not needed
	wait         // the stream no longer has what comes next
	unblock      // it has it again
)

// judge says what is to be done about a subscription's consumer, and how far its party is.
func (k *ConsumerKeeper) judge(s *Subscription, info *jetstream.ConsumerInfo, before, after stream.Bounds) (deed, int64) {
	switch {
	case s.Status != SubscriptionActive && info == nil:
		return leave, s.Position
	case s.Status != SubscriptionActive:
		return remove, s.Position
	case info == nil && before.First > s.Position+1:
		return wait, s.Position
	case s.Reason == behindStream:
		return unblock, s.Position
	case info == nil:
		return create, s.Position
	case !fits(s, info):
		return remake, s.Position
	}
	delivered := int64(info.Delivered.Stream) //nolint:gosec // below 2^63
	if delivered > after.Last {
		if info.Delivered.Consumer > 0 {
			return remake, s.Position // of a stream that was longer
		}
		return leave, s.Position // it waits until the stream is filled again
	}
	last, known := k.written[s.ID]
	if known && s.Position > max(last, delivered) && info.NumPending > 0 {
		return remake, s.Position // the party itself has said that it is further
	}
	position, idle := reached(info, k.ended)
	if !idle && before.First > max(position, s.Position)+1 {
		return wait, s.Position
	}
	return leave, max(position, s.Position)
}

// reached is up to where nothing is missing at the party: what was delivered and acknowledged, and behind that what holds nothing for it.
// idle says that all there is has been acknowledged; then it is where the stream ended one round earlier, since in a cluster the consumer's
// leader may see the end of the stream a little later than the stream's.
func reached(info *jetstream.ConsumerInfo, ended int64) (position int64, idle bool) {
	if info.NumAckPending > 0 {
		return int64(info.AckFloor.Stream), false //nolint:gosec // below 2^63
	}
	delivered := int64(info.Delivered.Stream) //nolint:gosec // below 2^63
	if info.NumPending > 0 {
		return delivered, false
	}
	return max(delivered, ended), true
}

// fits says whether a consumer is the one that the subscription asks for, as it is now.
func fits(s *Subscription, info *jetstream.ConsumerInfo) bool {
	have, want := info.Config, consumerConfig(s)
	subjects := have.FilterSubjects
	if have.FilterSubject != "" {
		subjects = []string{have.FilterSubject}
	}
	return have.Metadata[consumerVersionKey] == strconv.FormatInt(s.Version, 10) && have.AckPolicy == want.AckPolicy &&
		have.HeadersOnly == want.HeadersOnly && have.DeliverPolicy == want.DeliverPolicy && have.MaxDeliver == want.MaxDeliver &&
		have.PauseUntil == nil && sameSubjects(subjects, want.FilterSubjects)
}

// act does what was judged.
func (k *ConsumerKeeper) act(ctx context.Context, s *Subscription, do deed) error {
	switch do {
	case leave:
		return nil
	case create:
		return k.make(ctx, s)
	case remake:
		if err := k.drop(ctx, consumerName(s.ID)); err != nil {
			return err
		}
		return k.make(ctx, s)
	case remove:
		return k.drop(ctx, consumerName(s.ID))
	case wait:
		if err := k.drop(ctx, consumerName(s.ID)); err != nil {
			return err
		}
		return k.store.SetStatus(ctx, s.Owner, s.ID, SubscriptionActive, behindStream, time.Now())
	case unblock:
		return k.store.SetStatus(ctx, s.Owner, s.ID, SubscriptionActive, "", time.Now())
	}
	return nil
}

func (k *ConsumerKeeper) make(ctx context.Context, s *Subscription) error {
	if _, err := k.js.CreateConsumer(ctx, stream.Name, consumerConfig(s)); err != nil {
		return fmt.Errorf("make consumer of subscription %s: %w", s.ID, err)
	}
	return nil
}

// drop deletes a consumer that may be there.
func (k *ConsumerKeeper) drop(ctx context.Context, name string) error {
	err := k.js.DeleteConsumer(ctx, stream.Name, name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("delete consumer %s: %w", name, err)
	}
	return nil
}
