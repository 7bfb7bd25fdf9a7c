package broadcast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

// maxSubscriptions is how many one party may have.
const maxSubscriptions = 10_000

// SubscriptionStore keeps subscriptions and their positions in the primary.
type SubscriptionStore struct{ pool *pgxpool.Pool }

// NewSubscriptionStore makes a store on the write database.
func NewSubscriptionStore(pool *pgxpool.Pool) *SubscriptionStore {
	return &SubscriptionStore{pool: pool}
}

const (
	subscriptionColumns = `s.id, s.kind, s.tenant, s.provider, s.system, s.client_id, s.name, s.transport, s.types, s.business_types,
	s.include_order, s.status, s.reason, s.settings, s.version, p.position, s.created_at, s.updated_at`
	fromSubscriptions = ` FROM subscriptions s JOIN subscription_positions p ON p.subscription_id = s.id`
	ofOwner           = ` s.kind = $1 AND s.tenant = $2 AND s.provider = $3 AND s.system = $4`

	countSubscriptions = `SELECT count(*) FROM subscriptions s WHERE` + ofOwner
	insertSubscription = `INSERT INTO subscriptions (id, kind, tenant, provider, system, client_id, name, transport, types, business_types,
	include_order, settings, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)`
	insertPosition      = `INSERT INTO subscription_positions (subscription_id, position, updated_at) VALUES ($1, $2, $3)`
	selectSubscription  = `SELECT ` + subscriptionColumns + fromSubscriptions + ` WHERE` + ofOwner + ` AND s.id = $5`
	selectSubscriptions = `SELECT ` + subscriptionColumns + fromSubscriptions + ` WHERE` + ofOwner + ` AND s.id > $5 ORDER BY s.id LIMIT $6`
	selectByTransport   = `SELECT ` + subscriptionColumns + fromSubscriptions + ` WHERE s.transport = $1 ORDER BY s.id`
	selectVersions      = `SELECT id, version FROM subscriptions WHERE transport = $1`
)

// owned puts the owner before other values of a statement that has ofOwner.
func owned(o Owner, more ...any) []any {
	return append([]any{o.Kind, o.Tenant, o.Provider, o.System}, more...)
}

func scanSubscription(row pgx.CollectableRow) (Subscription, error) {
	var s Subscription
	err := row.Scan(s.columns()...)
	return s, err
}

// columns are where subscriptionColumns are read into.
func (s *Subscription) columns() []any {
	return []any{
		&s.ID, &s.Owner.Kind, &s.Owner.Tenant, &s.Owner.Provider, &s.Owner.System, &s.ClientID, &s.Name, &s.Transport, &s.Filter.Types,
		&s.Filter.BusinessTypes, &s.IncludeOrder, &s.Status, &s.Reason, &s.Settings, &s.Version, &s.Position, &s.CreatedAt, &s.UpdatedAt,
	}
}

// Create stores a new subscription, which begins after s.Position. also runs in the same transaction. A name that the party has
// already is fault.Conflict.
func (st *SubscriptionStore) Create(ctx context.Context, s *Subscription, also func(pgx.Tx) error) error {
	err := postgres.InTx(ctx, st.pool, func(tx pgx.Tx) error {
		var have int
		if err := tx.QueryRow(ctx, countSubscriptions, owned(s.Owner)...).Scan(&have); err != nil {
			return fmt.Errorf("count subscriptions: %w", err)
		}
		if have >= maxSubscriptions {
			return fault.New(fault.Conflict, "a party has at most %d subscriptions", maxSubscriptions)
		}
		if _, err := tx.Exec(ctx, insertSubscription, s.ID, s.Owner.Kind, s.Owner.Tenant, s.Owner.Provider, s.Owner.System, s.ClientID, s.Name,
			s.Transport, s.Filter.Types, s.Filter.BusinessTypes, s.IncludeOrder, s.Settings, s.CreatedAt); err != nil {
			return fmt.Errorf("insert subscription: %w", err)
		}
		if _, err := tx.Exec(ctx, insertPosition, s.ID, s.Position, s.CreatedAt); err != nil {
			return fmt.Errorf("insert subscription's position: %w", err)
		}
		if also == nil {
			return nil
		}
		return also(tx)
	})
	if taken, ok := errors.AsType[*pgconn.PgError](err); ok && taken.Code == "23505" {
		return fault.Wrap(err, fault.Conflict, "there is a subscription named %q already", s.Name)
	}
	return err
}

// Get gives a party's subscription; another party's is fault.NotFound like one that does not exist.
func (st *SubscriptionStore) Get(ctx context.Context, o Owner, id uuid.UUID) (*Subscription, error) {
	rows, err := st.pool.Query(ctx, selectSubscription, owned(o, id)...)
	if err != nil {
		return nil, fmt.Errorf("read subscription: %w", err)
	}
	s, err := pgx.CollectExactlyOneRow(rows, scanSubscription)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, noSubscription()
	}
	if err != nil {
		return nil, fmt.Errorf("read subscription: %w", err)
	}
	return &s, nil
}

func noSubscription() error { return fault.New(fault.NotFound, "there is no such subscription") }

// List gives up to limit of a party's subscriptions whose ids come after one.
func (st *SubscriptionStore) List(ctx context.Context, o Owner, after uuid.UUID, limit int) ([]Subscription, error) {
	return st.collect(ctx, selectSubscriptions, owned(o, after, limit)...)
}

// ByTransport gives all subscriptions of a transport, whoever's and in whatever state.
func (st *SubscriptionStore) ByTransport(ctx context.Context, t Transport) ([]Subscription, error) {
	return st.collect(ctx, selectByTransport, t)
}

func (st *SubscriptionStore) collect(ctx context.Context, sql string, args ...any) ([]Subscription, error) {
	rows, err := st.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	all, err := pgx.CollectRows(rows, scanSubscription)
	if err != nil {
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	return all, nil
}

// Versions gives the version of each subscription of a transport: what a worker compares to see which have changed.
func (st *SubscriptionStore) Versions(ctx context.Context, t Transport) (map[uuid.UUID]int64, error) {
	rows, err := st.pool.Query(ctx, selectVersions, t)
	if err != nil {
		return nil, fmt.Errorf("read versions of subscriptions: %w", err)
	}
	versions := map[uuid.UUID]int64{}
	var id uuid.UUID
	var version int64
	_, err = pgx.ForEachRow(rows, []any{&id, &version}, func() error {
		versions[id] = version
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read versions of subscriptions: %w", err)
	}
	return versions, nil
}

const (
	updateSubscription = `UPDATE subscriptions s SET name = $6, types = $7, business_types = $8, include_order = $9, settings = $10,
	version = version + 1, updated_at = $11 WHERE` + ofOwner + ` AND s.id = $5 AND s.version = $12`
	updateStatus = `UPDATE subscriptions s SET status = $6, reason = $7, version = version + 1, updated_at = $8
	WHERE` + ofOwner + ` AND s.id = $5 AND (s.status, s.reason) IS DISTINCT FROM ($6, $7)`
	deleteSubscription = `DELETE FROM subscriptions s WHERE` + ofOwner + ` AND s.id = $5`
	// Acknowledging goes forward only: of two readers the further one is believed.
	ackPosition = `UPDATE subscription_positions SET position = $2, updated_at = $3 WHERE subscription_id = $1 AND position < $2`
	// What was on its way before the move is told by the count of moves.
	seekPosition = `UPDATE subscription_positions SET position = $2, updated_at = $3, moves = moves + 1 WHERE subscription_id = $1`
	touchVersion = `UPDATE subscriptions SET version = version + 1, updated_at = $2 WHERE id = $1`
	holdVersion  = `SELECT version FROM subscriptions WHERE id = $1 FOR SHARE`
)

// Update stores what a party may change of a subscription, if it is still at s.Version; fault.VersionMismatch if not.
func (st *SubscriptionStore) Update(ctx context.Context, s *Subscription, now time.Time) error {
	tag, err := st.pool.Exec(ctx, updateSubscription, owned(s.Owner, s.ID, s.Name, s.Filter.Types, s.Filter.BusinessTypes, s.IncludeOrder,
		s.Settings, now, s.Version)...)
	if taken, ok := errors.AsType[*pgconn.PgError](err); ok && taken.Code == "23505" {
		return fault.Wrap(err, fault.Conflict, "there is a subscription named %q already", s.Name)
	}
	if err != nil {
		return fmt.Errorf("update subscription: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fault.New(fault.VersionMismatch, "the subscription has changed meanwhile")
	}
	return nil
}

// SetStatus pauses, resumes or disables a subscription. One that is in that state already stays as it is.
func (st *SubscriptionStore) SetStatus(ctx context.Context, o Owner, id uuid.UUID, status SubscriptionStatus, reason string, now time.Time) error {
	if _, err := st.pool.Exec(ctx, updateStatus, owned(o, id, status, reason, now)...); err != nil {
		return fmt.Errorf("set status of subscription: %w", err)
	}
	return nil
}

// Delete ends a subscription and forgets its position.
func (st *SubscriptionStore) Delete(ctx context.Context, o Owner, id uuid.UUID) error {
	tag, err := st.pool.Exec(ctx, deleteSubscription, owned(o, id)...)
	if err != nil {
		return fmt.Errorf("delete subscription: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return noSubscription()
	}
	return nil
}

// Ack stores that nothing up to a position is missing at the party. It never goes back.
func (st *SubscriptionStore) Ack(ctx context.Context, id uuid.UUID, position int64, now time.Time) error {
	if _, err := st.pool.Exec(ctx, ackPosition, id, position, now); err != nil {
		return fmt.Errorf("store position of subscription: %w", err)
	}
	return nil
}

// AckVersion is Ack of a reader that knows this version of the subscription; fault.VersionMismatch if it has another by now. So a reader
// that was at work when its subscription was moved takes nothing of that back.
func (st *SubscriptionStore) AckVersion(ctx context.Context, id uuid.UUID, position, version int64, now time.Time) error {
	return postgres.InTx(ctx, st.pool, func(tx pgx.Tx) error {
		var have int64
		err := tx.QueryRow(ctx, holdVersion, id).Scan(&have)
		if errors.Is(err, pgx.ErrNoRows) {
			return noSubscription()
		}
		if err != nil {
			return fmt.Errorf("hold version of subscription: %w", err)
		}
		if have != version {
			return fault.New(fault.VersionMismatch, "the subscription is at version %d", have)
		}
		if _, err := tx.Exec(ctx, ackPosition, id, position, now); err != nil {
			return fmt.Errorf("store position of subscription: %w", err)
		}
		return nil
	})
}

// Seek moves a subscription to a position, back or forth: what comes after it is delivered next. Whoever delivers sees it by the
// subscription's version.
func (st *SubscriptionStore) Seek(ctx context.Context, id uuid.UUID, position int64, now time.Time) error {
	return postgres.InTx(ctx, st.pool, func(tx pgx.Tx) error {
		// The version first: whoever acknowledges by version, or copies what was acknowledged, holds it, and then takes the position. A
		// deletion takes them in this order too.
		if _, err := tx.Exec(ctx, touchVersion, id, now); err != nil {
			return fmt.Errorf("move subscription: %w", err)
		}
		if _, err := tx.Exec(ctx, seekPosition, id, position, now); err != nil {
			return fmt.Errorf("move subscription: %w", err)
		}
		return nil
	})
}
