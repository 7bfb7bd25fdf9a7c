// Package providersim is a sample provider: it follows the feed, accepts every task and posts a result for it, over the public
// API alone; or it is slow, silent or unwilling, as its Manner says. It remembers one position, so it goes on where it stopped; what
// it does twice, the store takes once.
package providersim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orderstore/orderstore/client"
)

// Config is how the provider works. Zero values mean the defaults.
type Config struct {
	Client *client.Client // with a provider's credentials
	// Concurrency is how many tasks are worked on at a time; those that Manner delays are not counted meanwhile.
	Concurrency int
	Manner      Manner
	// Once ends the run when there is nothing left to do; otherwise it goes on until its context ends.
	Once bool
	// After is the position to begin behind, where StateFile knows none.
	After int64
	// StateFile keeps the position up to which everything was dealt with; none when empty.
	StateFile string
	// Report hears of each task that was completed; it may be called from several goroutines at a time.
	Report func(Stats)
	Wait   time.Duration // of a long poll
	// ReportLoad is the time between two reports of the share of Concurrency that is at work; 0: none are sent.
	ReportLoad time.Duration
}

// The defaults of Config.
const (
	DefaultConcurrency = 64
	DefaultWait        = 20 * time.Second
)

// lastLook is how long a run that is about to end waits for one more event.
const lastLook = time.Second

// Stats are what a run has done.
type Stats struct {
	Completed int64 `json:"completed"` // tasks
	Replayed  int64 `json:"replayed"`  // of them, had been completed by an earlier run
	Skipped   int64 `json:"skipped"`   // tasks that others had closed meanwhile
	Rejected  int64 `json:"rejected"`  // tasks
	Ignored   int64 `json:"ignored"`   // tasks and cancellations that got no answer
	Agreed    int64 `json:"agreed"`    // to a cancellation
	Refused   int64 `json:"refused"`   // cancellations
	Events    int64 `json:"events"`    // heard
	Position  int64 `json:"position"`  // everything up to it was dealt with
}

// provider is a run.
type provider struct {
	Config

	mu     sync.Mutex
	stats  Stats
	wrote  int64           // highest position of a write
	inHand map[string]bool // by matter: true when it is dealt with later, false when not at all
	later  sync.WaitGroup  // those of them that are dealt with later
	// postpone begins work on a task that takes longer than what it was found by: until the run ends.
	postpone func(client.Task)
	working  atomic.Int64
}

// Run works until its context ends, or, with Once, until no task is open.
func Run(ctx context.Context, c Config) (Stats, error) {
	if c.Concurrency <= 0 {
		c.Concurrency = DefaultConcurrency
	}
	if c.Wait <= 0 {
		c.Wait = DefaultWait
	}
	p := &provider{Config: c, inHand: map[string]bool{}}
	after, err := p.load()
	if err != nil {
		return p.stats, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	p.postpone = func(task client.Task) {
		p.later.Go(func() {
			if err := p.slowly(ctx, task); err != nil && ctx.Err() == nil {
				stop(err)
			}
		})
	}
	var reports sync.WaitGroup
	if c.ReportLoad > 0 {
		reports.Go(func() { p.reportLoad(ctx) })
	}
	// What an earlier run did not get to complete is announced no more.
	statuses := workable
	if after == 0 {
		statuses = workable[1:] // what is only offered will be
	}
	_, err = p.sweep(ctx, statuses)
	if err == nil {
		err = p.follow(ctx, after)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	stop(nil)
	p.later.Wait()
	reports.Wait()
	return p.snapshot(), err
}

// reportLoad says again and again how busy the provider is. A report that does not get through is followed by the next one; when
// none does any more, the last one expires.
func (p *provider) reportLoad(ctx context.Context) {
	tick := time.NewTicker(p.ReportLoad)
	defer tick.Stop()
	capacity := int64(p.Concurrency)
	for {
		report := client.LoadReport{
			Load: float64(p.working.Load()) / float64(p.Concurrency), Capacity: &capacity, TTL: max(time.Second, 3*p.ReportLoad).Round(time.Second),
		}
		_, _ = p.Client.ReportLoad(ctx, report)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// follow deals with the feed page by page.
func (p *provider) follow(ctx context.Context, after int64) error {
	wait := p.Wait
	for {
		if p.Once {
			wait = 0
		}
		page, err := p.page(ctx, after, wait)
		if err != nil {
			return err
		}
		if p.Once && len(page.Events) == 0 && page.ScannedTo == after {
			done, err := p.done(ctx, &page, after)
			if err != nil || done {
				return err
			}
		}
		after = page.ScannedTo
	}
}

// page reads and deals with one page, and remembers that it did.
func (p *provider) page(ctx context.Context, after int64, wait time.Duration) (client.FeedPage, error) {
	page, err := p.Client.Feed(ctx, client.FeedRequest{After: after, Wait: wait, IncludeOrder: true, Limit: 500})
	if err != nil {
		return page, err
	}
	err = p.each(ctx, func(work func(client.Task)) error {
		met := map[string]bool{} // all events of a task come with the task as it is now
		for i := range page.Events {
			task, found, err := announced(&page.Events[i])
			if err != nil {
				return err
			}
			if found && !met[task.ID] && !p.has(task) {
				met[task.ID] = true
				work(task)
			}
		}
		return nil
	})
	if err != nil {
		return page, err
	}
	p.mu.Lock()
	p.stats.Events += int64(len(page.Events))
	p.stats.Position = page.ScannedTo
	p.mu.Unlock()
	return page, p.save(page.ScannedTo)
}

// done looks for work once more: in the inbox, and for a moment in the feed.
func (p *provider) done(ctx context.Context, page *client.FeedPage, after int64) (bool, error) {
	if p.waiting() {
		var err error
		*page, err = p.page(ctx, after, lastLook)
		return false, err
	}
	found, err := p.sweep(ctx, workable)
	if err != nil || found > 0 {
		return false, err
	}
	*page, err = p.page(ctx, after, lastLook)
	return err == nil && len(page.Events) == 0, err
}

// announced is the task that an event offers or asks to have cancelled, where it can still be worked on.
func announced(event *client.Event) (client.Task, bool, error) {
	if event.Type != "task.offered" && event.Type != "task.cancellation_requested" {
		return client.Task{}, false, nil
	}
	order, err := event.Order()
	if errors.Is(err, client.ErrNoData) { // the order is gone, and the task with it
		return client.Task{}, false, nil
	}
	if err != nil {
		return client.Task{}, false, fmt.Errorf("order of event %s: %w", event.ID, err)
	}
	task, found := order.Task(event.TaskID)
	return task, found && slices.Contains(workable, task.Status), nil
}

// workable are the statuses of tasks that wait for the provider, the first one it is asked in.
//
//nolint:gochecknoglobals // a table that nothing changes
var workable = []string{client.TaskOffered, client.TaskAccepted, client.TaskCancellationRequested, client.TaskCancellationRefused}

// sweep works on all tasks of the inbox that have one of these statuses and are not in hand, and says how many there were. It notes
// them: an announcement that is read right after may show them as they were before.
func (p *provider) sweep(ctx context.Context, statuses []string) (int, error) {
	found := 0
	err := p.each(ctx, func(work func(client.Task)) error {
		filter := client.TaskFilter{Status: statuses, PageSize: 200, Position: p.written()}
		for task, err := range p.Client.ListTasks(ctx, filter) {
			if err != nil {
				return err
			}
			if p.has(task) {
				continue
			}
			if task.Status != client.TaskCancellationRequested { // which may come again
				p.take(task, false)
			}
			found++
			work(task)
		}
		return nil
	})
	return found, err
}

// each works on what find finds, several at a time, and ends with the first error.
func (p *provider) each(ctx context.Context, find func(work func(client.Task)) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	slots := make(chan struct{}, p.Concurrency)
	err := find(func(task client.Task) {
		slots <- struct{}{}
		if ctx.Err() != nil {
			<-slots
			return
		}
		wg.Go(func() {
			p.working.Add(1)
			defer func() {
				p.working.Add(-1)
				<-slots
			}()
			if err := p.deal(ctx, task); err != nil {
				cancel(err)
			}
		})
	})
	wg.Wait()
	if err != nil {
		return err
	}
	return context.Cause(ctx)
}

// skip leaves a task that was closed or taken away meanwhile, and returns every other error.
func (p *provider) skip(err error) error {
	if !client.HasCode(err, client.CodeTaskState) && !client.HasCode(err, client.CodeNotFound) {
		return err
	}
	p.count(&p.stats.Skipped)
	return nil
}

func (p *provider) written() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wrote
}

func (p *provider) snapshot() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

func (p *provider) load() (int64, error) {
	if p.StateFile == "" {
		return p.After, nil
	}
	b, err := os.ReadFile(p.StateFile)
	if errors.Is(err, os.ErrNotExist) {
		return p.After, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read state: %w", err)
	}
	after, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || after < 0 {
		return 0, fmt.Errorf("read state: %s does not hold a position", p.StateFile)
	}
	return max(after, p.After), nil
}

// save writes the position beside and moves it into place, so that a crash leaves the old one or the new one.
func (p *provider) save(position int64) error {
	if p.StateFile == "" {
		return nil
	}
	next := filepath.Clean(p.StateFile) + ".next"
	if err := os.WriteFile(next, []byte(strconv.FormatInt(position, 10)+"\n"), 0o600); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	if err := os.Rename(next, p.StateFile); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}
