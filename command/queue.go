package command

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/orderstore/orderstore/internal/fault"
)

const (
	queueLength  = 4096             // commands waiting; more are refused
	roundLength  = 512              // commands in one transaction
	longestWait  = 2 * time.Second  // a command that would wait longer for its round is refused
	answerWithin = 10 * time.Second // a caller waits no longer than this
)

type job struct {
	command Command
	key     *Key
	done    chan outcome
	state   atomic.Int32
}

// A job is either taken into a round or withdrawn by its caller, never both.
const (
	jobWaiting int32 = iota
	jobTaken
	jobWithdrawn
)

type outcome struct {
	answer Answer
	err    error
}

// queue is the commands that wait for a round. Single ones are refused when there are too many; those of batches wait for room.
// Rounds take from both alike, so that a batch keeps nobody out.
type queue struct {
	single chan *job
	bulk   chan *job
	pace   pace
}

func newQueue(now func() time.Time) *queue {
	return &queue{single: make(chan *job, queueLength), bulk: make(chan *job, roundLength), pace: pace{now: now, since: now()}}
}

// Submit hands a command over and waits until it is committed. It returns a *fault.Error: what the command is refused for;
// fault.Overloaded when it would wait, or has waited, too long and is not stored; fault.Unavailable when nothing may be stored;
// fault.OutcomeUnknown when it was in a round that took too long, in which case sending the same command again finds the truth.
func (c *Committer) Submit(ctx context.Context, command Command, key *Key) (Answer, error) {
	return c.sealing(ctx, command, func(command Command) (Answer, error) { return c.submit(ctx, command, c.seals.key(key)) })
}

func (c *Committer) submit(ctx context.Context, command Command, key *Key) (Answer, error) {
	if err := c.safe(); err != nil {
		return Answer{}, err
	}
	if expected := c.queue.expected(); expected > longestWait {
		return Answer{}, fault.New(fault.Overloaded, "too many commands are waiting").Retry(min(expected, answerWithin))
	}
	j := &job{command: command, key: key, done: make(chan outcome, 1)}
	select {
	case c.queue.single <- j:
	default:
		return Answer{}, fault.New(fault.Overloaded, "too many commands are waiting").Retry(time.Second)
	}
	timer := time.NewTimer(answerWithin)
	defer timer.Stop()
	return j.wait(ctx, timer)
}

// SubmitWaiting is Submit for callers that bound how much they submit themselves: it waits for room in the queue.
func (c *Committer) SubmitWaiting(ctx context.Context, command Command) (Answer, error) {
	return c.sealing(ctx, command, func(command Command) (Answer, error) { return c.submitWaiting(ctx, command) })
}

func (c *Committer) submitWaiting(ctx context.Context, command Command) (Answer, error) {
	if err := c.safe(); err != nil {
		return Answer{}, err
	}
	j := &job{command: command, done: make(chan outcome, 1)}
	timer := time.NewTimer(answerWithin)
	defer timer.Stop()
	select {
	case c.queue.bulk <- j:
		return j.wait(ctx, timer)
	case <-timer.C:
		return Answer{}, waitedTooLong()
	case <-ctx.Done():
		return Answer{}, unavailable(ctx.Err())
	}
}

// sealing submits a command with its customer sealed, and opens the one in the answer. A key that was destroyed in between is another
// one at the second try.
func (c *Committer) sealing(ctx context.Context, command Command, submit func(Command) (Answer, error)) (Answer, error) {
	if c.seals.keys == nil {
		return submit(command)
	}
	if err := c.safe(); err != nil { // nothing is looked up for what is refused
		return Answer{}, err
	}
	var answer Answer
	for range 2 {
		sealed, err := c.seals.sealed(ctx, command, c.store)
		if err != nil {
			return Answer{}, err
		}
		if answer, err = submit(sealed); err == nil {
			answer.Body, _ = c.seals.keys.Open(ctx, answer.Body)
			return answer, nil
		}
		if !errors.Is(err, errErased) {
			return answer, err
		}
		c.seals.keys.Forget(customerKeyOf(sealed))
		if err := c.seals.keys.Poll(ctx); err != nil {
			return Answer{}, unavailable(err)
		}
	}
	return answer, fault.Wrap(errErased, fault.Unavailable, "the customer is being erased: send the order again").Retry(time.Second)
}

func (j *job) wait(ctx context.Context, timer *time.Timer) (Answer, error) {
	select {
	case o := <-j.done:
		return o.answer, o.err
	case <-ctx.Done():
	case <-timer.C:
	}
	if j.state.CompareAndSwap(jobWaiting, jobWithdrawn) {
		return Answer{}, waitedTooLong()
	}
	return Answer{}, fault.New(fault.OutcomeUnknown, "the outcome is not known yet: send the same request again").Retry(time.Second)
}

func waitedTooLong() error {
	return fault.New(fault.Overloaded, "the command waited too long and was not stored").Retry(2 * time.Second)
}

// gather waits for one command and takes all others that are waiting with it.
func (q *queue) gather(ctx context.Context) []*job {
	var jobs []*job
	for len(jobs) == 0 {
		select {
		case j := <-q.single:
			jobs = j.take(jobs)
		case j := <-q.bulk:
			jobs = j.take(jobs)
		case <-ctx.Done():
			return nil
		}
	}
	for len(jobs) < roundLength {
		select {
		case j := <-q.single:
			jobs = j.take(jobs)
		case j := <-q.bulk:
			jobs = j.take(jobs)
		default:
			return jobs
		}
	}
	return jobs
}

// take adds the job to a round unless its caller has gone.
func (j *job) take(jobs []*job) []*job {
	if !j.state.CompareAndSwap(jobWaiting, jobTaken) {
		return jobs
	}
	return append(jobs, j)
}

// refuse answers all that is waiting.
func (q *queue) refuse() {
	for {
		select {
		case j := <-q.single:
			j.done <- outcome{err: unavailable(nil)}
		case j := <-q.bulk:
			j.done <- outcome{err: unavailable(nil)}
		default:
			return
		}
	}
}

// expected is how long a command that comes now has to wait for the end of the rounds before its own.
func (q *queue) expected() time.Duration {
	return q.pace.expected((len(q.single) + len(q.bulk)) / roundLength)
}

// pace measures how long rounds take. The goroutine that commits writes it, callers read it.
type pace struct {
	now   func() time.Time
	since time.Time    // what times are counted from, so that a clock that is set moves nothing
	began atomic.Int64 // ns after since at which the round under way began; 0: none is
	round atomic.Int64 // ns that a round takes, smoothed
}

func (p *pace) clock() int64 { return int64(p.now().Sub(p.since)) + 1 }

func (p *pace) begin() { p.began.Store(p.clock()) }

// end takes a round into the measure: half of it at once when it was quicker, a quarter when it was slower, since one stall says
// little of the rounds after it. For the same reason a stall counts as no more than the longest wait: the one after it would else be
// expected to take longer than anybody may wait, and everybody be refused until it ended.
func (p *pace) end() {
	took, known := min(p.clock()-p.began.Swap(0), int64(longestWait)), p.round.Load()
	if took < known {
		p.round.Store((known + took) / 2)
		return
	}
	p.round.Store(known + (took-known)/4)
}

// expected counts the round under way whole, or as long as it has taken, and others before the command as they have been.
func (p *pace) expected(rounds int) time.Duration {
	began, round := p.began.Load(), p.round.Load()
	if began == 0 {
		return time.Duration(int64(rounds) * round)
	}
	return time.Duration(int64(rounds)*round + max(round, p.clock()-began))
}
