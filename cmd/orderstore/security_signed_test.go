package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// signs gives a party a signing key.
func (d *doors) signs(clientID string) client.RequestKey {
	d.t.Helper()
	key, err := d.operator().CreateRequestKey(d.t.Context(), clientID)
	require.NoError(d.t, err)
	require.NotEmpty(d.t, key.Secret)
	d.signing.Store(key.KeyID, key.Secret)
	return client.RequestKey{KeyID: key.KeyID, Secret: key.Secret}
}

// signature signs as docs/security.md says, and not with the client.
func signature(key client.RequestKey, at time.Time, nonce, method, target, contentType, body string) string {
	path, query, _ := strings.Cut(target, "?")
	sum := sha256.Sum256([]byte(body))
	mac := hmac.New(sha256.New, []byte(key.Secret))
	_, _ = fmt.Fprintf(mac, "order-signature-v1\n%s\n%s\n%s\n%d\n%s\n%s\n%s\n\n\n", method, path, query, at.Unix(), nonce, contentType, hex.EncodeToString(sum[:]))
	return fmt.Sprintf(`keyid="%s", timestamp="%d", nonce="%s", signature="%s"`, key.KeyID, at.Unix(), nonce, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// signedRequests: a signature in place of a token, and everything by which it could be somebody else's.
func signedRequests(d *doors) {
	const json = "application/json"
	user, other := d.signs(d.parties["user"].ClientID), d.signs(d.parties["other user"].ClientID)
	order := `{"channel":"web","external_ref":"signed","business_type":"retail.erp","currency":"EUR","lines":[{"sku":"A","quantity":1,"unit_price":100}]}`
	post := func(path, body, signed string) (int, string) {
		answer, _ := d.send(http.MethodPost, "", path, body, "Order-Signature", signed)
		return answer.status, answer.body
	}
	now, nonces := time.Now(), 0
	nonce := func() string { nonces++; return fmt.Sprintf("doors-of-%09d", nonces) }
	sign := func(key client.RequestKey, at time.Time) string {
		return signature(key, at, nonce(), http.MethodPost, "/v1/orders?a=1", json, order)
	}
	for _, off := range []time.Duration{-301 * time.Second, 305 * time.Second} { // the clock goes on while this runs
		status, body := post("/v1/orders?a=1", order, sign(user, now.Add(off)))
		require.Equal(d.t, http.StatusUnauthorized, status, "case 18: %s", body)
	}
	for what, changed := range map[string][2]string{
		"body": {"/v1/orders?a=1", strings.Replace(order, "100", "1", 1)}, "query": {"/v1/orders?a=2", order},
	} {
		status, body := post(changed[0], changed[1], sign(user, now))
		require.Equal(d.t, http.StatusUnauthorized, status, "case 20: %s: %s", what, body)
	}
	status, body := post("/v1/orders/"+d.placed.ID+"/cancel", "", signature(user, now, nonce(), http.MethodPost, "/v1/orders/"+nobodysID+"/cancel", "", ""))
	require.Equal(d.t, http.StatusUnauthorized, status, "case 20: path: %s", body)
	status, _ = post("/v1/orders?a=1", order, sign(client.RequestKey{KeyID: other.KeyID, Secret: user.Secret}, now))
	require.Equal(d.t, http.StatusUnauthorized, status, "case 21")
	signed := sign(user, now)
	for _, want := range []int{http.StatusCreated, http.StatusUnauthorized} {
		status, body = post("/v1/orders?a=1", order, signed)
		require.Equal(d.t, want, status, "case 19: once, and not again: %s", body)
	}
	answer, _ := d.send(http.MethodGet, d.tokens["user"], "/v1/orders", "", "Order-Signature", signed)
	require.Equal(d.t, http.StatusBadRequest, answer.status, "two ways at once")
	d.signedClient(user, other)
}

// signedClient: the client signs, sees what is its tenant's and nothing else, and its key ends at once.
func (d *doors) signedClient(user, other client.RequestKey) {
	d.t.Helper()
	ctx := d.t.Context()
	with := func(key client.RequestKey) *client.Client {
		c, err := client.New(client.Config{BaseURL: d.at.HTTP, RequestKey: &key, HTTPClient: held(d.t)})
		require.NoError(d.t, err)
		return c
	}
	placed, err := with(user).SubmitOrder(ctx, sampleOrder("by-a-signature"))
	require.NoError(d.t, err)
	seen, err := with(user).GetOrder(ctx, placed.ID, client.GetOptions{Position: placed.Meta.Position})
	require.NoError(d.t, err)
	require.Equal(d.t, placed.ID, seen.ID)
	_, err = with(other).GetOrder(ctx, placed.ID, client.GetOptions{Position: placed.Meta.Position})
	require.Error(d.t, err, "another tenant's")
	for result, err := range with(user).SubmitBatch(ctx, func(yield func(client.OrderSubmission) bool) { yield(sampleOrder("signed-line")) }) {
		require.NoError(d.t, err)
		require.Equal(d.t, http.StatusCreated, result.Status)
	}
	id := d.parties["user"].ClientID
	told, status := runCommand(d.t, "orderctl", "clients", "signing-keys", "list", id, "--data", d.data)
	require.Zero(d.t, status, told)
	require.Contains(d.t, told, user.KeyID)
	require.NotContains(d.t, told, user.Secret)
	told, status = runCommand(d.t, "orderctl", "clients", "signing-keys", "delete", id, user.KeyID, "--data", d.data)
	require.Zero(d.t, status, told)
	_, err = with(user).GetOrder(ctx, placed.ID, client.GetOptions{})
	require.True(d.t, refused(err), "%v", err)
}
