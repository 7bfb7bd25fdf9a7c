package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

// defaultLanguage is that of the templates which ship with the project.
const defaultLanguage = "en"

// noticeEvents are the events that customers can be told of.
func noticeEvents() []string {
	return []string{
		string(events.OrderPlaced), string(events.OrderCompleted), string(events.OrderRejected), string(events.OrderCancelled),
		string(events.OrderReturned),
	}
}

// noticeSettings say how a tenant's customers are told of the events after a position.
type noticeSettings struct {
	tenant, language string
	after            int64
	mail, webhook    []string // events
	url, secret      string
	updatedAt        time.Time
}

// noticesUnset is how the customers of a tenant are told that has set nothing: of everything, by mail.
func noticesUnset(tenant string) noticeSettings {
	return noticeSettings{tenant: tenant, language: defaultLanguage, mail: noticeEvents(), webhook: []string{}}
}

// settingsHistory are tenants' settings in the order of their positions.
type settingsHistory map[string][]noticeSettings

// at gives the settings that hold for an event.
func (h settingsHistory) at(tenant string, position int64) noticeSettings {
	for _, s := range slices.Backward(h[tenant]) {
		if s.after < position {
			return s
		}
	}
	return noticesUnset(tenant)
}

const selectSettings = `
SELECT tenant, after, language, mail_events, webhook_events, webhook_url, webhook_secret, updated_at
FROM notice_settings WHERE tenant = ANY ($1) OR $1 IS NULL ORDER BY tenant, after`

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// readSettings reads the settings of tenants, of all where none is named.
func readSettings(ctx context.Context, from querier, tenants []string) (settingsHistory, error) {
	rows, err := from.Query(ctx, selectSettings, tenants)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s noticeSettings, err error) {
		err = row.Scan(&s.tenant, &s.after, &s.language, &s.mail, &s.webhook, &s.url, &s.secret, &s.updatedAt)
		return s, err
	})
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	all := settingsHistory{}
	for _, s := range found {
		all[s.tenant] = append(all[s.tenant], s)
	}
	return all, nil
}

// The lock keeps the notices from telling an event while it is decided from which event on the settings hold.
const lockNotices = `SELECT greatest(position, quiet_to) FROM checkpoints WHERE system = $1 FOR UPDATE`

const upsertSettings = `
INSERT INTO notice_settings (tenant, after, language, mail_events, webhook_events, webhook_url, webhook_secret, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant, after) DO UPDATE
SET language = excluded.language, mail_events = excluded.mail_events, webhook_events = excluded.webhook_events,
    webhook_url = excluded.webhook_url, webhook_secret = excluded.webhook_secret, updated_at = excluded.updated_at`

// storeSettings lets settings hold for every event that was never told. change makes them of those that hold now.
func storeSettings(ctx context.Context, tx pgx.Tx, tenant string, change func(now noticeSettings) (noticeSettings, error)) (noticeSettings, error) {
	var after int64
	if err := tx.QueryRow(ctx, lockNotices, NoticesName).Scan(&after); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return noticeSettings{}, fmt.Errorf("lock notices: %w", err)
	}
	history, err := readSettings(ctx, tx, []string{tenant})
	if err != nil {
		return noticeSettings{}, err
	}
	s, err := change(history.at(tenant, after+1))
	if err != nil {
		return s, err
	}
	s.tenant, s.after = tenant, after
	_, err = tx.Exec(ctx, upsertSettings, s.tenant, s.after, s.language, s.mail, s.webhook, s.url, s.secret, s.updatedAt)
	if err != nil {
		return s, fmt.Errorf("store settings: %w", err)
	}
	return s, nil
}

const maxLanguage = 35 // characters, as RFC 5646 asks programs to hold

// languageOf gives a language in the form in which templates have it: "de_AT.UTF-8" is "de-at". Empty for what is none.
func languageOf(text string) string {
	text, _, _ = strings.Cut(text, ".")
	text = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(text), "_", "-"))
	if text == "" || len(text) > maxLanguage {
		return ""
	}
	for i, part := range strings.Split(text, "-") {
		outside := func(r rune) bool { return (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') }
		if part == "" || len(part) > 8 || i == 0 && len(part) < 2 || strings.ContainsFunc(part, outside) {
			return ""
		}
	}
	return text
}

// languages are those to look for, the best first: "zh-hant-tw" is also "zh-hant" and "zh".
func languages(wanted ...string) []string {
	var all []string
	for _, language := range wanted {
		for language != "" {
			if !slices.Contains(all, language) {
				all = append(all, language)
			}
			language = language[:max(strings.LastIndexByte(language, '-'), 0)]
		}
	}
	return all
}
