package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/orderstore/orderstore/internal/chaos"
)

// Crowd is what the parties of a run can be made to do.
type Crowd interface {
	// Parties names them.
	Parties() []string
	// Rewind puts one back to an older copy of what it had, and returns how many events it forgot.
	Rewind(ctx context.Context, name string, events int) (int, error)
	// Intercept has each call of the webhook endpoint go through a function first, which says whether it has answered it. nil ends that.
	Intercept(by func(w http.ResponseWriter, r *http.Request) bool)
}

// Crowded is a cluster with parties.
type Crowded interface {
	Crowd() Crowd
}

// PartyOlder restores a party from an old backup: it asks from its old position again.
func PartyOlder[C Crowded]() chaos.Fault[C] {
	return chaos.Fault[C]{Kind: "party.older", Inject: func(ctx context.Context, cluster C, random *rand.Rand) (chaos.Bite, error) {
		name, err := choose(random, "party", cluster.Crowd().Parties())
		if err != nil {
			return chaos.Bite{}, err
		}
		bite := chaos.Bite{Kind: "party.older", Target: name}
		forgot, err := cluster.Crowd().Rewind(ctx, name, 1+random.IntN(50))
		if err != nil {
			return bite, fmt.Errorf("put %s back: %w", name, err)
		}
		if forgot > 0 {
			bite.Evidence = fmt.Sprintf("it forgot its last %d events", forgot)
		}
		return bite, nil
	}}
}

// manner is how an endpoint misbehaves.
type manner struct {
	name   string
	answer func(w http.ResponseWriter, r *http.Request, until <-chan struct{})
}

func manners() []manner {
	return []manner{
		{"hang", func(_ http.ResponseWriter, r *http.Request, until <-chan struct{}) {
			either(r, until)
			panic(http.ErrAbortHandler) // one that returns has answered 200
		}},
		{"drip", drip},
		{"redirect", func(w http.ResponseWriter, r *http.Request, _ <-chan struct{}) {
			http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusTemporaryRedirect)
		}},
		{"fail", func(w http.ResponseWriter, _ *http.Request, _ <-chan struct{}) {
			http.Error(w, "out of order", http.StatusInternalServerError)
		}},
	}
}

func either(r *http.Request, until <-chan struct{}) {
	select {
	case <-r.Context().Done():
	case <-until:
	}
}

// drip answers a byte at a time, and never to the end.
func drip(w http.ResponseWriter, r *http.Request, until <-chan struct{}) {
	w.Header().Set("Content-Length", strconv.Itoa(1<<20))
	w.WriteHeader(http.StatusServiceUnavailable) // 2xx would take the event, whatever follows
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := w.Write([]byte{'.'}); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-until:
			return
		case <-tick.C:
		}
	}
}

// Endpoints has the endpoint of a provider misbehave for a while: one fault for each manner, endpoint.hang, .drip, .redirect and .fail.
func Endpoints[C Crowded]() []chaos.Fault[C] {
	var all []chaos.Fault[C]
	for _, m := range manners() {
		kind := "endpoint." + m.name
		all = append(all, chaos.Fault[C]{Kind: kind, Inject: func(ctx context.Context, cluster C, random *rand.Rand) (chaos.Bite, error) {
			var calls atomic.Int64
			until := make(chan struct{})
			cluster.Crowd().Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				calls.Add(1)
				m.answer(w, r, until)
				return true
			})
			err := pause(ctx, between(random, 2*time.Second, 5*time.Second))
			cluster.Crowd().Intercept(nil)
			close(until)
			bite := chaos.Bite{Kind: kind, Target: "webhook endpoint"}
			if n := calls.Load(); n > 0 {
				bite.Evidence = fmt.Sprintf("%d calls were not taken", n)
			}
			return bite, err
		}})
	}
	return all
}
