// Package chaos has the words that the fault tests share: where a cluster under test is reached, what a fault did and how that is known, and
// what was found to be wrong. Its folders are the parts: cluster starts the processes, disk their file systems, faults break them,
// workload is the users and providers, history what they did, check what must hold, orderchaos the program that runs it all.
package chaos

import (
	"context"
	"math/rand/v2"
	"time"
)

// Login is a client of the store.
type Login struct {
	ClientID string `json:"client_id"`
	Secret   string `json:"client_secret"`
	Tenant   string `json:"tenant,omitempty"`
	Provider string `json:"provider,omitempty"`
	System   string `json:"system,omitempty"`
}

// Endpoints are where a cluster is reached. Parties go through links that faults break; the checker has ways of its own.
type Endpoints struct {
	// As parties reach it: through links.
	Write     []string `json:"write"`     // HTTP of the write nodes
	Read      []string `json:"read"`      // HTTP of the read nodes
	Broadcast []string `json:"broadcast"` // HTTP of the broadcasters: feed, SSE, subscriptions
	NATS      []string `json:"nats"`

	// As the checker reaches it: past all links.
	Direct  Direct           `json:"direct"`
	Logins  map[string]Login `json:"logins"`  // by party: user, user2, provider, provider2, auxiliary, operator, …
	Metrics []string         `json:"metrics"` // of every process of ours
}

// Direct is every copy of what the store knows, each by itself.
type Direct struct {
	Primary   string   `json:"primary"`  // Postgres URL of the log, of whichever server is the primary now
	Standbys  []string `json:"standbys"` // Postgres URLs: the synchronous one first
	Views     []string `json:"views"`    // Postgres URLs of the read nodes
	Auxiliary string   `json:"auxiliary"`
	NATS      []string `json:"nats"` // each server of its own
	Read      []string `json:"read"` // HTTP of the read nodes
	Write     []string `json:"write"`
}

// Bite is one fault that was injected and healed, with what shows that it happened.
type Bite struct {
	Kind     string        `json:"kind"`     // "process.kill", "link.cut", "power.cut", …
	Target   string        `json:"target"`   // the process, link or store
	Evidence string        `json:"evidence"` // "pid 311 -> 340", "0 of 41,932 bytes passed", …; empty: it did not bite and does not count
	Began    time.Duration `json:"began"`    // since the run began, monotonic
	Healed   time.Duration `json:"healed"`
}

// Fault injects one kind of fault into a cluster C, waits, heals it, and says what it did. An error says that the fault could not be
// injected, not that the store failed.
type Fault[C any] struct {
	Kind string
	// Alone keeps others from being injected beside it: a power cut, a fail-over.
	Alone  bool
	Inject func(ctx context.Context, cluster C, random *rand.Rand) (Bite, error)
}

// Violation is a promise that was not kept.
type Violation struct {
	Invariant int    `json:"invariant"` // of the ten, by number
	Path      string `json:"path"`      // how it was seen: "log", "standby 1", "stream nats-2", "view read-1", "webhook provider-3", …
	What      string `json:"what"`
}
