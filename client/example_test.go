package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/orderstore/orderstore/client"
)

// exampleStore answers as a store does, for the examples' output. Against a real one, only the address differs.
func exampleStore() *httptest.Server {
	mux := http.NewServeMux()
	document := map[string]any{
		"id": "0199", "external_ref": "A-1001", "status": "routed", "total": 2990, "currency": "EUR",
		"tasks": []any{map[string]any{"id": "t-1", "status": "offered", "supported_actions": []string{"accept", "reject", "result"}}},
	}
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"access_token": "t", "token_type": "Bearer", "expires_in": 900})
	})
	mux.HandleFunc("POST /v1/orders", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Order-Position", "41")
		answer(w, http.StatusCreated, document)
	})
	mux.HandleFunc("GET /v1/orders/0199", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Order-Position", r.Header.Get("Order-Position"))
		answer(w, http.StatusOK, document)
	})
	mux.HandleFunc("POST /v1/orders/batch", func(w http.ResponseWriter, r *http.Request) {
		lines := bufio.NewScanner(r.Body)
		for n := 1; lines.Scan(); n++ {
			_ = json.NewEncoder(w).Encode(map[string]any{"line": n, "status": 201, "id": fmt.Sprint("id-", n), "position": 40 + n})
		}
	})
	mux.HandleFunc("GET /v1/feed", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") != "41" {
			<-r.Context().Done()
			return
		}
		answer(w, http.StatusOK, map[string]any{"scanned_to": 42, "events": []any{map[string]any{
			"id": "42", "type": "task.offered", "position": 42, "subject": "0199", "taskid": "t-1", "data": document,
		}}})
	})
	mux.HandleFunc("POST /v1/tasks/t-1/{action}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Order-Position", "43")
		status := map[string]string{"accept": "accepted", "result": "completed"}[r.PathValue("action")]
		answer(w, http.StatusCreated, map[string]any{"id": "t-1", "status": status})
	})
	mux.HandleFunc("PUT /v1/orders/0199/auxiliary/crm/contact", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"system": "crm", "record_id": "contact", "revision": 1})
	})
	mux.HandleFunc("PUT /v1/providers/me/load", func(w http.ResponseWriter, r *http.Request) {
		var report map[string]any
		_ = json.NewDecoder(r.Body).Decode(&report)
		answer(w, http.StatusOK, map[string]any{
			"provider": "warehouse", "load": report["load"], "capacity": report["capacity"], "expires_at": "2026-01-31T12:01:30Z",
		})
	})
	return httptest.NewServer(mux)
}

func Example() {
	store := exampleStore()
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "shop", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	placed, err := c.SubmitOrder(ctx, client.OrderSubmission{
		Channel: "web", ExternalRef: "A-1001", BusinessType: "retail.erp", Currency: "EUR",
		Lines:    []client.LineSubmission{{SKU: "MUG-01", Name: "Mug", Quantity: 2, UnitPrice: 1250}},
		Shipping: 490,
	})
	if err != nil {
		log.Fatal(err)
	}
	// The read side is asked for this very order or a newer version of it, never an older one.
	order, err := c.GetOrder(ctx, placed.ID, client.GetOptions{Position: placed.Meta.Position})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(order.ExternalRef, order.Status, order.Total, order.Currency)
	// Output: A-1001 routed 2990 EUR
}

// Many orders go over one connection. What a cut connection left unanswered is sent again: a replay does no harm.
func ExampleClient_SubmitBatch() {
	store := exampleStore()
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "shop", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	orders := []client.OrderSubmission{
		{Channel: "pos", ExternalRef: "1", BusinessType: "wms", Currency: "JPY", Lines: []client.LineSubmission{{SKU: "A", Quantity: 1, UnitPrice: 900}}},
		{Channel: "pos", ExternalRef: "2", BusinessType: "wms", Currency: "JPY", Lines: []client.LineSubmission{{SKU: "B", Quantity: 3, UnitPrice: 120}}},
	}
	for result, err := range c.SubmitBatch(context.Background(), slices.Values(orders)) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(orders[result.Line-1].ExternalRef, result.Stored(), result.ID)
	}
	// Output:
	// 1 true id-1
	// 2 true id-2
}

// A provider hears of its tasks and answers them. The position of the last event it dealt with is all it has to remember.
func ExampleClient_Events() {
	store := exampleStore()
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "warehouse", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	for event, err := range c.Events(ctx, client.From{Position: 41}, client.WithOrders()) {
		if err != nil {
			log.Fatal(err)
		}
		order, err := event.Order()
		if err != nil {
			log.Fatal(err)
		}
		task, found := order.Task(event.TaskID)
		if !found || !task.Allows(client.ActionAccept) {
			continue
		}
		if task, err = c.AcceptTask(ctx, task.ID); err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Position, order.ExternalRef, task.Status)
		task, err = c.PostResult(ctx, task.ID, client.ResultSubmission{ResultID: "wh-" + task.ID, Outcome: client.OutcomeCompleted})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(task.Status)
		break
	}
	// Output:
	// 42 A-1001 accepted
	// completed
}

// A provider says how busy it is, before the time is over for which it said so last.
func ExampleClient_ReportLoad() {
	store := exampleStore()
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "warehouse", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	capacity := int64(100) // open tasks
	report, err := c.ReportLoad(context.Background(), client.LoadReport{Load: 0.42, Capacity: &capacity, TTL: 90 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Provider, report.Load, report.ExpiresAt.Format(time.TimeOnly))
	// Output: warehouse 0.42 12:01:30
}

// A customer relation system adds its record to an order; the user sees it with include=auxiliary.
func ExampleClient_PutAuxiliaryRecord() {
	store := exampleStore()
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "crm", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	record, err := c.PutAuxiliaryRecord(context.Background(), client.AuxiliaryRecord{
		OrderID: "0199", System: "crm", RecordID: "contact", Kind: "contact", Revision: 1, Payload: json.RawMessage(`{"segment":"new"}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(record.System, record.RecordID, record.Revision)
	// Output: crm contact 1
}
