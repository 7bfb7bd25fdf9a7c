package stream_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

func names(all []stream.Deviation) []string {
	found := []string{}
	for _, d := range all {
		found = append(found, d.Setting)
	}
	return found
}

// drifted makes the stream with some settings that were not asked for.
func drifted(t *testing.T, created, updated func(*jetstream.StreamConfig)) (jetstream.JetStream, *stream.Server) {
	t.Helper()
	usual := jetStream(t, inProcess(t, startServer(t, stream.ServerConfig{Dir: t.TempDir(), Port: stream.RandomPort})))
	s, err := stream.EnsureFrom(t.Context(), usual, stream.Limits{}, firstOf(7))
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	if created != nil {
		created(&cfg)
	}
	srv := startServer(t, stream.ServerConfig{Dir: t.TempDir(), Port: stream.RandomPort})
	js := jetStream(t, inProcess(t, srv))
	s, err = js.CreateStream(t.Context(), cfg)
	require.NoError(t, err)
	cfg = s.CachedInfo().Config
	if updated != nil {
		updated(&cfg)
		_, err = js.UpdateStream(t.Context(), cfg)
		require.NoError(t, err)
	}
	return js, srv
}

func TestDriftIsMended(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		created, updated func(*jetstream.StreamConfig)
		want             []string
	}{
		"nothing":              {want: []string{}},
		"max_msgs":             {updated: func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 }},
		"max_msgs_per_subject": {updated: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }},
		"max_age":              {updated: func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		"max_bytes":            {updated: func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }},
		"max_msg_size":         {updated: func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10 }},
		"max_consumers":        {updated: func(c *jetstream.StreamConfig) { c.MaxConsumers = 1 }},
		"retention":            {updated: func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }},
		"discard":              {updated: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew }},
		"no_ack":               {updated: func(c *jetstream.StreamConfig) { c.NoAck = true }},
		"duplicate_window":     {updated: func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute }},
		"compression":          {updated: func(c *jetstream.StreamConfig) { c.Compression = jetstream.NoCompression }},
		"allow_atomic":         {updated: func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }},
		"subjects":             {updated: func(c *jetstream.StreamConfig) { c.Subjects = []string{"orders.>", "more.>"} }},
		"consumer_limits":      {updated: func(c *jetstream.StreamConfig) { c.ConsumerLimits.MaxAckPending = 1 }},
		"deny_delete":          {created: func(c *jetstream.StreamConfig) { c.DenyDelete = false }},
		"deny_purge":           {created: func(c *jetstream.StreamConfig) { c.DenyPurge = false }},
		"republish": {updated: func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: ">", Destination: "copy.>"}
		}},
		"sources":               {updated: func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "OTHER"}} }},
		"duplicates before age": {updated: func(c *jetstream.StreamConfig) { c.Duplicates, c.MaxAge = 2*time.Hour, 3*time.Hour }, want: []string{"duplicate_window", "max_age"}},
		"subject_transform": {updated: func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "orders.a.>", Destination: "orders.b.>"}
		}},
		"discard_new_per_subject": {
			updated: func(c *jetstream.StreamConfig) {
				c.Discard, c.DiscardNewPerSubject, c.MaxMsgsPerSubject = jetstream.DiscardNew, true, 5
			},
			want: []string{"discard_new_per_subject", "discard", "max_msgs_per_subject"},
		},
		"allow_rollup_hdrs": {
			created: func(c *jetstream.StreamConfig) { c.DenyPurge, c.AllowRollup = false, true },
			want:    []string{"allow_rollup_hdrs", "deny_purge"},
		},
		"mirror": {
			created: func(c *jetstream.StreamConfig) {
				c.Mirror, c.Subjects, c.FirstSeq, c.AllowAtomicPublish = &jetstream.StreamSource{Name: "OTHER"}, nil, 0, false
			},
			want: []string{"mirror", "allow_atomic"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js, _ := drifted(t, c.created, c.updated)
			if c.want == nil {
				c.want = []string{name}
			}
			drift, err := stream.Mend(t.Context(), js, stream.Limits{})
			require.NoError(t, err)
			require.Empty(t, drift.Left)
			require.Equal(t, c.want, names(drift.Mended))
			again, err := stream.Mend(t.Context(), js, stream.Limits{})
			require.NoError(t, err)
			require.Empty(t, append(again.Mended, again.Left...))
			s, err := js.Stream(t.Context(), stream.Name)
			require.NoError(t, err)
			if name != "mirror" {
				require.Equal(t, uint64(7), s.CachedInfo().Config.FirstSeq, "the first sequence is left as it is")
			}
		})
	}
}

func TestDriftThatCannotBeMendedIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		created, updated func(*jetstream.StreamConfig)
		want             []string
		stops            bool
	}{
		"storage": {created: func(c *jetstream.StreamConfig) {
			c.Storage, c.Compression = jetstream.MemoryStorage, jetstream.NoCompression
		}},
		"allow_msg_ttl": {created: func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }},
		"persist_mode": {created: func(c *jetstream.StreamConfig) {
			c.PersistMode, c.AllowAtomicPublish = jetstream.AsyncPersistMode, false
		}, want: []string{"persist_mode", "allow_atomic"}},
		"retention":       {created: func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }},
		"sealed":          {updated: func(c *jetstream.StreamConfig) { c.Sealed = true }, want: []string{"sealed"}, stops: true},
		"schedules":       {created: func(c *jetstream.StreamConfig) { c.AllowMsgSchedules, c.AllowRollup, c.DenyPurge = true, true, false }, want: []string{"allow_msg_schedules", "allow_rollup_hdrs", "deny_purge"}},
		"message counter": {created: func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true }, want: []string{"allow_msg_counter"}, stops: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js, _ := drifted(t, c.created, c.updated)
			if c.want == nil {
				c.want = []string{name}
			}
			drift, err := stream.Mend(t.Context(), js, stream.Limits{})
			require.NoError(t, err)
			require.Subset(t, names(drift.Left), c.want, drift)
			stops := false
			for _, d := range drift.Left {
				require.NotEmpty(t, d.Why)
				require.Contains(t, d.String(), d.Setting+" is "+d.Have+" and should be "+d.Want+": ")
				stops = stops || d.Stops
			}
			require.Equal(t, c.stops, stops)
		})
	}
}

func TestReplicasThatTheBrokerCannotHaveAreTold(t *testing.T) {
	t.Parallel()
	js, _ := drifted(t, nil, nil)
	drift, err := stream.Mend(t.Context(), js, stream.Limits{Replicas: 3, MaxAge: time.Hour})
	require.NoError(t, err)
	require.Equal(t, []string{"max_age"}, names(drift.Mended))
	require.Equal(t, []string{"num_replicas"}, names(drift.Left))
	require.Contains(t, drift.Left[0].Why, "replicas > 1 not supported")
}

// A changed first sequence would purge the stream at the next restart.
func TestMendedStreamKeepsItsMessagesThroughARestart(t *testing.T) {
	t.Parallel()
	js, srv := drifted(t, nil, func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 })
	for range 5 {
		_, err := js.Publish(t.Context(), "orders.a", []byte("x"))
		require.NoError(t, err)
	}
	drift, err := stream.Mend(t.Context(), js, stream.Limits{})
	require.NoError(t, err)
	require.Equal(t, []string{"max_msgs"}, names(drift.Mended))
	require.NoError(t, srv.Restart())
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		bounds, err := stream.BoundsOf(t.Context(), js)
		require.NoError(c, err)
		require.Equal(c, stream.Bounds{First: 7, Last: 11, Messages: 5}, bounds)
	}, 10*time.Second, 10*time.Millisecond)
}

func TestMendNeedsAStream(t *testing.T) {
	t.Parallel()
	js, _ := drifted(t, nil, nil)
	require.NoError(t, stream.Drop(t.Context(), js))
	require.NoError(t, stream.Drop(t.Context(), js), "what is gone need not be deleted")
	_, err := stream.Mend(t.Context(), js, stream.Limits{})
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
}
