package auxiliary

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/webhook"
)

func posted(ctx context.Context, body string) echo.Context {
	r := httptest.NewRequestWithContext(ctx, http.MethodPut, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	c := echo.New().NewContext(r, httptest.NewRecorder())
	c.SetParamNames("id", "system", "record_id")
	c.SetParamValues("01890000-0000-7000-8000-000000000000", "erp", "r")
	return c
}

// FuzzBodies: what is written to auxiliary systems is refused in a good form, or means the same however it is spaced.
func FuzzBodies(f *testing.F) {
	for i, seed := range []string{
		`{"kind":"note","revision":1,"schema_version":1,"payload":{"b":1.50,"a":[1e400]}}`, `{"email":"a@b.example","phone":"+49 30 901820","country":"DE"}`,
		`{"language":"de","mail_events":["order.placed"],"webhook":{"url":"https://example.com/","events":[],"rotate_secret":true}}`,
		`{"subject":"s","text":"t","html":"<b>{{.}}</b>"}`, `{"reason":"because"}`,
	} {
		f.Add(byte(i), seed)
	}
	nowhere := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
	guard, err := webhook.NewGuard(webhook.GuardConfig{Resolver: nowhere})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, which byte, body string) {
		first, err := readPosted(t.Context(), guard, which, body)
		if err != nil {
			status, problem := httpapi.ProblemOf(err)
			require.True(t, status >= 400 && status < 500, "%v", err)
			require.True(t, jsontext.Value(problem).IsValid())
			return
		}
		if body == "" {
			return // a reason may be left out
		}
		spaced := jsontext.Value(body)
		require.NoError(t, spaced.Indent(jsontext.PreserveRawStrings(true)))
		second, err := readPosted(t.Context(), guard, which, string(spaced))
		require.NoError(t, err)
		require.Equal(t, first, second)
		if r, ok := first.(Record); ok {
			require.True(t, httpapi.ValidName(r.Kind) && r.Revision >= 1 && len(r.Payload) <= maxPayload && r.Payload[0] == '{')
		}
	})
}

func readPosted(ctx context.Context, guard *webhook.Guard, which byte, body string) (any, error) {
	c := posted(ctx, body)
	switch which % 5 {
	case 0:
		return readRecord(c, auth.Identity{Kind: auth.KindAuxiliary, System: "erp"})
	case 1:
		return readSearch(c)
	case 2:
		return NoticeDeps{Guard: guard}.readWanted(c, "demo")
	case 3:
		return readTemplate(c)
	}
	return readReason(c)
}
