package broadcast

import (
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/stream"
)

// TestWhatIsDoneAboutAConsumer holds the cases apart, among them one that a single server does not show: a consumer that has delivered what
// the stream no longer has.
func TestWhatIsDoneAboutAConsumer(t *testing.T) {
	t.Parallel()
	s := Subscription{
		ID: uuid.New(), Owner: Owner{Kind: auth.KindUser, Tenant: "demo"}, Transport: TransportNATS, Status: SubscriptionActive, Version: 3, Position: 50,
	}
	info := func(change func(*jetstream.ConsumerInfo)) *jetstream.ConsumerInfo {
		i := &jetstream.ConsumerInfo{Config: consumerConfig(&s)}
		i.Delivered.Consumer, i.Delivered.Stream, i.AckFloor.Stream = 10, 60, 55
		if change != nil {
			change(i)
		}
		return i
	}
	unacked := func(i *jetstream.ConsumerInfo) { i.NumAckPending = 5 }
	waiting := func(i *jetstream.ConsumerInfo) { i.NumPending = 5 }
	with := func(change func(*Subscription)) *Subscription {
		other := s
		change(&other)
		return &other
	}
	whole := stream.Bounds{First: 1, Last: 100}
	for name, c := range map[string]struct {
		s      *Subscription
		info   *jetstream.ConsumerInfo
		bounds stream.Bounds
		do     deed
		to     int64
	}{
		"all is acknowledged, and nothing waits":   {&s, info(nil), whole, leave, 90},
		"some is not acknowledged":                 {&s, info(unacked), whole, leave, 55},
		"all that was delivered, and more waits":   {&s, info(waiting), whole, leave, 60},
		"the floor is behind what is stored":       {with(func(s *Subscription) { s.Position = 58 }), info(unacked), whole, leave, 58},
		"the stream was longer":                    {&s, info(nil), stream.Bounds{First: 1, Last: 59}, remake, 50},
		"the stream is being filled":               {&s, info(func(i *jetstream.ConsumerInfo) { i.Delivered.Consumer = 0 }), stream.Bounds{First: 1, Last: 59}, leave, 50},
		"of another version":                       {with(func(s *Subscription) { s.Version = 4 }), info(nil), whole, remake, 50},
		"with another filter":                      {&s, info(func(i *jetstream.ConsumerInfo) { i.Config.FilterSubjects = []string{"orders.>"} }), whole, remake, 50},
		"missing":                                  {&s, nil, whole, create, 50},
		"missing, and the stream has dropped more": {&s, nil, stream.Bounds{First: 52, Last: 100}, wait, 50},
		"missing, and the stream begins there":     {&s, nil, stream.Bounds{First: 51, Last: 100}, create, 50},
		"unread events were dropped":               {&s, info(waiting), stream.Bounds{First: 62, Last: 100}, wait, 50},
		"unacknowledged events were dropped":       {&s, info(unacked), stream.Bounds{First: 57, Last: 100}, wait, 50},
		"nothing for the party was dropped":        {&s, info(nil), stream.Bounds{First: 95, Last: 100}, leave, 90},
		"paused":                                   {with(func(s *Subscription) { s.Status = SubscriptionPaused }), info(nil), whole, remove, 50},
		"paused, without one":                      {with(func(s *Subscription) { s.Status = SubscriptionPaused }), nil, whole, leave, 50},
		"the party has caught up":                  {with(func(s *Subscription) { s.Reason = behindStream }), nil, whole, unblock, 50},
		"the party says that it is further":        {with(func(s *Subscription) { s.Position = 70 }), info(waiting), whole, remake, 70},
	} {
		k := &ConsumerKeeper{written: map[uuid.UUID]int64{s.ID: 50}, ended: 90}
		do, to := k.judge(c.s, c.info, c.bounds, c.bounds)
		require.Equal(t, c.do, do, name)
		require.Equal(t, c.to, to, name)
	}
}
