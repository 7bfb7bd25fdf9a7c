package query

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
)

func asking(t *testing.T, query string, header http.Header) echo.Context {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/orders", http.NoBody)
	r.URL.RawQuery, r.Header = query, header
	return echo.New().NewContext(r, httptest.NewRecorder())
}

// harmless is the filter with its shape and none of its words.
func (f filter) harmless() filter {
	word := func(s *string) {
		if *s != "" {
			*s = "x"
		}
	}
	words := func(all []string) []string {
		plain := make([]string, len(all))
		for i := range plain {
			plain[i] = "x"
		}
		return plain
	}
	for _, s := range []*string{&f.tenant, &f.provider, &f.sku, &f.customer, &f.reference, &f.currency} {
		word(s)
	}
	f.status, f.channels, f.businessTypes, f.regions = words(f.status), words(f.channels), words(f.businessTypes), words(f.regions)
	for _, n := range []*int64{f.totalMin, f.totalMax} {
		if n != nil {
			*n = 0
		}
	}
	for _, at := range []*time.Time{&f.from, &f.before, &f.updatedAfter, &f.updatedBefore} {
		if !at.IsZero() {
			*at = time.Unix(0, 0)
		}
	}
	return f
}

// FuzzFilter: a list's parameters are refused, or become values that are bound: no part of them is in the statement, and each has its
// place there.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		"status=routed&status=completed&channel=web&business_type=hotel&region=EU&limit=7&sort=-total", "sort=' OR 1=1--", "currency=EUR&total_min=1&total_max=9",
		"provider=acme&sku=A%27%3B&customer=a%40b.example&external_ref=%25_&text=caf%C3%A9", "created_after=2026-01-31T12:00:00%2B01:00&updated_before=2026-01-31T12:00:00Z",
		"text=%00", "limit=0", "tenant=other", "status=a&status=b", "fields=id,lines.sku", "%zz", "customer=%2B49+30+1234567&text=$1",
	} {
		f.Add(seed)
	}
	bound := regexp.MustCompile(`\$(\d+)`)
	who := auth.Identity{Kind: auth.KindUser, Tenant: "demo"}
	q := &queries{}
	f.Fuzz(func(t *testing.T, query string) {
		if strings.Contains(query, "cursor") {
			return // FuzzCursor has them
		}
		r, err := q.listRequestOf(asking(t, query, nil), who)
		if err != nil {
			require.Contains(t, []fault.Code{fault.BadParameter, fault.Forbidden}, fault.CodeOf(err), "%v", err)
			return
		}
		require.Equal(t, "demo", r.filter.tenant)
		require.True(t, r.limit >= 1 && r.limit <= maxLimit)
		require.Contains(t, []string{"placed_at", "updated_at", "total"}, r.sorting.column, "the one name that becomes part of a statement")
		sql, args := r.filter.statement(access{}, r.sorting, nil, r.limit)
		plain, _ := r.filter.harmless().statement(access{}, r.sorting, nil, r.limit)
		require.Equal(t, plain, sql)
		highest := 0
		for _, match := range bound.FindAllStringSubmatch(sql, -1) {
			n, err := strconv.Atoi(match[1])
			require.NoError(t, err)
			highest = max(highest, n)
		}
		require.Len(t, args, highest+1, "one more says how to plan it")
	})
}

// FuzzFields: what may be selected is part of an order document.
func FuzzFields(f *testing.F) {
	f.Add("fields=id,lines.sku")
	f.Add("fields=attributes.a.b,,")
	f.Add("fields=lines.*")
	f.Fuzz(func(t *testing.T, query string) {
		c := asking(t, query, nil)
		fields, err := fieldsOf(c)
		if err != nil {
			require.Equal(t, fault.BadParameter, fault.CodeOf(err))
			return
		}
		if fields == nil {
			require.False(t, c.QueryParams().Has("fields"))
			return
		}
		for path := range strings.SplitSeq(c.QueryParam("fields"), ",") {
			require.True(t, KnownField(path), "%q", path)
		}
	})
}

// FuzzAccept: whatever is liked, the answer is of a type that there is, and of the only one that is named.
func FuzzAccept(f *testing.F) {
	f.Add("text/csv;q=0.5, text/html;q=0.4")
	f.Add("*/*")
	f.Add("text/csv;q=NaN,application/vnd.apache.parquet;;")
	f.Add("wait=5")
	f.Fuzz(func(t *testing.T, header string) {
		require.Contains(t, []string{echo.MIMEApplicationJSON, mimeCSV, echo.MIMETextHTML}, accepted([]string{header}))
		format, err := formatOf(asking(t, "", http.Header{"Accept": {header}}))
		require.NoError(t, err)
		require.Contains(t, exportNames(), format.name)
		for _, only := range []string{mimeCSV, echo.MIMETextHTML} {
			require.Equal(t, only, accepted([]string{only}))
		}
		wait := preferredWait(asking(t, "", http.Header{"Prefer": {header}}))
		require.True(t, wait >= 0 && wait <= maxWait)
	})
}

func exportNames() []string {
	var names []string
	for _, f := range exportFormats() {
		names = append(names, f.name)
	}
	return names
}
