package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"time"
)

// AuditEntry is a write that was asked of the admin API. Status is 0 while it is answered, and where nobody knows what came of it.
type AuditEntry struct {
	ID        int64     `json:"id"`
	At        time.Time `json:"at"`
	ClientID  string    `json:"client_id"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	RequestID string    `json:"request_id"`
	Status    int       `json:"status,omitempty"`
}

// AuditFilter selects entries of the audit trail; its zero value selects all.
type AuditFilter struct {
	ClientID string
	Path     string    // as it begins, such as /v1/admin/clients
	Since    time.Time // inclusive
}

// ListAudit goes through who did what through the admin API, the newest first. It ends after the first error.
func (c *Client) ListAudit(ctx context.Context, filter AuditFilter) iter.Seq2[AuditEntry, error] {
	r := read("v1", "admin", "audit")
	set(r.query, "client_id", filter.ClientID)
	set(r.query, "path", filter.Path)
	if !filter.Since.IsZero() {
		r.query.Set("since", filter.Since.UTC().Format(time.RFC3339Nano))
	}
	return listed[AuditEntry](ctx, c, r, "list audit trail")
}

// SigningKey is a key that signs access tokens, or signed some that may still be believed.
type SigningKey struct {
	KeyID      string    `json:"kid"`
	ActiveFrom time.Time `json:"active_from"`         // it signs from here on, until a newer one does
	RetiredAt  time.Time `json:"retired_at,omitzero"` // it verifies nothing from here on; zero for the newest
}

// SigningKeys reads the keys of the store's own token issuer, the newest first.
func (c *Client) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	return c.signingKeys(ctx, "list signing keys", read("v1", "admin", "signing-keys"))
}

// RotateSigningKey brings in a new key and returns all. It is published at once and signs a minute later, so that everybody who verifies
// tokens has it by then; the older ones verify until the last token that they can have signed is over.
func (c *Client) RotateSigningKey(ctx context.Context) ([]SigningKey, error) {
	return c.signingKeys(ctx, "rotate signing key", write(http.MethodPost, nil, "v1", "admin", "signing-keys", "rotate"))
}

func (c *Client) signingKeys(ctx context.Context, what string, r request) ([]SigningKey, error) {
	var answer struct {
		Items []SigningKey `json:"items"`
	}
	if _, err := c.do(ctx, r, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return answer.Items, nil
}
