package playprovider

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/orderstore/orderstore/client"
)

func playSameOrder(ctx context.Context, s *stage) (finding, error) {
	order, _, err := s.place(ctx, "same-order", s.parties.BusinessType, 2)
	if err != nil {
		return finding{}, err
	}
	again, err := s.user.SubmitOrder(ctx, s.submission("same-order", s.parties.BusinessType, 2))
	if err != nil {
		return finding{}, err
	}
	_, refused := s.user.SubmitOrder(ctx, s.submission("same-order", s.parties.BusinessType, 3))
	ok := again.Meta.Status == http.StatusOK && again.Meta.Replayed && again.ID == order.ID && client.HasCode(refused, client.CodeOrderConflict)
	return finding{ok: ok, seen: fmt.Sprintf("again: %d, the same order: %t; other content: %s", again.Meta.Status, again.ID == order.ID, problem(refused))}, nil
}

func playStale(ctx context.Context, s *stage) (finding, error) {
	order, _, err := s.place(ctx, "stale", s.parties.BusinessType, 2)
	if err != nil {
		return finding{}, err
	}
	change := client.Amendment{Attributes: &client.Object{"conformance": "amended"}}
	without, err := s.ask(ctx, s.user, http.MethodPost, "/v1/orders/"+order.ID+"/cancel", nil)
	if err != nil {
		return finding{}, err
	}
	_, stale := s.user.AmendOrder(ctx, order.ID, order.Version-1, change)
	amended, err := s.user.AmendOrder(ctx, order.ID, order.Version, change)
	if err != nil {
		return finding{}, err
	}
	ok := without.status == http.StatusPreconditionRequired && client.HasCode(stale, client.CodeVersion) && amended.Version > order.Version
	return finding{ok: ok, seen: fmt.Sprintf("without If-Match: %d, with an old one: %s, with the right one: version %d after %d",
		without.status, problem(stale), amended.Version, order.Version)}, nil
}

var errNotAsked = errors.New("the provider was not told task.cancellation_requested in time")

// cancelAccepted gives an order that its provider has accepted and that the user then wants to cancel, once the provider was told so.
func (s *stage) cancelAccepted(ctx context.Context, name string) (client.Order, client.Task, error) {
	order, task, err := s.place(ctx, name, s.parties.BusinessType, 2)
	if err != nil {
		return order, task, err
	}
	if _, err := s.own.AcceptTask(ctx, task.ID); err != nil {
		return order, task, err
	}
	order, err = s.user.CancelOrder(ctx, order.ID, client.AnyVersion, client.CancelReason{Reason: "conformance"})
	if err != nil {
		return order, task, err
	}
	if order.Cancellation == nil || order.Cancellation.Status != client.CancellationRequested {
		return order, task, errors.New("the order does not say that its cancellation is requested")
	}
	if _, heard := s.feed.hears(ctx, "task.cancellation_requested", order.ID); !heard {
		return order, task, errNotAsked
	}
	return order, task, nil
}

func playLateCancel(ctx context.Context, s *stage) (finding, error) {
	agreeing, task, err := s.cancelAccepted(ctx, "agree")
	if err != nil {
		return finding{}, err
	}
	agreed, err := s.own.AcceptTask(ctx, task.ID)
	if err != nil {
		return finding{}, err
	}
	cancelled, err := s.again(ctx, agreeing, agreed.Meta)
	if err != nil {
		return finding{}, err
	}
	refusing, task, err := s.cancelAccepted(ctx, "refuse")
	if err != nil {
		return finding{}, err
	}
	refused, err := s.own.RejectTask(ctx, task.ID, client.Rejection{ReasonCode: "too_late"})
	if err != nil {
		return finding{}, err
	}
	done, err := s.own.PostResult(ctx, task.ID, client.ResultSubmission{ResultID: "refused-" + s.run, Outcome: client.OutcomeCompleted})
	if err != nil {
		return finding{}, err
	}
	completed, err := s.again(ctx, refusing, done.Meta)
	if err != nil {
		return finding{}, err
	}
	ok := agreed.Status == client.TaskCancelled && cancelled.Status == client.OrderCancelled &&
		refused.Status == client.TaskCancellationRefused && completed.Status == client.OrderCompleted
	return finding{ok: ok, seen: fmt.Sprintf("agreed: task %s, order %s; refused: task %s, then order %s",
		agreed.Status, cancelled.Status, refused.Status, completed.Status)}, nil
}

func playLateResult(ctx context.Context, s *stage) (finding, error) {
	order, task, err := s.cancelAccepted(ctx, "late-result")
	if err != nil {
		return finding{}, err
	}
	if _, err := s.own.AcceptTask(ctx, task.ID); err != nil {
		return finding{}, err
	}
	late, err := s.own.PostResult(ctx, task.ID, client.ResultSubmission{ResultID: "late-" + s.run, Outcome: client.OutcomeCompleted})
	if err != nil {
		return finding{}, err
	}
	now, err := s.again(ctx, order, late.Meta)
	if err != nil {
		return finding{}, err
	}
	flagged := len(now.Results) == 1 && now.Results[0].Late
	ok := flagged && now.Status == client.OrderCancelled && fulfilled(now) == 0
	return finding{ok: ok, seen: fmt.Sprintf("%d results, flagged late: %t; order %s with %d units fulfilled", len(now.Results), flagged, now.Status, fulfilled(now))}, nil
}
