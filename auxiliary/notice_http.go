package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/webhook"
)

const (
	noticesPath      = "/v1/admin/tenants/:id/notices"
	templatesPath    = noticesPath + "/templates"
	templatePath     = templatesPath + "/:event/:language"
	maxNoticesBody   = 256 << 10
	maxWebhookURL    = 2048
	maxListedChoices = 16
)

// NoticeDeps is what the routes of notices work with.
type NoticeDeps struct {
	Pool  *pgxpool.Pool  // the auxiliary database
	Guard *webhook.Guard // says where webhooks may go
	Now   func() time.Time
}

// NoticeRoutes are the routes by which operators set how a tenant's customers are told, and in which words.
func NoticeRoutes(deps NoticeDeps) []httpapi.Route {
	routes := []httpapi.Route{
		{Method: http.MethodGet, Path: noticesPath, Handler: deps.get},
		{Method: http.MethodPut, Path: noticesPath, Handler: deps.put},
		{Method: http.MethodGet, Path: templatesPath, Handler: deps.templates, Class: httpapi.ClassList},
		{Method: http.MethodGet, Path: templatePath, Handler: deps.template},
		{Method: http.MethodPut, Path: templatePath, Handler: deps.putTemplate},
		{Method: http.MethodDelete, Path: templatePath, Handler: deps.deleteTemplate},
	}
	for i := range routes {
		routes[i].Scope, routes[i].Kinds, routes[i].MaxBody = auth.ScopeAdmin, []auth.Kind{auth.KindOperator}, maxNoticesBody
	}
	return routes
}

// noticesDocument is how a tenant's customers are told.
type noticesDocument struct {
	Tenant    string           `json:"tenant"`
	Language  string           `json:"language"`
	Mail      []string         `json:"mail_events"`
	Webhook   *webhookDocument `json:"webhook,omitempty"`
	After     int64            `json:"after"` // holds for events after this position
	UpdatedAt *time.Time       `json:"updated_at,omitempty"`
}

type webhookDocument struct {
	URL    string   `json:"url"`
	Events []string `json:"events"`
	Secret string   `json:"secret,omitempty"` // shown when it is made
}

func (s *noticeSettings) document(secret bool) noticesDocument {
	d := noticesDocument{Tenant: s.tenant, Language: s.language, Mail: s.mail, After: s.after}
	if !s.updatedAt.IsZero() {
		at := s.updatedAt.UTC()
		d.UpdatedAt = &at
	}
	if s.url != "" {
		d.Webhook = &webhookDocument{URL: s.url, Events: s.webhook}
		if secret {
			d.Webhook.Secret = s.secret
		}
	}
	return d
}

func (d NoticeDeps) get(c echo.Context, _ auth.Identity) error {
	tenant, err := httpapi.IDParam(c, "id")
	if err != nil {
		return err
	}
	history, err := readSettings(c.Request().Context(), d.Pool, []string{tenant})
	if err != nil {
		return storeFault(err)
	}
	s := history.at(tenant, maxRevision)
	return c.JSON(http.StatusOK, s.document(false))
}

// wantedNotices is what a PUT asks for. What is left out is as for a tenant that has set nothing.
type wantedNotices struct {
	noticeSettings
	rotate bool
}

func (d NoticeDeps) put(c echo.Context, _ auth.Identity) error {
	tenant, err := httpapi.IDParam(c, "id")
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	want, err := d.readWanted(c, tenant)
	if err != nil {
		return err
	}
	made, created := false, false
	var s noticeSettings
	err = postgres.InTx(ctx, d.Pool, func(tx pgx.Tx) error {
		s, err = storeSettings(ctx, tx, tenant, func(now noticeSettings) (noticeSettings, error) {
			s := want.noticeSettings
			s.updatedAt = d.Now().UTC().Truncate(time.Microsecond)
			created = now.updatedAt.IsZero()
			if s.url == "" {
				return s, nil
			}
			if s.secret = now.secret; s.secret != "" && now.url == s.url && !want.rotate {
				return s, nil
			}
			fresh, err := webhook.NewSecret(webhook.HMAC)
			if err != nil {
				return s, fmt.Errorf("make secret: %w", err)
			}
			s.secret, made = fresh.Reveal(), true
			return s, nil
		})
		return err
	})
	if err != nil {
		return storeFault(err)
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return c.JSON(status, s.document(made))
}

func (d NoticeDeps) readWanted(c echo.Context, tenant string) (wantedNotices, error) {
	want := wantedNotices{noticeSettings: noticesUnset(tenant)}
	body, err := httpapi.ReadJSON(c, maxNoticesBody)
	if err != nil {
		return want, err
	}
	r := httpapi.NewReader(body)
	hooked := map[string]bool{}
	r.Object(func(name string) {
		switch name {
		case "language":
			readLanguage(r, &want.language)
		case "mail_events":
			readEvents(r, &want.mail)
		case "webhook":
			if r.Null() {
				return
			}
			want.webhook = noticeEvents()
			r.Object(func(name string) {
				hooked[name] = true
				switch name {
				case "url":
					r.String(&want.url, 1, maxWebhookURL)
				case "events":
					readEvents(r, &want.webhook)
				case "rotate_secret":
					r.Bool(&want.rotate)
				default:
					r.Unknown()
				}
			})
			r.Require("url", hooked["url"])
		default:
			r.Unknown()
		}
	})
	if err := r.Finish(); err != nil || want.url == "" {
		return want, err
	}
	want.url, err = d.Guard.CheckURL(c.Request().Context(), want.url)
	var refusal *webhook.Refusal
	if errors.As(err, &refusal) {
		return want, invalid("/webhook/url", refusal.Reason)
	}
	return want, err
}

func invalid(pointer, detail string) error {
	return fault.InvalidFields([]fault.Field{{Pointer: pointer, Detail: detail}})
}

func readLanguage(r *httpapi.Reader, into *string) {
	var text string
	r.String(&text, 1, maxLanguage)
	if *into = languageOf(text); *into == "" && r.OK() {
		r.Invalid("must be a language tag such as de or zh-Hant")
	}
}

func readEvents(r *httpapi.Reader, into *[]string) {
	*into = []string{}
	r.Array(maxListedChoices, func(int) {
		var event string
		r.String(&event, 1, maxReasonText)
		switch {
		case !r.OK():
		case !slices.Contains(noticeEvents(), event):
			r.Invalid("must be one of " + strings.Join(noticeEvents(), ", "))
		case !slices.Contains(*into, event):
			*into = append(*into, event)
		}
	})
}

// templateDocument is a tenant's words for an event in a language.
type templateDocument struct {
	Event     string    `json:"event"`
	Language  string    `json:"language"`
	Subject   string    `json:"subject"`
	Text      string    `json:"text"`
	HTML      string    `json:"html,omitempty"`
	UpdatedAt time.Time `json:"updated_at"`
}

// templateKey reads the path.
func templateKey(c echo.Context) (tenant, event, language string, err error) {
	if tenant, err = httpapi.IDParam(c, "id"); err != nil {
		return "", "", "", err
	}
	event, language = c.Param("event"), languageOf(c.Param("language"))
	if !slices.Contains(noticeEvents(), event) || language == "" {
		return "", "", "", fault.New(fault.NotFound, "no such template: the events are %s, the language a tag such as de",
			strings.Join(noticeEvents(), ", "))
	}
	return tenant, event, language, nil
}

const selectTemplateDocuments = `
SELECT event, language, subject, body, html, updated_at FROM notice_templates
WHERE tenant = $1 AND ($2 = '' OR event = $2 AND language = $3) ORDER BY event, language`

func (d NoticeDeps) read(ctx context.Context, tenant, event, language string) ([]templateDocument, error) {
	rows, err := d.Pool.Query(ctx, selectTemplateDocuments, tenant, event, language)
	if err != nil {
		return nil, storeFault(fmt.Errorf("read templates: %w", err))
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[templateDocument])
	if err != nil {
		return nil, storeFault(fmt.Errorf("read templates: %w", err))
	}
	return found, nil
}

func (d NoticeDeps) templates(c echo.Context, _ auth.Identity) error {
	tenant, err := httpapi.IDParam(c, "id")
	if err != nil {
		return err
	}
	found, err := d.read(c.Request().Context(), tenant, "", "")
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"items": append([]templateDocument{}, found...)})
}

func (d NoticeDeps) template(c echo.Context, _ auth.Identity) error {
	tenant, event, language, err := templateKey(c)
	if err != nil {
		return err
	}
	found, err := d.read(c.Request().Context(), tenant, event, language)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fault.New(fault.NotFound, "no such template")
	}
	return c.JSON(http.StatusOK, found[0])
}

const upsertTemplate = `
INSERT INTO notice_templates (tenant, event, language, subject, body, html, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (tenant, event, language) DO UPDATE
SET subject = excluded.subject, body = excluded.body, html = excluded.html, updated_at = excluded.updated_at
RETURNING xmax = 0`

func (d NoticeDeps) putTemplate(c echo.Context, _ auth.Identity) error {
	tenant, event, language, err := templateKey(c)
	if err != nil {
		return err
	}
	t, err := readTemplate(c)
	if err != nil {
		return err
	}
	if err := t.check(event); err != nil {
		part, detail := "", err.Error()
		if f, ok := errors.AsType[*templateFault](err); ok {
			part, detail = "/"+f.part, f.err.Error()
		}
		return invalid(part, "cannot be used: "+detail)
	}
	ctx, now := c.Request().Context(), d.Now().UTC().Truncate(time.Microsecond)
	var created bool
	err = d.Pool.QueryRow(ctx, upsertTemplate, tenant, event, language, t.Subject, t.Text, t.HTML, now).Scan(&created)
	if err != nil {
		return storeFault(fmt.Errorf("store template: %w", err))
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return c.JSON(status, templateDocument{Event: event, Language: language, Subject: t.Subject, Text: t.Text, HTML: t.HTML, UpdatedAt: now})
}

func readTemplate(c echo.Context) (noticeTemplate, error) {
	var t noticeTemplate
	body, err := httpapi.ReadJSON(c, maxNoticesBody)
	if err != nil {
		return t, err
	}
	r := httpapi.NewReader(body)
	given := map[string]bool{}
	r.Object(func(name string) {
		given[name] = true
		switch name {
		case "subject":
			r.String(&t.Subject, 1, maxSubject)
		case "text":
			r.String(&t.Text, 1, maxTemplate)
		case "html":
			r.String(&t.HTML, 0, maxTemplate)
		default:
			r.Unknown()
		}
	})
	for _, name := range []string{"subject", "text"} {
		r.Require(name, given[name])
	}
	return t, r.Finish()
}

const deleteTemplate = `DELETE FROM notice_templates WHERE tenant = $1 AND event = $2 AND language = $3`

func (d NoticeDeps) deleteTemplate(c echo.Context, _ auth.Identity) error {
	tenant, event, language, err := templateKey(c)
	if err != nil {
		return err
	}
	tag, err := d.Pool.Exec(c.Request().Context(), deleteTemplate, tenant, event, language)
	if err != nil {
		return storeFault(fmt.Errorf("delete template: %w", err))
	}
	if tag.RowsAffected() == 0 {
		return fault.New(fault.NotFound, "no such template")
	}
	return c.NoContent(http.StatusNoContent)
}
