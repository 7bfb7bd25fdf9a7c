package main

import (
	"bytes"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// Nothing of these may stand in a log.
const (
	canaryName   = "Canary Winterbottom"
	canaryMail   = "canary.winterbottom@example.com"
	canaryNumber = "4111 1111 1111 1111"
	nobodysID    = "01890000-0000-7000-8000-000000000000"
)

// doors is one running program with parties that do not trust each other.
type doors struct {
	*system
	placed       client.Order // of the tenant demo, with a task of demo-provider
	subscription string       // of the tenant demo
	webhook      string       // of the tenant demo
	tokens       map[string]string
	parties      map[string]party
	signing      *sync.Map // secrets of signing keys, by key id
}

// on is the same program for a subtest.
func (d *doors) on(t *testing.T) *doors {
	t.Helper()
	own, s := *d, *d.system
	s.t, own.system = t, &s
	return &own
}

// TestSecurityCases: one instance, every case that an outsider can try at its doors, named by its number in docs/security.md.
func TestSecurityCases(t *testing.T) {
	t.Parallel()
	d := openDoors(t)
	cases := map[string]func(*doors){
		"cases 1 to 14: tokens":                         tokensAreRefused,
		"case 4: unknown kid":                           unknownKeys,
		"case 6: key in the header":                     keysInTheHeader,
		"case 15: missing scope":                        missingScope,
		"case 16: disabled client":                      disabledClientIsCut,
		"case 17: guessed secrets":                      guessedSecrets,
		"cases 18 to 21: signed requests":               signedRequests,
		"cases 24 and 25: webhook targets":              webhookTargets,
		"cases 30 and 31: every operation and identity": everyOperationAndIdentity,
		"cases 32 to 34 and 44 to 54: input":            inputIsRefused,
		"case 35: task of another":                      taskOfAnother,
		"case 37: cursors":                              cursorsAreSealed,
		"case 38: keys of two tenants":                  keysOfTwoTenants,
		"case 43: sort and filter":                      sortAndFilter,
		"case 44: ids in paths":                         idsInPaths,
		"case 51: bomb":                                 compressedBodies,
		"cases 55 to 57: idempotency":                   idempotency,
		"case 60: unused methods":                       unusedMethods,
		"case 62: stalled header":                       stalledHeader,
		"case 64: metrics and debug":                    noMetricsInPublic,
		"cases 67 to 71: NATS":                          natsIsClosed,
		"the audit trail":                               adminIsAudited,
		"keys and metadata are published":               keysArePublished,
		"case 59: length and encoding":                  lengthAndEncoding,
		"cases 61 and 66: rates":                        ratesAreKept,
		"case 66: quota":                                quotaIsKept,
		"case 39: row level security":                   rowsAreTheirOwners,
		"case 40: roles own nothing":                    rolesOwnNothing,
		"case 41: the projector and the primary":        projectorCannotWriteThePrimary,
		"every table has its grants":                    grantsAreDecided,
	}
	t.Run("doors", func(t *testing.T) {
		for name, tried := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tried(d.on(t))
			})
		}
	})
	d.verified()
	d.terminate()
	t.Run("case 65: nothing in logs", func(t *testing.T) {
		said := d.out.String()
		require.Contains(t, said, `"msg":"request"`, "requests were logged")
		for name, secret := range d.secrets() {
			require.NotContains(t, said, secret, name)
		}
	})
}

func (d *doors) secrets() map[string]string {
	all := map[string]string{"name": canaryName, "mail": canaryMail, "card": canaryNumber, "card, bare": strings.ReplaceAll(canaryNumber, " ", "")}
	for name, token := range d.tokens {
		all["token of "+name] = token
	}
	for name, p := range d.parties {
		all["secret of "+name] = p.ClientSecret
	}
	d.signing.Range(func(id, secret any) bool { all[id.(string)] = secret.(string); return true })
	return all
}

func openDoors(t *testing.T) *doors {
	t.Helper()
	s := &system{
		t: t, data: filepath.Join(t.TempDir(), "data"), env: []string{"ORDERSTORE_LOG_LEVEL=debug", "ORDERSTORE_LOG_FORMAT=json"},
	}
	s.start()
	s.register("retail.erp")
	d := &doors{system: s, signing: &sync.Map{}, tokens: map[string]string{}, parties: map[string]party{
		"user": s.as.User, "provider": s.as.Provider, "auxiliary": s.as.Auxiliary, "operator": s.as.Operator,
	}}
	for name, spec := range map[string]client.ClientSpec{
		"other user": {Kind: "user", Tenant: "other-tenant"}, "other provider": {Kind: "provider", Provider: "other-provider"},
		"other auxiliary": {Kind: "auxiliary", System: "erp", Tenant: "other-tenant"},
	} {
		made, err := s.operator().CreateClient(t.Context(), spec)
		require.NoError(t, err)
		d.parties[name] = party{ClientID: made.ClientID, ClientSecret: made.ClientSecret}
	}
	for name, p := range d.parties {
		token, err := s.client(p).Token(t.Context())
		require.NoError(t, err)
		d.tokens[name] = token
	}
	submission := sampleOrder("behind-doors")
	submission.Customer = &client.Customer{Name: canaryName, Email: canaryMail}
	placed, err := s.user().SubmitOrder(t.Context(), submission)
	require.NoError(t, err)
	d.placed = placed
	d.subscription = d.made("/v1/subscriptions", `{"transport":"feed","name":"doors"}`)
	d.webhook = d.made("/v1/subscriptions", `{"transport":"webhook","name":"hook","url":"http://127.0.0.1:9/"}`)
	s.level()
	return d
}

// made makes something for the tenant demo and gives its id.
func (d *doors) made(path, body string) string {
	d.t.Helper()
	var answer struct{ ID string }
	call(d.t, http.MethodPost, d.at.HTTP+path, "Bearer "+d.tokens["user"], "application/json", body, &answer)
	require.NotEmpty(d.t, answer.ID)
	return answer.ID
}

// asked is send for a party by its name, with the answer's headers.
func (d *doors) asked(method, who, path, body string, headers ...string) (httpAnswer, http.Header) {
	d.t.Helper()
	return d.send(method, d.tokens[who], path, body, headers...)
}

// narrow is a token of a party with one scope alone.
func (d *doors) narrow(who, scope string) string {
	d.t.Helper()
	p := d.parties[who]
	var login struct {
		AccessToken string `json:"access_token"`
	}
	form := "grant_type=client_credentials&client_id=" + p.ClientID + "&client_secret=" + p.ClientSecret + "&scope=" + scope
	call(d.t, http.MethodPost, d.at.HTTP+"/oauth/token", "", "application/x-www-form-urlencoded", form, &login)
	return login.AccessToken
}

func keysArePublished(d *doors) {
	var keys struct{ Keys []map[string]string }
	call(d.t, http.MethodGet, d.at.HTTP+"/.well-known/jwks.json", "", "", "", &keys)
	require.NotEmpty(d.t, keys.Keys)
	for _, key := range keys.Keys {
		require.Empty(d.t, key["d"], "the private half stays inside")
	}
	var metadata map[string]any
	call(d.t, http.MethodGet, d.at.HTTP+"/.well-known/oauth-authorization-server", "", "", "", &metadata)
	require.Equal(d.t, d.at.HTTP, metadata["issuer"])
	require.Equal(d.t, d.at.HTTP+"/.well-known/jwks.json", metadata["jwks_uri"])
}

func noMetricsInPublic(d *doors) {
	for _, path := range []string{"/metrics", "/debug", "/debug/pprof/", "/debug/vars"} {
		for _, who := range []string{"", "user", "operator"} {
			answer, _ := d.asked(http.MethodGet, who, path, "")
			require.Equal(d.t, http.StatusNotFound, answer.status, path)
		}
	}
}

func unusedMethods(d *doors) {
	for _, method := range []string{http.MethodDelete, http.MethodPut, http.MethodTrace} {
		answer, header := d.asked(method, "user", "/v1/orders", "")
		require.Equal(d.t, http.StatusMethodNotAllowed, answer.status, method)
		require.NotEmpty(d.t, header.Get("Allow"))
	}
}

func compressedBodies(d *doors) {
	bomb := gzipped(d.t, bytes.Repeat([]byte{'0'}, 100<<20))
	answer, _ := d.asked(http.MethodPost, "user", "/v1/orders", bomb, "Content-Encoding", "gzip")
	require.Equal(d.t, http.StatusUnsupportedMediaType, answer.status, "nothing that is sent is inflated")
}

// adminIsAudited: what operators ask is written down with what came of it, for operators to read and for nobody to change.
func adminIsAudited(d *doors) {
	_, header := d.asked(http.MethodPut, "operator", "/v1/admin/tenants/audited", `{"name":"Audited"}`)
	refused, second := d.asked(http.MethodPut, "operator", "/v1/admin/tenants/a.b%00", `{}`)
	require.Equal(d.t, http.StatusUnprocessableEntity, refused.status)
	type entry struct {
		ClientID  string `json:"client_id"`
		Method    string
		Path      string
		RequestID string `json:"request_id"`
		Status    int
	}
	seen := map[string]entry{}
	for at := "/v1/admin/audit?limit=7"; at != ""; {
		var page struct {
			Items []entry
			Next  string
		}
		call(d.t, http.MethodGet, d.at.HTTP+at, "Bearer "+d.tokens["operator"], "", "", &page)
		for _, e := range page.Items {
			seen[e.RequestID] = e
		}
		if at = ""; page.Next != "" {
			at = "/v1/admin/audit?limit=7&cursor=" + page.Next
		}
	}
	operator := d.as.Operator.ClientID
	for request, want := range map[string]entry{
		header.Get("X-Request-Id"): {operator, "PUT", "/v1/admin/tenants/audited", header.Get("X-Request-Id"), http.StatusCreated},
		second.Get("X-Request-Id"): {operator, "PUT", "/v1/admin/tenants/a.b%00", second.Get("X-Request-Id"), http.StatusUnprocessableEntity},
	} {
		require.Equal(d.t, want, seen[request])
	}
	filtered := 0
	began := time.Now().Add(-time.Hour)
	for e, err := range d.operator().ListAudit(d.t.Context(), client.AuditFilter{ClientID: operator, Path: "/v1/admin/tenants/audited", Since: began}) {
		require.NoError(d.t, err)
		require.Equal(d.t, "/v1/admin/tenants/audited", e.Path)
		filtered++
	}
	require.Equal(d.t, 1, filtered)
	for _, nothing := range []client.AuditFilter{{ClientID: "nobody"}, {Path: "/v1/orders"}, {Since: time.Now().Add(time.Hour)}} {
		for e, err := range d.operator().ListAudit(d.t.Context(), nothing) {
			d.t.Fatalf("%+v: %+v, %v", nothing, e, err)
		}
	}
	told, status := runCommand(d.t, "orderctl", "audit", "--data", d.data, "--path", "/v1/admin/tenants/audited")
	require.Zero(d.t, status, told)
	require.Contains(d.t, told, "/v1/admin/tenants/audited  201")
	keys, status := runCommand(d.t, "orderctl", "keys", "rotate", "--data", d.data)
	require.Zero(d.t, status, keys)
	require.GreaterOrEqual(d.t, strings.Count(keys, `"kid"`), 2, "the one before is known still; others rotate keys beside this")
	told, _ = runCommand(d.t, "orderctl", "audit", "--data", d.data, "--limit", "0")
	require.Contains(d.t, told, "POST    /v1/admin/signing-keys/rotate")
	for _, sql := range []string{`UPDATE admin_audit SET client_id = 'nobody'`, `DELETE FROM admin_audit`, `TRUNCATE admin_audit`} {
		_, err := d.primary().Exec(d.t.Context(), sql)
		require.ErrorContains(d.t, err, "append-only", sql)
	}
}
