package providersim

import (
	"context"
	"strings"
	"time"

	"github.com/orderstore/orderstore/client"
)

// Manner is how the provider treats its tasks. The zero value accepts and completes each at once, and agrees to every cancellation.
type Manner struct {
	// Silent answers no task at all, so that its deadlines pass.
	Silent bool
	// Reject gives every task back for this reason instead of accepting it.
	Reject *client.Rejection
	// AcceptAfter passes before a task is accepted, and CompleteAfter between that and its result.
	AcceptAfter, CompleteAfter time.Duration
	// Cancellations says how the user's wish to cancel an accepted task is answered; Agree when empty.
	Cancellations Answer
}

// Answer is an answer to a cancellation.
type Answer string

// The answers to a cancellation.
const (
	Agree  Answer = "agree"
	Refuse Answer = "refuse"
	Ignore Answer = "ignore" // silence is taken for yes when the time to answer is over
)

// deal does with a task what the provider's manner is.
func (p *provider) deal(ctx context.Context, task client.Task) error {
	switch {
	case p.Manner.Silent:
		p.take(task, false)
		p.count(&p.stats.Ignored)
		return nil
	case task.Status == client.TaskCancellationRequested:
		return p.answer(ctx, task)
	case p.Manner.Reject != nil && task.Status == client.TaskOffered:
		return p.reject(ctx, task)
	case p.pause(task) > 0:
		p.take(task, true)
		p.postpone(task)
		return nil
	}
	if err := p.accept(ctx, task); err != nil {
		return p.skip(err)
	}
	return p.complete(ctx, task)
}

// pause is how long the task is left alone on its way.
func (p *provider) pause(task client.Task) time.Duration {
	if task.Status == client.TaskOffered {
		return p.Manner.AcceptAfter + p.Manner.CompleteAfter
	}
	return p.Manner.CompleteAfter
}

// slowly accepts and completes a task, each after its pause, unless it was let go of meanwhile.
func (p *provider) slowly(ctx context.Context, task client.Task) error {
	p.working.Add(1)
	defer p.working.Add(-1)
	defer p.letGo(task)
	if task.Status == client.TaskOffered {
		if !after(ctx, p.Manner.AcceptAfter) {
			return nil
		}
		if err := p.accept(ctx, task); err != nil {
			return p.skip(err)
		}
	}
	if !after(ctx, p.Manner.CompleteAfter) || !p.waits(task) {
		return nil
	}
	return p.complete(ctx, task)
}

// after waits; false when the run ends meanwhile.
func after(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// accept accepts a task, unless that was done before.
func (p *provider) accept(ctx context.Context, task client.Task) error {
	if task.Status != client.TaskOffered {
		return nil
	}
	_, err := p.Client.AcceptTask(ctx, task.ID)
	return err
}

// complete posts a task's result under an id that is always the same.
func (p *provider) complete(ctx context.Context, task client.Task) error {
	short := task.ID[max(0, len(task.ID)-12):]
	done, err := p.Client.PostResult(ctx, task.ID, client.ResultSubmission{
		ResultID: "sim-" + task.ID, Outcome: client.OutcomeCompleted,
		Tracking: []client.Tracking{{Carrier: "sample-parcel", Number: "SP" + strings.ToUpper(short)}},
		Payload:  client.Object{"confirmation": short, "handled_by": "provider-sim"},
	})
	if err != nil {
		return p.skip(err)
	}
	p.mu.Lock()
	p.stats.Completed++
	if done.Meta.Replayed {
		p.stats.Replayed++
	}
	p.wrote = max(p.wrote, done.Meta.Position)
	stats := p.stats
	p.mu.Unlock()
	if p.Report != nil {
		p.Report(stats)
	}
	return nil
}

func (p *provider) reject(ctx context.Context, task client.Task) error {
	rejected, err := p.Client.RejectTask(ctx, task.ID, *p.Manner.Reject)
	if err != nil {
		return p.skip(err)
	}
	p.writtenAt(rejected.Meta.Position)
	p.count(&p.stats.Rejected)
	return nil
}

// answer answers a cancellation. A task whose cancellation is refused goes on.
func (p *provider) answer(ctx context.Context, task client.Task) error {
	switch p.Manner.Cancellations {
	case Ignore:
		p.take(task, false)
		p.count(&p.stats.Ignored)
		return nil
	case Refuse:
		refused, err := p.Client.RejectTask(ctx, task.ID, client.Rejection{ReasonCode: "too_late"})
		if err != nil {
			return p.skip(err)
		}
		p.writtenAt(refused.Meta.Position)
		p.count(&p.stats.Refused)
		if p.waits(task) {
			return nil
		}
		return p.deal(ctx, refused)
	}
	agreed, err := p.Client.AcceptTask(ctx, task.ID)
	if err != nil {
		return p.skip(err)
	}
	p.letGo(task) // it is not completed any more
	p.writtenAt(agreed.Meta.Position)
	p.count(&p.stats.Agreed)
	return nil
}

// matter names what is to be dealt with: a task's work, or the wish to cancel it.
func matter(task client.Task) string {
	if task.Status == client.TaskCancellationRequested {
		return task.ID + " cancellation"
	}
	return task.ID
}

// take notes that a task, or the wish to cancel it, is dealt with later, or else not at all.
func (p *provider) take(task client.Task, later bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inHand[matter(task)] = later
}

// has says whether that was noted.
func (p *provider) has(task client.Task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, noted := p.inHand[matter(task)]
	return noted
}

// waits says whether the task's work is still to be done later.
func (p *provider) waits(task client.Task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inHand[task.ID]
}

// letGo forgets the task's work.
func (p *provider) letGo(task client.Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.inHand, task.ID)
}

// waiting says whether any work is still to be done later.
func (p *provider) waiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, later := range p.inHand {
		if later {
			return true
		}
	}
	return false
}

func (p *provider) count(n *int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*n++
}

func (p *provider) writtenAt(position int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrote = max(p.wrote, position)
}
