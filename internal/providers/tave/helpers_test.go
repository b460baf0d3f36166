package tave

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/openapitest"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

const (
	apiKey    = "sesame-opens-nothing" // and a number: pauses hold for a key, and addresses are used again
	leadKey   = "hush-hush-lead"
	specPath  = "../../../../shared/specs/vsco-openapi.json"
	undecided = "the document declares 401 and 404 for almost no operation"
)

// specOptions are what the vendor's document leaves out or says of itself against all use.
func specOptions() openapitest.Options {
	return openapitest.Options{Base: tavesim.Base,
		Answers: map[int]openapitest.Undeclared{401: {Schema: "Error", Why: undecided}, 403: {Schema: "Error", Why: undecided}, 404: {Schema: "Error", Why: undecided}},
	}
}

var spec struct {
	once sync.Once
	doc  *openapitest.Document
}

// contract is the vendor's document, one for all tests; nil where it is not beside the checkout.
func contract(t testing.TB) *openapitest.Document {
	spec.once.Do(func() { spec.doc = openapitest.Load(t, specPath, specOptions()) })
	return spec.doc
}

var keys atomic.Int64

// bundle is a simulator and a connection to it.
type bundle struct {
	sim  *tavesim.Server
	conn *connection
	url  string
	key  string

	noMeta bool

	mu  sync.Mutex
	now time.Time
}

func (b *bundle) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bundle) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func setup(t testing.TB, opt tavesim.Options, edit ...func(*settings)) *bundle {
	t.Helper()
	return setupWith(t, contract(t), opt, edit...)
}

func setupWith(t testing.TB, doc *openapitest.Document, opt tavesim.Options, edit ...func(*settings)) *bundle {
	t.Helper()
	b := &bundle{now: providertest.Now, key: fmt.Sprint(apiKey, "-", keys.Add(1))}
	opt.Key, opt.Now, opt.Zone = b.key, b.clock, providertest.Zone
	if opt.LeadStudio != "" {
		opt.LeadSecret = leadKey
	}
	if doc != nil {
		opt.Wrap = func(h http.Handler) http.Handler { return doc.Wrap(t, h) }
	}
	b.sim = tavesim.New(opt)
	server := httptest.NewServer(b.sim.Handler())
	t.Cleanup(func() { b.sim.Heal(); server.Close() })
	b.url = server.URL
	fast := 5000.0
	s := settings{APIURL: server.URL + tavesim.Base, Timezone: providertest.Zone, Rate: &fast}
	for _, e := range edit {
		e(&s)
	}
	b.conn = b.connect(t, s, domain.DirectionBidirectional, b.key)
	return b
}

func (b *bundle) connect(t testing.TB, s settings, direction domain.Direction, key string) *connection {
	t.Helper()
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate, Now: b.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Registration.Open(provider.Connection{
		Integration: domain.Integration{ID: "0193a000-0000-7000-8000-000000000001", Provider: "tave", Settings: raw, Direction: direction},
		Secrets:     map[string]string{secretKey: key, secretLead: leadKey}, Zone: mustZone(t, providertest.Zone), HTTP: client, Now: b.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return opened.(*connection)
}

func mustZone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := calendartime.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// weddingsAsJobs writes weddings as jobs of the type Wedding.
func weddingsAsJobs(s *settings) {
	s.Jobs = map[domain.Category]string{domain.CategoryWedding: "Wedding"}
}

func write(n int) provider.Write {
	return provider.Write{
		Key:       fmt.Sprintf("0193c000-0000-7000-8000-%012x", n),
		BookingID: domain.BookingID(fmt.Sprintf("0193b000-0000-7000-8000-%012x", n)),
		Category:  domain.CategoryWedding, Status: domain.StatusConfirmed,
		When:    domain.When{Span: domain.Span{Start: instant("2027-06-01T12:00:00Z"), End: instant("2027-06-01T20:00:00Z")}, Zone: "UTC", Kind: domain.TimeZoned},
		Details: domain.Details{Title: "Wedding", Location: "Old barn; gate 2, left", Notes: "First line\nSecond <line> & more"},
	}
}

// session is an event of a job, eight hours on 5 June 2027 in London.
func session(b *bundle, job string) tavesim.Object {
	return tavesim.Object{"jobId": job, "typeId": b.sim.Named("event-type", "Wedding"), "startDate": "2027-06-05", "startTime": "12:00:00",
		"endDate": "2027-06-05", "endTime": "20:00:00"}
}

// newJob adds a wedding of a couple with one session and returns the ids of both.
func newJob(b *bundle, stage string) (job, event string) {
	job = b.sim.Add("job", tavesim.Object{"stage": stage, "jobTypeId": b.sim.Named("job-type", "Wedding"), "eventDate": "2027-06-05"})
	for _, name := range []string{"Marigold", "Oakbridge"} {
		p := b.sim.Add("address-book", tavesim.Object{"kind": "person", "firstName": "A.", "lastName": name})
		b.sim.Add("job-contact", tavesim.Object{"jobId": job, "contactId": p, "client": true})
	}
	return job, b.sim.Add("event", session(b, job))
}

// pullAll reads all pages after a cursor into one.
func pullAll(t testing.TB, c *connection, cursor string) provider.Page {
	t.Helper()
	var all provider.Page
	for range 200 {
		page, err := c.Pull(t.Context(), cursor)
		if err != nil {
			t.Fatalf("pull: %v", err)
		}
		all.Changes = append(all.Changes, page.Changes...)
		all.Problems = append(all.Problems, page.Problems...)
		all.Look = append(all.Look, page.Look...)
		all.Next, all.Complete = page.Next, page.Complete
		if !page.More {
			return all
		}
		cursor = page.Next
	}
	t.Fatal("a listing of more than 200 pages")
	return all
}

// byID finds the last change of an entry.
func byID(t testing.TB, page provider.Page, id string) domain.Change {
	t.Helper()
	found := domain.Change{}
	for _, c := range page.Changes {
		if c.ExternalID == id {
			found = c
		}
	}
	if found.Op == "" {
		t.Fatalf("no change of %s among %d, problems %v", id, len(page.Changes), page.Problems)
	}
	return found
}

func wantKind(t testing.TB, err error, kind domain.ErrorKind) {
	t.Helper()
	if domain.KindOf(err) != kind {
		t.Fatalf("error of kind %q (%v), want %q", domain.KindOf(err), err, kind)
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
