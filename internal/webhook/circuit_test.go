package webhook_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/webhook"
)

// attempt asks the circuit and reports what came of it.
func attempt(t *testing.T, c *webhook.Circuit, kind webhook.Kind) {
	t.Helper()
	done, wait := c.Allow()
	require.NotNil(t, done, "%s for another %s", c.State(), wait)
	require.Zero(t, wait)
	done(&webhook.Attempt{Kind: kind})
}

func TestCircuitLeavesABrokenEndpointAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes []string
		c := webhook.NewCircuit(webhook.CircuitConfig{Failures: 3, OpenFor: time.Minute, OnChange: func(from, to string) {
			changes = append(changes, from+" "+to)
		}})
		for _, kind := range []webhook.Kind{webhook.TimedOut, webhook.Failed, webhook.Delivered, webhook.Refused, webhook.Unreachable} {
			attempt(t, c, kind)
		}
		require.Equal(t, "closed", c.State(), "never three in a row")
		attempt(t, c, webhook.Untrusted)
		require.Equal(t, "open", c.State())

		<-time.After(20 * time.Second) // the clock of the bubble, which passes at once
		done, wait := c.Allow()
		require.Nil(t, done)
		require.Equal(t, 40*time.Second, wait)

		<-time.After(wait + time.Nanosecond)
		probe, wait := c.Allow()
		require.NotNil(t, probe)
		require.Zero(t, wait)
		other, wait := c.Allow()
		require.Nil(t, other, "one probe at a time")
		require.Equal(t, time.Second, wait)
		probe(&webhook.Attempt{Kind: webhook.Blocked})
		require.Equal(t, "open", c.State())

		<-time.After(time.Minute + time.Nanosecond)
		attempt(t, c, webhook.Delivered)
		require.Equal(t, "closed", c.State())
		require.Equal(t, []string{"closed open", "open half-open", "half-open open", "open half-open", "half-open closed"}, changes)
	})
}

// One bad message is no broken endpoint, and what the sender broke off itself says nothing.
func TestOnlyABrokenEndpointOpensTheCircuit(t *testing.T) {
	t.Parallel()
	for kind, opens := range map[webhook.Kind]bool{
		webhook.Delivered: false, webhook.Gone: false, webhook.Throttled: false, webhook.Rejected: false, webhook.Cancelled: false, webhook.Unsendable: false,
		webhook.Redirected: true, webhook.Failed: true, webhook.Blocked: true, webhook.TimedOut: true, webhook.Refused: true,
		webhook.Untrusted: true, webhook.Unreachable: true,
	} {
		c := webhook.NewCircuit(webhook.CircuitConfig{})
		for range 9 {
			attempt(t, c, kind)
		}
		require.Equal(t, "closed", c.State(), kind)
		attempt(t, c, kind)
		assert.Equal(t, opens, c.State() == "open", kind)
	}
}

func TestBrokenOffProbeLetsAnotherOneThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := webhook.NewCircuit(webhook.CircuitConfig{Failures: 1, OpenFor: time.Minute})
		attempt(t, c, webhook.TimedOut)
		<-time.After(time.Minute + time.Nanosecond) // the clock of the bubble, which passes at once
		attempt(t, c, webhook.Cancelled)
		attempt(t, c, webhook.Delivered)
		require.Equal(t, "closed", c.State())
	})
}

func TestCircuitIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	c := webhook.NewCircuit(webhook.CircuitConfig{Failures: 5, OpenFor: time.Millisecond})
	var allowed atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 500 {
				kind := []webhook.Kind{webhook.Delivered, webhook.Failed}[i/10%2]
				if done, _ := c.Allow(); done != nil {
					allowed.Add(1)
					done(&webhook.Attempt{Kind: kind})
				}
			}
		})
	}
	group.Wait()
	require.Positive(t, allowed.Load())
}
