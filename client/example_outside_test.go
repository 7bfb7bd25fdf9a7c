package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"

	"github.com/orderstore/orderstore/client"
)

// exampleTill answers as a store does that has one sale at a till, amended once: events 41 and 43. Records are guarded by their
// revision.
func exampleTill() *httptest.Server {
	var mu sync.Mutex
	position, revisions := int64(40), map[string]int64{}
	order := func(version int) map[string]any {
		return map[string]any{
			"id": "0199", "tenant": "shop", "channel": "pos", "external_ref": "till-7-0001", "status": "routed", "currency": "EUR",
			"total": 1000 * version, "version": version, "customer": map[string]any{"name": "Ann", "email": "ann@example.com"},
		}
	}
	versions := map[int64]int{41: 1, 43: 2}
	subscription := func(w http.ResponseWriter, status int) {
		answer(w, status, map[string]any{"id": "s-1", "name": "erp", "transport": "feed", "status": "active", "position": position, "version": 1})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"access_token": "t", "token_type": "Bearer", "expires_in": 900})
	})
	mux.HandleFunc("POST /v1/subscriptions", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		subscription(w, http.StatusCreated)
	})
	mux.HandleFunc("GET /v1/subscriptions/s-1", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		subscription(w, http.StatusOK)
	})
	mux.HandleFunc("POST /v1/subscriptions/s-1/ack", func(w http.ResponseWriter, r *http.Request) {
		var ack struct{ Position int64 }
		_ = json.NewDecoder(r.Body).Decode(&ack)
		mu.Lock()
		defer mu.Unlock()
		position = max(position, ack.Position)
		subscription(w, http.StatusOK)
	})
	mux.HandleFunc("GET /v1/feed", func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
		for p, kind := range map[int64]string{41: "order.placed", 43: "order.amended"} {
			if p > after && (p == 41 || after >= 41) {
				event := map[string]any{"id": strconv.FormatInt(p, 10), "type": kind, "position": p, "subject": "0199", "orderversion": versions[p]}
				answer(w, http.StatusOK, map[string]any{"scanned_to": p, "events": []any{event}})
				return
			}
		}
		<-r.Context().Done()
	})
	mux.HandleFunc("GET /v1/orders/0199", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, order(2)) })
	mux.HandleFunc("PUT /v1/orders/0199/auxiliary/{system}/{record}", func(w http.ResponseWriter, r *http.Request) {
		var record map[string]any
		_ = json.NewDecoder(r.Body).Decode(&record)
		key, revision := r.PathValue("system")+"/"+r.PathValue("record"), int64(record["revision"].(float64))
		mu.Lock()
		defer mu.Unlock()
		if stored := revisions[key]; stored > revision {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "/problems/stale_revision", "status": 409, "revision": stored})
			return
		}
		revisions[key] = revision
		record["system"], record["record_id"] = r.PathValue("system"), r.PathValue("record")
		answer(w, http.StatusOK, record)
	})
	return httptest.NewServer(mux)
}

// An ERP books each order under a number of its own and tells the store, so that the shop sees it with include=auxiliary. The
// subscription keeps how far the ERP is: started again, it goes on behind what it has booked. A record's revision is the order's
// version that was booked, so that of two copies of this program neither puts an older state over a newer one.
func Example_erp() {
	store := exampleTill()
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "erp", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	subscription, err := c.EnsureSubscription(ctx, client.SubscriptionSpec{Name: "erp", Transport: client.TransportFeed})
	if err != nil {
		log.Fatal(err)
	}
	booked := map[string]int64{} // the ERP's own books: the order's version by order
	for event, err := range c.Subscribe(ctx, subscription.ID) {
		if err != nil {
			log.Fatal(err)
		}
		order, err := c.PullOrder(ctx, &event.Event) // as it is now, never older than the event
		if err != nil {
			log.Fatal(err)
		}
		if order.Version > booked[order.ID] {
			booked[order.ID] = order.Version
			document, err := json.Marshal(map[string]any{"document": "INV-" + order.ExternalRef, "total": order.Total, "currency": order.Currency})
			if err != nil {
				log.Fatal(err)
			}
			record, err := c.PutAuxiliaryRecord(ctx, client.AuxiliaryRecord{
				OrderID: order.ID, System: "erp", RecordID: "booking", Kind: "booking", Revision: order.Version, SchemaVersion: 1, Payload: document,
			})
			switch {
			case client.HasCode(err, client.CodeStale):
				// Another copy of this program has booked a newer state.
			case err != nil:
				log.Fatal(err)
			default:
				fmt.Println(event.Position, order.Channel, record.RecordID, record.Revision)
			}
		}
		if event.Type == "order.amended" { // the example ends here; an ERP goes on
			if err := event.Ack(ctx); err != nil { // since the loop is left
				log.Fatal(err)
			}
			break
		}
	}
	fmt.Println("booked:", booked["0199"])
	// Output:
	// 41 pos booking 2
	// booked: 2
}

// A CRM knows customers, whatever channel they buy by. It reads the feed, keeps the position itself beside what it knows, and adds
// what it knows of the customer to the order.
func Example_crm() {
	store := exampleTill()
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "crm", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	position := int64(40)           // kept in the CRM's own database, with what follows
	orders := map[string][]string{} // by customer
	for event, err := range c.Events(ctx, client.From{Position: position}) {
		if err != nil {
			log.Fatal(err)
		}
		if event.Type == "order.placed" {
			order, err := c.PullOrder(ctx, &event)
			if err != nil {
				log.Fatal(err)
			}
			if order.Customer == nil || order.Customer.Email == "" {
				continue
			}
			known := append(orders[order.Customer.Email], order.ID)
			orders[order.Customer.Email] = known
			contact, err := json.Marshal(map[string]any{"customer": order.Customer.Email, "orders": len(known)})
			if err != nil {
				log.Fatal(err)
			}
			if _, err := c.PutAuxiliaryRecord(ctx, client.AuxiliaryRecord{
				OrderID: order.ID, System: "crm", RecordID: "contact", Kind: "contact", Revision: event.Position, SchemaVersion: 1, Payload: contact,
			}); err != nil && !client.HasCode(err, client.CodeStale) {
				log.Fatal(err)
			}
			fmt.Println(order.Customer.Email, len(known), order.Channel)
		}
		if position = event.Position; position == 43 { // the example ends here; a CRM goes on
			break
		}
	}
	fmt.Println("dealt with up to", position)
	// Output:
	// ann@example.com 1 pos
	// dealt with up to 43
}
