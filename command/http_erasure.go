package command

import (
	"context"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// maxErasure bounds the body of a request for an erasure, in bytes.
const maxErasure = 4 << 10

// Erasing destroys the keys of customers.
type Erasing interface {
	Erase(ctx context.Context, whom Whom) (*Erased, error)
}

// ErasureRoutes are the routes by which operators erase customers.
func ErasureRoutes(e Erasing) []httpapi.Route {
	return []httpapi.Route{{
		Method: http.MethodPost, Path: "/v1/admin/erasures", Scope: auth.ScopeAdmin, Kinds: []auth.Kind{auth.KindOperator}, MaxBody: maxErasure,
		Handler: func(c echo.Context, _ auth.Identity) error { return erase(c, e) },
	}}
}

// erase answers 200 when nothing is left to do, and 202 while orders still have what nobody can read any more.
func erase(c echo.Context, e Erasing) error {
	body, err := httpapi.ReadJSON(c, maxErasure)
	if err != nil {
		return err
	}
	whom, err := decodeErasure(body)
	if err != nil {
		return err
	}
	done, err := e.Erase(c.Request().Context(), whom)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if done.Orders == nil || *done.Orders > 0 {
		status = http.StatusAccepted
	}
	httpapi.SetPosition(c, done.Position)
	return c.JSON(status, done)
}

// decodeErasure reads whom an erasure is about. The address is in the body: what is in a URL is written to the audit trail.
func decodeErasure(body []byte) (Whom, error) {
	var w Whom
	named := 0
	d := httpapi.NewReader(body)
	d.Object(func(name string) {
		switch name {
		case "tenant":
			d.ID(&w.Tenant)
			return
		case "email":
			d.String(&w.Email, 1, maxEmail)
		case "phone":
			d.String(&w.Phone, 1, 40)
		case "key":
			uuidText(d, &w.Key)
		case "order_id":
			uuidText(d, &w.OrderID)
		default:
			d.Unknown()
			return
		}
		named++
	})
	d.Require("tenant", w.Tenant != "")
	if d.OK() && named != 1 {
		d.InvalidAt("/email", "exactly one of email, phone, key and order_id says whom to erase")
	}
	return w, d.Finish()
}

func uuidText(d *httpapi.Reader, dst *string) {
	var text string
	d.String(&text, 36, 36)
	if !d.OK() {
		return
	}
	id, err := uuid.Parse(text)
	if err != nil {
		d.Invalid("is not a UUID")
		return
	}
	*dst = id.String()
}
