package webhook

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// CircuitConfig says when an endpoint is left alone.
type CircuitConfig struct {
	// Failures in a row open the circuit; 0 means 10.
	Failures uint32
	// OpenFor is how long it stays open before one attempt is let through; 0 means 30 s.
	OpenFor time.Duration
	// OnChange, where set, is told of each change, with the states "closed", "open" and "half-open". It must not call the Circuit.
	OnChange func(from, to string)
}

// Circuit keeps attempts from an endpoint that does not work, so that they cost neither side anything. It is safe for
// concurrent use.
type Circuit struct {
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	openFor time.Duration
	until   atomic.Int64 // when an open circuit lets one attempt through, in Unix nanoseconds
}

const (
	defaultFailures = 10
	defaultOpenFor  = 30 * time.Second
)

var (
	errUnhealthy = errors.New("endpoint does not work")
	errNoVerdict = errors.New("attempt says nothing about the endpoint")
)

// NewCircuit makes a closed circuit.
func NewCircuit(cfg CircuitConfig) *Circuit {
	setDefault(&cfg.Failures, defaultFailures)
	setDefault(&cfg.OpenFor, defaultOpenFor)
	c := &Circuit{openFor: cfg.OpenFor}
	c.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     cfg.OpenFor,
		ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= cfg.Failures },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNoVerdict) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				c.until.Store(time.Now().Add(c.openFor).UnixNano())
			}
			if cfg.OnChange != nil {
				cfg.OnChange(from.String(), to.String())
			}
		},
	})
	return c
}

// Allow asks whether an attempt may be made. If so, done must be called with what came of it. If not, done is nil, and wait is
// how long to leave the endpoint alone: until the circuit lets one attempt through, or a short while when that one is under way.
func (c *Circuit) Allow() (done func(*Attempt), wait time.Duration) {
	tell, err := c.breaker.Allow()
	if errors.Is(err, gobreaker.ErrTooManyRequests) {
		return nil, min(time.Second, c.openFor)
	}
	if err != nil {
		return nil, max(time.Until(time.Unix(0, c.until.Load())), time.Millisecond)
	}
	return func(a *Attempt) { tell(verdict(a)) }, 0
}

// State is "closed", "open" or "half-open".
func (c *Circuit) State() string { return c.breaker.State().String() }

func verdict(a *Attempt) error {
	switch {
	case a.Kind == Cancelled, a.Kind == Unsendable:
		return errNoVerdict
	case a.Healthy():
		return nil
	default:
		return errUnhealthy
	}
}
