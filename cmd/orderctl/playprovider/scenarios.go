package playprovider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/orderstore/orderstore/client"
)

func scenarios() []scenario {
	return slices.Concat(hearing(), working(), changing())
}

// hearing are the scenarios about what a party is told, and may read.
func hearing() []scenario {
	return []scenario{
		{
			name: "heard", play: playHeard,
			contract: "A task that is offered is told its provider on the feed and on the event stream, with the position as id.",
			expected: "task.offered on both in time, with the same id",
		},
		{
			name: "read-your-write", play: playOwnWrite,
			contract: "A read with Order-Position reflects at least that position.",
			expected: "the order at the version that was just written",
		},
		{
			name: "foreign-order", play: playForeign,
			skip:     func(s *stage) string { return missing(s.other == nil, "no user of another tenant was given") },
			contract: "An order of somebody else is 404, identical to one that does not exist.",
			expected: "404, and the same bytes as for an id that nobody has",
		},
		{
			name: "pull", play: playPull, after: true,
			contract: "What a party was told of, it can read: never a 404 or an older version behind an announcement.",
			expected: "200 for each pull, at the notice's version or a later one",
		},
		{
			name: "scanned-to", play: playScanned, after: true,
			contract: "The feed is in the order of positions, and nothing of the party's is missing up to scanned_to, which never goes back.",
			expected: "positions that rise, in pages of any size the same events, and the same on the stream",
		},
		{
			name: "resume", play: playResume, after: true,
			contract: "A feed and a stream go on behind any position.",
			expected: "from each position exactly what followed it",
		},
	}
}

func missing(is bool, why string) string {
	if is {
		return why
	}
	return ""
}

// place submits an order of some quantities and gives it with its only task.
func (s *stage) place(ctx context.Context, name, businessType string, quantities ...int64) (client.Order, client.Task, error) {
	order, err := s.user.SubmitOrder(ctx, s.submission(name, businessType, quantities...))
	if err != nil {
		return order, client.Task{}, err
	}
	if len(order.Tasks) != 1 {
		return order, client.Task{}, fmt.Errorf("the order has %d tasks, not one: its business type is to go to the provider alone", len(order.Tasks))
	}
	return order, order.Tasks[0], nil
}

func (s *stage) submission(name, businessType string, quantities ...int64) client.OrderSubmission {
	order := client.OrderSubmission{Channel: "conformance", ExternalRef: s.run + "-" + name, BusinessType: businessType, Currency: "EUR"}
	for i, quantity := range quantities {
		line := client.LineSubmission{LineID: fmt.Sprint(i + 1), SKU: fmt.Sprintf("CONFORMANCE-%d", i+1), Quantity: quantity, UnitPrice: 1000}
		order.Lines = append(order.Lines, line)
	}
	return order
}

// again reads an order as the user, not older than what was just written.
func (s *stage) again(ctx context.Context, order client.Order, after client.Meta) (client.Order, error) {
	return s.user.GetOrder(ctx, order.ID, client.GetOptions{Position: after.Position})
}

func playHeard(ctx context.Context, s *stage) (finding, error) {
	order, _, err := s.place(ctx, "heard", s.parties.BusinessType, 1)
	if err != nil {
		return finding{}, err
	}
	onFeed, fed := s.feed.hears(ctx, "task.offered", order.ID)
	onStream, streamed := s.stream.hears(ctx, "task.offered", order.ID)
	f := finding{ok: fed && streamed && onFeed.ID == onStream.ID && onFeed.ID == fmt.Sprint(onFeed.Position)}
	f.seen = fmt.Sprintf("feed: %s, stream: %s", heardAs(onFeed, fed), heardAs(onStream, streamed))
	return f, nil
}

func heardAs(e client.Event, heard bool) string {
	if !heard {
		return "nothing"
	}
	return fmt.Sprintf("%s with id %s at position %d", e.Type, e.ID, e.Position)
}

func playOwnWrite(ctx context.Context, s *stage) (finding, error) {
	order, task, err := s.place(ctx, "own-write", s.parties.BusinessType, 1)
	if err != nil {
		return finding{}, err
	}
	accepted, err := s.own.AcceptTask(ctx, task.ID)
	if err != nil {
		return finding{}, err
	}
	read, err := s.again(ctx, order, accepted.Meta)
	if err != nil {
		return finding{}, err
	}
	now, _ := read.Task(task.ID)
	ok := now.Status == client.TaskAccepted && read.Meta.Position >= accepted.Meta.Position
	return finding{ok: ok, seen: fmt.Sprintf("written at position %d, read at %d: task %s", accepted.Meta.Position, read.Meta.Position, now.Status)}, nil
}

func playForeign(ctx context.Context, s *stage) (finding, error) {
	order, _, err := s.place(ctx, "foreign", s.parties.BusinessType, 1)
	if err != nil {
		return finding{}, err
	}
	f := finding{ok: true}
	strangers := []*client.Client{s.other}
	if s.second != nil {
		strangers = append(strangers, s.second)
	}
	var said []string
	for _, as := range strangers {
		foreign, err := s.ask(ctx, as, http.MethodGet, "/v1/orders/"+order.ID, nil)
		if err != nil {
			return finding{}, err
		}
		nobodys, err := s.ask(ctx, as, http.MethodGet, "/v1/orders/"+uuid.Must(uuid.NewV7()).String(), nil)
		if err != nil {
			return finding{}, err
		}
		same := foreign.status == nobodys.status && foreign.kind == nobodys.kind && string(foreign.body) == string(nobodys.body)
		f.ok = f.ok && same && foreign.status == http.StatusNotFound
		said = append(said, fmt.Sprintf("%d, and %d for nobody's, the same: %t", foreign.status, nobodys.status, same))
	}
	f.seen = strings.Join(said, "; ")
	return f, nil
}

func playPull(ctx context.Context, s *stage) (finding, error) {
	if _, err := s.caughtUp(ctx); err != nil {
		return finding{}, err
	}
	pulls, _, wrong := s.feed.pulled()
	if len(wrong) > 0 {
		return finding{seen: fmt.Sprintf("%d of %d pulls wrong, the first: %s", len(wrong), pulls, wrong[0])}, nil
	}
	return finding{ok: pulls > 0, seen: fmt.Sprintf("%d pulls, each 200 and not older than its notice", pulls)}, nil
}

// told reads the provider's feed between two positions, in pages of a size.
func (s *stage) told(ctx context.Context, after, to int64, limit int) ([]int64, []string, error) {
	var positions []int64
	var faults []string
	for after < to {
		page, err := s.own.Feed(ctx, client.FeedRequest{After: after, Limit: limit})
		if err != nil {
			return nil, nil, err
		}
		faults = append(faults, disorder(after, &page)...)
		for _, e := range page.Events {
			if e.Position <= to {
				positions = append(positions, e.Position)
			}
		}
		if page.ScannedTo <= after {
			return positions, append(faults, fmt.Sprintf("scanned_to stays at %d, with %d still to come", after, to)), nil
		}
		after = page.ScannedTo
	}
	return positions, faults, nil
}

func positionsOf(events []client.Event, after, to int64) []int64 {
	var positions []int64
	for _, e := range events {
		if e.Position > after && e.Position <= to {
			positions = append(positions, e.Position)
		}
	}
	return positions
}

// caughtUp waits until feed and stream have both heard of the same last event, and gives what the feed heard.
func (s *stage) caughtUp(ctx context.Context) ([]client.Event, error) {
	order, _, err := s.place(ctx, "last-"+uuid.NewString()[:8], s.parties.BusinessType, 1)
	if err != nil {
		return nil, err
	}
	offered, heard := s.feed.hears(ctx, "task.offered", order.ID)
	if !heard {
		return nil, errors.New("the feed tells nothing any more")
	}
	if !s.stream.reaches(ctx, offered.Position) {
		return nil, errors.New("the stream tells nothing any more")
	}
	events, _, _ := s.feed.all()
	return events, nil
}

func playScanned(ctx context.Context, s *stage) (finding, error) {
	events, err := s.caughtUp(ctx)
	if err != nil {
		return finding{}, err
	}
	before, last := s.start, events[len(events)-1].Position
	heard := positionsOf(events, before, last)
	streamed, faults, _ := s.stream.all()
	_, more, _ := s.feed.all()
	faults = append(slices.Clone(faults), more...)
	if got := positionsOf(streamed, before, last); !slices.Equal(got, heard) {
		faults = append(faults, fmt.Sprintf("the stream told %d events, the feed %d: %s", len(got), len(heard), difference(got, heard)))
	}
	for _, limit := range []int{1, 3, 500} {
		got, wrong, err := s.told(ctx, before, last, limit)
		if err != nil {
			return finding{}, err
		}
		faults = append(faults, wrong...)
		if !slices.Equal(got, heard) {
			faults = append(faults, fmt.Sprintf("pages of %d: %s", limit, difference(got, heard)))
		}
	}
	_, pages, _ := s.feed.pulled()
	if len(faults) > 0 {
		return finding{seen: fmt.Sprintf("%d faults, the first: %s", len(faults), faults[0])}, nil
	}
	return finding{ok: true, seen: fmt.Sprintf("%d events in %d pages, the same in pages of 1, 3 and 500 and on the stream", len(heard), pages)}, nil
}

// difference names the first position that only one of two lists has.
func difference(got, want []int64) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("position %d is missing", want[i])
		case i >= len(want):
			return fmt.Sprintf("position %d is one too many", got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("position %d instead of %d", got[i], want[i])
		}
	}
	return "the same"
}

// maxResumes bounds from how many positions a run is read again.
const maxResumes = 20

func playResume(ctx context.Context, s *stage) (finding, error) {
	events, err := s.caughtUp(ctx)
	if err != nil {
		return finding{}, err
	}
	last := events[len(events)-1].Position
	step := max(1, len(events)/maxResumes)
	resumed := 0
	for i := 0; i < len(events); i += step {
		after := events[i].Position
		want := positionsOf(events, after, last)
		got, faults, err := s.told(ctx, after, last, 500)
		if err != nil {
			return finding{}, err
		}
		if len(faults) > 0 || !slices.Equal(got, want) {
			return finding{seen: fmt.Sprintf("feed from %d: %s", after, strings.Join(append(faults, difference(got, want)), "; "))}, nil
		}
		if streamed, err := s.streamed(ctx, after, last); err != nil || !slices.Equal(streamed, want) {
			return finding{seen: fmt.Sprintf("stream from %d: %s", after, difference(streamed, want))}, err
		}
		resumed++
	}
	return finding{ok: true, seen: fmt.Sprintf("from %d positions, each time all that followed on feed and stream", resumed)}, nil
}

// streamed opens a stream behind a position and reads it up to another one.
func (s *stage) streamed(ctx context.Context, after, to int64) ([]int64, error) {
	var positions []int64
	if after >= to {
		return positions, nil
	}
	for e, err := range s.own.Events(ctx, client.From{Position: after}, client.OverSSE()) {
		if err != nil {
			return positions, err
		}
		positions = append(positions, e.Position)
		if e.Position >= to {
			break
		}
	}
	return positions, nil
}
