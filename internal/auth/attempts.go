package auth

import (
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Limits of guessing at one secret, per node.
const (
	maxWrong        = 20
	wrongWindow     = time.Minute
	trackedAttempts = 16_384 // clients; those with the oldest failures are forgotten first
)

// attempts counts wrong secrets per client id, or wrong signatures per key id, known or not, so that its answers do not tell which ids exist.
type attempts struct {
	now func() time.Time

	mu    sync.Mutex
	wrong *lru.Cache[string, window]
}

type window struct {
	start time.Time
	count int
}

func newAttempts(now func() time.Time) (*attempts, error) {
	cache, err := lru.New[string, window](trackedAttempts)
	if err != nil {
		return nil, fmt.Errorf("attempt counter: %w", err)
	}
	return &attempts{now: now, wrong: cache}, nil
}

// blocked gives how long a client has to wait; zero when it may try.
func (a *attempts) blocked(clientID string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, ok := a.wrong.Peek(clientID)
	if !ok || w.count < maxWrong {
		return 0
	}
	return max(0, w.start.Add(wrongWindow).Sub(a.now()))
}

// failed counts a wrong secret and gives how long the client has to wait because of it.
func (a *attempts) failed(clientID string) time.Duration {
	a.mu.Lock()
	now := a.now()
	w, ok := a.wrong.Get(clientID)
	if !ok || now.Sub(w.start) >= wrongWindow {
		w = window{start: now}
	}
	w.count++
	a.wrong.Add(clientID, w)
	a.mu.Unlock()
	return a.blocked(clientID)
}
