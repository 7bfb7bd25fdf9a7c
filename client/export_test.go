package client

import (
	"bytes"
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// SetClock gives the client another time of day.
func (c *Client) SetClock(now func() time.Time) { c.now = now }

// SetWait makes pauses call wait instead of waiting.
func (c *Client) SetWait(wait func(context.Context, time.Duration) error) { c.wait = wait }

// SetIdle sets how long an event stream may be silent.
func (c *Client) SetIdle(d time.Duration) { c.idle = d }

// SetLook sets how often a subscription that is read is looked at.
func (c *Client) SetLook(d time.Duration) { c.look = d }

// StreamEvents reads all events of an SSE body.
func StreamEvents(body []byte) ([]Event, error) {
	s := newStream(bytes.NewReader(body))
	var all []Event
	for {
		e, err := s.next()
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
}

// EventOfHeaders reads the event that a message's headers announce.
func EventOfHeaders(h nats.Header) (Event, error) { return eventOfHeaders(h) }
