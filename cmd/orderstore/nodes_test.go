package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

const (
	sendersPerNode = 6
	ordersPerSend  = 40 // of its own, by each sender
	sharedOrders   = 60 // sent to every node at once
)

// fleet is several write nodes on one primary, and what they have acknowledged.
type fleet struct {
	t     *testing.T
	users []*client.Client // one for each node
	nodes []*program

	mu     sync.Mutex
	stored map[string]string // external_ref -> id
	killed bool
	amid   chan struct{} // closed when enough is stored for a kill to be amid it
}

// Invariants 1, 2, 5: several write nodes on one primary take the same and different orders at once, and one of them is killed
// amid it. Each order is stored once, each acknowledged one is there, and the positions have no hole.
func TestChaosManyWriteNodes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n, " nodes"), func(t *testing.T) {
			t.Parallel()
			o := startOutside(t)
			rest := o.serve(t, "relay,projection,query,broadcast")
			as := o.parties(t)
			f := &fleet{t: t, stored: map[string]string{}, amid: make(chan struct{})}
			for range n {
				url, node := o.launch(t, "command")
				f.nodes = append(f.nodes, node)
				f.users = append(f.users, newClient(t, url, as.User))
				_, err := newClient(t, url, as.Operator).PutProvider(t.Context(), client.Provider{
					ID: fmt.Sprint("provider-", len(f.nodes)), BusinessTypes: []string{"retail.erp"},
				})
				require.NoError(t, err)
			}
			f.sendAll()
			require.Equal(t, n*sendersPerNode*ordersPerSend+sharedOrders, len(f.stored)) //nolint:testifylint // Len prints all of it
			f.everythingIsThere(o, newClient(t, rest, as.User))
		})
	}
}

// sendAll sends everything to all nodes, and kills the first one once a part of it is stored.
func (f *fleet) sendAll() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute)
	defer cancel()
	var senders sync.WaitGroup
	for node := range f.users {
		for sender := range sendersPerNode {
			senders.Go(func() {
				at := node
				for i := range ordersPerSend {
					at = f.send(ctx, at, fmt.Sprintf("own-%d-%d-%d", node, sender, i))
				}
			})
		}
		for half := range 2 { // each shared order is sent twice to each node
			senders.Go(func() {
				at := node
				for i := range sharedOrders {
					at = f.send(ctx, at, fmt.Sprint("shared-", (i+half*sharedOrders/2)%sharedOrders))
				}
			})
		}
	}
	select {
	case <-f.amid:
	case <-ctx.Done():
		f.t.Error("too few orders were stored to kill anything amid them")
	}
	f.nodes[0].kill()
	senders.Wait()
}

// send sends an order to a node, and to the next one when that does not answer, until it is acknowledged. It gives the node that did.
func (f *fleet) send(ctx context.Context, node int, ref string) int {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 2*time.Second) // the client itself would go on asking the same node
		order, err := f.users[node].SubmitOrder(try, sampleOrder(ref))
		cancel()
		if err == nil {
			f.note(ref, order.ID)
			return node
		}
		node = (node + 1) % len(f.users)
	}
	f.t.Errorf("%s was not acknowledged: %v", ref, ctx.Err())
	return node
}

func (f *fleet) note(ref, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.stored[ref]; ok && known != id {
		f.t.Errorf("%s is two orders: %s and %s", ref, known, id)
	}
	f.stored[ref] = id
	if len(f.stored) > sharedOrders && !f.killed {
		f.killed = true
		close(f.amid)
	}
}

// everythingIsThere looks at the log, the views and what verify says.
func (f *fleet) everythingIsThere(o *outside, reader *client.Client) {
	f.t.Helper()
	t := f.t
	conn, err := pgx.Connect(t.Context(), o.write)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var orders, events, last int64
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM orders`).Scan(&orders))
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*), max(position) FROM order_events`).Scan(&events, &last))
	require.Equal(t, int64(len(f.stored)), orders, "each reference is one order")
	require.Equal(t, events, last, "positions are 1..N")
	for ref, id := range f.stored {
		order, err := reader.GetOrder(t.Context(), id, client.GetOptions{Position: last})
		require.NoError(t, err, ref)
		require.Equal(t, ref, order.ExternalRef)
	}
	p := launch(t, o.env, "orderstore", "verify")
	<-p.done
	require.NoError(t, p.err, p.out)
	require.Contains(t, p.out.String(), "verify: log = stream = views")
}
