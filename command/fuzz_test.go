package command

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// isRefusal: a decoder refuses with one of its promised codes, in a problem that can be sent.
func isRefusal(t *testing.T, err error) {
	t.Helper()
	var bad *fault.Error
	require.ErrorAs(t, err, &bad)
	require.Contains(t, []fault.Code{fault.Malformed, fault.UnknownField, fault.DuplicateKey, fault.Invalid}, bad.Code)
	status, problem := httpapi.ProblemOf(err)
	require.True(t, status >= 400 && status < 500, "%d", status)
	require.True(t, jsontext.Value(problem).IsValid(), "%s", problem)
}

// otherwiseSpaced is the same document with other white space.
func otherwiseSpaced(t *testing.T, body []byte) []byte {
	t.Helper()
	v := jsontext.Value(bytes.Clone(body))
	require.NoError(t, v.Indent(jsontext.WithIndent(" "), jsontext.PreserveRawStrings(true)), "what was taken is JSON")
	return v
}

// FuzzDecodeOrder: an order that is taken keeps to its limits, has the total that its lines make, is written into the log and read from
// there as it is, and is the same order however it is spaced.
func FuzzDecodeOrder(f *testing.F) {
	for _, seed := range []string{
		`{"channel":"web","external_ref":"R","business_type":"retail.erp","currency":"EUR","lines":[{"sku":"A","quantity":1,"unit_price":1}]}`,
		`{"channel":"web","external_ref":"R","business_type":"wms","region":"eu","currency":"JPY","lines":[{"line_id":"x","sku":"A","name":"阿",
"quantity":1000000,"unit_price":9223372036854,"discount":1,"tax":2}],"shipping":3,"customer":{"name":"a","email":"a@b.example","phone":"+1",
"address":{"line1":"x","country":"DE"}},"attributes":{"a":[1e400,{}]}}`,
		`{"lines":[{},{}],"total":1}`, `{"channel":"web","channel":"app"}`, "{\"external_ref\":\"\xff\"}", `{"external_ref":"\u0000"}`,
		`{"external_ref":"4111 1111 1111 1111"}`, `[`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		s, err := decodeOrder(body, "demo")
		require.Equal(t, before, body, "the body was changed")
		if err != nil {
			isRefusal(t, err)
			return
		}
		orderHolds(t, s)
		again, err := decodeOrder(otherwiseSpaced(t, body), "demo")
		require.NoError(t, err)
		require.Equal(t, s, again)
		written := events.Event{Type: events.OrderPlaced, Version: 1, OrderID: "o", OrderVersion: 1, Tenant: s.Tenant, BusinessType: s.BusinessType, Data: &s.Placed}
		encoded, err := written.Encode()
		require.NoError(t, err)
		read, err := events.Decode(1, encoded)
		require.NoError(t, err)
		second, err := read.Encode()
		require.NoError(t, err)
		require.Equal(t, string(encoded), string(second))
	})
}

func orderHolds(t *testing.T, s *Submission) {
	t.Helper()
	p := s.Placed
	require.Equal(t, "demo", s.Tenant)
	require.True(t, httpapi.ValidName(p.Channel) && httpapi.ValidName(s.BusinessType))
	require.True(t, len(p.Lines) >= 1 && len(p.Lines) <= maxLines)
	sum, ids := big.NewInt(p.Shipping), map[string]bool{}
	for _, l := range p.Lines {
		require.True(t, l.Quantity >= 1 && l.Quantity <= maxQuantity && l.UnitPrice >= 0)
		require.False(t, ids[l.LineID], "line id %q twice", l.LineID)
		ids[l.LineID] = true
		line := new(big.Int).Mul(big.NewInt(l.Quantity), big.NewInt(l.UnitPrice))
		line.Add(line.Sub(line, big.NewInt(l.Discount)), big.NewInt(l.Tax))
		require.Zero(t, line.Cmp(big.NewInt(l.Total)), "the total of line %s", l.LineID)
		sum.Add(sum, line)
	}
	require.Zero(t, sum.Cmp(big.NewInt(p.Total)), "the total")
}

// FuzzDecodeAmendment: a change that is taken is the same however it is spaced.
func FuzzDecodeAmendment(f *testing.F) {
	for _, seed := range []string{
		`{"shipping":1}`, `{"lines":[{"line_id":"1","quantity":2}]}`, `{"customer":null,"attributes":{"a":null}}`, `{"lines":[{"sku":"A","quantity":1,"unit_price":1}]}`, `{}`, `{"status":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := decodeAmendment(body)
		if err != nil {
			isRefusal(t, err)
			return
		}
		again, err := decodeAmendment(otherwiseSpaced(t, body))
		require.NoError(t, err)
		require.NotNil(t, a)
		require.NotNil(t, again)
	})
}

// FuzzDecodeResult: a result that is taken keeps to its limits and reads the same from the log.
func FuzzDecodeResult(f *testing.F) {
	for _, seed := range []string{
		`{"result_id":"r","outcome":"completed"}`, `{"result_id":"r","outcome":"partial","lines":[{"line_id":"1","quantity":1,"outcome":"fulfilled"}]}`,
		`{"result_id":"r","outcome":"failed","tracking":[{"carrier":"c","number":"n"}],"payload":{"a":1},"occurred_at":"2026-01-31T12:00:00+01:00"}`,
		`{"result_id":"r","outcome":"partial"}`, `{"task_id":"other"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var first, second PostResult
		if err := decodeResult(body, &first); err != nil {
			isRefusal(t, err)
			return
		}
		r := first.Result
		require.Contains(t, []events.Outcome{events.OutcomeCompleted, events.OutcomePartial, events.OutcomeFailed}, r.Outcome)
		require.True(t, r.ResultID != "" && len(r.Lines) <= maxLines && len(r.Tracking) <= maxTracking && len(r.Payload) <= maxPayload)
		require.False(t, r.Outcome == events.OutcomePartial && len(r.Lines) == 0)
		require.NoError(t, decodeResult(otherwiseSpaced(t, body), &second))
		require.Equal(t, first, second)
	})
}

// otherBodies are the decoders of what else is written: those of tasks, of the registry, of stock and of reports.
func otherBodies() []func(body []byte) (any, error) {
	into := func(read func(body []byte) error) func([]byte) (any, error) {
		return func(body []byte) (any, error) { return nil, read(body) }
	}
	return []func(body []byte) (any, error){
		func(b []byte) (any, error) { return decodeRejection(b) },
		func(b []byte) (any, error) { return decodeHold(b) },
		into(decodeNothing),
		func(b []byte) (any, error) { c := &CancelOrder{}; return c, decodeCancellation(b, c) },
		func(b []byte) (any, error) { c := &DelegateTask{}; return c, decodeDelegation(b, c) },
		func(b []byte) (any, error) { c := &events.OrderReturn{}; return c, decodeReturn(b, c) },
		func(b []byte) (any, error) { return decodeLoad(b, "acme") },
		func(b []byte) (any, error) { return decodeAdjustment(b) },
		func(b []byte) (any, error) { _, run, err := decodeRun(b); return run, err },
		func(b []byte) (any, error) { return decodeTenant(b, "demo") },
		func(b []byte) (any, error) { return decodeProvider(b, "acme") },
		func(b []byte) (any, error) { return decodeRoute(b, "hotel") },
		func(b []byte) (any, error) { return decodeProduct(b, "A") },
		func(b []byte) (any, error) { return decodeVendor(b, "v") },
		func(b []byte) (any, error) { return decodeClient(b) },
	}
}

// FuzzDecodeBodies: what any other body says does not depend on its white space, and what is refused is refused in a good form.
func FuzzDecodeBodies(f *testing.F) {
	for i, seed := range []string{
		`{"reason_code":"x","message":"m","blocking":true}`, `{"reason_code":"x"}`, `{}`, `{"reason":"x"}`, `{"business_type":"hotel","lines":[{"line_id":"1","quantity":1}]}`,
		`{"return_id":"r","lines":[{"line_id":"1","quantity":1,"restock":false}]}`, `{"load":0.42,"capacity":100,"ttl":"15m"}`,
		`{"adjustment_id":"a","lines":[{"sku":"A","delta":-1,"reason":"r"},{"sku":"B","counted":0}]}`, `{"tenant":"demo","run_id":"r","position":1}`,
		`{"name":"Demo"}`, `{"name":"Acme","business_types":["hotel"],"regions":["eu"],"max_load":5}`,
		`{"policy":"all","regions":[],"accept_within":"15m","complete_within":60,"max_attempts":3}`,
		`{"tenant":"demo","name":"A","vendor_id":"v","reorder_level":1,"target_level":2,"discontinued":false}`, `{"tenant":"demo","name":"V","email":"v@example.com"}`,
		`{"kind":"user","tenant":"demo","scopes":["orders:read"]}`,
	} {
		f.Add(byte(i), []byte(seed))
	}
	decoders := otherBodies()
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		decode := decoders[int(which)%len(decoders)]
		first, err := decode(body)
		if err != nil {
			isRefusal(t, err)
			return
		}
		if len(body) == 0 {
			return // some may be left out
		}
		second, err := decode(otherwiseSpaced(t, body))
		require.NoError(t, err)
		require.Equal(t, first, second)
	})
}

// FuzzBatchLines: a batch is cut into its lines, of which only one that is too long is lost.
func FuzzBatchLines(f *testing.F) {
	f.Add([]byte("{}\n\n{}\r\n{}"), 3)
	f.Add([]byte("a\n"), maxBatchLine+1)
	f.Fuzz(func(t *testing.T, body []byte, longer int) {
		if longer > maxBatchLine && longer < 3*maxBatchLine {
			body = slices.Concat(body, []byte("\n"), bytes.Repeat([]byte("x"), longer), []byte("\n{}"))
		}
		in, rest := bufio.NewReaderSize(bytes.NewReader(body), batchReadSize), string(body)
		for {
			line, err := readLine(in)
			want, after, more := strings.Cut(rest, "\n")
			if errors.Is(err, errLongLine) {
				require.Greater(t, len(want), maxBatchLine-1)
			} else {
				require.Equal(t, strings.TrimRight(want, "\r"), strings.TrimRight(string(line), "\r\n"))
			}
			if rest = after; !more {
				require.True(t, err == nil || errors.Is(err, io.EOF) || errors.Is(err, errLongLine), "%v", err)
				return
			}
		}
	})
}
