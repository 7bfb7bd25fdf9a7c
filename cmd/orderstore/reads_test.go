package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// changes is when each order got its versions, as its owner was answered.
type changes struct {
	mu sync.Mutex
	at map[string]map[int64]int64 // id -> version -> position
}

func (c *changes) note(o client.Order) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at[o.ID] == nil {
		c.at[o.ID] = map[int64]int64{}
	}
	c.at[o.ID][o.Version] = o.Meta.Position
}

// read is what an answer says.
type read struct {
	id                string
	version, position int64
}

// TestNoReadIsOlderThanItSays changes orders and reads them meanwhile, from memory for the most part, through a node that projects itself
// and through one that does not: no answer has a version that was over, or had not begun, at its Order-Position.
func TestNoReadIsOlderThanItSays(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	whole := o.serve(t, "command,relay,projection,query")
	only := o.serve(t, "query")
	as := o.parties(t)
	user := newClient(t, whole, as.User)
	c := &changes{at: map[string]map[int64]int64{}}
	var orders []client.Order
	for n := range 4 {
		placed, err := user.SubmitOrder(t.Context(), sampleOrder(fmt.Sprint("read-", n)))
		require.NoError(t, err)
		c.note(placed)
		orders = append(orders, placed)
	}
	login := clientcredentials.Config{ClientID: as.User.ClientID, ClientSecret: as.User.ClientSecret, TokenURL: whole + "/oauth/token"}
	token, err := login.Token(t.Context())
	require.NoError(t, err)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	found := make([][]read, 4)
	errs := make([]error, len(found))
	var ids []string
	for i := range orders {
		ids = append(ids, orders[i].ID)
	}
	for i := range found {
		node := []string{whole, only}[i%2]
		readers.Go(func() {
			for n := 0; errs[i] == nil; n++ {
				select {
				case <-stop:
					return
				default:
				}
				var r read
				if r, errs[i] = readOrder(t.Context(), node, token.AccessToken, ids[n%len(ids)]); errs[i] == nil && r.version > 0 {
					found[i] = append(found[i], r)
				}
			}
		})
	}
	for n := range 200 {
		at := &orders[n%3] // the last one stays as it is
		changed, err := user.AmendOrder(t.Context(), at.ID, at.Version, client.Amendment{Attributes: &client.Object{"n": n}})
		require.NoError(t, err)
		c.note(changed)
		*at = changed
	}
	close(stop)
	readers.Wait()
	for i, reads := range found {
		require.NoError(t, errs[i])
		require.NotEmpty(t, reads)
		for _, r := range reads {
			began, known := c.at[r.id][r.version]
			require.True(t, known, "%+v", r)
			require.LessOrEqual(t, began, r.position, "%+v had not begun", r)
			if ended, over := c.at[r.id][r.version+1]; over {
				require.Greater(t, ended, r.position, "%+v was over", r)
			}
		}
	}
}

// readOrder gives the version and position of an answer; none while the order cannot be read yet.
func readOrder(ctx context.Context, node, token, id string) (read, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, node+"/v1/orders/"+id, nil)
	if err != nil {
		return read{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return read{}, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusServiceUnavailable {
		return read{}, nil
	}
	if res.StatusCode != http.StatusOK {
		return read{}, fmt.Errorf("read: %s", res.Status)
	}
	tag, _, _ := strings.Cut(strings.Trim(res.Header.Get("ETag"), `"`), "-")
	version, err := strconv.ParseInt(tag, 10, 64)
	if err != nil {
		return read{}, err
	}
	position, err := strconv.ParseInt(res.Header.Get(httpapi.HeaderPosition), 10, 64)
	return read{id, version, position}, err
}
