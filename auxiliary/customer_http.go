package auxiliary

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
)

const maxSearchBody = 4 << 10

// customerRoutes are the routes by which users read profiles. A search has its address in the body: what is in a URL is written
// to the logs of whatever passes it on.
func customerRoutes(deps RouteDeps) []httpapi.Route {
	kinds := []auth.Kind{auth.KindUser}
	return []httpapi.Route{
		{Method: http.MethodGet, Path: "/v1/customers/:id", Scope: auth.ScopeOrdersRead, Kinds: kinds, Handler: deps.getCustomer},
		{
			Method: http.MethodPost, Path: "/v1/customers/search", Scope: auth.ScopeOrdersRead, Kinds: kinds,
			MaxBody: maxSearchBody, Handler: deps.searchCustomers,
		},
	}
}

func (d RouteDeps) getCustomer(c echo.Context, who auth.Identity) error {
	id, err := httpapi.UUIDParam(c, "id")
	if err != nil {
		return err
	}
	var found *Customer
	err = d.profiles(c, func(ctx context.Context, tx pgx.Tx) error {
		name, err := findCustomer(ctx, tx, who.Tenant, id)
		if err == nil {
			found, err = readCustomer(ctx, tx, who.Tenant, name, d.Now())
		}
		return err
	})
	if err != nil {
		return err
	}
	return answerJSON(c, found.Position, found)
}

// searchCustomers gives the customers known by an e-mail address or a telephone number: none, one, or two where each names
// another.
func (d RouteDeps) searchCustomers(c echo.Context, who auth.Identity) error {
	by, err := readSearch(c)
	if err != nil {
		return err
	}
	answer := struct {
		Items []*Customer `json:"items"`
	}{[]*Customer{}}
	var position int64
	err = d.profiles(c, func(ctx context.Context, tx pgx.Tx) error {
		keys, _ := keysOf(who.Tenant, by)
		keys = append(keys, d.markedKeysOf(who.Tenant, by)...)
		ids, err := findCustomers(ctx, tx, who.Tenant, keys)
		if err != nil {
			return err
		}
		for _, id := range ids {
			one, err := readCustomer(ctx, tx, who.Tenant, id, d.Now())
			if err != nil {
				return err
			}
			if one.Orders["all"] > 0 { // nobody is left of whom was erased
				answer.Items = append(answer.Items, one)
			}
		}
		return tx.QueryRow(ctx, selectPosition, ProfileName).Scan(&position)
	})
	if err != nil {
		return err
	}
	return answerJSON(c, position, answer)
}

// markedKeysOf are the keys of a customer whose orders have it sealed.
func (d RouteDeps) markedKeysOf(tenant string, by *events.Customer) []customerKey {
	m := d.Keys.Master()
	if m == nil {
		return nil
	}
	email, phone := customerkeys.Joined(m, tenant, by.Email, by.Phone, by.Address.Country)
	var keys []customerKey
	if email != "" {
		keys = append(keys, keyOf(tenant, "email mark", email))
	}
	if phone != "" {
		keys = append(keys, keyOf(tenant, "phone mark", phone))
	}
	return keys
}

func readSearch(c echo.Context) (*events.Customer, error) {
	body, err := httpapi.ReadJSON(c, maxSearchBody)
	if err != nil {
		return nil, err
	}
	by, country := &events.Customer{}, ""
	d := httpapi.NewReader(body)
	d.Object(func(name string) {
		switch name {
		case "email":
			d.String(&by.Email, 1, maxText)
			if _, ok := customerkeys.Email(by.Email); d.OK() && !ok {
				d.Invalid("is not an e-mail address")
			}
		case "phone":
			d.String(&by.Phone, 1, maxText)
		case "country":
			d.String(&country, 2, 2)
		default:
			d.Unknown()
		}
	})
	if _, ok := customerkeys.Phone(by.Phone, country); d.OK() && by.Phone != "" && !ok {
		d.InvalidAt("/phone", "is not a telephone number, such as +49 30 901820")
	}
	if d.OK() && by.Email == "" && by.Phone == "" {
		d.InvalidAt("/email", "or phone is required")
	}
	by.Address = &events.Address{Country: country}
	return by, d.Finish()
}

// profiles reads in one state of the database, at least as new as the caller asks for. Points may be older: their position tells.
func (d RouteDeps) profiles(c echo.Context, read func(ctx context.Context, tx pgx.Tx) error) error {
	if err := reached(c, d, ProfileName); err != nil {
		return err
	}
	ctx := c.Request().Context()
	err := postgres.InSnapshot(ctx, d.Pool, func(tx pgx.Tx) error { return read(ctx, tx) })
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	return storeFault(err)
}

func answerJSON(c echo.Context, position int64, answer any) error {
	body, err := json.Marshal(answer, json.Deterministic(true))
	if err != nil {
		return err
	}
	httpapi.SetPosition(c, position)
	c.Response().Header().Set("Cache-Control", "private, no-store")
	return c.JSONBlob(http.StatusOK, body)
}
