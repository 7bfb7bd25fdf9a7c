package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

func (a *api) putTenant(c echo.Context, who auth.Identity) error {
	id, err := httpapi.IDParam(c, "tenant")
	if err != nil {
		return err
	}
	return put(a, c, who, id, decodeTenant, func(t *events.Tenant) *Register {
		return &Register{Kind: kindTenant, ID: id, Type: events.TenantChanged, Tenant: id, Document: t}
	})
}

func (a *api) putProvider(c echo.Context, who auth.Identity) error {
	id, err := httpapi.IDParam(c, "provider")
	if err != nil {
		return err
	}
	return put(a, c, who, id, decodeProvider, func(p *events.Provider) *Register {
		return &Register{Kind: kindProvider, ID: id, Type: events.ProviderChanged, Provider: id, Document: p}
	})
}

func (a *api) putRoute(c echo.Context, who auth.Identity) error {
	businessType, err := httpapi.NameParam(c, "business_type")
	if err != nil {
		return err
	}
	return put(a, c, who, businessType, decodeRoute, func(r *events.Route) *Register {
		return &Register{Kind: kindRoute, ID: businessType, Type: events.RouteChanged, BusinessType: businessType, Document: r}
	})
}

func (a *api) putProduct(c echo.Context, who auth.Identity) error {
	sku, err := url.PathUnescape(c.Param("sku"))
	if err != nil || sku == "" || len(sku) > maxRef {
		return fault.InvalidFields([]fault.Field{{Pointer: "/sku", Detail: "must have 1 to 128 characters"}})
	}
	return put(a, c, who, sku, decodeProduct, func(p *events.Product) *Register {
		return &Register{
			Kind: kindProduct, ID: catalogID(p.Tenant, sku), Type: events.ProductChanged, Tenant: p.Tenant, Document: p,
		}
	})
}

func (a *api) putVendor(c echo.Context, who auth.Identity) error {
	id, err := httpapi.IDParam(c, "vendor_id")
	if err != nil {
		return err
	}
	return put(a, c, who, id, decodeVendor, func(v *events.Vendor) *Register {
		return &Register{Kind: kindVendor, ID: catalogID(v.Tenant, id), Type: events.VendorChanged, Tenant: v.Tenant, Document: v}
	})
}

// put reads an entry of the registry and stores it.
func put[T any](
	a *api, c echo.Context, who auth.Identity, id string,
	decode func(body []byte, id string) (T, error), register func(T) *Register,
) error {
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	document, err := decode(body, id)
	if err != nil {
		return err
	}
	command := register(document)
	command.Traceparent = trace(c)
	return a.run(c, who, body, command)
}

func (a *api) createClient(c echo.Context, _ auth.Identity) error {
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	n, err := decodeClient(body)
	if err != nil {
		return err
	}
	credentials, err := a.clients.CreateClient(c.Request().Context(), n)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusCreated, credentials)
}

// disableClient ends a client for ever: it gets no more tokens, and those it has are refused within a second.
func (a *api) disableClient(c echo.Context, _ auth.Identity) error {
	id, err := httpapi.IDParam(c, "client_id")
	if err != nil {
		return err
	}
	if err := a.clients.DisableClient(c.Request().Context(), id); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// rotateSecret gives a client a new secret and ends the old one at once.
func (a *api) rotateSecret(c echo.Context, _ auth.Identity) error {
	id, err := httpapi.IDParam(c, "client_id")
	if err != nil {
		return err
	}
	credentials, err := a.clients.RotateSecret(c.Request().Context(), id)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, credentials)
}

// putClientLimits sets what a client may ask for, instead of what every client may; none are the defaults again.
func (a *api) putClientLimits(c echo.Context, _ auth.Identity) error {
	id, err := httpapi.IDParam(c, "client_id")
	if err != nil {
		return err
	}
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	l, err := decodeClientLimits(body)
	if err != nil {
		return err
	}
	document, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode limits: %w", err)
	}
	if err := a.clients.SetLimits(c.Request().Context(), id, document); err != nil {
		return err
	}
	return c.JSONBlob(http.StatusOK, document)
}

func decodeClient(body []byte) (auth.NewClient, error) {
	var n auth.NewClient
	var given fields
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		switch name {
		case "kind":
			given |= hasRef
			oneOf(r, &n.Kind, auth.KindUser, auth.KindProvider, auth.KindAuxiliary, auth.KindOperator)
		case "tenant":
			r.ID(&n.Tenant)
		case "provider":
			r.ID(&n.Provider)
		case "system":
			r.ID(&n.System)
		case "scopes":
			r.Array(maxWords, func(int) {
				var scope string
				if r.String(&scope, 1, 64); scope != "" {
					n.Scopes = append(n.Scopes, scope)
				}
			})
		default:
			r.Unknown()
		}
	})
	r.Require("kind", given.has(hasRef))
	return n, r.Finish()
}
