package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	faults "github.com/pb33f/libopenapi-validator/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/web"
)

// newContract reads the document once for all tests. For clients an object may get members that are not in the document yet; here it may
// not, so that none is forgotten.
//
//nolint:gochecknoglobals // schemas are compiled once
var newContract = sync.OnceValues(func() (validator.Validator, error) {
	body, err := web.OpenAPI()
	if err != nil {
		return nil, err
	}
	var document map[string]any
	if err := json.Unmarshal(body, &document); err != nil {
		return nil, err
	}
	closeObjects(document["components"].(map[string]any)["schemas"])
	if body, err = json.Marshal(document); err != nil {
		return nil, err
	}
	parsed, err := libopenapi.NewDocument(body)
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(parsed)
	if len(errs) > 0 {
		return nil, fmt.Errorf("read document: %v", errs)
	}
	if ok, invalid := v.ValidateDocument(); !ok {
		return nil, fmt.Errorf("the document is no OpenAPI 3.1: %s", said(invalid))
	}
	return v, nil
})

// closeObjects makes every object schema refuse members that it does not name.
func closeObjects(schema any) {
	switch s := schema.(type) {
	case []any:
		for _, one := range s {
			closeObjects(one)
		}
	case map[string]any:
		for _, one := range s {
			closeObjects(one)
		}
		if _, object := s["properties"].(map[string]any); object && s["type"] == "object" && s["additionalProperties"] == nil {
			s["additionalProperties"] = false
		}
	}
}

// contract passes requests on and holds them and their answers against the document.
type contract struct {
	next http.RoundTripper

	mu       sync.Mutex
	breaches []string
}

// held is a client whose exchanges have to be as the document says, or the test fails.
func held(t *testing.T) *http.Client {
	t.Helper()
	own := http.DefaultTransport.(*http.Transport).Clone()
	own.MaxIdleConnsPerHost = 64
	c := &contract{next: own}
	t.Cleanup(func() {
		own.CloseIdleConnections()
		assert.Empty(t, c.found(), "differs from web/openapi.yaml")
	})
	return &http.Client{Transport: c}
}

func (c *contract) found() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.breaches
}

func (c *contract) breach(req *http.Request, what string, status int, errs []*faults.ValidationError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breaches = append(c.breaches, fmt.Sprintf("%s of %s %s, answered %d: %s", what, req.Method, req.URL.RequestURI(), status, said(errs)))
}

func said(errs []*faults.ValidationError) string {
	var b strings.Builder
	for _, e := range errs {
		fmt.Fprintf(&b, "%s (%s)", e.Message, e.Reason)
		for _, s := range e.SchemaValidationErrors {
			fmt.Fprintf(&b, "; %s at %s", s.Reason, s.FieldPath)
		}
		b.WriteString(". ")
	}
	return b.String()
}

// RoundTrip implements http.RoundTripper. A request that was refused may be wrong on purpose; one that was taken is as documented.
func (c *contract) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := c.next.RoundTrip(req)
	if err != nil || req.URL.Path == "/metrics" {
		return res, err
	}
	v, err := newContract()
	if err != nil {
		return nil, err
	}
	if res.StatusCode < http.StatusBadRequest && req.GetBody != nil && isJSON(req.Header) {
		again := req.Clone(req.Context())
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		if ok, errs := v.ValidateHttpRequestSync(again); !ok {
			c.breach(req, "the request", res.StatusCode, errs)
		}
	}
	if !isJSON(res.Header) {
		return res, nil // a stream, a file or nothing
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return nil, err
	}
	seen := *res
	seen.Body, res.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
	if ok, errs := v.ValidateHttpResponse(req, &seen); !ok {
		c.breach(req, "the answer", res.StatusCode, errs)
	}
	return res, nil
}

func isJSON(h http.Header) bool {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

type answered func(*http.Request) (*http.Response, error)

func (f answered) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What differs from the document is found: a member that it does not know, a status that it does not have, a request that it does not
// allow.
func TestContractFindsWhatDiffers(t *testing.T) {
	t.Parallel()
	exchange := func(method, path, sent string, status int, answer string) []string {
		c := &contract{next: answered(func(*http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(answer)),
			}, nil
		})}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://store"+path, strings.NewReader(sent))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer token")
		res, err := c.RoundTrip(req)
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, answer, string(body), "the caller has the answer whole")
		return c.found()
	}
	const tenant = "/v1/admin/tenants/demo"
	assert.Empty(t, exchange(http.MethodPut, tenant, `{"name":"Demo"}`, http.StatusOK, `{"tenant":"demo","name":"Demo"}`))
	assert.Len(t, exchange(http.MethodPut, tenant, `{"name":"Demo"}`, http.StatusOK, `{"tenant":"demo","more":1}`), 1, "a member more")
	assert.Len(t, exchange(http.MethodPut, tenant, `{"name":"Demo"}`, http.StatusOK, `{"name":"Demo"}`), 1, "a member less")
	assert.Len(t, exchange(http.MethodPut, tenant, `{"name":"Demo"}`, http.StatusAccepted, `{"tenant":"demo"}`), 1, "another status")
	assert.Len(t, exchange(http.MethodPut, tenant, `{"title":"Demo"}`, http.StatusOK, `{"tenant":"demo"}`), 1, "another request")
	assert.NotEmpty(t, exchange(http.MethodPost, "/v1/nothing", `{}`, http.StatusOK, `{}`), "another path")
}
