package auth

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// FuzzSignatureHeader: what is read has its form, and says the same when it is written again; and no two requests have the same text.
func FuzzSignatureHeader(f *testing.F) {
	good := `keyid="k_1", timestamp="1763860000", nonce="0123456789abcdef", signature="` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"`
	for _, seed := range []string{
		good, strings.ReplaceAll(good, ", ", ","), strings.Replace(good, "k_1", "", 1), strings.Replace(good, "17638", "-1", 1), good + ",", good + ", " + good,
		strings.Replace(good, "nonce", "Nonce", 1), strings.TrimSuffix(good, `"`), "", `"`, `="`, `keyid=""`, strings.Repeat("a", 1000), good + `, more=""`,
	} {
		f.Add(seed, "/v1/orders", "", "application/json")
	}
	f.Fuzz(func(t *testing.T, header, path, query, contentType string) {
		s, err := parseSignature(header)
		if err != nil {
			return
		}
		again, err := parseSignature(fmt.Sprintf(`keyid="%s", timestamp="%s", nonce="%s", signature="%s"`,
			s.keyID, s.timestamp, s.nonce, base64.StdEncoding.EncodeToString(s.mac)))
		if err != nil || again.keyID != s.keyID || !again.at.Equal(s.at) || again.nonce != s.nonce || string(again.mac) != string(s.mac) {
			t.Fatalf("%q is read as %+v, and that as %+v: %v", header, s, again, err)
		}
		if strings.ContainsAny(path+query+contentType, "\n") {
			return
		}
		r := &SignedRequest{Method: "GET", Path: path, Query: query, ContentType: contentType}
		lines := strings.Split(r.text(s, nil), "\n")
		if len(lines) != 11 || lines[2] != path || lines[3] != query || lines[5] != s.nonce || lines[6] != contentType {
			t.Fatalf("the parts of %+v run into each other: %q", r, lines)
		}
	})
}
