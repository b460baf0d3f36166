package oauth

import (
	"strings"
	"testing"
	"time"
)

// FuzzParseTokens feeds answers of a token endpoint. Whatever they hold, tokens can be put into a header, end within
// bounds, and errors repeat nothing.
func FuzzParseTokens(f *testing.F) {
	for _, seed := range []string{`{"access_token":"s3cr3t","token_type":"Bearer","expires_in":3599,"refresh_token":"r","scope":"a b"}`,
		`{"access_token":"s3cr3t","expires_in":"3600"}`, `{"access_token":"s3cr3t\r\nX: y"}`, `{"access_token":"s3cr3t","expires_in":1e300}`,
		`{"access_token":"s3cr3t","expires_in":-1}`, `{"access_token":"s3cr3t","expires_in":"NaN"}`, `{"access_token":["s3cr3t"]}`, `null`, `[]`, ``} {
		f.Add([]byte(seed))
	}
	now := time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parseTokens(body, now)
		if err != nil {
			if got.Access != "" || got.Refresh != "" || strings.Contains(err.Error(), "s3cr3t") {
				t.Fatalf("%v beside %q", err, got.Access)
			}
			return
		}
		if got.Access == "" || !printable(got.Access) || !printable(got.Refresh) || got.ExpiresAt.Before(now) || got.ExpiresAt.After(now.Add(MaxLifetime)) {
			t.Fatalf("took %q and %q until %s", got.Access, got.Refresh, got.ExpiresAt)
		}
	})
}
