package tavesim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type bundle struct {
	t   *testing.T
	sim *Server
	url string
}

func setup(t *testing.T, o Options) *bundle {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC) }
	}
	b := &bundle{t: t, sim: New(o)}
	server := httptest.NewServer(b.sim.Handler())
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// do sends a request below Base, and a body as JSON.
func (b *bundle) do(method, path string, in any) (int, Object) {
	b.t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+Base+path, bytes.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("X-API-KEY", b.sim.opt.Key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	var out Object
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			b.t.Fatalf("%s %s: %d %.80s", method, path, res.StatusCode, raw)
		}
	}
	return res.StatusCode, out
}

func TestListsArePagedSortedAndFiltered(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	for range 25 {
		b.sim.Add("job", Object{"name": "x"})
	}
	closed := b.sim.Add("job", Object{"closed": true, "externalMappings": []Object{{"id": "m1", "url": "https://a.example/1"}}})
	for query, want := range map[string]int{"": 25, "?includeClosed=true": 26, "?pageSize=10&page=3": 5, "?pageSize=10&page=4": 0,
		"?externalMappingId=m1": 0, "?externalMappingId=m1&includeClosed=true": 1, "?sortBy=modified+desc": 25} {
		status, out := b.do("GET", "/job"+query, nil)
		if items, _ := out["items"].([]any); status != 200 || len(items) != want || out["type"] != "job-collection" {
			t.Errorf("%q: %d, %d items, want %d", query, status, len(items), want)
		}
	}
	for _, query := range []string{"?pageSize=9", "?pageSize=101", "?page=0", "?sortBy=colour", "?sortBy=id+down"} {
		if status, out := b.do("GET", "/job"+query, nil); status != 400 || out["type"] != "validation-error" {
			t.Errorf("%q: %d %v", query, status, out)
		}
	}
	b.sim.Skew(time.Hour)
	b.sim.Edit("job", closed, Object{"closed": false})
	if _, out := b.do("GET", "/job?sortBy=modified+desc", nil); out["items"].([]any)[0].(Object)["id"] != closed {
		t.Error("the newest change is not the first")
	}
}

func TestWorksheetIsMadeAsAWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	sheet := Object{"name": "x", "events": []Object{{"name": "a", "startDate": "2027-03-01"}, {"name": "b", "startDate": "tomorrow"}},
		"contacts": []Object{{"client": true, "contact": Object{"kind": "person", "firstName": "Ada"}}}}
	status, out := b.do("POST", "/job/-/worksheet", sheet)
	if detail, _ := out["detail"].(Object); status != 400 || detail["events[1].startDate"] == nil {
		t.Errorf("%d %v", status, out)
	}
	if n := len(b.sim.All("job")) + len(b.sim.All("event")) + len(b.sim.All("address-book")) + len(b.sim.All("job-contact")); n != 0 {
		t.Errorf("%d entities are left of a worksheet that was refused", n)
	}
	sheet["events"] = sheet["events"].([]Object)[:1]
	if status, out = b.do("POST", "/job/-/worksheet", sheet); status != 201 || len(out["events"].([]any)) != 1 || len(out["contacts"].([]any)) != 1 {
		t.Errorf("%d %v", status, out)
	}
}

func TestPutReplacesOrMergesAndNeverTouchesMappings(t *testing.T) {
	t.Parallel()
	for _, merge := range []bool{false, true} {
		b := setup(t, Options{Merge: merge})
		mapping := []any{Object{"id": "m1", "url": "https://a.example/1"}}
		id := b.sim.Add("event", Object{"name": "x", "startDate": "2027-03-01", "externalMappings": mapping})
		status, out := b.do("PUT", "/event/"+id, Object{"name": "y", "externalMappings": []any{}})
		if status != 200 || out["name"] != "y" || (out["startDate"] != nil) != merge || !cmp.Equal(out["externalMappings"], any(mapping)) {
			t.Errorf("merge %t: %d %v", merge, status, out)
		}
		if status, _ = b.do("PUT", "/event/"+id, Object{"title": "y"}); status != 400 {
			t.Errorf("an unknown member: %d", status)
		}
		if status, _ = b.do("DELETE", "/event/"+id, nil); status != 204 {
			t.Errorf("delete: %d", status)
		}
		if status, _ = b.do("GET", "/event/"+id, nil); status != 404 {
			t.Errorf("a removed event: %d", status)
		}
	}
}

func TestKeyAndReadOnlyModeAreChecked(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{Key: "k", Readonly: true})
	if status, out := b.do("GET", "/studio/me", nil); status != 200 || out["readonlyEnabled"] != true {
		t.Errorf("%d %v", status, out)
	}
	if status, _ := b.do("POST", "/event", Object{}); status != 403 {
		t.Errorf("a write in read-only mode: %d", status)
	}
	res, err := http.Get(b.url + Base + "/studio/me")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 401 {
		t.Errorf("without a key: %d", res.StatusCode)
	}
}

func TestHooksTellOfTheirEventsWithinTheirLimits(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{LeadStudio: "s", LeadSecret: "p"})
	var mu sync.Mutex
	var got []string
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.URL.Path+" "+string(body))
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(receiver.Close)
	portrait := b.sim.Named("job-type", "Portrait")
	for path, hook := range map[string]Object{"/all": {"event": "job.created"}, "/portrait": {"event": "job.created", "limitTo": Object{"jobTypes": []string{portrait}}},
		"/web": {"event": "job.created", "limitTo": Object{"webLead": true}}, "/booked": {"event": "order.booked"}, "/paid": {"event": "payment.created"}} {
		hook["url"] = receiver.URL + path
		b.sim.Add("rest-hook", hook)
	}
	deliver := func() []string {
		if _, err := b.sim.DeliverHooks(t.Context(), http.DefaultClient); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		out := got
		got = nil
		slices.Sort(out)
		return out
	}
	job := b.sim.Add("job", Object{"jobTypeId": portrait})
	if diff := cmp.Diff([]string{`/all {"targetId":"` + job + `"}`, `/portrait {"targetId":"` + job + `"}`}, deliver()); diff != "" {
		t.Error(diff)
	}
	order := b.sim.Add("order", Object{"jobId": job})
	b.sim.Book(order)
	b.sim.BreakHooks(HookLate, 1)
	if late := deliver(); len(late) != 0 || len(b.sim.PendingHooks()) != 1 {
		t.Errorf("late: %v", late)
	}
	b.sim.BreakHooks(HookDuplicate, 1)
	if twice := deliver(); len(twice) != 2 || twice[0] != `/booked {"targetId":"`+order+`"}` || b.sim.Get("job", job)["stage"] != "booked" {
		t.Errorf("duplicate: %v", twice)
	}
	b.sim.Book(order)
	b.sim.BreakHooks(HookLost, 1)
	if lost := deliver(); len(lost) != 0 || len(b.sim.PendingHooks()) != 0 {
		t.Errorf("lost: %v", lost)
	}
	res, err := http.PostForm(b.url+"/webservice/create-lead/s", url.Values{"SecretKey": {"p"}, "FirstName": {"Ada"}, "JobType": {"Wedding"}, "EventDate": {"2027-06-05"}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || string(text) != "OK" {
		t.Errorf("lead: %q, %v", text, err)
	}
	if web := deliver(); len(web) != 2 || !strings.HasPrefix(web[1], "/web ") {
		t.Errorf("lead: %v", web)
	}
}
