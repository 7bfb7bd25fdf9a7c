package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// PutAuxiliaryRecord stores what an auxiliary system has to say about an order; the user sees it with include=auxiliary. It
// may be sent again: the same revision changes nothing. A Problem with the code stale_revision says that a newer revision is
// stored. With IfVersion of the revision that the writer has seen, another one in between is a Problem with the code version_mismatch.
func (c *Client) PutAuxiliaryRecord(ctx context.Context, record AuxiliaryRecord, options ...WriteOption) (AuxiliaryRecord, error) {
	body := struct {
		Kind          string          `json:"kind"`
		Revision      int64           `json:"revision"`
		SchemaVersion int64           `json:"schema_version,omitempty"`
		Payload       json.RawMessage `json:"payload,omitempty"`
	}{record.Kind, record.Revision, record.SchemaVersion, record.Payload}
	var answer AuxiliaryRecord
	r := write(http.MethodPut, body, "v1", "orders", record.OrderID, "auxiliary", record.System, record.RecordID)
	for _, option := range options {
		option(&r)
	}
	meta, err := c.do(ctx, r, &answer)
	answer.Meta = meta
	if err != nil {
		return answer, fmt.Errorf("put record %s of order %s: %w", record.RecordID, record.OrderID, err)
	}
	return answer, nil
}

// NoticeSettings say how a tenant's customers are told what becomes of their orders. What is left empty is as for a tenant that has
// set nothing: everything by mail, in English.
type NoticeSettings struct {
	Tenant     string         `json:"tenant"`
	Language   string         `json:"language,omitempty"`   // of customers whose orders name none
	MailEvents []string       `json:"mail_events,omitzero"` // nil: all; empty: none
	Webhook    *NoticeWebhook `json:"webhook,omitempty"`    // nil: none
	After      int64          `json:"after,omitempty"`      // holds for events after this position; the store sets it
	UpdatedAt  time.Time      `json:"updated_at,omitzero"`  // the store sets it

	Meta Meta `json:"-"`
}

// NoticeWebhook is where a tenant's notices are sent, signed.
type NoticeWebhook struct {
	URL          string   `json:"url"`
	Events       []string `json:"events,omitzero"` // nil: all
	RotateSecret bool     `json:"rotate_secret,omitempty"`
	Secret       string   `json:"secret,omitempty"` // in the answer that made it
}

// NoticeTemplate is a tenant's own words for an event in a language: Go templates.
type NoticeTemplate struct {
	Event    string `json:"event"`
	Language string `json:"language"`
	Subject  string `json:"subject"`
	Text     string `json:"text"`
	HTML     string `json:"html,omitempty"` // empty: the mail is plain

	Meta Meta `json:"-"`
}

// PutNoticeSettings sets how a tenant's customers are told of everything that they have not been told yet.
func (c *Client) PutNoticeSettings(ctx context.Context, s NoticeSettings) (NoticeSettings, error) {
	asked := s
	asked.After, asked.UpdatedAt = 0, time.Time{}
	meta, err := c.put(ctx, asked, "tenant", s.Tenant, &s, "tenants", s.Tenant, "notices")
	s.Meta = meta
	return s, err
}

// NoticeSettings tells how a tenant's customers are told.
func (c *Client) NoticeSettings(ctx context.Context, tenant string) (NoticeSettings, error) {
	var s NoticeSettings
	meta, err := c.do(ctx, read("v1", "admin", "tenants", tenant, "notices"), &s)
	s.Meta = meta
	if err != nil {
		return s, fmt.Errorf("get notices of tenant %s: %w", tenant, err)
	}
	return s, nil
}

// PutNoticeTemplate stores a tenant's words. The store renders them for sample orders first, and names what is wrong.
func (c *Client) PutNoticeTemplate(ctx context.Context, tenant string, t NoticeTemplate) (NoticeTemplate, error) {
	body := map[string]string{"subject": t.Subject, "text": t.Text, "html": t.HTML}
	meta, err := c.do(ctx, write(http.MethodPut, body, "v1", "admin", "tenants", tenant, "notices", "templates", t.Event, t.Language), &t)
	t.Meta = meta
	if err != nil {
		return t, fmt.Errorf("put template %s %s of tenant %s: %w", t.Event, t.Language, tenant, err)
	}
	return t, nil
}

// The states of an auxiliary system.
const (
	SystemRunning    = "running"
	SystemRebuilding = "rebuilding" // what it handled before is computed again
	SystemPaused     = "paused"
	SystemStopped    = "stopped" // at an event that it cannot apply
	SystemAway       = "away"    // no process runs it
)

// AuxiliarySystem is how one of the store's own auxiliary systems is.
type AuxiliarySystem struct {
	System   string         `json:"system"`
	State    string         `json:"state"`
	Position int64          `json:"position"` // the last event that it has handled
	Lag      int64          `json:"lag"`
	Stopped  string         `json:"stopped,omitempty"` // at which event, and why
	Queued   int64          `json:"queued"`            // outside effects to be made
	Dead     int64          `json:"dead"`              // outside effects given up
	SeenAt   time.Time      `json:"seen_at,omitzero"`  // when a process last said that it runs the system
	Actions  []SystemAction `json:"actions,omitempty"` // newest first; of one system alone

	Meta Meta `json:"-"`
}

// SystemAction is what somebody did to a system.
type SystemAction struct {
	At      time.Time `json:"at"`
	Who     string    `json:"who"`
	Action  string    `json:"action"`
	Subject string    `json:"subject,omitempty"` // the dead letter
	Reason  string    `json:"reason,omitempty"`
}

// SystemLetter is what a system could not do: apply an event, or make an outside effect of one.
type SystemLetter struct {
	ID       string    `json:"id"`   // "17" for event 17, "17.mail" for a mail of it
	Kind     string    `json:"kind"` // event or effect
	State    string    `json:"state"`
	Position int64     `json:"position"`
	OrderID  string    `json:"order_id,omitempty"`
	Attempts int64     `json:"attempts,omitempty"`
	Failure  string    `json:"failure"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
}

// AuxiliarySystems tells how the store's own auxiliary systems are.
func (c *Client) AuxiliarySystems(ctx context.Context) ([]AuxiliarySystem, error) {
	var list struct {
		Items []AuxiliarySystem `json:"items"`
	}
	if _, err := c.do(ctx, read("v1", "admin", "auxiliary"), &list); err != nil {
		return nil, fmt.Errorf("list auxiliary systems: %w", err)
	}
	return list.Items, nil
}

// PauseSystem keeps a system from handling events and from making outside effects, for as long as nobody resumes it. The reason is
// kept with who asked.
func (c *Client) PauseSystem(ctx context.Context, system, reason string) (AuxiliarySystem, error) {
	return c.operate(ctx, "pause", reason, system, "pause")
}

// ResumeSystem lets a paused system go on where it was.
func (c *Client) ResumeSystem(ctx context.Context, system, reason string) (AuxiliarySystem, error) {
	return c.operate(ctx, "resume", reason, system, "resume")
}

// RebuildSystem has a system compute all that it knows again. No outside effect is made a second time.
func (c *Client) RebuildSystem(ctx context.Context, system, reason string) (AuxiliarySystem, error) {
	return c.operate(ctx, "rebuild", reason, system, "rebuild")
}

// SystemLetters lists what a system could not do.
func (c *Client) SystemLetters(ctx context.Context, system string) ([]SystemLetter, error) {
	var list struct {
		Items []SystemLetter `json:"items"`
	}
	if _, err := c.do(ctx, read("v1", "admin", "auxiliary", system, "dead-letters"), &list); err != nil {
		return nil, fmt.Errorf("list dead letters of %s: %w", system, err)
	}
	return list.Items, nil
}

// RetryLetter has a system try again: an outside effect, the event at which it stands, or, by a rebuild, an event that was left
// out.
func (c *Client) RetryLetter(ctx context.Context, system, letter, reason string) (AuxiliarySystem, error) {
	return c.operate(ctx, "retry dead letter "+letter+" of", reason, system, "dead-letters", letter, "retry")
}

// DiscardLetter gives an outside effect up, or leaves out the event at which a system stands, which needs a reason.
func (c *Client) DiscardLetter(ctx context.Context, system, letter, reason string) (AuxiliarySystem, error) {
	return c.operate(ctx, "discard dead letter "+letter+" of", reason, system, "dead-letters", letter, "discard")
}

func (c *Client) operate(ctx context.Context, what, reason, system string, path ...string) (AuxiliarySystem, error) {
	body := struct {
		Reason string `json:"reason,omitempty"`
	}{reason}
	var answer AuxiliarySystem
	meta, err := c.do(ctx, write(http.MethodPost, body, append([]string{"v1", "admin", "auxiliary", system}, path...)...), &answer)
	answer.Meta = meta
	if err != nil {
		return answer, fmt.Errorf("%s system %s: %w", what, system, err)
	}
	return answer, nil
}
