package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/conformance"
	"github.com/orderstore/orderstore/cmd/orderctl/playhub"
	"github.com/orderstore/orderstore/cmd/orderctl/playprovider"
)

// bePlain makes this program orderctl, so that the kit can start it as a provider.
const bePlain = "ORDERCTL_TEST_BE_ORDERCTL"

// kit runs the conformance kit and gives its report, whatever it found.
func kit(t *testing.T, args ...string) (conformance.Report, result) {
	t.Helper()
	r := orderctl(t.Context(), strings.NewReader(""), append([]string{"conformance"}, args...)...)
	var report conformance.Report
	if r.err == nil || errors.Is(r.err, errNonconforming) {
		require.NoError(t, json.Unmarshal([]byte(r.out), &report), r.out)
		require.Equal(t, report.Failed > 0, errors.Is(r.err, errNonconforming))
	}
	return report, r
}

func failures(r conformance.Report) []string {
	names := []string{}
	for _, c := range r.Checks {
		if c.Status == conformance.Failed {
			names = append(names, c.Name)
		}
	}
	return names
}

// The provider that ships passes every scenario that does not need webhooks; one that is told to be silent does not.
func TestSampleProviderConforms(t *testing.T) {
	t.Parallel()
	order := filepath.Join(t.TempDir(), "order.json")
	require.NoError(t, os.WriteFile(order, []byte(`{"business_type":"flowers","currency":"JPY","lines":[{"sku":"ROSE","quantity":4,"unit_price":300}]}`), 0o600))
	sim := []string{"--", "/usr/bin/env", bePlain + "=1", os.Args[0], "provider-sim"}
	report, r := kit(t, append([]string{"provider", "--json", "--settle", "300ms", "--order", order}, sim...)...)
	require.NoError(t, r.err, r.out)
	require.Equal(t, []int{len(playhub.Names()) - 2, 0, 2}, []int{report.Passed, report.Failed, report.Skipped})
	require.Contains(t, r.progress, "playing restart")
	require.NotContains(t, r.out, "ORDERSTORE_CLIENT_SECRET")

	slow := append(sim, "--delay", "1h", "--cancellations", "ignore")
	report, _ = kit(t, append([]string{"provider", "--json", "--settle", "10ms", "--within", "1s", "--only", "late-cancel"}, slow...)...)
	require.Equal(t, []string{"late-cancel"}, failures(report))
	require.Contains(t, report.Checks[0].Seen, "task cancellation_requested")
}

// spoiler changes an answer on its way: its body, and through the pointer its status.
type spoiler func(r *http.Request, status *int, body []byte) []byte

// between puts something between the kit and the store that spoils answers.
func between(t *testing.T, s *store, spoil spoiler) string {
	t.Helper()
	target, err := url.Parse("http://" + s.at)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(resp *http.Response) error {
		if resp.Header.Get("Content-Type") == "text/event-stream" {
			return nil
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		body = spoil(resp.Request, &resp.StatusCode, body)
		resp.Body = io.NopCloser(bytes.NewReader(body))
		resp.ContentLength = int64(len(body))
		resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
		return nil
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept-Encoding") // answers are spoiled as text
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// feedPage applies a change to each page of the feed.
func feedPage(change func(*client.FeedPage)) spoiler {
	return func(r *http.Request, _ *int, body []byte) []byte {
		var page client.FeedPage
		if r.URL.Path != "/v1/feed" || json.Unmarshal(body, &page) != nil {
			return body
		}
		change(&page)
		changed, err := json.Marshal(page)
		if err != nil {
			return body
		}
		return changed
	}
}

// losesOne keeps back one event for good: the first offer that anybody is told of.
func losesOne() spoiler {
	var mu sync.Mutex
	lost := ""
	return feedPage(func(p *client.FeedPage) {
		mu.Lock()
		defer mu.Unlock()
		kept := []client.Event{}
		for _, e := range p.Events {
			if lost == "" && e.Type == "task.offered" {
				lost = e.ID
			}
			if e.ID != lost {
				kept = append(kept, e)
			}
		}
		p.Events = kept
	})
}

// comesLate answers the first read of each address with 404, where it names a position.
func comesLate() spoiler {
	var mu sync.Mutex
	read := map[string]bool{}
	return func(r *http.Request, status *int, body []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		at := r.URL.String()
		if !strings.Contains(at, "/v1/orders/") || r.URL.Query().Get("position") == "" || read[at] {
			return body
		}
		read[at] = true
		*status = http.StatusNotFound
		return []byte(`{"type":"/problems/not_found","status":404}`)
	}
}

// onStatus changes the answers of one status.
func onStatus(of int, change spoiler) spoiler {
	return func(r *http.Request, status *int, body []byte) []byte {
		if *status != of {
			return body
		}
		return change(r, status, body)
	}
}

// The store passes, and what spoils its answers is found by the scenario that looks for it.
func TestStoreConforms(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	report, r := kit(t, "--data", s.data, "hub", "--json")
	require.NoError(t, r.err, r.out)
	require.Equal(t, []int{len(playprovider.Names()), 0, 0}, []int{report.Passed, report.Failed, report.Skipped})

	for name, c := range map[string]struct {
		spoil spoiler
		fails []string
		says  string
	}{
		"loses an event":     {losesOne(), []string{"heard", "scanned-to"}, "feed: nothing, stream: task.offered"},
		"announces too soon": {comesLate(), []string{"pull"}, "404 for /v1/orders/"},
		"goes back":          {feedPage(func(p *client.FeedPage) { p.ScannedTo = max(0, p.ScannedTo-1) }), []string{"scanned-to", "resume"}, "after position"},
		"tells of others": {onStatus(http.StatusNotFound, func(r *http.Request, _ *int, b []byte) []byte {
			return append(b, r.URL.Path...)
		}), []string{"foreign-order"}, "the same: false"},
		"takes too much": {onStatus(http.StatusUnprocessableEntity, func(_ *http.Request, status *int, _ []byte) []byte {
			*status = http.StatusCreated
			return []byte(`{}`)
		}), []string{"over-delivery"}, "success"},
		"hides what may be done": {onStatus(http.StatusConflict, func(_ *http.Request, _ *int, b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("supported_actions"), []byte("allowed"))
		}), []string{"reordered"}, "supported_actions there: false"},
		"forgets to flag": {onStatus(http.StatusOK, func(_ *http.Request, _ *int, b []byte) []byte {
			return bytes.ReplaceAll(b, []byte(`"late":true`), []byte(`"late":false`))
		}), []string{"late-result"}, "flagged late: false"},
	} {
		t.Run(name, func(t *testing.T) {
			report, r := kit(t, "--data", s.data, "--url", between(t, s, c.spoil), "hub", "--json", "--within", "8s")
			require.Equal(t, c.fails, failures(report), r.out)
			said := ""
			for _, check := range report.Checks {
				if check.Status == conformance.Failed {
					said += check.Seen + "\n"
				}
			}
			require.Contains(t, said, c.says)
		})
	}
	givenParties(t, s)
}

// givenParties runs the kit with the parties of the development instance, without an operator.
func givenParties(t *testing.T, s *store) {
	t.Helper()
	registerProvider(t, s, "given")
	credentials, err := os.ReadFile(filepath.Join(s.data, "credentials.json"))
	require.NoError(t, err)
	var parties map[string]any
	require.NoError(t, json.Unmarshal(credentials, &parties))
	parties["business_type"] = "given"
	file := filepath.Join(t.TempDir(), "parties.json")
	b, err := json.Marshal(parties)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, b, 0o600))
	report, r := kit(t, "--url", "http://"+s.at, "hub", "--json", "--parties", file)
	require.NoError(t, r.err, r.out)
	require.Equal(t, []int{len(playprovider.Names()) - 2, 0, 2}, []int{report.Passed, report.Failed, report.Skipped}, r.out)
}

func TestConformanceRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken.json")
	require.NoError(t, os.WriteFile(broken, []byte(`{"user":`), 0o600))
	there := []string{"--url", "http://127.0.0.1:1", "--client-id", "a", "--client-secret", "b"}
	for says, args := range map[string][]string{
		"scenario sing: there are plain":        {"provider", "--only", "sing"},
		"scenario sing: there are heard":        append([]string{"hub", "--only", "sing"}, there...),
		"read order: " + broken:                 {"provider", "--order", broken},
		"read parties: " + broken:               append([]string{"hub", "--parties", broken}, there...),
		"which store?":                          {"hub"},
		"open the hub: put tenant conformance-": append([]string{"hub", "--within", "100ms"}, there...),
	} {
		_, r := kit(t, args...)
		require.ErrorContains(t, r.err, says)
	}
}
