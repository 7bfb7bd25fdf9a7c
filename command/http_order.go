package command

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// orderOf reads what all requests that change an order have: its id, and the version that they are meant for.
func orderOf(c echo.Context, who auth.Identity) (onOrder, error) {
	id, err := httpapi.UUIDParam(c, "id")
	if err != nil {
		return onOrder{}, err
	}
	version, given, err := httpapi.IfMatch(c)
	if err != nil {
		return onOrder{}, err
	}
	if !given {
		return onOrder{}, fault.New(fault.PreconditionMissing, "If-Match must name the version that the change is meant for: the order's ETag")
	}
	return onOrder{Tenant: who.Tenant, OrderID: id.String(), IfVersion: version, Traceparent: trace(c)}, nil
}

func (a *api) amendOrder(c echo.Context, who auth.Identity) error {
	order, err := orderOf(c, who)
	if err != nil {
		return err
	}
	body, err := httpapi.ReadMergePatch(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	amendment, err := decodeAmendment(body)
	if err != nil {
		return err
	}
	return a.run(c, who, body, &AmendOrder{onOrder: order, Amendment: *amendment})
}

func (a *api) cancelOrder(c echo.Context, who auth.Identity) error {
	order, err := orderOf(c, who)
	if err != nil {
		return err
	}
	command := &CancelOrder{onOrder: order}
	body, err := readOptional(c, func(body []byte) error { return decodeCancellation(body, command) })
	if err != nil {
		return err
	}
	return a.run(c, who, body, command)
}

// stateMachine publishes the tables that decisions run on.
func stateMachine() httpapi.Handler {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(events.Describe()); err != nil {
		panic("command: state machine: " + err.Error()) // a table of constants
	}
	machine := httpapi.NewPublic(echo.MIMEApplicationJSON, body.Bytes(), httpapi.Shared{MaxAge: time.Hour, Stale: 24 * time.Hour})
	return func(c echo.Context, _ auth.Identity) error { return machine.Answer(c) }
}
