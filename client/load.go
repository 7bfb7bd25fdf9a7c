package client

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// DefaultLoadTTL is how long a load report counts that does not say it.
const DefaultLoadTTL = time.Minute

// LoadReport is what a provider says of itself. It counts until it expires, or the next one comes; the store looks at the
// larger of Load and the share of its limit that the provider's open tasks fill.
type LoadReport struct {
	Load     float64       `json:"load"`               // 0: idle; 1: full; more: overloaded
	Capacity *int64        `json:"capacity,omitempty"` // open tasks it takes, instead of its registered max_load; nil: that stands
	TTL      time.Duration `json:"-"`                  // whole seconds, 1 s to 1 h; 0: DefaultLoadTTL

	Provider  string    `json:"provider"`   // as the store answers
	ExpiresAt time.Time `json:"expires_at"` // as the store answers

	Meta Meta `json:"-"`
}

// ReportLoad says, with a provider's credentials, how loaded the provider is. It counts on every node within a second.
func (c *Client) ReportLoad(ctx context.Context, report LoadReport) (LoadReport, error) {
	body := struct {
		Load     float64 `json:"load"`
		Capacity *int64  `json:"capacity,omitempty"`
		TTL      int64   `json:"ttl,omitempty"` // seconds
	}{report.Load, report.Capacity, int64(report.TTL / time.Second)}
	answer := LoadReport{TTL: report.TTL}
	meta, err := c.do(ctx, write(http.MethodPut, body, "v1", "providers", "me", "load"), &answer)
	answer.Meta = meta
	if err != nil {
		return answer, fmt.Errorf("report load: %w", err)
	}
	return answer, nil
}
