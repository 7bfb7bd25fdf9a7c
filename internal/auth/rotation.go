package auth

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// keyState is what operators are told of a signing key.
type keyState struct {
	KeyID      string     `json:"kid"`
	ActiveFrom time.Time  `json:"active_from"`
	RetiredAt  *time.Time `json:"retired_at,omitempty"`
}

// ListKeys answers operators with the keys whose tokens are believed, the newest first.
func (i *Issuer) ListKeys(c echo.Context) error {
	keys, err := loadSigningKeys(c.Request().Context(), i.pool, i.cfg.Now())
	if err != nil {
		return unlessAway(err, "keys cannot be read at the moment")
	}
	answer := struct {
		Items []keyState `json:"items"`
	}{Items: []keyState{}}
	for _, k := range keys {
		state := keyState{KeyID: k.kid, ActiveFrom: k.activeFrom.UTC()}
		if !k.retiredAt.IsZero() {
			at := k.retiredAt.UTC()
			state.RetiredAt = &at
		}
		answer.Items = append(answer.Items, state)
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return writeJSON(c, http.StatusOK, answer)
}

// RotateKey brings in a new signing key for operators, as Rotate says, and answers with the keys there are then.
func (i *Issuer) RotateKey(c echo.Context) error {
	if err := i.Rotate(c.Request().Context()); err != nil {
		return unlessAway(err, "keys cannot be changed at the moment")
	}
	return i.ListKeys(c)
}
