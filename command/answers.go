package command

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/orderstore/orderstore/internal/fault"
)

func wanted(jobs []*job) *wants {
	w := &wants{}
	for _, j := range jobs {
		j.command.wants(w)
		if j.key != nil {
			w.keys = append(w.keys, j.key.ref())
		}
	}
	return w
}

// apply decides each command on what the ones before it left. An error that is not the command's refusal leaves the round
// unusable.
func apply(r *round, jobs []*job) ([]outcome, []*reply, error) {
	outcomes, replies := make([]outcome, len(jobs)), make([]*reply, len(jobs))
	pending := map[keyRef]int{} // the command that is the first under its key
	for i, j := range jobs {
		if j.key != nil {
			if stored, ok := r.answers[j.key.ref()]; ok {
				outcomes[i].answer, outcomes[i].err = stored.replay(j.key)
				continue
			}
			if _, ok := pending[j.key.ref()]; ok {
				continue // answered with the first one's answer, once that is made
			}
		}
		rep, err := j.command.apply(r)
		if err != nil {
			if fault.CodeOf(err) == fault.Internal {
				return nil, nil, err
			}
			if !r.checked && mayBeReplay(j) {
				return nil, nil, errLookFirst
			}
			outcomes[i].err = err
			continue
		}
		replies[i] = &rep
		if j.key != nil {
			pending[j.key.ref()] = i
		}
	}
	return outcomes, replies, nil
}

// errLookFirst says that a round has to look up what is stored already: a command that it would refuse may be one sent again.
var errLookFirst = errors.New("look up what is stored first")

// mayBeReplay says whether a command may have been applied before under a name of its sender's.
func mayBeReplay(j *job) bool {
	_, isResult := j.command.(*PostResult)
	return isResult || j.key != nil
}

// answerAll makes the answers of all commands that were taken, before they are stored with them.
func answerAll(r *round, jobs []*job, replies []*reply, outcomes []outcome) error {
	for i, rep := range replies {
		if rep == nil {
			continue
		}
		answer, err := rep.answer()
		if err != nil {
			return err
		}
		outcomes[i].answer = answer
		r.keep(jobs[i].key, answer) //nolint:gosec // outcomes has one for each job, as replies has
	}
	for i, j := range jobs {
		if replies[i] == nil && outcomes[i].err == nil && outcomes[i].answer.Status == 0 {
			stored := r.answers[j.key.ref()]
			outcomes[i].answer, outcomes[i].err = stored.replay(j.key)
		}
	}
	return nil
}

// answer renders a reply.
func (rep *reply) answer() (Answer, error) {
	a := Answer{Status: rep.status, Body: rep.document, Replayed: rep.replayed}
	if rep.order == nil {
		a.Position = rep.position
		return a, nil
	}
	o := rep.order.order
	a.OrderID, a.ExternalRef, a.Position, a.Body = o.ID, o.ExternalRef, rep.order.position, rep.order.encoded
	a.ETag = etag(o.Version)
	if rep.task != "" {
		task := o.Task(rep.task)
		body, err := task.Encode()
		if err != nil {
			return a, fmt.Errorf("encode task %s: %w", rep.task, err)
		}
		a.Body, a.ETag = body, etag(task.Version)
	}
	if rep.status == http.StatusCreated && rep.created {
		a.Location = "/v1/orders/" + o.ID
	}
	return a, nil
}

func etag(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }
