package broadcast

import (
	"math"
	"strings"
	"time"

	"github.com/orderstore/orderstore/internal/httpapi"
)

const maxName = 128 // characters

// subscriptionRequest is what a party sends to make or change a subscription. What it does not say stays as it is.
type subscriptionRequest struct {
	s       *Subscription
	start   start
	started bool
	given   map[string]bool
	webhook webhookSettings
}

// readSubscription reads a subscription's members strictly, over what s has already. creating allows those that are fixed once it is
// made.
func readSubscription(body []byte, s *Subscription, creating bool) (*subscriptionRequest, error) {
	q := &subscriptionRequest{s: s, given: map[string]bool{}}
	var err error
	if q.webhook, err = settingsOf(s); err != nil {
		return nil, err
	}
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		q.given[name] = true
		switch {
		case q.common(r, name):
		case creating && q.creation(r, name):
		case q.endpoint(r, name):
		case fixed(name):
			r.ReadOnly()
		default:
			r.Unknown()
		}
	})
	if creating {
		r.Require("transport", q.given["transport"])
		if len(q.begins()) > 1 {
			r.InvalidAt("", "only one of start, after and since can be given")
		}
	}
	q.checkEndpoint(r, creating)
	if err := r.Finish(); err != nil || s.Transport != TransportWebhook {
		return q, err
	}
	s.Settings, err = q.webhook.encode()
	return q, err
}

// begins lists the members that were given to say where the subscription begins.
func (q *subscriptionRequest) begins() []string {
	var all []string
	for _, name := range []string{"start", "after", "since"} {
		if q.given[name] {
			all = append(all, name)
		}
	}
	return all
}

func fixed(name string) bool {
	switch name {
	case "algorithm", "id", "transport", "status", "reason", "position", "lag", "version", "created_at", "updated_at", "start", "after", "since":
		return true
	}
	return false
}

// common reads the members that may be changed.
func (q *subscriptionRequest) common(r *httpapi.Reader, name string) bool {
	switch name {
	case "name":
		r.String(&q.s.Name, 1, maxName)
	case "types":
		q.s.Filter.Types = readList(r, "is no event type", validType)
	case "business_types":
		q.s.Filter.BusinessTypes = readList(r, "must match [a-z0-9_.-]{1,64}", httpapi.ValidName)
	case "include":
		q.s.IncludeOrder = false
		if r.Null() {
			return true
		}
		var what string
		if r.String(&what, 1, maxName); what != "" && what != includeName {
			r.Invalid(`must be "order"`)
		}
		q.s.IncludeOrder = what == includeName
	default:
		return false
	}
	return true
}

// creation reads the members that are fixed once the subscription is made.
func (q *subscriptionRequest) creation(r *httpapi.Reader, name string) bool {
	switch name {
	case "transport":
		var t string
		if r.String(&t, 1, maxName); t != "" && !validTransport(Transport(t)) {
			r.Invalid(`must be "webhook", "nats", "sse" or "feed"`)
		}
		q.s.Transport = Transport(t)
	case "start":
		var s string
		if r.String(&s, 1, maxName); s != "" && s != "now" && s != "beginning" {
			r.Invalid(`must be "now" or "beginning"`)
		}
		q.start, q.started = start{now: s == "now"}, true
	case "after":
		r.Int(&q.start.after, 0, math.MaxInt64)
		q.started = true
	case "since":
		var since time.Time
		r.Time(&since)
		q.start, q.started = start{since: since}, true
	default:
		return false
	}
	return true
}

func validTransport(t Transport) bool {
	return t == TransportWebhook || t == TransportNATS || t == TransportSSE || t == TransportFeed
}

// readList reads a list of different words.
func readList(r *httpapi.Reader, detail string, valid func(string) bool) []string {
	list := []string{}
	seen := map[string]bool{}
	r.Array(maxFilter, func(int) {
		var word string
		r.String(&word, 1, maxName)
		switch {
		case word == "":
		case !valid(word):
			r.Invalid(detail)
		case seen[word]:
			r.Invalid("is listed twice")
		default:
			seen[word] = true
			list = append(list, strings.Clone(word))
		}
	})
	return list
}

// readSeek reads where a subscription is moved to.
func readSeek(body []byte) (start, error) {
	q := &subscriptionRequest{s: &Subscription{}, given: map[string]bool{}}
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		q.given[name] = true
		if name == "transport" || !q.creation(r, name) {
			r.Unknown()
		}
	})
	if len(q.begins()) != 1 {
		r.InvalidAt("", "one of start, after and since is needed")
	}
	return q.start, r.Finish()
}

// readAck reads up to where nothing is missing.
func readAck(body []byte) (int64, error) {
	var position int64
	given := false
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		if name != "position" {
			r.Unknown()
			return
		}
		given = true
		r.Int(&position, 0, math.MaxInt64)
	})
	r.Require("position", given)
	return position, r.Finish()
}
