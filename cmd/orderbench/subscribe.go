package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// subscribe makes a subscription of the user and gives its id.
func (t *target) subscribe(ctx context.Context, s map[string]any) (string, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode subscription: %w", err)
	}
	var made struct {
		ID     string          `json:"id"`
		Detail string          `json:"detail"`
		Errors json.RawMessage `json:"errors"`
	}
	status, err := t.as(ctx, http.MethodPost, "/v1/subscriptions", body, &made)
	if err != nil {
		return "", err
	}
	if status != http.StatusCreated {
		return "", fmt.Errorf("subscribe: %d %s %s", status, made.Detail, made.Errors)
	}
	return made.ID, nil
}

// unsubscribe ends one.
func (t *target) unsubscribe(ctx context.Context, id string) error {
	status, err := t.as(ctx, http.MethodDelete, "/v1/subscriptions/"+id, nil, nil)
	if err == nil && status != http.StatusNoContent {
		err = fmt.Errorf("end subscription: %d", status)
	}
	return err
}

// as sends a request of the user.
func (t *target) as(ctx context.Context, method, path string, body []byte, into any) (int, error) {
	token, err := t.tokens.Token()
	if err != nil {
		return 0, fmt.Errorf("token: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, t.at.HTTP+path, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, path, err)
	}
	token.SetAuthHeader(req)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if into != nil {
		err = json.NewDecoder(resp.Body).Decode(into)
	}
	return resp.StatusCode, err
}

// underWay is how many requests of a class the store is answering, by its metric.
func (t *target) underWay(ctx context.Context, class string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.at.Metrics+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), `orderstore_http_under_way{class="`+class+`"} `); ok {
			return strconv.Atoi(n)
		}
	}
	return 0, errors.Join(lines.Err(), fmt.Errorf("the store has no metric of requests of the class %s", class))
}
