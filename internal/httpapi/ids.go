package httpapi

import (
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
)

// maxID bounds ids and names that become part of a subject, in bytes.
const maxID = 64

// ValidID tells whether s may be a tenant, provider, system or other id that reaches a subject: [A-Za-z0-9_-]{1,64}. A
// single dash is refused, since in a subject it stands for "no provider".
func ValidID(s string) bool {
	if s == "" || len(s) > maxID || s == "-" {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// ValidName tells whether s may be a business type, channel or region: [a-z0-9_.-]{1,64}.
func ValidName(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !isAlnum(c) && c != '_' && c != '-' && c != '.' || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// UUIDParam reads a path parameter that is a UUID in its usual form; anything else is 422 with the parameter's name.
func UUIDParam(c echo.Context, name string) (uuid.UUID, error) {
	raw := c.Param(name)
	id, err := uuid.Parse(raw)
	if err != nil || len(raw) != 36 {
		return uuid.UUID{}, badPath(name, "is not a UUID")
	}
	return id, nil
}

// IDParam reads a path parameter that has to be a ValidID; anything else is 422.
func IDParam(c echo.Context, name string) (string, error) {
	if raw := c.Param(name); ValidID(raw) {
		return raw, nil
	}
	return "", badPath(name, "must match [A-Za-z0-9_-]{1,64} and not be a single dash")
}

// NameParam reads a path parameter that has to be a ValidName; anything else is 422.
func NameParam(c echo.Context, name string) (string, error) {
	if raw := c.Param(name); ValidName(raw) {
		return raw, nil
	}
	return "", badPath(name, "must match [a-z0-9_.-]{1,64}")
}

// badPath names a path parameter as if it were a member of the request.
func badPath(name, detail string) error {
	return fault.InvalidFields([]fault.Field{{Pointer: "/" + name, Detail: detail}})
}
