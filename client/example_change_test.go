package client_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/orderstore/orderstore/client"
)

// exampleOfChanges answers as a store does to those who change an order or a task. Against a real one, only the address differs.
func exampleOfChanges() *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"access_token": "t", "token_type": "Bearer", "expires_in": 900})
	})
	mux.HandleFunc("GET /v1/orders/0199", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"id": "0199", "version": 3, "status": "processing"})
	})
	mux.HandleFunc("PATCH /v1/orders/0199", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Match") != `"3"` {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		answer(w, http.StatusOK, map[string]any{"id": "0199", "version": 5, "shipping": 990})
	})
	mux.HandleFunc("POST /v1/orders/0199/cancel", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Match") != `"5"` {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		answer(w, http.StatusOK, map[string]any{
			"id": "0199", "version": 6, "status": "processing",
			"cancellation": map[string]any{"status": "requested", "answer_by": "2026-01-31T13:00:00Z"},
		})
	})
	mux.HandleFunc("POST /v1/tasks/t-1/delegate", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"id": "t-1", "status": "delegated"})
	})
	mux.HandleFunc("GET /v1/feed", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") != "44" {
			<-r.Context().Done()
			return
		}
		task := map[string]any{"id": "t-1", "status": "accepted", "delegations": []any{map[string]any{
			"provider": "airport-cars", "business_type": "transfer", "status": "completed",
			"answers": []any{map[string]any{"result_id": "car-7", "outcome": "completed", "payload": map[string]any{"pickup": "10:40"}}},
		}}}
		answer(w, http.StatusOK, map[string]any{"scanned_to": 45, "events": []any{map[string]any{
			"id": "45", "type": "task.delegation_answered", "position": 45, "subject": "0199", "taskid": "t-1",
			"data": map[string]any{"id": "0199", "tasks": []any{task}},
		}}})
	})
	mux.HandleFunc("POST /v1/tasks/t-1/result", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusCreated, map[string]any{"id": "t-1", "status": "completed"})
	})
	return httptest.NewServer(mux)
}

// A user changes an order, and then does not want it any more. Both are for the version that the user has seen.
func ExampleClient_AmendOrder() {
	store := exampleOfChanges()
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "shop", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	order, err := c.GetOrder(ctx, "0199", client.GetOptions{})
	if err != nil {
		log.Fatal(err)
	}
	shipping := int64(990)
	order, err = c.AmendOrder(ctx, order.ID, order.Version, client.Amendment{
		Customer: &client.Object{"phone": "+43 1 234"}, Attributes: &client.Object{"gift": true, "note": nil}, Shipping: &shipping,
	})
	if client.HasCode(err, client.CodeVersion) {
		log.Fatal("somebody else changed it meanwhile: read it again")
	} else if err != nil {
		log.Fatal(err)
	}
	fmt.Println("version", order.Version)

	order, err = c.CancelOrder(ctx, order.ID, order.Version, client.CancelReason{Reason: "changed_mind"})
	if err != nil {
		log.Fatal(err)
	}
	if order.Cancellation.Status == client.CancellationRequested {
		fmt.Println("the provider has until", order.Cancellation.AnswerBy.Format("15:04"), "to answer")
	}
	// Output:
	// version 5
	// the provider has until 13:00 to answer
}

// A hotel has no cars. It asks a provider of another business type for help, hears the answer, and posts its own result; the guest
// hears from the hotel alone.
func ExampleClient_DelegateTask() {
	store := exampleOfChanges()
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "hotel", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	task, err := c.DelegateTask(ctx, "t-1", client.DelegationRequest{
		BusinessType: "transfer", Payload: client.Object{"flight": "OS 56", "persons": 2}, Note: "from the airport to the hotel",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(task.Status)
	for event, err := range c.Events(ctx, client.From{Position: 44}, client.WithOrders()) {
		if err != nil {
			log.Fatal(err)
		}
		order, err := event.Order()
		if err != nil {
			log.Fatal(err)
		}
		task, found := order.Task(event.TaskID)
		if !found || event.Type != "task.delegation_answered" {
			continue
		}
		help := task.Delegations[len(task.Delegations)-1]
		fmt.Println(help.Provider, help.Status, help.Answers[0].Payload["pickup"])
		task, err = c.PostResult(ctx, task.ID, client.ResultSubmission{
			ResultID: "stay-1", Outcome: client.OutcomeCompleted, Payload: client.Object{"room": "214", "pickup": help.Answers[0].Payload["pickup"]},
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(task.Status)
		break
	}
	// Output:
	// delegated
	// airport-cars completed 10:40
	// completed
}
