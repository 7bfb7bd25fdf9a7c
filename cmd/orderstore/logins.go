package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/postgres"
)

// The components that have a role in the databases. A process has the pools of those that its roles need.
const (
	componentCommand    = "command"
	componentIdentity   = "identity" // who calls, and what was done as an operator: in every process
	componentRelay      = "relay"
	componentProjection = "projection"
	componentQuery      = "query"
	componentBroadcast  = "broadcast"
	componentAuxiliary  = "auxiliary"
)

// logins are as whom the components log in, each "name:password". What is empty logs in as the URL says.
type logins struct {
	Command    string `env:"LOGIN_COMMAND"`
	Identity   string `env:"LOGIN_IDENTITY"`
	Relay      string `env:"LOGIN_RELAY"`
	Projection string `env:"LOGIN_PROJECTION"`
	Query      string `env:"LOGIN_QUERY"`
	Broadcast  string `env:"LOGIN_BROADCAST"`
	Auxiliary  string `env:"LOGIN_AUXILIARY"`
}

// byComponent are the logins under the names of their components.
func (l *logins) byComponent() map[string]*string {
	return map[string]*string{
		componentCommand: &l.Command, componentIdentity: &l.Identity, componentRelay: &l.Relay, componentProjection: &l.Projection,
		componentQuery: &l.Query, componentBroadcast: &l.Broadcast, componentAuxiliary: &l.Auxiliary,
	}
}

// of is a component's login.
func (l *logins) of(component string) (postgres.Login, error) {
	login, err := postgres.ParseLogin(*l.byComponent()[component])
	if err != nil {
		return login, fmt.Errorf("ORDERSTORE_LOGIN_%s: %w", strings.ToUpper(component), err)
	}
	return login, nil
}

func (l *logins) validate() error {
	var faults []error
	for component := range l.byComponent() {
		if _, err := l.of(component); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// openAs opens a pool that acts as a component's role, and can do nothing else.
func (c *config) openAs(ctx context.Context, component, url string, cfg postgres.PoolConfig) (*pgxpool.Pool, error) {
	login, err := c.Logins.of(component)
	if err != nil {
		return nil, err
	}
	cfg.Component, cfg.Login = component, login
	return postgres.Open(ctx, url, cfg)
}

// makeLogins lets the components of a development instance log in themselves, with passwords that live as long as the process. No file has
// them, and the role whose URLs are in endpoints.json is none that the components could go back to.
func makeLogins(ctx context.Context, owner *pgxpool.Pool) (logins, error) {
	var l logins
	var statements strings.Builder
	for component, login := range l.byComponent() {
		random := make([]byte, 32)
		if _, err := rand.Read(random); err != nil {
			return l, fmt.Errorf("make passwords: %w", err)
		}
		name, password := postgres.RoleOf(component), base64.RawURLEncoding.EncodeToString(random)
		fmt.Fprintf(&statements, "ALTER ROLE %s LOGIN PASSWORD '%s';", pgx.Identifier{name}.Sanitize(), password)
		*login = name + ":" + password
	}
	if _, err := owner.Exec(ctx, statements.String()); err != nil {
		return l, fmt.Errorf("let components log in: %w", err)
	}
	return l, nil
}
