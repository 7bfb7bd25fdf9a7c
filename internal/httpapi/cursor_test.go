package httpapi_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

type place struct {
	After time.Time `json:"after"`
	ID    string    `json:"id"`
}

func TestCursor(t *testing.T) {
	t.Parallel()
	c := httpapi.NewCursor([]byte(strings.Repeat("k", 32)))
	at := place{After: time.Date(2026, 1, 31, 12, 0, 0, 123456000, time.UTC), ID: "0197"}
	sealed := c.Seal("orders?status=routed", "demo", at)
	require.Regexp(t, `^[A-Za-z0-9_-]+$`, sealed)
	require.Equal(t, sealed, c.Seal("orders?status=routed", "demo", at))

	var got place
	require.NoError(t, c.Open("orders?status=routed", "demo", sealed, &got))
	require.Equal(t, at, got)

	other := httpapi.NewCursor([]byte(strings.Repeat("l", 32)))
	for name, err := range map[string]error{
		"other tenant":   c.Open("orders?status=routed", "other", sealed, &got),
		"other filter":   c.Open("orders?status=completed", "demo", sealed, &got),
		"other list":     c.Open("tasks", "demo", sealed, &got),
		"shifted border": c.Open("orders?status=route", "ddemo", sealed, &got),
		"other key":      other.Open("orders?status=routed", "demo", sealed, &got),
		"other shape":    c.Open("orders?status=routed", "demo", sealed, new([]int)),
		"cut off":        c.Open("orders?status=routed", "demo", sealed[:len(sealed)-2], &got),
		"padded":         c.Open("orders?status=routed", "demo", sealed+"=", &got),
		"empty":          c.Open("orders?status=routed", "demo", "", &got),
		"mac alone":      c.Open("orders?status=routed", "demo", sealed[:22], &got),
		"not base64":     c.Open("orders?status=routed", "demo", "' OR 1=1--", &got),
		"endless":        c.Open("orders?status=routed", "demo", strings.Repeat("A", 5_000), &got),
	} {
		require.Equal(t, fault.BadCursor, fault.CodeOf(err), name)
	}
	require.Panics(t, func() { c.Seal("orders", "demo", func() {}) })
}

// Case 37: every single changed bit is noticed.
func TestCursorTamperedWith(t *testing.T) {
	t.Parallel()
	c := httpapi.NewCursor([]byte(strings.Repeat("k", 32)))
	sealed := c.Seal("orders", "demo", place{ID: "x"})
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	require.NoError(t, err)
	for i := range len(raw) * 8 {
		changed := append([]byte(nil), raw...)
		changed[i/8] ^= 1 << (i % 8)
		err := c.Open("orders", "demo", base64.RawURLEncoding.EncodeToString(changed), new(place))
		require.Equal(t, fault.BadCursor, fault.CodeOf(err), "bit %d", i)
	}
}

func FuzzCursor(f *testing.F) {
	c := httpapi.NewCursor([]byte(strings.Repeat("k", 32)))
	sealed := c.Seal("orders", "demo", place{ID: "x"})
	f.Add(sealed)
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, cursor string) {
		if err := c.Open("orders", "demo", cursor, new(place)); err != nil {
			require.Equal(t, fault.BadCursor, fault.CodeOf(err))
			return
		}
		require.Equal(t, sealed, cursor)
	})
}
