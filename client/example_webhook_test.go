package client_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"github.com/orderstore/orderstore/client"
)

// A shop hears by webhook what became of its orders. The store signs with the subscription's secret; here the example does so itself.
func ExampleWebhookHandler() {
	const secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	verifier, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{secret}})
	if err != nil {
		log.Fatal(err)
	}
	heard := map[string]bool{} // a shop keeps this in its database, with what it does about the event
	shop := httptest.NewServer(client.WebhookHandler(verifier, func(_ context.Context, e client.Event) error {
		if heard[e.ID] {
			fmt.Println(e.ID, "was heard before")
			return nil
		}
		heard[e.ID] = true
		fmt.Println(e.ID, e.Type, "attempt", e.Delivery.Attempt)
		return nil
	}))
	defer shop.Close()

	body := `{"specversion":"1.0","id":"42","type":"task.completed","subject":"0199","position":42}`
	for attempt := 1; attempt <= 2; attempt++ {
		fmt.Println(deliver(shop.URL, secret, "42", body, attempt))
	}
	fmt.Println(deliver(shop.URL, "whsec_"+strings.Repeat("A", 32), "42", body, 3))
	// Output:
	// 42 task.completed attempt 1
	// 204 No Content
	// 42 was heard before
	// 204 No Content
	// 401 Unauthorized
}

// deliver sends an event as the store does.
func deliver(address, secret, id, body string, attempt int) string {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		log.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(id + "." + now + "." + body))
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", now)
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	r.Header.Set("Orderstore-Attempt", strconv.Itoa(attempt))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	_ = response.Body.Close()
	return response.Status
}
