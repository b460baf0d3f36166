package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestOpenAPIDocumentIsValidAndWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := b.do("GET", "/openapi.json", "", "")
	if got.status != 200 || got.header.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("%d %s", got.status, got.header.Get("Content-Type"))
	}
	doc, err := openapi3.NewLoader().LoadFromData(got.body)
	b.must(err)
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("version %s, want 3.1", doc.OpenAPI)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Errorf("the document does not validate: %v", err)
	}
	inDoc := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			inDoc[method+" "+path] = true
		}
	}
	for _, r := range Routes() {
		item := doc.Paths.Value(r.Path)
		if item == nil || item.GetOperation(r.Method) == nil {
			t.Errorf("%s %s is not in the document", r.Method, r.Path)
			continue
		}
		delete(inDoc, r.Method+" "+r.Path)
		op := item.GetOperation(r.Method)
		if op.OperationID != r.ID || op.Summary == "" || op.Extensions["x-access"] != string(r.Access) {
			t.Errorf("%s %s: id %q, summary %q, access %v", r.Method, r.Path, op.OperationID, op.Summary, op.Extensions["x-access"])
		}
		needs := op.Security != nil && len(*op.Security) > 0
		if needs != (r.Access.level() > 0 && !r.page) {
			t.Errorf("%s %s: bearer token needed: %t", r.Method, r.Path, needs)
		}
	}
	for route := range inDoc {
		t.Errorf("the document has %s, which no row does", route)
	}
	create := doc.Paths.Value("/v1/integrations").Post.RequestBody.Value.Content.Get("application/json").Schema.Value
	if secrets := create.Properties["secrets"]; secrets == nil || !secrets.Value.WriteOnly {
		t.Error("secrets are not marked write-only")
	}
	if yaml := b.do("GET", "/openapi.yaml", "", ""); yaml.status != 200 || !strings.Contains(string(yaml.body), "openapi: 3.1") {
		t.Errorf("yaml: %d %.80s", yaml.status, yaml.body)
	}
}

func TestDocsPageNeedsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := b.do("GET", "/docs", "", "")
	page := string(got.body)
	for _, r := range Routes() {
		if r.Tag != tagPages && !strings.Contains(page, `id="`+r.ID+`"`) {
			t.Errorf("%s is not on the page", r.ID)
		}
	}
	if outside := regexp.MustCompile(`(src|href)="(https?:)?//[^"]*"`).FindString(page); outside != "" {
		t.Errorf("the page loads %s", outside)
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "style=") {
		t.Error("the page has a script or an inline style")
	}
	// Every problem that the server can make is explained where its type points.
	kinds := []domain.ErrorKind{domain.KindInvalid, domain.KindUnauthenticated, domain.KindForbidden, domain.KindNotFound, domain.KindConflict,
		domain.KindTooLarge, domain.KindRateLimited, domain.KindUnavailable, domain.KindPermanent, domain.KindGoneToken, domain.KindInternal}
	for _, k := range kinds {
		p := problemOf(domain.E(k, "x"))
		if anchor := strings.TrimPrefix(p.Type, "/docs#"); !strings.Contains(page, `id="`+anchor+`"`) {
			t.Errorf("%s is not explained", anchor)
		}
	}
}

func TestErrorsAreTranslatedOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err    error
		status int
		code   string
		retry  string
	}{
		{domain.Invalid("name", "too long"), 422, "invalid", ""},
		{malformed("name", "no number"), 400, "invalid", ""},
		{domain.E(domain.KindUnauthenticated, "x"), 401, "unauthenticated", ""},
		{domain.E(domain.KindForbidden, "x"), 403, "forbidden", ""},
		{domain.E(domain.KindNotFound, "x"), 404, "not_found", ""},
		{domain.E(domain.KindConflict, "x"), 409, "conflict", ""},
		{domain.E(domain.KindTooLarge, "x"), 413, "too_large", ""},
		{&http.MaxBytesError{Limit: 7}, 413, "too_large", ""},
		{domain.E(domain.KindRateLimited, "x"), 429, "rate_limited", "5"},
		{domain.WithRetryAfter(domain.E(domain.KindRateLimited, "x"), 1500*time.Millisecond), 429, "rate_limited", "2"},
		{domain.E(domain.KindUnavailable, "x"), 503, "unavailable", "5"},
		{domain.E(domain.KindPermanent, "x"), 422, "permanent", ""},
		{withStatus(415, "unsupported_media_type", errors.New("x")), 415, "unsupported_media_type", ""},
		{errors.New("connection string with password"), 500, "internal", ""},
		{fmt.Errorf("wrapped: %w", domain.E(domain.KindConflict, "x")), 409, "conflict", ""},
	} {
		w := httptest.NewRecorder()
		writeProblem(w, httptest.NewRequest(http.MethodGet, "/", nil), tc.err)
		r := reply{status: w.Code, header: w.Header(), body: w.Body.Bytes()}
		p := r.problem(t, tc.status, tc.code)
		if w.Header().Get("Retry-After") != tc.retry {
			t.Errorf("%v: Retry-After %q, want %q", tc.err, w.Header().Get("Retry-After"), tc.retry)
		}
		if (w.Header().Get("WWW-Authenticate") != "") != (tc.status == 401) {
			t.Errorf("%v: WWW-Authenticate %q", tc.err, w.Header().Get("WWW-Authenticate"))
		}
		if tc.status == 500 && strings.Contains(string(r.body), "password") {
			t.Errorf("a fault shows its cause: %s", r.body)
		}
		if tc.code == "invalid" {
			if d := cmp.Diff([]ProblemError{{"name", p.Errors[0].Reason}}, p.Errors); d != "" || p.Errors[0].Reason == "" {
				t.Errorf("%v: %s", tc.err, d)
			}
		}
	}
	joined := problemOf(errors.Join(domain.Invalid("a", "one"), fmt.Errorf("b: %w", domain.Invalid("b", "two"))))
	if d := cmp.Diff([]ProblemError{{"a", "one"}, {"b", "two"}}, joined.Errors); d != "" || joined.Status != 422 {
		t.Errorf("joined: %d %s", joined.Status, d)
	}
	var shape map[string]any
	raw, err := json.Marshal(problemOf(domain.E(domain.KindConflict, "x")))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &shape); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]any{"type": "/docs#problem-conflict", "title": "Conflict", "status": 409.0, "detail": "x", "code": "conflict"}, shape); d != "" {
		t.Errorf("shape (-want +got):\n%s", d)
	}
}
