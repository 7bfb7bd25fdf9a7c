package playhub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/conformance"
	"github.com/orderstore/orderstore/cmd/orderctl/playhub"
	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// playsProvider makes this program a provider, for the kit to start and to kill: sound or forgetful.
const playsProvider = "PLAYHUB_TEST_PROVIDER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(playsProvider); kind != "" {
		os.Exit(beProvider(kind))
	}
	os.Exit(m.Run())
}

func beProvider(kind string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if kind == "quitter" {
		return 3
	}
	f := &fixture{forgetful: kind == "forgetful"}
	if err := f.connect(playhub.Access{
		URL: os.Getenv("ORDERSTORE_URL"), ClientID: os.Getenv("ORDERSTORE_CLIENT_ID"), ClientSecret: os.Getenv("ORDERSTORE_CLIENT_SECRET"),
	}, nil, false); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	f.follow(ctx)
	return 0
}

// connect makes the fixture's client. A lazy one never fetches a second token.
func (f *fixture) connect(at playhub.Access, transport http.RoundTripper, lazy bool) error {
	f.heard, f.orders = map[string]bool{}, map[string]client.Order{}
	config := client.Config{BaseURL: at.URL, ClientID: at.ClientID, ClientSecret: at.ClientSecret, HTTPClient: &http.Client{Transport: transport}}
	c, err := client.New(config)
	if err != nil {
		return err
	}
	if lazy {
		own := c
		once := sync.OnceValues(func() (string, error) { return own.Token(context.Background()) })
		config.ClientID, config.ClientSecret = "", ""
		config.AccessToken = func(context.Context) (string, error) { return once() }
		if c, err = client.New(config); err != nil {
			return err
		}
	}
	f.c = c
	config.RetryFor = time.Nanosecond // of a call without a deadline
	f.once, err = client.New(config)
	return err
}

func memory(heard func([]events.Appended)) []httpapi.Route {
	return command.Routes(command.NewMemory(time.Now, heard), nil)
}

// named lists the scenarios of a report that ended in some way.
func named(r conformance.Report, status conformance.Status) []string {
	names := []string{}
	for _, c := range r.Checks {
		if c.Status == status {
			names = append(names, c.Name)
		}
	}
	return names
}

// within is long enough for what asks to wait for three seconds, and how long a scenario lasts that fails because nothing comes.
const within = 8 * time.Second

// play runs the kit against a fixture that follows the feed.
func play(t *testing.T, f *fixture, transport http.RoundTripper, lazy bool) conformance.Report {
	t.Helper()
	return playing(t, f, transport, lazy, f.follow)
}

// playing runs the kit against a fixture that works as it is told to.
func playing(t *testing.T, f *fixture, transport http.RoundTripper, lazy bool, work func(context.Context)) conformance.Report {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	report, err := playhub.Run(ctx, playhub.Config{Writes: memory, Within: within, Settle: 300 * time.Millisecond, Ready: func(at playhub.Access) {
		if err := f.connect(at, transport, lazy); err != nil {
			t.Error(err)
		}
		running.Go(func() { work(ctx) })
	}})
	require.NoError(t, err)
	return report
}

func print(t *testing.T, r conformance.Report) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, r.Print(&b))
	return b.String()
}

// unplayed are the scenarios that need a webhook URL, and the one that needs a program to kill.
var unplayed = []string{"forged-webhook", "out-of-order", "restart"} //nolint:gochecknoglobals // a table that nothing changes

func TestSoundProviderPasses(t *testing.T) {
	t.Parallel()
	r := play(t, &fixture{}, http.DefaultTransport, false)
	require.Empty(t, named(r, conformance.Failed), print(t, r))
	require.Equal(t, unplayed, named(r, conformance.Skipped))
	require.Equal(t, len(playhub.Names()), r.Passed+r.Skipped)
}

// However a provider hears of its tasks, it can be played to. One that is told nothing cannot be told it twice.
func TestProvidersThatHearOtherwise(t *testing.T) {
	t.Parallel()
	f := &fixture{}
	r := playing(t, f, http.DefaultTransport, false, f.listen)
	require.Empty(t, named(r, conformance.Failed), print(t, r))
	require.Equal(t, unplayed, named(r, conformance.Skipped))

	f = &fixture{}
	r = playing(t, f, http.DefaultTransport, false, f.poll)
	require.Empty(t, named(r, conformance.Failed), print(t, r))
	require.Equal(t, append([]string{"duplicate-notice"}, unplayed...), named(r, conformance.Skipped))
}

// Each fault is found by the scenario that looks for it, and by no other.
func TestBrokenProvidersFailWhatTheyBreak(t *testing.T) {
	t.Parallel()
	for fails, c := range map[string]struct {
		provider  *fixture
		transport http.RoundTripper
		lazy      bool
		says      string
	}{
		"duplicate-notice":        {provider: &fixture{twice: true}, says: "result #1 201, accept 409 (task_state), result #2 409 (task_state)"},
		"cut-answer":              {provider: &fixture{newName: true}, transport: &http.Transport{DisableKeepAlives: true}, says: "sent again with another body"},
		"retry-after":             {provider: &fixture{}, transport: stripped{http.DefaultTransport}, says: "after 429 with Retry-After 2"},
		"token-expired":           {provider: &fixture{}, lazy: true, says: "0 new fetched"},
		"partial-results":         {provider: &fixture{over: true}, says: "result #2 422 (/lines/0/quantity: the task has 0 of this line open)"},
		"late-cancel":             {provider: &fixture{deaf: true}, says: "task cancellation_requested"},
		"cancelled-before-accept": {provider: &fixture{stubborn: true}, says: "accept 409 (task_state), result #1 201"},
		"amended":                 {provider: &fixture{stale: true}, says: "0 of the new 5 units fulfilled"},
		"unknown":                 {provider: &fixture{strict: true}, says: "an event task.conformance_unknown"},
	} {
		t.Run(fails, func(t *testing.T) {
			t.Parallel()
			transport := c.transport
			if transport == nil {
				transport = http.DefaultTransport
			}
			r := play(t, c.provider, transport, c.lazy)
			require.Equal(t, []string{fails}, named(r, conformance.Failed), print(t, r))
			require.Contains(t, print(t, r), c.says)
		})
	}
}

// hooked runs the kit against a fixture that takes webhooks.
func hooked(t *testing.T, f *fixture) conformance.Report {
	t.Helper()
	const secret = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiBwbGF5aHVi" //nolint:gosec // of the test alone
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	handler, err := f.take(ctx, secret)
	require.NoError(t, err)
	sink := httptest.NewServer(handler)
	defer sink.Close()
	report, err := playhub.Run(ctx, playhub.Config{
		Writes: memory, Within: within, Settle: 300 * time.Millisecond, WebhookURL: sink.URL, WebhookSecret: secret,
		Ready: func(at playhub.Access) {
			if err := f.connect(at, http.DefaultTransport, false); err != nil {
				t.Error(err)
			}
		},
	})
	require.NoError(t, err)
	return report
}

func TestProvidersThatTakeWebhooks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		provider *fixture
		fails    []string
		skips    []string
	}{
		"sound":    {&fixture{}, []string{}, []string{"restart"}},
		"gullible": {&fixture{gullible: true}, []string{"forged-webhook"}, []string{"restart"}},
		"blind":    {&fixture{blind: true}, []string{"out-of-order"}, []string{"late-cancel", "restart"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := hooked(t, c.provider)
			require.Equal(t, c.fails, named(r, conformance.Failed), print(t, r))
			require.Equal(t, c.skips, named(r, conformance.Skipped))
		})
	}
}

// started runs the kit with this program as the provider.
func started(t *testing.T, kind string, only ...string) (conformance.Report, error) {
	t.Helper()
	return playhub.Run(t.Context(), playhub.Config{
		Writes: memory, Within: within, Settle: 300 * time.Millisecond, Only: only, Output: t.Output(),
		Command: []string{"/usr/bin/env", playsProvider + "=" + kind, os.Args[0]},
	})
}

func TestRestartedProviders(t *testing.T) {
	t.Parallel()
	r, err := started(t, "sound")
	require.NoError(t, err)
	require.Empty(t, named(r, conformance.Failed), print(t, r))
	require.NotContains(t, named(r, conformance.Skipped), "restart")

	r, err = started(t, "forgetful", "plain", "duplicate-notice", "restart")
	require.NoError(t, err)
	require.Equal(t, []string{"restart"}, named(r, conformance.Failed), print(t, r))
	require.Contains(t, print(t, r), "tasks of before worked on again")

	_, err = started(t, "quitter")
	require.ErrorContains(t, err, "the provider has ended: exit status 3")
}

func TestRunRefusesWhatCannotBePlayed(t *testing.T) {
	t.Parallel()
	_, err := playhub.Run(t.Context(), playhub.Config{Writes: memory, Only: []string{"sing"}})
	require.ErrorContains(t, err, "scenario sing: there are plain, duplicate-notice")
	_, err = playhub.Run(t.Context(), playhub.Config{Writes: memory, ConnectWithin: time.Millisecond})
	require.ErrorContains(t, err, "has not asked for a token within 1ms")
	_, err = playhub.Run(t.Context(), playhub.Config{Writes: memory, WebhookURL: "http://127.0.0.1:1", WebhookSecret: "sesame"})
	require.ErrorContains(t, err, "webhook secret")
	_, err = playhub.Run(t.Context(), playhub.Config{Writes: memory, Address: "127.0.0.1:notaport"})
	require.ErrorContains(t, err, "listen")
	_, err = playhub.Run(t.Context(), playhub.Config{Writes: memory, Command: []string{"/nowhere/at/all"}})
	require.ErrorContains(t, err, "start provider")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = playhub.Run(ctx, playhub.Config{Writes: memory})
	require.Error(t, err)
}

// A report as JSON has what the table has.
func TestReportIsJSON(t *testing.T) {
	t.Parallel()
	r := conformance.Of("hub", []conformance.Check{
		conformance.Finding{Expected: "rain", Seen: "sun\nshine"}.Check("weather", "It rains.", time.Second),
		conformance.Skip("wind", "It blows.", "indoors"),
	})
	require.Contains(t, print(t, r), "FAIL    weather   saw sun shine; expected rain [It rains.]")
	require.Contains(t, print(t, r), "0 passed, 1 failed, 1 skipped")
	b, err := json.Marshal(r)
	require.NoError(t, err)
	require.Contains(t, string(b), `"status":"failed"`)
	require.Error(t, r.Print(brokenPipe{}))
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
