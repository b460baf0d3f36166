package outlook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/sim/graphsim"
)

const secretToken = "sesame-opens-nothing"

// tokens is a grant. Refused tokens are replaced by the next in the list, while there is one.
type tokens struct {
	mu      sync.Mutex
	list    []string
	refused []string
}

func (s *tokens) Token(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[0], ctx.Err()
}

func (s *tokens) Refused(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = append(s.refused, token)
	if len(s.list) > 1 && s.list[0] == token {
		s.list = s.list[1:]
	}
}

// bundle is a simulator and a connection to it.
type bundle struct {
	sim    *graphsim.Server
	conn   *connection
	url    string
	tokens *tokens

	mu   sync.Mutex
	now  time.Time
	skew time.Duration // of the server's clock alone
}

func (b *bundle) theirs() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now.Add(b.skew)
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

func setup(t testing.TB, opt graphsim.Options, edit ...func(*settings)) *bundle {
	t.Helper()
	b := &bundle{now: providertest.Now, tokens: &tokens{list: []string{secretToken}}}
	opt.Token, opt.Now = secretToken, b.theirs
	if opt.Calendars == nil {
		opt.Calendars = []graphsim.Calendar{{Name: "Calendar"}}
	}
	b.sim = graphsim.New(opt)
	server := httptest.NewServer(providertest.Dated(b.theirs, b.sim.Handler()))
	t.Cleanup(func() { b.sim.Heal(); server.Close() })
	b.url = server.URL
	s := settings{GraphURL: server.URL + "/v1.0", Calendar: b.sim.CalendarID(opt.Calendars[0].Name)}
	for _, e := range edit {
		e(&s)
	}
	b.conn = b.connect(t, s, domain.DirectionBidirectional)
	return b
}

func (b *bundle) connect(t testing.TB, s settings, direction domain.Direction) *connection {
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
		Integration: domain.Integration{ID: "0193a000-0000-7000-8000-000000000001", Provider: "outlook", Settings: raw, Direction: direction},
		Zone:        mustZone(t, providertest.Zone), HTTP: client, Tokens: b.tokens, Now: b.clock,
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

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

// tasting is an ordinary event inside the window.
func tasting() graphsim.Event {
	return graphsim.Event{Subject: "Tasting", Start: at("2027-03-10T10:00:00Z"), End: at("2027-03-10T11:00:00Z")}
}

// weekly is a series of four Mondays from 8 March 2027, 18:00 in London; the clocks go forward on the 28th.
func weekly() graphsim.Event {
	return graphsim.Event{Subject: "Choir", Body: "Bring the folder", Location: "Hall", Categories: []string{"Music"}, Zone: "GMT Standard Time",
		Start: at("2027-03-08T18:00:00Z"), End: at("2027-03-08T19:00:00Z"), Repeat: graphsim.Repeat{Days: 7, Count: 4}}
}

func write(n int) provider.Write {
	return provider.Write{
		Key:       fmt.Sprintf("0193c000-0000-7000-8000-%012x", n),
		BookingID: domain.BookingID(fmt.Sprintf("0193b000-0000-7000-8000-%012x", n)),
		Category:  domain.CategoryWedding, Status: domain.StatusConfirmed,
		When:    domain.When{Span: domain.Span{Start: at("2027-06-01T12:00:00Z"), End: at("2027-06-01T20:00:00Z")}, Zone: "UTC", Kind: domain.TimeZoned},
		Details: domain.Details{Title: "Wedding", Location: "Old barn; gate 2, left", Notes: "First line\nSecond line"},
	}
}

// pullAll reads all pages after a cursor into one.
func pullAll(t testing.TB, c *connection, cursor string) provider.Page {
	t.Helper()
	var all provider.Page
	for range 100 {
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
	t.Fatal("a listing of more than 100 pages")
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

func upserts(page provider.Page) map[string]domain.Change {
	out := map[string]domain.Change{}
	for _, c := range page.Changes {
		if c.Op == domain.OpUpsert {
			out[c.ExternalID] = c
		}
	}
	return out
}

func removals(page provider.Page) []string {
	var out []string
	for _, c := range page.Changes {
		if c.Op == domain.OpRemove {
			out = append(out, c.ExternalID)
		}
	}
	return out
}

func wantKind(t testing.TB, err error, kind domain.ErrorKind) {
	t.Helper()
	if domain.KindOf(err) != kind {
		t.Fatalf("error of kind %q (%v), want %q", domain.KindOf(err), err, kind)
	}
}
