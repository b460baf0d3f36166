package tave

import (
	"os"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/openapitest"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

// Every exchange of the tests of this package is held against the vendor's document where it is there; only the property test
// of listings goes without, for its speed. This one does all that the provider can do and says which operations that were.
func TestEveryOperationInUseAgreesWithTheVendorsDocument(t *testing.T) {
	t.Parallel()
	doc := openapitest.Load(t, specPath, specOptions())
	if doc == nil {
		t.Skip("no " + specPath)
	}
	b := setupWith(t, doc, tavesim.Options{LeadStudio: "studio1", LateReads: 1}, weddingsAsJobs, func(s *settings) { s.LeadStudio, s.EventType = "studio1", "Block" })
	ctx := t.Context()
	if err := b.conn.Probe(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := b.conn.Onboard(ctx); err != nil {
		t.Fatal(err)
	}
	lead, _ := newJob(b, stageLead)
	b.sim.Add("order", tavesim.Object{"jobId": lead})
	b.sim.Add("event", tavesim.Object{"name": "Tasting", "startDate": "2027-03-10", "startTime": "10:00:00", "location": tavesim.Object{"address": tavesim.Object{"city": "York"}}})
	cursor := pullAll(t, b.conn, "").Next
	b.pass(time.Hour)
	client := b.sim.All("address-book")[0]
	b.sim.Edit("address-book", client, tavesim.Object{"lastName": "Quillfeather"})
	pullAll(t, b.conn, cursor)
	for n, status := range []domain.BookingStatus{domain.StatusConfirmed, domain.StatusTentative} {
		w := write(n)
		w.Status, w.Details.Contact = status, "Ada Quillfeather"
		done := must[provider.Written](t)(b.conn.Put(ctx, w))
		w.ExternalID, w.Revision, w.Status = done.ExternalID, done.Revision, domain.StatusConfirmed
		w.When.End = w.When.End.Add(time.Hour)
		done = must[provider.Written](t)(b.conn.Put(ctx, w))
		if err := b.conn.Remove(ctx, done.ExternalID, done.Revision); err != nil {
			t.Fatal(err)
		}
	}
	w := write(3)
	w.Category = domain.CategoryPersonal
	must[provider.Written](t)(b.conn.Put(ctx, w))
	watched := must[provider.Watched](t)(b.conn.Watch(ctx, provider.WatchRequest{ID: "w", URL: "https://sync.example.com/v1/notify/w", Secret: "s", Until: b.clock().Add(time.Hour)}))
	must[provider.Watched](t)(b.conn.Renew(ctx, watched, b.clock().Add(2*time.Hour)))
	if err := b.conn.Unwatch(ctx, watched); err != nil {
		t.Fatal(err)
	}
	if _, err := b.connect(t, b.conn.settings, domain.DirectionImport, "another-key").Pull(ctx, ""); domain.KindOf(err) != domain.KindUnauthenticated {
		t.Errorf("a wrong key: %v", err)
	}
	checked := doc.Checked()
	for _, op := range []string{"GET /studio/me", "GET /timezone/{id}", "GET /event-type", "GET /job-type", "GET /order", "GET /job-contact", "GET /address-book",
		"GET /job", "GET /event", "GET /event/{id}", "GET /job/{jobId}/worksheet", "GET /job/{jobId}/order", "GET /job/{id}", "POST /job/-/worksheet",
		"POST /event", "PUT /event/{id}", "PUT /job/{id}", "DELETE /event/{id}", "DELETE /job/{id}", "GET /rest-hook", "POST /rest-hook",
		"GET /rest-hook/{id}", "DELETE /rest-hook/{id}"} {
		if checked[op] == 0 {
			t.Errorf("%s was not exchanged", op)
		}
		delete(checked, op)
	}
	for op := range checked {
		t.Errorf("%s was exchanged and is not in this test's list", op)
	}
}

// The document itself is read by the rules that the tests rely on: claims seen elsewhere are refused by it.
func TestInventedClaimsAreRefusedByTheVendorsDocument(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(specPath); err != nil {
		t.Skipf("NOT checked: there is no %s", specPath)
	}
	doc := openapitest.Load(t, specPath, specOptions())
	const id = "01h35ccwymj5ctckp8px1azhg6"
	for name, faults := range map[string][]string{
		"plural paths":    doc.Request("GET", "/api/v2/jobs", nil, "", nil),
		"since":           doc.Request("GET", "/api/v2/job", map[string][]string{"since": {"2027-01-01"}}, "", nil),
		"per_page":        doc.Request("GET", "/api/v2/event", map[string][]string{"per_page": {"10"}}, "", nil),
		"small pages":     doc.Request("GET", "/api/v2/event", map[string][]string{"pageSize": {"5"}}, "", nil),
		"PATCH":           doc.Request("PATCH", "/api/v2/event/"+id, nil, "application/json", []byte(`{}`)),
		"unknown member":  doc.Request("POST", "/api/v2/event", nil, "application/json", []byte(`{"title":"x"}`)),
		"hiding an event": doc.Request("PUT", "/api/v2/event/"+id, nil, "application/json", []byte(`{"hidden":true}`)),
		"event.updated":   doc.Request("POST", "/api/v2/rest-hook", nil, "application/json", []byte(`{"event":"event.updated","url":"https://a.example"}`)),
	} {
		if len(faults) == 0 {
			t.Errorf("%s: the document has nothing against it", name)
		}
	}
	if faults := doc.Request("POST", "/api/v2/event", nil, "application/json", []byte(`{"name":"x","startTime":"10:00:00","jobId":null}`)); len(faults) > 0 {
		t.Errorf("a plain event is refused: %v", faults)
	}
}
