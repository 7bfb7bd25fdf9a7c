package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/client"
)

// exampleSubscription answers as a store does that keeps one subscription, of events 41 and 42.
func exampleSubscription(transport string) *httptest.Server {
	var mu sync.Mutex
	position := int64(40)
	document := func(w http.ResponseWriter, status int) {
		s := map[string]any{"id": "s-1", "name": "warehouse", "transport": transport, "status": "active", "position": position, "version": 1}
		if transport == client.TransportNATS {
			s["nats"] = map[string]any{"stream": "ORDERS", "consumer": "sub-s-1"}
		}
		answer(w, status, s)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"access_token": "t", "token_type": "Bearer", "expires_in": 900})
	})
	mux.HandleFunc("POST /v1/subscriptions", func(w http.ResponseWriter, _ *http.Request) { document(w, http.StatusCreated) })
	mux.HandleFunc("GET /v1/subscriptions/s-1", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		document(w, http.StatusOK)
	})
	mux.HandleFunc("POST /v1/subscriptions/s-1/ack", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var ack struct{ Position int64 }
		_ = json.NewDecoder(r.Body).Decode(&ack)
		position = max(position, ack.Position)
		document(w, http.StatusOK)
	})
	mux.HandleFunc("GET /v1/feed", func(w http.ResponseWriter, r *http.Request) {
		events := []any{}
		for p, kind := range map[int]string{41: "order.placed", 42: "task.offered"} {
			if after, _ := strconv.Atoi(r.URL.Query().Get("after")); p == after+1 {
				events = append(events, map[string]any{"id": strconv.Itoa(p), "type": kind, "position": p, "subject": "0199", "taskid": "t-1"})
			}
		}
		if len(events) == 0 {
			<-r.Context().Done()
			return
		}
		answer(w, http.StatusOK, map[string]any{"scanned_to": events[0].(map[string]any)["position"], "events": events})
	})
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		out := bufio.NewWriter(w)
		_, _ = fmt.Fprintf(out, "id: 41\ndata: {\"id\":\"41\",\"type\":\"order.placed\",\"position\":41,\"subject\":\"0199\"}\n\n")
		_ = out.Flush()
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /v1/tasks/t-1/accept", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"id": "t-1", "status": "accepted"})
	})
	mux.HandleFunc("GET /v1/orders/0199", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"id": "0199", "external_ref": "A-1001", "status": "routed"})
	})
	mux.HandleFunc("PUT /v1/orders/0199/auxiliary/crm/contact", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"system": "crm", "record_id": "contact", "revision": 41})
	})
	return httptest.NewServer(mux)
}

// A provider takes its tasks. The store keeps how far it is: started again, it goes on behind what it has dealt with.
func ExampleClient_Subscribe() {
	store := exampleSubscription(client.TransportFeed)
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "warehouse", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	subscription, err := c.EnsureSubscription(ctx, client.SubscriptionSpec{Name: "warehouse", Transport: client.TransportFeed})
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range c.Subscribe(ctx, subscription.ID) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Position, event.Type)
		if event.Type != "task.offered" {
			continue // dealt with
		}
		task, err := c.AcceptTask(ctx, event.TaskID)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(task.ID, task.Status)
		if err := event.Ack(ctx); err != nil { // since the loop is left
			log.Fatal(err)
		}
		break
	}
	again, err := c.GetSubscription(ctx, subscription.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("dealt with up to", again.Position)
	// Output:
	// 41 order.placed
	// 42 task.offered
	// t-1 accepted
	// dealt with up to 42
}

// An auxiliary system hears of new orders by server-sent events, reads each and adds its record to it.
func ExampleClient_Subscribe_auxiliary() {
	store := exampleSubscription(client.TransportSSE)
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "crm", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for event, err := range c.Subscribe(ctx, "s-1") {
		if err != nil {
			log.Fatal(err)
		}
		order, err := c.PullOrder(ctx, &event.Event)
		if err != nil {
			log.Fatal(err)
		}
		record, err := c.PutAuxiliaryRecord(ctx, client.AuxiliaryRecord{
			OrderID: order.ID, System: "crm", RecordID: "contact", Kind: "contact", Revision: event.Position, Payload: json.RawMessage(`{"segment":"new"}`),
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(order.ExternalRef, record.System, record.Revision)
		break
	}
	// Output: A-1001 crm 41
}

// A shop is called by the store, and hears the calls in the same loop. A call is answered when the loop's body is done with its event.
func ExampleWebhookReceiver() {
	store := exampleSubscription(client.TransportWebhook)
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, ClientID: "shop", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	const secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" // of the subscription
	verifier, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{secret}})
	if err != nil {
		log.Fatal(err)
	}
	receiver := client.NewWebhookReceiver(verifier)
	shop := httptest.NewServer(receiver)
	defer shop.Close()

	answers := make(chan string)
	go func() { // as the store does
		for _, id := range []string{"41", "42"} {
			answers <- deliver(shop.URL, secret, id, `{"id":"`+id+`","type":"order.placed","position":`+id+`,"subject":"0199"}`, 1)
		}
		close(answers)
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for event, err := range c.Subscribe(ctx, "s-1", client.ThroughWebhook(receiver)) {
			if err != nil {
				return // the shop closes
			}
			fmt.Println(event.ID, event.Type, "attempt", event.Delivery.Attempt)
		}
	}()
	for answered := range answers {
		fmt.Println(answered)
	}
	// Output:
	// 41 order.placed attempt 1
	// 204 No Content
	// 42 order.placed attempt 1
	// 204 No Content
}

// exampleBroker runs a broker that has one event for the subscription.
func exampleBroker(dir string) (*server.Server, error) {
	broker, err := server.NewServer(&server.Options{Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		return nil, err
	}
	broker.Start()
	if !broker.ReadyForConnections(10 * time.Second) {
		return nil, fmt.Errorf("the broker is not ready")
	}
	return broker, fillBroker(context.Background(), broker.ClientURL())
}

func fillBroker(ctx context.Context, address string) error {
	conn, err := nats.Connect(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, FirstSeq: 41}); err != nil {
		return err
	}
	if _, err := js.CreateConsumer(ctx, "ORDERS", jetstream.ConsumerConfig{
		Durable: "sub-s-1", AckPolicy: jetstream.AckExplicitPolicy, HeadersOnly: true, Metadata: map[string]string{"orderstore-version": "1"},
	}); err != nil {
		return err
	}
	m := nats.NewMsg("orders.demo.wms.warehouse.task.offered")
	for name, value := range map[string]string{
		"ce-id": "41", "ce-type": "task.offered", "ce-subject": "0199", "ce-taskid": "t-1", "ce-time": "2026-01-31T12:00:00Z", "ce-orderversion": "2",
	} {
		m.Header.Set(name, value)
	}
	_, err = js.PublishMsg(ctx, m)
	return err
}

// A provider hears its tasks from the broker: its subscription's consumer, with its own credentials. Orders are pulled.
func ExampleClient_Subscribe_nats() {
	store := exampleSubscription(client.TransportNATS)
	defer store.Close()
	dir, err := os.MkdirTemp("", "example-nats-")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	broker, err := exampleBroker(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Shutdown()
	c, err := client.New(client.Config{BaseURL: store.URL, NATSURL: broker.ClientURL(), ClientID: "warehouse", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for event, err := range c.Subscribe(ctx, "s-1", client.WithOrders()) {
		if err != nil {
			log.Fatal(err)
		}
		order, err := event.Order()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Position, event.Type, order.ExternalRef)
		break
	}
	// Output: 41 task.offered A-1001
}
