package playhub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/conformance"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/webhook"
)

// Config says whom to look at, and how. Zero values mean the defaults.
type Config struct {
	Writes  Writes // required
	Address string // to listen at; a free port of the loopback when empty
	// Command is the provider's program, which the kit starts and stops, with where the hub is in its environment. Without one the
	// provider is started by somebody else, and is not restarted.
	Command []string
	Output  io.Writer // of the program
	// WebhookURL is where signed notices are delivered; they are not when it is empty. WebhookSecret is made up when empty.
	WebhookURL    string
	WebhookSecret string
	// Order is what is ordered. Its reference is made up, and in some scenarios its quantities are other ones.
	Order client.OrderSubmission
	Only  []string // scenarios; none: all
	// Within is how long the provider may take over what a scenario asks of it, Settle how long it is looked at after the last one, and
	// ConnectWithin how long it may take to appear.
	Within, Settle, ConnectWithin time.Duration
	Ready                         func(Access)      // told where the hub is, once it can be asked
	Playing                       func(name string) // told of each scenario that begins
}

// Access is what a provider needs to know.
type Access struct {
	URL           string `json:"url"`
	ClientID      string `json:"client_id"`
	ClientSecret  string `json:"client_secret"`
	WebhookSecret string `json:"webhook_secret,omitempty"`
}

// The defaults of Config.
const (
	DefaultWithin        = 30 * time.Second
	DefaultSettle        = 2 * time.Second
	DefaultConnectWithin = 5 * time.Minute
)

// DefaultOrder is what is ordered of a provider that does not mind what it is.
func DefaultOrder() client.OrderSubmission {
	return client.OrderSubmission{
		BusinessType: "conformance", Currency: "EUR",
		Lines: []client.LineSubmission{{SKU: "CONFORMANCE-1", Name: "Conformance sample", Quantity: 2, UnitPrice: 1000}},
	}
}

// scenario is something that is done to the provider.
type scenario struct {
	name     string
	contract string // the sentence that it checks
	expected string
	skip     func(s *stage) string // why it cannot be played here; empty when it can
	// play does it, and gives what judges it later, with the hub's lock held: what comes after the scenario counts as well.
	play func(ctx context.Context, s *stage) (judge, error)
}

// judge looks at what became of a scenario.
type judge func() finding

type finding struct {
	ok      bool
	seen    string
	skipped bool // it turned out that it cannot be played with this provider; seen says why
}

// stage is what scenarios are played on.
type stage struct {
	*hub
	Config
	user    *client.Client
	hooks   *webhooks // nil without a webhook URL
	program *process  // nil when somebody else runs the provider
}

// Names lists the scenarios in the order in which they are played.
func Names() []string {
	var names []string
	for _, sc := range scenarios() {
		names = append(names, sc.name)
	}
	return names
}

// Run plays all scenarios, one after the other. Its error is the kit's own trouble, or that the provider never came.
func Run(ctx context.Context, c Config) (conformance.Report, error) {
	if err := c.complete(); err != nil {
		return conformance.Report{}, err
	}
	h, err := newHub(c.Writes)
	if err != nil {
		return conformance.Report{}, err
	}
	stop, err := h.serve(ctx, c.Address)
	if err != nil {
		return conformance.Report{}, err
	}
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &stage{hub: h, Config: c}
	if err := s.open(ctx); err != nil {
		return conformance.Report{}, err
	}
	if s.program != nil {
		defer s.program.stop()
	}
	if s.hooks != nil {
		defer s.hooks.sender.Close()
	}
	if err := s.arrive(ctx); err != nil {
		return conformance.Report{}, err
	}
	return s.all(ctx)
}

func (c *Config) complete() error {
	for _, d := range []struct {
		given *time.Duration
		usual time.Duration
	}{{&c.Within, DefaultWithin}, {&c.Settle, DefaultSettle}, {&c.ConnectWithin, DefaultConnectWithin}} {
		if *d.given <= 0 {
			*d.given = d.usual
		}
	}
	if c.Address == "" {
		c.Address = "127.0.0.1:0"
	}
	if len(c.Order.Lines) == 0 {
		c.Order = DefaultOrder()
	}
	for _, name := range c.Only {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("scenario %s: there are %s", name, strings.Join(Names(), ", "))
		}
	}
	return nil
}

// open makes the parties, and starts what delivers and what is looked at.
func (s *stage) open(ctx context.Context) error {
	operator, err := s.as(auth.KindOperator)
	if err != nil {
		return err
	}
	if s.user, err = s.as(auth.KindUser); err != nil {
		return err
	}
	_, err = operator.PutProvider(ctx, client.Provider{ID: provider, Name: "Under test", BusinessTypes: []string{s.Order.BusinessType}})
	if err != nil {
		return fmt.Errorf("open the hub: %w", err)
	}
	if err := s.openHooks(ctx); err != nil {
		return err
	}
	access := Access{URL: s.url(), ClientID: s.of(auth.KindProvider).id, ClientSecret: s.of(auth.KindProvider).secret, WebhookSecret: s.WebhookSecret}
	if s.Ready != nil {
		s.Ready(access)
	}
	if len(s.Command) == 0 {
		return nil
	}
	s.program = &process{command: s.Command, output: s.Output, ended: func() { s.look(s.change) }, env: []string{
		"ORDERSTORE_URL=" + access.URL, "ORDERSTORE_CLIENT_ID=" + access.ClientID, "ORDERSTORE_CLIENT_SECRET=" + access.ClientSecret,
	}}
	if access.WebhookSecret != "" {
		s.program.env = append(s.program.env, "ORDERSTORE_WEBHOOK_SECRET="+access.WebhookSecret)
	}
	return s.program.start(ctx)
}

// openHooks starts to deliver, where there is somewhere to deliver to.
func (s *stage) openHooks(ctx context.Context) error {
	if s.WebhookURL == "" {
		return nil
	}
	secret, err := webhook.NewSecret(webhook.HMAC)
	if s.WebhookSecret != "" {
		secret, err = webhook.ParseSecret(s.WebhookSecret)
	}
	if err != nil {
		return fmt.Errorf("webhook secret: %w", err)
	}
	s.WebhookSecret = secret.ForReceiver()
	if s.hooks, err = newWebhooks(s.hub, s.WebhookURL, secret); err != nil {
		return err
	}
	go s.hooks.run(ctx)
	return nil
}

// as makes a client of the kit's own.
func (s *stage) as(kind auth.Kind) (*client.Client, error) {
	who := s.of(kind)
	c, err := client.New(client.Config{
		BaseURL: s.url(), ClientID: who.id, ClientSecret: who.secret, HTTPClient: &http.Client{Transport: s.hub}, RetryFor: time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("the kit's own client: %w", err)
	}
	return c, nil
}

// arrive waits for the provider. One that is told by webhook may have nothing to ask before it is told something.
func (s *stage) arrive(ctx context.Context) error {
	if s.hooks != nil {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, s.ConnectWithin)
	defer cancel()
	if s.wait(within, func() bool { return s.tokensSince(time.Time{}) > 0 }) {
		return nil
	}
	if err := s.gone(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the provider has not asked for a token within %s", s.ConnectWithin)
}

// gone says why the provider's program is no longer there.
func (s *stage) gone() error {
	if s.program == nil {
		return nil
	}
	return s.program.gone()
}

// wait waits for a condition: until ctx ends, or the provider's program does.
func (s *stage) wait(ctx context.Context, condition func() bool) bool {
	met := false
	s.until(ctx, func() bool {
		met = condition()
		return met || s.gone() != nil
	})
	return met
}

// played is a scenario that was played.
type played struct {
	scenario
	took  time.Duration
	judge judge
}

// all plays all that is asked for, and judges it when the provider has had time to do what it should not.
func (s *stage) all(ctx context.Context) (conformance.Report, error) {
	var done []played
	for _, sc := range scenarios() {
		if len(s.Only) > 0 && !slices.Contains(s.Only, sc.name) {
			continue
		}
		p, err := s.one(ctx, sc)
		if err != nil {
			return conformance.Report{}, fmt.Errorf("scenario %s: %w", sc.name, err)
		}
		done = append(done, p)
	}
	rest(ctx, s.Settle)
	if ctx.Err() != nil {
		return conformance.Report{}, ctx.Err()
	}
	checks := make([]conformance.Check, len(done))
	s.look(func() {
		for i, p := range done {
			checks[i] = p.check()
		}
	})
	return conformance.Of("provider", checks), nil
}

func (p *played) check() conformance.Check {
	f := p.judge()
	if f.skipped {
		return conformance.Skip(p.name, p.contract, f.seen)
	}
	return conformance.Finding{OK: f.ok, Expected: p.expected, Seen: f.seen}.Check(p.name, p.contract, p.took)
}

// one plays a scenario and takes back what it did to the hub.
func (s *stage) one(ctx context.Context, sc scenario) (played, error) {
	if sc.skip != nil {
		if why := sc.skip(s); why != "" {
			return played{scenario: sc, judge: func() finding { return finding{skipped: true, seen: why} }}, nil
		}
	}
	if s.Playing != nil {
		s.Playing(sc.name)
	}
	started := time.Now()
	within, cancel := context.WithTimeout(ctx, s.Within)
	defer cancel()
	result, err := sc.play(within, s)
	s.restoreTokens()
	s.look(func() { s.meddle, s.again, s.odd, s.oddNext = nil, nil, "", false })
	if ctx.Err() != nil {
		return played{}, ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
		result = func() finding {
			return finding{seen: fmt.Sprintf("the scenario could not be set up within %s", s.Within)}
		}
	}
	if gone := s.gone(); gone != nil && err == nil {
		before := result
		result = func() finding {
			f := before()
			f.seen += "; " + gone.Error()
			return f
		}
	}
	return played{scenario: sc, took: time.Since(started), judge: result}, err
}

// place orders something of the provider. What it does to the order's tasks is meddled with from the first moment.
func (s *stage) place(ctx context.Context, name string, change func(*client.OrderSubmission), meddle meddler) (client.Order, error) {
	order := s.Order
	order.Channel, order.ExternalRef = "conformance", name+"-"+rand.Text()[:8]
	order.Lines = slices.Clone(order.Lines)
	if change != nil {
		change(&order)
	}
	s.look(func() {
		before := map[string]bool{}
		for id := range s.documents {
			before[id] = true
		}
		s.meddle = func(x *exchange) verdict {
			if meddle == nil || x.order == "" || before[x.order] {
				return verdict{}
			}
			return meddle(x)
		}
	})
	return s.user.SubmitOrder(ctx, order)
}
