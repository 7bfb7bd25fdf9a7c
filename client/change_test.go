package client_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

func TestChangesAreRepeatedUnderTheSameKeyForTheSameVersion(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		call                 func(c *client.Client, options ...client.WriteOption) error
		request, media, body string
		ifMatch              string
	}{
		"amend": {
			func(c *client.Client, options ...client.WriteOption) error {
				_, err := c.AmendOrder(t.Context(), "o-1", 3, client.Amendment{
					Customer: &client.Object{"email": nil}, Attributes: new(client.Object), Shipping: new(int64),
					Lines: []client.LineSubmission{{LineID: "1", SKU: "A", Quantity: 2, UnitPrice: 5}},
				}, options...)
				return err
			},
			"PATCH /v1/orders/o-1", "application/merge-patch+json",
			`{"customer":{"email":null},"attributes":null,"shipping":0,"lines":[{"line_id":"1","sku":"A","quantity":2,"unit_price":5}]}`, `"3"`,
		},
		"cancel": {
			func(c *client.Client, options ...client.WriteOption) error {
				_, err := c.CancelOrder(t.Context(), "o-1", client.AnyVersion, client.CancelReason{Reason: "changed_mind"}, options...)
				return err
			},
			"POST /v1/orders/o-1/cancel", "application/json", `{"reason":"changed_mind"}`, "*",
		},
		"return": {
			func(c *client.Client, options ...client.WriteOption) error {
				_, err := c.ReturnOrder(t.Context(), "o-1", client.OrderReturn{
					ReturnID: "rma-1", Lines: []client.ReturnedLine{{LineID: "1", Quantity: 2, Restock: new(bool)}}, Reason: "broken",
				}, options...)
				return err
			},
			"POST /v1/orders/o-1/returns", "application/json",
			`{"return_id":"rma-1","lines":[{"line_id":"1","quantity":2,"restock":false}],"reason":"broken"}`, "*",
		},
		"hold": {
			func(c *client.Client, options ...client.WriteOption) error {
				_, err := c.HoldTask(t.Context(), "t-1", client.HoldReason{ReasonCode: "no_stock"}, options...)
				return err
			},
			"POST /v1/tasks/t-1/hold", "application/json", `{"reason_code":"no_stock"}`, "",
		},
		"resume": {
			func(c *client.Client, options ...client.WriteOption) error {
				_, err := c.ResumeTask(t.Context(), "t-1", append(options, client.IfVersion(7))...)
				return err
			},
			"POST /v1/tasks/t-1/resume", "application/json", `{}`, `"7"`,
		},
		"delegate": {
			func(c *client.Client, options ...client.WriteOption) error {
				_, err := c.DelegateTask(t.Context(), "t-1", client.DelegationRequest{
					BusinessType: "wms", Lines: []client.TaskQuantity{{LineID: "1", Quantity: 2}}, Payload: client.Object{"room": 7}, Note: "n",
				}, options...)
				return err
			},
			"POST /v1/tasks/t-1/delegate", "application/json",
			`{"business_type":"wms","lines":[{"line_id":"1","quantity":2}],"payload":{"room":7},"note":"n"}`, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var keys []string
			c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				assert.Equal(t, tc.request, r.Method+" "+r.URL.Path)
				assert.Equal(t, tc.media, r.Header.Get("Content-Type"))
				assert.Equal(t, tc.body, string(body))
				assert.Equal(t, tc.ifMatch, r.Header.Get("If-Match"))
				keys = append(keys, r.Header.Get("Idempotency-Key"))
				switch len(keys) {
				case 1:
					problem(w, http.StatusServiceUnavailable, "outcome_unknown", "ask again")
				default:
					answer(w, http.StatusOK, map[string]any{"id": "x-1"})
				}
			})
			require.NoError(t, tc.call(c))
			require.NoError(t, tc.call(c, client.WithIdempotencyKey("mine")))
			require.Len(t, keys, 3)
			require.NotEmpty(t, keys[0])
			require.Equal(t, keys[0], keys[1])
			require.Equal(t, "mine", keys[2])
		})
	}
}

func TestRefusedChangesSayWhatTheyMet(t *testing.T) {
	t.Parallel()
	said := `{"type":"/problems/version_mismatch","status":412,"version":9}`
	status := http.StatusPreconditionFailed
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, said)
	})
	_, err := c.AmendOrder(t.Context(), "o-1", 3, client.Amendment{})
	require.ErrorContains(t, err, "amend order o-1: version_mismatch (412)")
	var p *client.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, client.CodeVersion, p.Code)
	require.Equal(t, int64(9), p.Version)

	said, status = `{"type":"/problems/order_state","status":409,"order_status":"completed"}`, http.StatusConflict
	_, err = c.CancelOrder(t.Context(), "o-1", 3, client.CancelReason{})
	require.ErrorAs(t, err, &p)
	require.Equal(t, client.CodeOrderState, p.Code)
	require.Equal(t, client.OrderCompleted, p.OrderStatus)

	said = `{"type":"/problems/task_state","status":409,"task_status":"on_hold","supported_actions":["reject","result","resume"]}`
	_, err = c.HoldTask(t.Context(), "t-1", client.HoldReason{ReasonCode: "x"})
	require.ErrorAs(t, err, &p)
	require.Equal(t, client.TaskOnHold, p.TaskStatus)
	require.Contains(t, p.SupportedActions, client.ActionResume)
}

func TestTheDeadlineThatRunsFollowsTheStatus(t *testing.T) {
	t.Parallel()
	accept, complete, cancel := time.Unix(100, 0), time.Unix(200, 0), time.Unix(300, 0)
	for status, want := range map[string]time.Time{
		client.TaskOffered: accept, client.TaskAccepted: complete, client.TaskDelegated: complete, client.TaskCancellationRefused: complete,
		client.TaskCancellationRequested: cancel, client.TaskOnHold: {}, client.TaskCompleted: {}, client.TaskExpired: {},
	} {
		task := client.Task{Status: status, AcceptBy: accept, CompleteBy: complete, AnswerBy: cancel}
		require.Equal(t, want, task.Due(), status)
	}
	require.Equal(t, complete, (&client.Task{Status: client.TaskOffered, CompleteBy: complete}).Due())
	require.Equal(t, accept, (&client.Task{Status: client.TaskOffered, AcceptBy: accept}).Due())
	require.Equal(t, complete, (&client.Task{Status: client.TaskOffered, AcceptBy: cancel, CompleteBy: complete}).Due())
}

// Whatever a store tells of an order, a task and the state machine is there for a program to read.
func TestDocumentsAreReadWhole(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/state-machine" {
			_, _ = io.WriteString(w, `{"task":{"statuses":[{"status":"offered","open":true,"supported_actions":["accept"]}],
				"transitions":[{"from":"offered","action":"result","to":["completed"],"event":"task.result_posted",
				"child_event":"task.delegation_answered","by":"provider","late":true}]},
				"order":{"rules":[{"status":"routed","when":"a task is open"}],"statuses":[{"status":"unrouted","at_end":false,"waiting":true}],
				"fulfillment_statuses":["partial"],"cancellation_statuses":["done"]},"result":{"outcomes":["failed"],"line_outcomes":["rejected"]}}`)
			return
		}
		_, _ = io.WriteString(w, `{"id":"o-1","cancellation":{"status":"requested","reason":"r","answer_by":"2026-01-02T03:04:05Z"},"tasks":[{"id":"t-1",
			"answer_by":"2026-01-02T03:04:05Z","accepted_at":"2026-01-02T03:04:05Z","delegated_from":"t-0","delegation":2,"depth":3,"payload":{"n":1},"note":"n",
			"expired":{"deadline":"accept"},"hold":{"reason_code":"h","since":"2026-01-02T03:04:05Z"},"cancelled":{"reason":"no_answer","forced":true},
			"cancellation_refused":{"reason_code":"too_late"},"delegations":[{"task_id":"t-2","delegation":1,"business_type":"wms","provider":"p",
			"status":"completed","payload":{"a":1},"answers":[{"result_id":"r","outcome":"completed","late":true,"payload":{"b":2}}]}]}]}`)
	})
	order, err := c.GetOrder(t.Context(), "o-1", client.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, client.CancellationRequested, order.Cancellation.Status)
	require.False(t, order.Cancellation.AnswerBy.IsZero())
	task := order.Tasks[0]
	require.False(t, task.AnswerBy.IsZero() || task.AcceptedAt.IsZero() || task.Hold.Since.IsZero())
	require.Equal(t, []any{"t-0", 2, 3, "n", "accept", "h", "too_late"}, []any{
		task.DelegatedFrom, task.Delegation, task.Depth, task.Note, task.Expired.Deadline, task.Hold.ReasonCode, task.CancellationRefused.ReasonCode,
	})
	require.Equal(t, &client.Withdrawal{Reason: "no_answer", Forced: true}, task.Cancelled)
	require.Equal(t, "r", task.Delegations[0].Answers[0].ResultID)
	require.Contains(t, task.Delegations[0].Payload, "a")
	require.Contains(t, task.Payload, "n")

	machine, err := c.StateMachine(t.Context())
	require.NoError(t, err)
	require.Equal(t, client.TaskState{Status: "offered", Open: true, SupportedActions: []string{"accept"}}, machine.Task.Statuses[0])
	require.Equal(t, client.Transition{
		From: "offered", Action: "result", To: []string{"completed"}, Event: "task.result_posted", ChildEvent: "task.delegation_answered", By: "provider", Late: true,
	}, machine.Task.Transitions[0])
	require.Equal(t, "a task is open", machine.Order.Rules[0].When)
	require.True(t, machine.Order.Statuses[0].Waiting)
	require.Equal(t, []string{"rejected"}, machine.Result.LineOutcomes)
}
