// Package playprovider plays a provider, and the user whose orders it gets, to a running order store (a hub), and looks from outside
// at whether the store keeps its contract.
package playprovider

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/conformance"
)

// Config says which hub to look at, and as whom.
type Config struct {
	Hub     client.Config // where it is; with an operator's credentials where Parties is nil
	Parties *Parties      // nil: an operator makes throw-away ones
	Only    []string      // scenarios; none: all
	Within  time.Duration // how long the hub may take over what a scenario asks of it
	Playing func(name string)
}

// DefaultWithin is Config.Within where nothing is said.
const DefaultWithin = 20 * time.Second

// Login is a party's credentials.
type Login struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// Parties are those that are played. Orders of the business type go to the provider alone. Those that are left out are not played, and
// the scenarios that need them are skipped.
type Parties struct {
	User         Login  `json:"user"`
	Provider     Login  `json:"provider"`
	BusinessType string `json:"business_type"`
	OtherUser    Login  `json:"other_user,omitzero"`     // of another tenant
	Second       Login  `json:"other_provider,omitzero"` // of the expiring business type only
	Expiring     string `json:"expiring_business_type"`  // of both providers, one at a time, with a second to accept
}

// scenario is something that is asked of the hub.
type scenario struct {
	name     string
	contract string // the sentence that it checks
	expected string
	skip     func(s *stage) string
	play     func(ctx context.Context, s *stage) (finding, error)
	// after is set where all that was heard in the run counts: it is looked at last.
	after bool
}

type finding struct {
	ok   bool
	seen string
}

// stage is what scenarios are played on.
type stage struct {
	Config
	parties                  Parties
	user, other, own, second *client.Client // other and second may be nil
	http                     *http.Client
	run                      string
	start                    int64 // what the provider was told behind it is this run's
	feed                     *follower
	stream                   *listener
}

// Names lists the scenarios in the order in which they are played.
func Names() []string {
	var names []string
	for _, sc := range scenarios() {
		names = append(names, sc.name)
	}
	return names
}

// Run plays all scenarios. Its error is that the hub cannot be asked at all.
func Run(ctx context.Context, c Config) (conformance.Report, error) {
	if c.Within <= 0 {
		c.Within = DefaultWithin
	}
	for _, name := range c.Only {
		if !slices.Contains(Names(), name) {
			return conformance.Report{}, fmt.Errorf("scenario %s: there are %s", name, strings.Join(Names(), ", "))
		}
	}
	c.Hub.BaseURL = strings.TrimRight(c.Hub.BaseURL, "/")
	s := &stage{Config: c, http: c.Hub.HTTPClient, run: strings.ToLower(rand.Text()[:10])}
	if s.http == nil {
		s.http = &http.Client{}
	}
	err := s.open(ctx)
	if err != nil {
		return conformance.Report{}, fmt.Errorf("open the hub: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	if s.start, err = s.end(ctx); err != nil {
		return conformance.Report{}, fmt.Errorf("open the hub: %w", err)
	}
	s.feed, s.stream = newFollower(s, s.start), newListener(s, s.start)
	following.Go(func() { s.feed.run(ctx) })
	following.Go(func() { s.stream.run(ctx) })
	return s.all(ctx)
}

// end is the position from which the run is followed: the end of what the provider was told before.
func (s *stage) end(ctx context.Context) (int64, error) {
	var after int64
	for {
		page, err := s.own.Feed(ctx, client.FeedRequest{After: after})
		if err != nil {
			return 0, err
		}
		if len(page.Events) == 0 {
			return page.ScannedTo, nil
		}
		after = page.ScannedTo
	}
}

func (s *stage) all(ctx context.Context) (conformance.Report, error) {
	checks := []conformance.Check{}
	for _, last := range []bool{false, true} {
		for _, sc := range scenarios() {
			if sc.after != last || len(s.Only) > 0 && !slices.Contains(s.Only, sc.name) {
				continue
			}
			checks = append(checks, s.one(ctx, sc))
			if ctx.Err() != nil {
				return conformance.Report{}, ctx.Err()
			}
		}
	}
	return conformance.Of("hub", checks), nil
}

func (s *stage) one(ctx context.Context, sc scenario) conformance.Check {
	if sc.skip != nil {
		if why := sc.skip(s); why != "" {
			return conformance.Skip(sc.name, sc.contract, why)
		}
	}
	if s.Playing != nil {
		s.Playing(sc.name)
	}
	started := time.Now()
	within, cancel := context.WithTimeout(ctx, s.Within)
	defer cancel()
	f, err := sc.play(within, s)
	if err != nil {
		f = finding{seen: err.Error()} // a hub that answers with what the scenario does not expect
	}
	return conformance.Finding{OK: f.ok, Expected: sc.expected, Seen: f.seen}.Check(sc.name, sc.contract, time.Since(started))
}

// open makes the parties, unless they are given, and a client for each.
func (s *stage) open(ctx context.Context) error {
	if s.Parties != nil {
		s.parties = *s.Parties
	} else if err := s.makeParties(ctx); err != nil {
		return err
	}
	for _, party := range []struct {
		login Login
		into  **client.Client
		must  bool
	}{
		{s.parties.User, &s.user, true},
		{s.parties.Provider, &s.own, true},
		{s.parties.OtherUser, &s.other, false},
		{s.parties.Second, &s.second, false},
	} {
		if party.login.ClientID == "" && !party.must {
			continue
		}
		c, err := s.as(party.login)
		if err != nil {
			return err
		}
		*party.into = c
	}
	if s.parties.BusinessType == "" {
		return errors.New("no business type is given whose orders go to the provider")
	}
	return nil
}

func (s *stage) as(login Login) (*client.Client, error) {
	if login.ClientID == "" || login.ClientSecret == "" {
		return nil, errors.New("the user and the provider need a client_id and a client_secret")
	}
	config := s.Hub
	config.ClientID, config.ClientSecret, config.RetryFor = login.ClientID, login.ClientSecret, s.Within
	return client.New(config)
}

// makeParties registers two tenants, two providers and two business types that nobody else has.
func (s *stage) makeParties(ctx context.Context) error {
	config := s.Hub
	config.RetryFor = s.Within
	operator, err := client.New(config)
	if err != nil {
		return err
	}
	first, second := "conformance-"+s.run, "conformance-"+s.run+"-2"
	plain, expiring := "conformance."+s.run, "conformance."+s.run+".expiring"
	s.parties.BusinessType, s.parties.Expiring = plain, expiring
	for _, id := range []string{first, second} {
		if _, err := operator.PutTenant(ctx, client.Tenant{ID: id, Name: "Conformance"}); err != nil {
			return err
		}
	}
	for id, kinds := range map[string][]string{first: {plain, expiring}, second: {expiring}} {
		if _, err := operator.PutProvider(ctx, client.Provider{ID: id, Name: "Conformance", BusinessTypes: kinds}); err != nil {
			return err
		}
	}
	if _, err := operator.PutRoute(ctx, client.Route{BusinessType: expiring, Policy: client.PolicyLeastLoaded, AcceptWithin: 1, MaxAttempts: 2}); err != nil {
		return err
	}
	for _, party := range []struct {
		spec client.ClientSpec
		into *Login
	}{
		{client.ClientSpec{Kind: client.KindUser, Tenant: first}, &s.parties.User},
		{client.ClientSpec{Kind: client.KindUser, Tenant: second}, &s.parties.OtherUser},
		{client.ClientSpec{Kind: client.KindProvider, Provider: first}, &s.parties.Provider},
		{client.ClientSpec{Kind: client.KindProvider, Provider: second}, &s.parties.Second},
	} {
		made, err := operator.CreateClient(ctx, party.spec)
		if err != nil {
			return err
		}
		*party.into = Login{made.ClientID, made.ClientSecret}
	}
	return s.effective(ctx)
}

// effective waits until the new clients are known everywhere, which takes a second at most.
func (s *stage) effective(ctx context.Context) error {
	c, err := s.as(s.parties.Provider)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, s.Within)
	defer cancel()
	for {
		_, err := c.Token(within)
		var p *client.Problem
		if !errors.As(err, &p) || p.Status != http.StatusUnauthorized || within.Err() != nil {
			return err
		}
		rest(within, pollPause)
	}
}

// pollPause is how long to wait before the same is asked again.
const pollPause = 50 * time.Millisecond

// rest waits for d, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
