package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// fromViews tells whether a call reads what projectors build, which every read node has and none at the same moment.
func (r *request) fromViews() bool {
	return r.method == http.MethodGet && len(r.path) > 1 && (r.path[1] == "orders" || r.path[1] == "tasks")
}

// ask makes the call once; one that reads from views once at each read node, until one answers: the next may be there already while this one
// is away or behind.
func (c *Client) ask(ctx context.Context, r request, body []byte, out any) (Meta, error) {
	for tries := 1; ; tries++ {
		at := c.reader.Load()
		meta, err := c.attempt(ctx, r, body, out)
		if err == nil || !r.fromViews() || !passing(err) || ctx.Err() != nil {
			return meta, err
		}
		c.reader.CompareAndSwap(at, at+1) // unless another call has met the same
		if tries >= len(c.readers) {
			return meta, err
		}
	}
}

// baseFor is where a call goes.
func (c *Client) baseFor(r request) *url.URL {
	if len(c.readers) == 0 || !r.fromViews() {
		return c.base
	}
	return c.readers[int(c.reader.Load())%len(c.readers)]
}

// follow makes a read reflect all that this client has seen.
func (c *Client) follow(r request, header http.Header) {
	if c.older || !r.fromViews() {
		return
	}
	asked, _ := strconv.ParseInt(header.Get(positionHeader), 10, 64) // absent: 0
	if seen := c.seen.Load(); seen > asked {
		header.Set(positionHeader, strconv.FormatInt(seen, 10))
	}
}

// saw remembers the highest position.
func (c *Client) saw(position int64) {
	for {
		seen := c.seen.Load()
		if position <= seen || c.seen.CompareAndSwap(seen, position) {
			return
		}
	}
}

// Seen is the highest Order-Position of all answers so far: what one client has seen, another may be asked to reflect.
func (c *Client) Seen() int64 { return c.seen.Load() }
