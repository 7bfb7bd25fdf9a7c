package command

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// RequestKeys makes the keys by which clients sign requests, and ends them.
type RequestKeys interface {
	CreateRequestKey(ctx context.Context, clientID string) (auth.RequestKey, error)
	RequestKeys(ctx context.Context, clientID string) ([]auth.RequestKey, error)
	DeleteRequestKey(ctx context.Context, clientID, keyID string) error
}

// SigningKeyRoutes are the routes by which operators give clients signing keys.
func SigningKeyRoutes(keys RequestKeys) []httpapi.Route {
	k := &keyRoutes{keys: keys}
	operators := []auth.Kind{auth.KindOperator}
	const path = "/v1/admin/clients/:client_id/signing-keys"
	return []httpapi.Route{
		{Method: http.MethodPost, Path: path, Scope: auth.ScopeAdmin, Kinds: operators, Handler: k.create},
		{Method: http.MethodGet, Path: path, Scope: auth.ScopeAdmin, Kinds: operators, Class: httpapi.ClassList, Handler: k.list},
		{Method: http.MethodDelete, Path: path + "/:key_id", Scope: auth.ScopeAdmin, Kinds: operators, Handler: k.remove},
	}
}

type keyRoutes struct{ keys RequestKeys }

func (k *keyRoutes) create(c echo.Context, _ auth.Identity) error {
	id, err := httpapi.IDParam(c, "client_id")
	if err != nil {
		return err
	}
	key, err := k.keys.CreateRequestKey(c.Request().Context(), id)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusCreated, key)
}

func (k *keyRoutes) list(c echo.Context, _ auth.Identity) error {
	id, err := httpapi.IDParam(c, "client_id")
	if err != nil {
		return err
	}
	page := struct {
		Items []auth.RequestKey `json:"items"`
	}{}
	if page.Items, err = k.keys.RequestKeys(c.Request().Context(), id); err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, page)
}

// remove ends a key at once, at every node.
func (k *keyRoutes) remove(c echo.Context, _ auth.Identity) error {
	id, err := httpapi.IDParam(c, "client_id")
	if err != nil {
		return err
	}
	key, err := httpapi.IDParam(c, "key_id")
	if err != nil {
		return err
	}
	if err := k.keys.DeleteRequestKey(c.Request().Context(), id, key); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
