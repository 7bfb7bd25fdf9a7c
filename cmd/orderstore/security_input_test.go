package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// orderWith is a good order with more members, or other ones in its line.
func orderWith(members, line string) string {
	if line == "" {
		line = `"quantity":1,"unit_price":1`
	}
	return `{"channel":"web","external_ref":"input-1","business_type":"retail.erp","currency":"EUR","lines":[{"sku":"A",` + line + `}]` + members + `}`
}

func inputIsRefused(d *doors) {
	quantity := func(n string) string { return orderWith("", `"quantity":`+n+`,"unit_price":1`) }
	lines := strings.Repeat(`{"sku":"A","quantity":1,"unit_price":1},`, 1001)
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"32 tenant":                {orderWith(`,"tenant":"other"`, ""), 422},
		"33 id":                    {orderWith(`,"id":"`+nobodysID+`"`, ""), 422},
		"34 status":                {orderWith(`,"status":"completed"`, ""), 422},
		"34 position":              {orderWith(`,"position":1`, ""), 422},
		"34 total":                 {orderWith(`,"total":7`, ""), 422},
		"34 total of a line":       {orderWith("", `"quantity":1,"unit_price":1,"total":7`), 422},
		"44 channel":               {strings.Replace(orderWith("", ""), `"web"`, `">"`, 1), 422},
		"44 business type":         {strings.Replace(orderWith("", ""), `"retail.erp"`, `"*"`, 1), 422},
		"45 duplicate key":         {orderWith(`,"shipping":1,"shipping":2`, ""), 400},
		"45 case variant":          {orderWith(`,"Shipping":1`, ""), 400},
		"46 NUL":                   {orderWith(`,"customer":{"name":"a\u0000b"}`, ""), 422},
		"46 invalid UTF-8":         {orderWith(",\"customer\":{\"name\":\"\xff\"}", ""), 422},
		"47 quantity 0":            {quantity("0"), 422},
		"47 quantity -1":           {quantity("-1"), 422},
		"47 quantity 2^63":         {quantity("9223372036854775808"), 422},
		"47 quantity 1e3":          {quantity("1e3"), 422},
		"47 quantity 1.5":          {quantity("1.5"), 422},
		"47 overflow":              {orderWith("", `"quantity":1000000,"unit_price":9223372036854775807`), 422},
		"48 half a cent":           {orderWith("", `"quantity":1,"unit_price":0.5`), 422},
		"49 depth":                 {orderWith(`,"attributes":`+strings.Repeat(`{"a":`, 40)+`1`+strings.Repeat(`}`, 40), ""), 400},
		"49 array over its limit":  {strings.Replace(orderWith("", ""), `"lines":[`, `"lines":[`+lines, 1), 400},
		"50 one byte over":         {orderWith("", "") + strings.Repeat(" ", 1<<20+1-len(orderWith("", ""))), 413},
		"53 unknown field":         {orderWith(`,"nobody_knows":1`, ""), 400},
		"54 card number":           {orderWith(`,"customer":{"name":"`+canaryNumber+`"}`, ""), 422},
		"54 card in an attribute":  {orderWith(`,"attributes":{"note":"`+canaryNumber+`"}`, ""), 422},
		"no object, but something": {`[]`, 422},
	} {
		answer, _ := d.asked(http.MethodPost, "user", "/v1/orders", c.body)
		require.Equal(d.t, c.status, answer.status, "case %s: %.300s", name, answer.body)
		require.NotContains(d.t, answer.body, "4111", name)
	}
	for _, media := range []string{"text/plain", "application/xml", "application/json; charset=latin1"} {
		answer, _ := d.asked(http.MethodPost, "user", "/v1/orders", orderWith("", ""), "Content-Type", media)
		require.Equal(d.t, http.StatusUnsupportedMediaType, answer.status, "case 52: %s", media)
	}
	answer, _ := d.asked(http.MethodGet, "user", "/v1/orders?external_ref=input-1", "")
	require.JSONEq(d.t, `{"items":[]}`, answer.body, "nothing of it was stored")
	var leaked int
	require.NoError(d.t, d.primary().QueryRow(d.t.Context(),
		`SELECT count(*) FROM order_events WHERE position(convert_to('4111 1111', 'UTF8') IN event) > 0`).Scan(&leaked))
	require.Zero(d.t, leaked, "case 54: in no event")
}

func taskOfAnother(d *doors) {
	body := `{"result_id":"theirs","outcome":"completed"}`
	for _, task := range []string{d.placed.Tasks[0].ID, nobodysID} {
		answer, _ := d.asked(http.MethodPost, "other provider", "/v1/tasks/"+task+"/result", body)
		require.Equal(d.t, http.StatusNotFound, answer.status)
	}
	answer, _ := d.asked(http.MethodPut, "provider", "/v1/admin/tenants/demo", `{}`)
	require.Equal(d.t, http.StatusForbidden, answer.status, "case 36")
}

func cursorsAreSealed(d *doors) {
	for _, ref := range []string{"page-1", "page-2"} {
		_, err := d.user().SubmitOrder(d.t.Context(), sampleOrder(ref))
		require.NoError(d.t, err)
	}
	d.level()
	var page struct{ Next string }
	call(d.t, http.MethodGet, d.at.HTTP+"/v1/orders?limit=1", "Bearer "+d.tokens["user"], "", "", &page)
	require.NotEmpty(d.t, page.Next)
	next := "/v1/orders?limit=1&cursor=" + url.QueryEscape(page.Next)
	answer, _ := d.asked(http.MethodGet, "user", next, "")
	require.Equal(d.t, http.StatusOK, answer.status, answer.body)
	answer, _ = d.asked(http.MethodGet, "other user", next, "")
	require.Equal(d.t, http.StatusBadRequest, answer.status, "the cursor of another tenant")
	changed := []byte(page.Next)
	changed[len(changed)/2] ^= 1
	answer, _ = d.asked(http.MethodGet, "user", "/v1/orders?limit=1&cursor="+url.QueryEscape(string(changed)), "")
	require.Equal(d.t, http.StatusBadRequest, answer.status, "tampered with")
}

func keysOfTwoTenants(d *doors) {
	body := strings.Replace(orderWith("", ""), "input-1", "two-tenants", 1)
	var seen []string
	for _, who := range []string{"user", "other user"} {
		answer, header := d.asked(http.MethodPost, who, "/v1/orders", body, "Idempotency-Key", "same")
		require.Equal(d.t, http.StatusCreated, answer.status, answer.body)
		require.Empty(d.t, header.Get("Idempotency-Replayed"))
		seen = append(seen, header.Get("Location"))
	}
	require.NotEqual(d.t, seen[0], seen[1])
}

func sortAndFilter(d *doors) {
	for _, name := range []string{"sort", "status", "channel", "business_type", "created_after", "limit", "cursor"} {
		answer, _ := d.asked(http.MethodGet, "user", "/v1/orders?"+name+"="+url.QueryEscape("' OR 1=1--"), "")
		require.Equal(d.t, http.StatusBadRequest, answer.status, "%s: %s", name, answer.body)
	}
}

func idsInPaths(d *doors) {
	for _, id := range []string{"*", "%3E", "a.b", "%0d%0aX-A:b", "%00", strings.Repeat("a", 300)} {
		for _, c := range [][3]string{
			{http.MethodGet, "/v1/orders/" + id, "user"},
			{http.MethodPost, "/v1/orders/" + id + "/cancel", "user"},
			{http.MethodPost, "/v1/tasks/" + id + "/accept", "provider"},
			{http.MethodPut, "/v1/admin/tenants/" + id, "operator"},
			{http.MethodPut, "/v1/admin/providers/" + id, "operator"},
		} {
			answer, _ := d.asked(c[0], c[2], c[1], `{}`)
			require.Equal(d.t, http.StatusUnprocessableEntity, answer.status, "%s %s: %s", c[0], c[1], answer.body)
		}
	}
}

func webhookTargets(d *doors) {
	for _, target := range []string{
		"http://example.com/", "file:///etc/passwd", "https://user:secret@example.com/", // case 24
		"https://10.0.0.1/", "https://169.254.169.254/", "https://192.168.1.1/", "https://[::ffff:10.0.0.1]/", "https://[fe80::1]/",
		"https://167772161/", "https://012.0.0.1/", "https://0x0a000001/", // case 25: 10.0.0.1 in other spellings
	} {
		answer, _ := d.asked(http.MethodPost, "user", "/v1/subscriptions", fmt.Sprintf(`{"transport":"webhook","url":%q}`, target))
		require.Equal(d.t, http.StatusUnprocessableEntity, answer.status, "%s: %s", target, answer.body)
		require.Contains(d.t, answer.body, "/url", target)
	}
}

func idempotency(d *doors) {
	body := strings.Replace(orderWith("", ""), "input-1", "once", 1)
	const senders = 8
	var answers [senders]httpAnswer
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			answers[i], _ = d.asked(http.MethodPost, "user", "/v1/orders", body, "Idempotency-Key", "once")
		})
	}
	all.Wait()
	for _, answer := range answers {
		assert.Equal(d.t, answers[0], answer, "cases 55 and 57: one wins, and all hear the same bytes")
	}
	require.Equal(d.t, http.StatusCreated, answers[0].status, answers[0].body)
	answer, _ := d.asked(http.MethodPost, "user", "/v1/orders", strings.Replace(body, "once", "twice", 1), "Idempotency-Key", "once")
	require.Equal(d.t, http.StatusUnprocessableEntity, answer.status, "case 56")
}
