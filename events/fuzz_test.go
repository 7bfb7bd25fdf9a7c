package events

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzDecode: whatever is taken for an event is written in one form, from which the same event is read; and it folds without a panic.
func FuzzDecode(f *testing.F) {
	for _, e := range samples() {
		body, err := e.Encode()
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := Decode(1, body)
		if err != nil {
			return
		}
		first, err := e.Encode()
		require.NoError(t, err)
		read, err := Decode(1, first)
		require.NoError(t, err)
		second, err := read.Encode()
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
		header, _, err := DecodeHeader(1, first)
		require.NoError(t, err)
		read.Data, header.Data = nil, nil
		require.Equal(t, read, header)
		_, _ = Apply(nil, &e)
	})
}

// FuzzDecodeOrder: whatever is taken for a stored order is written in one form, from which the same order is read.
func FuzzDecodeOrder(f *testing.F) {
	for _, e := range samples() {
		if o, err := Apply(nil, &e); err == nil {
			body, err := o.Encode()
			require.NoError(f, err)
			f.Add(body)
		}
	}
	f.Add([]byte(`{"id":"o","lines":[{}],"tasks":[{"supported_actions":null}],"results":[{"payload":{"a":1e999}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := DecodeOrder(body)
		if err != nil {
			return
		}
		first, err := o.Encode()
		require.NoError(t, err)
		require.True(t, json.Valid(first), "%s", first)
		read, err := DecodeOrder(first)
		require.NoError(t, err)
		second, err := read.Encode()
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
	})
}

// FuzzSubject: ids and names that the store takes each stay in their token of a subject, cannot be taken for another's, and can be read
// back from there.
func FuzzSubject(f *testing.F) {
	id, name := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`), regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)
	f.Add("demo", "retail.erp", "acme")
	f.Add("demo", "..", "")
	f.Add("", "", "")
	f.Add("a-b_c", "-", "--")
	f.Fuzz(func(t *testing.T, tenant, businessType, provider string) {
		for _, s := range []string{tenant, provider} {
			if s == none || s != "" && !id.MatchString(s) {
				return
			}
		}
		if businessType != "" && !name.MatchString(businessType) {
			return
		}
		e := Event{Type: TaskOffered, Tenant: tenant, BusinessType: businessType, Provider: provider}
		subject := e.Subject()
		tokens := strings.Split(subject, ".")
		require.Len(t, tokens, 6, subject)
		require.NotContains(t, tokens, "", subject)
		require.NotRegexp(t, `[*>\s]`, subject)
		require.Equal(t, []string{"orders", orNone(tenant)}, tokens[:2])
		require.Equal(t, string(TaskOffered), tokens[4]+"."+tokens[5])
		require.Equal(t, orNone(provider), tokens[3])
		require.Equal(t, orNone(businessType), strings.ReplaceAll(tokens[2], "~", "."), "it is undone")
	})
}
