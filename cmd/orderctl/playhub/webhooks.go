package playhub

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/orderstore/orderstore/events"
)

// webhooks delivers notices to the provider, one after the other, signed by Standard Webhooks.
type webhooks struct {
	hub    *hub
	url    string
	secret string // whsec_ and base64
	client *http.Client

	// Under the hub's lock:
	held      bool // nothing is delivered by itself
	delivered int64
	answers   []delivery
}

// delivery is an attempt to deliver a notice, and what came of it.
type delivery struct {
	position int64
	status   int // 0: there was no answer
	err      error
}

const (
	webhookWithin   = 15 * time.Second // for one attempt
	webhookAttempts = 4
	webhookPause    = 500 * time.Millisecond // doubled with each attempt
	secretPrefix    = "whsec_"
)

// newSecret makes a secret as Standard Webhooks writes them.
func newSecret() string {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key[:])
}

// sign is the signature of a delivery, version 1: HMAC-SHA256 over id, time and body.
func sign(secret, id string, at time.Time, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		return "", fmt.Errorf("webhook secret: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// run delivers what is addressed to the provider until ctx ends.
func (w *webhooks) run(ctx context.Context) {
	for ctx.Err() == nil {
		var next *events.Notice
		if !w.hub.until(ctx, func() bool { next = w.next(); return next != nil }) {
			return
		}
		w.deliver(ctx, *next, w.secret)
	}
}

// next takes the next notice that is to be delivered by itself. The lock is held.
func (w *webhooks) next() *events.Notice {
	if w.held {
		return nil
	}
	for _, n := range w.hub.notices {
		if n.Position <= w.delivered {
			continue
		}
		if n, mine := w.hub.notice(n); mine {
			w.delivered = n.Position
			return &n
		}
	}
	return nil
}

// deliver sends a notice until it is taken, some times at most, and gives the last answer.
func (w *webhooks) deliver(ctx context.Context, n events.Notice, secret string) delivery {
	id, last := uuid.NewString(), delivery{}
	for attempt, pause := 1, webhookPause; attempt <= webhookAttempts && ctx.Err() == nil; attempt, pause = attempt+1, 2*pause {
		last = w.send(ctx, n, secret, id, attempt)
		w.hub.look(func() {
			w.answers = append(w.answers, last)
			if last.taken() {
				w.hub.told[n.Position]++
			}
			w.hub.change()
		})
		if last.taken() || secret != w.secret {
			break
		}
		rest(ctx, pause)
	}
	return last
}

func (d *delivery) taken() bool { return d.status >= 200 && d.status < 300 }

func (d *delivery) said() string {
	if d.err != nil {
		return "no answer (" + d.err.Error() + ")"
	}
	return strconv.Itoa(d.status)
}

func (w *webhooks) send(ctx context.Context, n events.Notice, secret, id string, attempt int) delivery {
	d := delivery{position: n.Position}
	ctx, cancel := context.WithTimeout(ctx, webhookWithin)
	defer cancel()
	body, err := json.Marshal(&n)
	if err != nil {
		d.err = fmt.Errorf("encode notice: %w", err)
		return d
	}
	body = w.hub.dress(body)
	at := w.hub.now()
	signature, err := sign(secret, n.ID, at, body)
	if err != nil {
		d.err = err
		return d
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		d.err = fmt.Errorf("make delivery: %w", err)
		return d
	}
	for name, value := range map[string]string{
		"Content-Type": "application/cloudevents+json", "Webhook-Id": n.ID, "Webhook-Timestamp": strconv.FormatInt(at.Unix(), 10),
		"Webhook-Signature": signature, "Orderstore-Delivery": id, "Orderstore-Attempt": strconv.Itoa(attempt),
	} {
		req.Header.Set(name, value)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		d.err = fmt.Errorf("deliver: %w", err)
		return d
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // an answer's body means nothing
	_ = resp.Body.Close()
	d.status = resp.StatusCode
	return d
}

// hold stops what is delivered by itself, and release goes on behind what there is by then.
func (w *webhooks) hold() { w.hub.look(func() { w.held = true }) }

func (w *webhooks) release() {
	w.hub.look(func() {
		w.held, w.delivered = false, w.hub.position
		w.hub.change()
	})
}

// rest waits for d, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
