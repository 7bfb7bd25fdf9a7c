package command

import (
	"context"
	"crypto/sha256"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// Submitter commits commands.
type Submitter interface {
	Submit(ctx context.Context, command Command, key *Key) (Answer, error)
	SubmitWaiting(ctx context.Context, command Command) (Answer, error)
}

// Clients makes clients and ends them.
type Clients interface {
	CreateClient(ctx context.Context, n auth.NewClient) (auth.Credentials, error)
	DisableClient(ctx context.Context, id string) error
	Settings
}

// Settings changes what a client has.
type Settings interface {
	RotateSecret(ctx context.Context, id string) (auth.Credentials, error)
	SetLimits(ctx context.Context, id string, document []byte) error
}

// Routes are the write side's routes.
func Routes(s Submitter, clients Clients) []httpapi.Route {
	a := &api{submit: s, clients: clients}
	users, providers, operators := []auth.Kind{auth.KindUser}, []auth.Kind{auth.KindProvider}, []auth.Kind{auth.KindOperator}
	post, put := http.MethodPost, http.MethodPut
	auxiliaries := []auth.Kind{auth.KindAuxiliary}
	return []httpapi.Route{
		{Method: post, Path: "/v1/orders", Scope: auth.ScopeOrdersWrite, Kinds: users, Class: httpapi.ClassSubmit, Handler: a.placeOrder},
		{
			Method: post, Path: "/v1/orders/batch", Scope: auth.ScopeOrdersWrite, Kinds: users, Class: httpapi.ClassBatch,
			Handler: a.placeBatch, MaxBody: httpapi.NoLimit,
		},
		{Method: http.MethodPatch, Path: "/v1/orders/:id", Scope: auth.ScopeOrdersWrite, Kinds: users, Handler: a.amendOrder},
		{Method: post, Path: "/v1/orders/:id/cancel", Scope: auth.ScopeOrdersWrite, Kinds: users, Handler: a.cancelOrder},
		{Method: post, Path: "/v1/orders/:id/returns", Scope: auth.ScopeOrdersWrite, Kinds: users, Handler: a.returnOrder},
		{Method: http.MethodGet, Path: "/v1/state-machine", Public: true, Handler: stateMachine()},
		{Method: post, Path: "/v1/tasks/:id/accept", Scope: auth.ScopeResultsWrite, Kinds: providers, Handler: a.acceptTask},
		{Method: post, Path: "/v1/tasks/:id/reject", Scope: auth.ScopeResultsWrite, Kinds: providers, Handler: a.rejectTask},
		{Method: post, Path: "/v1/tasks/:id/result", Scope: auth.ScopeResultsWrite, Kinds: providers, Handler: a.postResult},
		{Method: put, Path: "/v1/providers/me/load", Scope: auth.ScopeResultsWrite, Kinds: providers, Handler: a.reportLoad},
		{Method: post, Path: "/v1/tasks/:id/hold", Scope: auth.ScopeResultsWrite, Kinds: providers, Handler: a.holdTask},
		{Method: post, Path: "/v1/tasks/:id/resume", Scope: auth.ScopeResultsWrite, Kinds: providers, Handler: a.resumeTask},
		{Method: post, Path: "/v1/tasks/:id/delegate", Scope: auth.ScopeResultsWrite, Kinds: providers, Handler: a.delegateTask},
		{Method: post, Path: "/v1/stock/adjustments", Scope: auth.ScopeStockWrite, Kinds: users, Handler: a.adjustStock},
		{Method: post, Path: "/v1/replenishment/runs", Scope: auth.ScopeAuxiliaryWrite, Kinds: auxiliaries, Handler: a.raiseReplenishment},
		{Method: put, Path: "/v1/admin/tenants/:tenant", Scope: auth.ScopeAdmin, Kinds: operators, Handler: a.putTenant},
		{Method: put, Path: "/v1/admin/providers/:provider", Scope: auth.ScopeAdmin, Kinds: operators, Handler: a.putProvider},
		{Method: put, Path: "/v1/admin/routes/:business_type", Scope: auth.ScopeAdmin, Kinds: operators, Handler: a.putRoute},
		{Method: put, Path: "/v1/admin/catalog/products/:sku", Scope: auth.ScopeAdmin, Kinds: operators, Handler: a.putProduct},
		{Method: put, Path: "/v1/admin/catalog/vendors/:vendor_id", Scope: auth.ScopeAdmin, Kinds: operators, Handler: a.putVendor},
		{Method: post, Path: "/v1/admin/clients", Scope: auth.ScopeAdmin, Kinds: operators, Handler: a.createClient},
		{Method: post, Path: "/v1/admin/clients/:client_id/disable", Scope: auth.ScopeAdmin, Kinds: operators, Handler: a.disableClient},
		{Method: put, Path: "/v1/admin/clients/:client_id/limits", Scope: auth.ScopeAdmin, Kinds: operators, Handler: a.putClientLimits},
		{Method: post, Path: "/v1/admin/clients/:client_id/rotate-secret", Scope: auth.ScopeAdmin, Kinds: operators, Handler: a.rotateSecret},
	}
}

type api struct {
	submit  Submitter
	clients Clients
}

// keyOf reads the Idempotency-Key: 1 to 255 printable ASCII characters.
func keyOf(c echo.Context, who auth.Identity, body []byte) (*Key, error) {
	values := c.Request().Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return nil, nil
	}
	if len(values) > 1 || values[0] == "" || len(values[0]) > 255 {
		return nil, fault.New(fault.BadParameter, "Idempotency-Key must be given once, with 1 to 255 characters")
	}
	for _, b := range []byte(values[0]) {
		if b < '!' || b > '~' {
			return nil, fault.New(fault.BadParameter, "Idempotency-Key must be printable ASCII without spaces")
		}
	}
	h := sha256.New()
	h.Write([]byte(c.Request().Method + "\n" + c.Request().URL.Path + "\n"))
	h.Write(body)
	k := &Key{Client: who.ClientID, Key: values[0]}
	h.Sum(k.Fingerprint[:0])
	return k, nil
}

// run submits a command with the request's Idempotency-Key and answers with what came of it.
func (a *api) run(c echo.Context, who auth.Identity, body []byte, command Command) error {
	key, err := keyOf(c, who, body)
	if err != nil {
		return err
	}
	answer, err := a.submit.Submit(c.Request().Context(), command, key)
	if err != nil {
		return err
	}
	return write(c, &answer)
}

func write(c echo.Context, answer *Answer) error {
	header := c.Response().Header()
	if answer.ETag != "" {
		header.Set("ETag", answer.ETag)
	}
	if answer.Location != "" {
		header.Set("Location", answer.Location)
	}
	if answer.Replayed {
		header.Set("Idempotency-Replayed", "true")
	}
	httpapi.SetPosition(c, answer.Position)
	return c.Blob(answer.Status, echo.MIMEApplicationJSON, answer.Body)
}

func trace(c echo.Context) string {
	return httpapi.Traceparent(c)
}

func (a *api) placeOrder(c echo.Context, who auth.Identity) error {
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	s, err := decodeOrder(body, who.Tenant)
	if err != nil {
		return err
	}
	return a.run(c, who, body, &PlaceOrder{Submission: *s, Traceparent: trace(c)})
}
