package custom_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/restsim"
)

const restToken = "token-0123456789"

// restSettings describes a restsim. change may be nil.
func restSettings(t testing.TB, base string, kind restsim.Paging, total bool, change func(list, all map[string]any)) json.RawMessage {
	t.Helper()
	paging := map[string]any{"kind": string(kind), "size_param": "limit"}
	list := map[string]any{"path": "/v1/entries", "items": "body.entries", "page_size": 10, "paging": paging}
	if total {
		list["total"] = "body.total"
	}
	switch kind {
	case restsim.Cursor:
		list["next"] = "body.next_cursor"
	case restsim.NextLink:
		list["next"] = "body.?next"
	case restsim.LinkHeader:
		list["items"] = "body"
		if total {
			list["total"] = "headers['x-total-count']"
		}
	case restsim.HAL:
		list["items"] = "body._embedded.entries"
	case restsim.Page, restsim.Offset:
	}
	all := map[string]any{"base_url": base, "auth": map[string]any{"kind": "bearer"}, "list": list, "read": map[string]any{"path": "/v1/entries/${entry.external_id}"},
		"mapping": map[string]any{"external_id": "item.id", "category": "'vendor'", "start": "item.starts_at", "end": "item.ends_at", "title": "item.?name",
			"op": "item.?removed.orValue(false) ? 'remove' : 'upsert'", "revision": "string(item.version)"}}
	if change != nil {
		change(list, all)
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rest is a simulator with a connection to it.
type rest struct {
	sim    *restsim.Server
	url    string
	opened any
}

func setupRest(t testing.TB, opt restsim.Options, change func(list, all map[string]any)) *rest {
	t.Helper()
	if opt.Token = restToken; opt.Paging == "" {
		opt.Paging = restsim.Page
	}
	if opt.Now == nil {
		opt.Now = func() time.Time { return providertest.Now }
	}
	r := &rest{sim: restsim.New(opt)}
	srv := httptest.NewServer(r.sim)
	t.Cleanup(func() { r.sim.Heal(); srv.Close() })
	r.url = srv.URL
	r.opened = openWith(t, restSettings(t, srv.URL, opt.Paging, !opt.NoTotal, change), map[string]string{custom.SecretToken: restToken})
	return r
}

func (r *rest) seed(n int) {
	for i := range n {
		at := providertest.Now.AddDate(0, 0, i+1)
		r.sim.Add(restsim.Entry{Kind: "meeting", State: "booked", Starts: at.Format(time.RFC3339), Ends: at.Add(time.Hour).Format(time.RFC3339)})
	}
}

// walk lists from a cursor to the end.
func walk(t testing.TB, p provider.Puller, cursor string) (named map[string]int, last provider.Page, err error) {
	t.Helper()
	named = map[string]int{}
	for range 200 {
		page, err := p.Pull(t.Context(), cursor)
		if err != nil {
			return named, page, err
		}
		for _, c := range page.Changes {
			named[c.ExternalID]++
		}
		if !page.More {
			return named, page, nil
		}
		cursor = page.Next
	}
	t.Fatal("a listing does not end")
	return nil, provider.Page{}, nil
}

func TestEveryKindOfPagingNamesEveryEntryOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range restsim.Pagings() {
		for _, noTotal := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, no total %t", kind, noTotal), func(t *testing.T) {
				t.Parallel()
				for _, n := range []int{0, 1, 9, 10, 11, 20, 21, 35} {
					r := setupRest(t, restsim.Options{Paging: kind, NoTotal: noTotal}, nil)
					r.seed(n)
					named, last, err := walk(t, must[provider.Puller](t, r.opened), "")
					if err != nil || !last.Complete || len(named) != n {
						t.Fatalf("%d entries: %d named, complete %t, error %v", n, len(named), last.Complete, err)
					}
					for id, times := range named {
						if times != 1 {
							t.Errorf("%d entries: %s is named %d times", n, id, times)
						}
					}
				}
			})
		}
	}
}

// TestWholeListingNamesEveryEntryOrSaysThatItDoesNot is the property behind every kind of paging: whatever goes wrong on
// the way, a listing that counts as complete left nothing out.
func TestWholeListingNamesEveryEntryOrSaysThatItDoesNot(t *testing.T) {
	t.Parallel()
	faults := []restsim.Fault{restsim.FaultMissingPage, restsim.FaultDuplicatePage, restsim.FaultShrink, restsim.FaultShortPage, restsim.FaultCursorExpired,
		restsim.FaultUnauthorized, restsim.FaultRateLimit, restsim.FaultRateLimitMute, restsim.FaultServerError, restsim.FaultCutBody, restsim.FaultGarbage, restsim.FaultEmptyAnswer}
	for _, kind := range restsim.Pagings() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				r := setupRest(t, restsim.Options{Paging: kind, PageSize: rapid.IntRange(1, 12).Draw(rt, "page size of the system")}, nil)
				r.seed(rapid.IntRange(0, 40).Draw(rt, "entries"))
				fault := rapid.SampledFrom(faults).Draw(rt, "fault")
				r.sim.Break(fault, rapid.IntRange(1, 3).Draw(rt, "times"))
				p := must[provider.Puller](t, r.opened)
				named, last, err := walk(t, p, "")
				if err == nil && last.Complete {
					for _, e := range r.sim.All() {
						if named[e.ID] != 1 {
							rt.Errorf("%s: entry %s is named %d times in a listing that counts as complete", fault, e.ID, named[e.ID])
						}
					}
				}
				r.sim.Heal()
				named, last, err = walk(t, p, "")
				if err != nil || !last.Complete || len(named) != len(r.sim.All()) {
					rt.Errorf("after %s: %d of %d named, complete %t, error %v", fault, len(named), len(r.sim.All()), last.Complete, err)
				}
			})
		})
	}
}

func TestOffsetsProveByTheirOverlapThatNothingMoved(t *testing.T) {
	t.Parallel()
	r := setupRest(t, restsim.Options{Paging: restsim.Offset, NoTotal: true}, nil)
	r.seed(35)
	r.sim.Break(restsim.FaultShrink, 1)
	p := must[provider.Puller](t, r.opened)
	if _, last, err := walk(t, p, ""); err != nil || last.Complete {
		t.Errorf("complete %t, error %v, though an entry went while the listing was read", last.Complete, err)
	}
	if _, last, err := walk(t, p, ""); err != nil || !last.Complete {
		t.Errorf("the next listing: complete %t, error %v", last.Complete, err)
	}
}

func TestFaultsInTheMiddleOfAListingHaveTheirKinds(t *testing.T) {
	t.Parallel()
	for fault, want := range map[restsim.Fault]domain.ErrorKind{restsim.FaultCursorExpired: domain.KindGoneToken, restsim.FaultUnauthorized: domain.KindUnauthenticated,
		restsim.FaultRateLimit: domain.KindRateLimited, restsim.FaultRateLimitMute: domain.KindRateLimited, restsim.FaultCutBody: domain.KindUnavailable} {
		for _, kind := range restsim.Pagings() {
			r := setupRest(t, restsim.Options{Paging: kind}, nil)
			r.seed(15)
			p := must[provider.Puller](t, r.opened)
			first, err := p.Pull(t.Context(), "")
			if err != nil || !first.More {
				t.Fatal(kind, first, err)
			}
			r.sim.Break(fault, 1)
			_, err = p.Pull(t.Context(), first.Next)
			if domain.KindOf(err) != want || strings.Contains(err.Error(), restToken) {
				t.Errorf("%s, %s: %v of kind %s", kind, fault, err, domain.KindOf(err))
			}
			if wait := domain.RetryAfter(err); fault == restsim.FaultRateLimit && wait != restsim.RetryAfter {
				t.Errorf("%s: wait %s", kind, wait)
			}
			if rest, err := p.Pull(t.Context(), first.Next); err != nil || len(rest.Changes) == 0 {
				t.Errorf("%s: the page again: %d changes, %v", kind, len(rest.Changes), err)
			}
		}
	}
}

func answering(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestSystemThatIgnoresItsPageParameterIsGivenUp(t *testing.T) {
	t.Parallel()
	asked := 0
	url := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = w.Write([]byte(`{"entries":[{"id":"a","starts_at":"2027-06-05","ends_at":"2027-06-06","version":1}],"total":7}`))
	})
	p := must[provider.Puller](t, openWith(t, restSettings(t, url, restsim.Page, true, nil), map[string]string{custom.SecretToken: "t"}))
	if _, _, err := walk(t, p, ""); domain.KindOf(err) != domain.KindPermanent || asked > 10 {
		t.Errorf("after %d requests: %v", asked, err)
	}
}

func TestPagesThatLeadInACircleAreGivenUp(t *testing.T) {
	t.Parallel()
	asked := 0
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		next := map[string]string{"": "a", "a": "b", "b": "c", "c": "a"}[r.URL.Query().Get("cursor")]
		fmt.Fprintf(w, `{"entries":[{"id":"%d","starts_at":"2027-06-05","ends_at":"2027-06-06","version":1}],"next_cursor":%q}`, asked, next)
	})
	p := must[provider.Puller](t, openWith(t, restSettings(t, url, restsim.Cursor, false, nil), map[string]string{custom.SecretToken: "t"}))
	if _, _, err := walk(t, p, ""); domain.KindOf(err) != domain.KindPermanent || asked > 20 {
		t.Errorf("after %d requests: %v", asked, err)
	}
}

func TestLinksStayOnTheHostAndLeaveTheKeyOut(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]domain.ErrorKind{
		"https://elsewhere.example/v1/entries?page=2": domain.KindPermanent,
		"//elsewhere.example/v1/entries":              domain.KindPermanent,
		"ftp://127.0.0.1/x":                           domain.KindPermanent,
		"http://user@127.0.0.1/x":                     domain.KindPermanent,
		"/v1/entries{?page}":                          domain.KindPermanent,
		"http://127.0.0.1:1/v1/entries":               domain.KindPermanent,
		"/v1/entries?page=2&key=sesame":               "",
		"?page=2&key=sesame":                          "",
	} {
		url := answering(t, func(w http.ResponseWriter, r *http.Request) {
			next := link
			if r.URL.Query().Get("page") != "" {
				next = ""
			}
			if keys := r.URL.Query()["key"]; len(keys) != 1 || keys[0] != "sesame" {
				t.Errorf("keys %v", keys)
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"entries": []any{}, "next": next})
		})
		settings := restSettings(t, url, restsim.NextLink, false, func(_, all map[string]any) { all["auth"] = map[string]any{"kind": "query", "param": "key"} })
		p := must[provider.Puller](t, openWith(t, settings, map[string]string{custom.SecretAPIKey: "sesame"}))
		first, err := p.Pull(t.Context(), "")
		if domain.KindOf(err) != want {
			t.Errorf("%s: %v", link, err)
		}
		if err != nil {
			continue
		}
		if raw, bad := decodeCursor(first.Next); bad != nil || strings.Contains(raw, "sesame") {
			t.Errorf("%s: the cursor holds the key", link)
		}
		if last, err := p.Pull(t.Context(), first.Next); err != nil || last.More || !last.Complete {
			t.Errorf("%s: %+v %v", link, last, err)
		}
	}
}

func watermarks(order string) func(list, all map[string]any) {
	return func(list, _ map[string]any) {
		inc := map[string]any{"watermark": "item.updated_at", "overlap_seconds": 60, "full_every_hours": 24}
		if order != "" {
			inc["order"] = order
		} else {
			list["query"] = map[string]any{"updated_since": "${since}"}
		}
		list["incremental"] = inc
	}
}

func TestWatermarkReadsWhatChangedAndNothingTwiceForEver(t *testing.T) {
	t.Parallel()
	for _, kind := range restsim.Pagings() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			r := setupRest(t, restsim.Options{Paging: kind, Tombstones: true}, watermarks(""))
			r.seed(200) // each a second after the one before
			p := must[provider.Puller](t, r.opened)
			_, last, err := walk(t, p, "")
			if err != nil || !last.Complete {
				t.Fatal(last, err)
			}
			first := r.sim.All()[0].ID
			r.sim.Edit(first, func(e *restsim.Entry) { e.Name = "other" })
			gone := r.sim.All()[1].ID
			r.sim.Remove(gone)
			named, last, err := walk(t, p, last.Next)
			if err != nil || last.Complete || named[first] != 1 || named[gone] != 1 || len(named) > 70 {
				t.Errorf("%d named, complete %t, error %v", len(named), last.Complete, err)
			}
			asked := r.sim.Asked()
			if since := asked[len(asked)-1]; !strings.Contains(since, "updated_since") {
				t.Errorf("the last request was %s", since)
			}
		})
	}
}

func TestWatermarkIsNeverLaterThanTheBeginningOfItsListing(t *testing.T) {
	t.Parallel()
	// While the second page is read, an entry of the first changes, and a later one after it: whoever continued at the
	// later time would miss the earlier change.
	began := providertest.Now
	var since []string
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		since = append(since, r.URL.Query().Get("updated_since"))
		w.Header().Set("Date", began.Format(http.TimeFormat))
		fmt.Fprintf(w, `{"entries":[{"id":"a","starts_at":"2027-06-05","ends_at":"2027-06-06","version":1,"updated_at":%q}],"total":1}`, began.Add(10*time.Minute).Format(time.RFC3339))
	})
	p := must[provider.Puller](t, openWith(t, restSettings(t, url, restsim.Page, true, watermarks("")), map[string]string{custom.SecretToken: "t"}))
	_, last, err := walk(t, p, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := walk(t, p, last.Next); err != nil {
		t.Fatal(err)
	}
	if want := []string{"", began.Add(-time.Minute).Format(time.RFC3339)}; !slices.Equal(since, want) {
		t.Errorf("since %v, want %v", since, want)
	}
}

func TestNewestFirstStopsAtTheWatermark(t *testing.T) {
	t.Parallel()
	at := func(n int) string { return providertest.Now.Add(-time.Duration(n) * time.Hour).Format(time.RFC3339) }
	pages := 0
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		pages++
		w.Header().Set("Date", providertest.Now.Format(http.TimeFormat))
		page := 1
		if _, err := fmt.Sscan(r.URL.Query().Get("page"), &page); err != nil {
			t.Error(err)
		}
		var entries []any
		for i := 10 * (page - 1); i < min(10*page, 95); i++ {
			entries = append(entries, map[string]any{"id": fmt.Sprint("e", i), "starts_at": "2027-06-05", "ends_at": "2027-06-06", "version": 1, "updated_at": at(i)})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"entries": entries, "total": 95})
	})
	p := must[provider.Puller](t, openWith(t, restSettings(t, url, restsim.Page, true, watermarks("newest_first")), map[string]string{custom.SecretToken: "t"}))
	named, last, err := walk(t, p, "")
	if err != nil || len(named) != 95 || !last.Complete || pages != 10 {
		t.Fatalf("%d named on %d pages, complete %t, error %v", len(named), pages, last.Complete, err)
	}
	pages = 0
	if named, last, err = walk(t, p, last.Next); err != nil || len(named) != 10 || last.Complete || pages != 1 {
		t.Errorf("%d named on %d pages, complete %t, error %v", len(named), pages, last.Complete, err)
	}
}

func TestFullListingComesDue(t *testing.T) {
	t.Parallel()
	r := setupRest(t, restsim.Options{Paging: restsim.Cursor}, watermarks(""))
	r.seed(3)
	_, last, err := walk(t, must[provider.Puller](t, r.opened), "")
	if err != nil {
		t.Fatal(err)
	}
	for hours, want := range map[int]domain.ErrorKind{23: "", 24: domain.KindGoneToken} {
		opened := openAt(t, restSettings(t, r.url, restsim.Cursor, true, watermarks("")), map[string]string{custom.SecretToken: restToken}, providertest.Now.Add(time.Duration(hours)*time.Hour), nil)
		if _, err := must[provider.Puller](t, opened).Pull(t.Context(), last.Next); domain.KindOf(err) != want {
			t.Errorf("after %d hours: %v", hours, err)
		}
	}
}

func TestPageParameterGoesWhereTheTemplatesPutIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(list map[string]any)
		want   string
	}{
		"by default":  {func(map[string]any) {}, "GET /v1/entries?limit=10&page=1 "},
		"named":       {func(l map[string]any) { l["paging"].(map[string]any)["param"] = "p" }, "GET /v1/entries?limit=10&p=1 "},
		"from zero":   {func(l map[string]any) { l["paging"].(map[string]any)["first"] = 0 }, "GET /v1/entries?limit=10&page=0 "},
		"in the body": {func(l map[string]any) { l["method"], l["body"] = "POST", map[string]any{"p": "${int(page)}"} }, `POST /v1/entries?limit=10 {"p":1}`},
	} {
		var got string
		url := answering(t, func(w http.ResponseWriter, r *http.Request) {
			body := new(strings.Builder)
			_, _ = fmt.Fprint(body, readAll(t, r))
			got = r.Method + " " + r.URL.RequestURI() + " " + body.String()
			_, _ = w.Write([]byte(`{"entries":[],"total":0}`))
		})
		p := must[provider.Puller](t, openWith(t, restSettings(t, url, restsim.Page, true, func(l, _ map[string]any) { c.change(l) }), map[string]string{custom.SecretToken: "t"}))
		if _, err := p.Pull(t.Context(), ""); err != nil {
			t.Error(name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}
