package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Scope is whose rows a connection shows. The policies of the read and the auxiliary database go by it. The zero value shows none.
type Scope struct {
	kind                     string
	tenant, provider, system string
}

// Everything is the scope of the program's own work, which is on all tenants' rows.
func Everything() Scope { return Scope{kind: "all"} }

// OfTenant shows one tenant's rows. An auxiliary system that is that tenant's alone writes records under its name; others name none.
func OfTenant(tenant, system string) Scope {
	return Scope{kind: "tenant", tenant: tenant, system: system}
}

// OfProvider shows what a provider was told of.
func OfProvider(provider string) Scope { return Scope{kind: "provider", provider: provider} }

// OfSystem shows an auxiliary system all tenants' rows. It writes records under its own name.
func OfSystem(system string) Scope { return Scope{kind: "system", system: system} }

type scopeKey struct{}

// WithScope says under which scope what is done with the context reads and writes.
func WithScope(ctx context.Context, s Scope) context.Context {
	return context.WithValue(ctx, scopeKey{}, s)
}

// ErrNoScope means that a scoped pool was asked for a connection by somebody who did not say for whom.
var ErrNoScope = errors.New("nobody said whose rows are asked for")

const (
	scopeMark = "orderstore.scope" // of a connection: what it is set to
	setScope  = `SELECT set_config('orderstore.scope', $1, false), set_config('orderstore.tenant', $2, false),
	set_config('orderstore.provider', $3, false), set_config('orderstore.system', $4, false)`
)

// prepareScope sets a connection to the scope of who asks for it. One that is set to it already costs nothing.
func prepareScope(ctx context.Context, conn *pgx.Conn) (bool, error) {
	s, ok := ctx.Value(scopeKey{}).(Scope)
	if !ok {
		return true, ErrNoScope
	}
	set := conn.PgConn().CustomData()
	if set[scopeMark] == s {
		return true, nil
	}
	delete(set, scopeMark) // what it is set to is not known when this fails
	if _, err := conn.Exec(ctx, setScope, s.kind, s.tenant, s.provider, s.system); err != nil {
		return false, fmt.Errorf("set scope: %w", err)
	}
	set[scopeMark] = s
	return true, nil
}
