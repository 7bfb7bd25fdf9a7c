package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Deviation is one setting of the stream that is not as it was asked for.
type Deviation struct {
	Setting    string
	Have, Want string // as JSON
	Stops      bool   // nothing can be published while it is so
	Why        string // it was not mended; empty where it was
}

// String says it in a line.
func (d Deviation) String() string {
	text := fmt.Sprintf("%s is %s and should be %s", d.Setting, d.Have, d.Want)
	if d.Why != "" {
		text += ": " + d.Why
	}
	return text
}

// Drift is what Mend found.
type Drift struct {
	Mended []Deviation
	Left   []Deviation // each says why
}

// setting is one that is looked at. What an operator may choose freely is not: description, placement, metadata, direct reads.
type setting struct {
	name   string
	of     func(*jetstream.StreamConfig) any
	take   func(have, want *jetstream.StreamConfig) // nil: the broker does not change it
	stops  bool
	enough func(have, want *jetstream.StreamConfig) string // why another value is left alone; nil: it is not
}

const (
	notChanged = "the broker does not change it; the stream has to be deleted, and is filled again"
	notDone    = "the broker took the change and did not make it"
	moreCopies = "more copies than asked for are left alone"
)

// settings are mended in this order: some the broker takes only after others.
func settings() []setting {
	return append(append(sourceSettings(), limitSettings()...), guardSettings()...)
}

// sourceSettings say where messages come from and go to.
func sourceSettings() []setting {
	return []setting{
		{name: "sealed", of: func(c *jetstream.StreamConfig) any { return c.Sealed }, stops: true},
		{name: "allow_msg_counter", of: func(c *jetstream.StreamConfig) any { return c.AllowMsgCounter }, stops: true},
		{
			name: "mirror", of: func(c *jetstream.StreamConfig) any { return c.Mirror }, stops: true,
			take: func(have, want *jetstream.StreamConfig) {
				have.Mirror, have.MirrorDirect, have.Subjects = nil, false, want.Subjects
			},
		},
		{
			name: "sources", of: func(c *jetstream.StreamConfig) any { return c.Sources },
			take: func(have, _ *jetstream.StreamConfig) { have.Sources = nil },
		},
		{
			name: "subject_transform", of: func(c *jetstream.StreamConfig) any { return c.SubjectTransform },
			take: func(have, _ *jetstream.StreamConfig) { have.SubjectTransform = nil },
		},
		{
			name: "republish", of: func(c *jetstream.StreamConfig) any { return c.RePublish },
			take: func(have, _ *jetstream.StreamConfig) { have.RePublish = nil },
		},
		{
			name: "subjects", of: func(c *jetstream.StreamConfig) any { return c.Subjects }, stops: true,
			take: func(have, want *jetstream.StreamConfig) { have.Subjects = want.Subjects },
		},
		{
			name: "no_ack", of: func(c *jetstream.StreamConfig) any { return c.NoAck }, stops: true,
			take: func(have, _ *jetstream.StreamConfig) { have.NoAck = false },
		},
	}
}

// limitSettings say what is kept. The window for duplicates may not be longer than the age.
func limitSettings() []setting {
	return []setting{
		{
			name: "retention", of: func(c *jetstream.StreamConfig) any { return c.Retention },
			take: func(have, want *jetstream.StreamConfig) { have.Retention = want.Retention },
		},
		{
			name: "discard_new_per_subject", of: func(c *jetstream.StreamConfig) any { return c.DiscardNewPerSubject },
			take: func(have, _ *jetstream.StreamConfig) { have.DiscardNewPerSubject = false },
		},
		{
			name: "discard", of: func(c *jetstream.StreamConfig) any { return c.Discard },
			take: func(have, want *jetstream.StreamConfig) { have.Discard = want.Discard },
		},
		{
			name: "duplicate_window", of: func(c *jetstream.StreamConfig) any { return c.Duplicates },
			take: func(have, want *jetstream.StreamConfig) { have.Duplicates = want.Duplicates },
		},
		{
			name: "max_age", of: func(c *jetstream.StreamConfig) any { return c.MaxAge },
			take: func(have, want *jetstream.StreamConfig) { have.MaxAge = want.MaxAge },
		},
		{
			name: "max_bytes", of: func(c *jetstream.StreamConfig) any { return c.MaxBytes },
			take: func(have, want *jetstream.StreamConfig) { have.MaxBytes = want.MaxBytes },
		},
		{
			name: "max_msgs", of: func(c *jetstream.StreamConfig) any { return c.MaxMsgs },
			take: func(have, want *jetstream.StreamConfig) { have.MaxMsgs = want.MaxMsgs },
		},
		{
			name: "max_msgs_per_subject", of: func(c *jetstream.StreamConfig) any { return c.MaxMsgsPerSubject },
			take: func(have, want *jetstream.StreamConfig) { have.MaxMsgsPerSubject = want.MaxMsgsPerSubject },
		},
		{
			name: "max_msg_size", of: func(c *jetstream.StreamConfig) any { return c.MaxMsgSize },
			take: func(have, want *jetstream.StreamConfig) { have.MaxMsgSize = want.MaxMsgSize },
		},
		{
			name: "max_consumers", of: func(c *jetstream.StreamConfig) any { return c.MaxConsumers },
			take: func(have, want *jetstream.StreamConfig) { have.MaxConsumers = want.MaxConsumers },
		},
		{
			name: "consumer_limits", of: func(c *jetstream.StreamConfig) any { return c.ConsumerLimits },
			take: func(have, want *jetstream.StreamConfig) { have.ConsumerLimits = want.ConsumerLimits },
		},
	}
}

// guardSettings say how messages are stored, and what may take them away.
func guardSettings() []setting {
	return []setting{
		{name: "storage", of: func(c *jetstream.StreamConfig) any { return c.Storage }},
		{name: "persist_mode", of: func(c *jetstream.StreamConfig) any { return c.PersistMode }},
		{name: "allow_msg_schedules", of: func(c *jetstream.StreamConfig) any { return c.AllowMsgSchedules }},
		{
			name: "subject_delete_marker_ttl", of: func(c *jetstream.StreamConfig) any { return c.SubjectDeleteMarkerTTL },
			take: func(have, _ *jetstream.StreamConfig) { have.SubjectDeleteMarkerTTL = 0 },
		},
		{name: "allow_msg_ttl", of: func(c *jetstream.StreamConfig) any { return c.AllowMsgTTL }},
		{
			name: "allow_rollup_hdrs", of: func(c *jetstream.StreamConfig) any { return c.AllowRollup },
			take: func(have, _ *jetstream.StreamConfig) { have.AllowRollup = false },
		},
		{
			name: "deny_delete", of: func(c *jetstream.StreamConfig) any { return c.DenyDelete },
			take: func(have, _ *jetstream.StreamConfig) { have.DenyDelete = true },
		},
		{
			name: "deny_purge", of: func(c *jetstream.StreamConfig) any { return c.DenyPurge },
			take: func(have, _ *jetstream.StreamConfig) { have.DenyPurge = true },
		},
		{
			name: "compression", of: func(c *jetstream.StreamConfig) any { return c.Compression },
			take: func(have, want *jetstream.StreamConfig) { have.Compression = want.Compression },
		},
		{
			name: "allow_atomic", of: func(c *jetstream.StreamConfig) any { return c.AllowAtomicPublish },
			take: func(have, want *jetstream.StreamConfig) { have.AllowAtomicPublish = want.AllowAtomicPublish },
		},
		{
			name: "num_replicas", of: func(c *jetstream.StreamConfig) any { return c.Replicas },
			take: func(have, want *jetstream.StreamConfig) { have.Replicas = want.Replicas },
			enough: func(have, want *jetstream.StreamConfig) string {
				if have.Replicas > want.Replicas {
					return moreCopies
				}
				return ""
			},
		},
	}
}

// Mend compares the stream's configuration with what these limits ask for and changes back what differs, one setting at a time, so that
// one that the broker refuses keeps no other from being mended. The stored first sequence is sent along as it is: the server
// accepts another one, and purges the stream at its next restart. It returns jetstream.ErrStreamNotFound (test with errors.Is) where there is no stream.
func Mend(ctx context.Context, js jetstream.JetStream, limits Limits) (Drift, error) {
	var drift Drift
	s, err := lookUp(ctx, js)
	if err != nil {
		return drift, fmt.Errorf("look up stream %s: %w", Name, err)
	}
	have, want := s.CachedInfo().Config, config(limits)
	for _, setting := range settings() {
		d := Deviation{Setting: setting.name, Have: shown(setting.of(&have)), Want: shown(setting.of(&want)), Stops: setting.stops}
		if d.Have == d.Want {
			continue
		}
		if d.Why = setting.reason(&have, &want); d.Why != "" {
			drift.Left = append(drift.Left, d)
			if d.Stops {
				return drift, nil // a stream that takes nothing is not worth more changes
			}
			continue
		}
		next := have
		setting.take(&next, &want)
		updated, err := update(ctx, js, next)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
				return drift, fmt.Errorf("update stream %s: %w", Name, err)
			}
			d.Why = err.Error()
			drift.Left = append(drift.Left, d)
			continue
		}
		have = updated.CachedInfo().Config
		if shown(setting.of(&have)) != d.Want {
			d.Why = notDone
			drift.Left = append(drift.Left, d)
			continue
		}
		drift.Mended = append(drift.Mended, d)
	}
	return drift, nil
}

func update(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return js.UpdateStream(ctx, cfg)
}

// reason says why the setting is not to be changed; empty where it is.
func (s *setting) reason(have, want *jetstream.StreamConfig) string {
	switch {
	case s.take == nil:
		return notChanged
	case s.enough != nil:
		return s.enough(have, want)
	}
	return ""
}

// shown gives a value as it stands in the broker's own configuration.
func shown(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
