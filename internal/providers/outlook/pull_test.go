package outlook

import (
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/graphsim"
)

// A peer read the first page only once it had a delta link.
func TestEveryPageIsReadAfterAStoredDeltaLink(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{MaxPage: 3})
	cursor := pullAll(t, b.conn, "").Next
	var want []string
	for n := range 10 {
		e := tasting()
		e.Start, e.End = e.Start.AddDate(0, 0, n), e.End.AddDate(0, 0, n)
		want = append(want, b.sim.Add("Calendar", e))
	}
	got := upserts(pullAll(t, b.conn, cursor))
	for _, id := range want {
		if _, ok := got[id]; !ok {
			t.Errorf("event %s was not read", id)
		}
	}
}

// A peer made confirmed events out of @removed rows, and Graph tells @removed of events that still exist.
func TestRemovedIsBelievedOnlyWhenTheEventIsNotFound(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	deleted, left := b.sim.Add("Calendar", tasting()), b.sim.Add("Calendar", tasting())
	cursor := pullAll(t, b.conn, "").Next
	b.sim.Delete(deleted)
	far := tasting()
	far.Start, far.End = far.Start.AddDate(20, 0, 0), far.End.AddDate(20, 0, 0)
	b.sim.Edit(left, far)
	stranger := b.sim.Add("Calendar", far)

	page := pullAll(t, b.conn, cursor)
	if got := removals(page); !slices.Contains(got, deleted) || slices.Contains(got, left) || slices.Contains(got, stranger) {
		t.Errorf("removed %v, want %s and neither %s nor %s", got, deleted, left, stranger)
	}
	if len(upserts(page)) != 0 {
		t.Errorf("%d events are said to exist in the window", len(upserts(page)))
	}
	if !slices.Contains(page.Look, left) || !slices.Contains(page.Look, stranger) {
		t.Errorf("looks into %v, want the events outside the window among them", page.Look)
	}
	if c, err := b.conn.Read(t.Context(), left); err != nil || !c.When.Start.Equal(far.Start) {
		t.Errorf("the event outside the window reads as %v, %v", c.When, err)
	}
}

func TestDoubtAboutARemovedEventIsAnErrorOfTheWholePage(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	id := b.sim.Add("Calendar", tasting())
	cursor := pullAll(t, b.conn, "").Next
	b.sim.Delete(id)
	b.conn.client.http = failing{b.conn.client.http, "/events/"}
	_, err := b.conn.Pull(t.Context(), cursor)
	wantKind(t, err, domain.KindUnavailable)
}

// failing breaks requests whose path holds a text.
type failing struct {
	doer
	path string
}

func (f failing) Do(r *http.Request) (*httpx.Response, error) {
	if strings.Contains(r.URL.Path, f.path) {
		return nil, domain.E(domain.KindUnavailable, "broken on the way")
	}
	return f.doer.Do(r)
}

// "Recurring events only ever synced as a single event", and a "ghost event" on the first date of each series.
func TestOccurrencesAreHydratedAndTheMasterIsNeverPlaced(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]graphsim.Options{"master on the page": {}, "master asked for": {NoMasters: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, opt)
			// The first occurrences lie before the window: the master's dates are those of the first.
			e := weekly()
			e.Start, e.End, e.Repeat.Count = e.Start.AddDate(0, 0, -70), e.End.AddDate(0, 0, -70), 14
			master := b.sim.Add("Calendar", e)
			got := upserts(pullAll(t, b.conn, ""))
			if _, there := got[master]; there {
				t.Error("the master is placed")
			}
			id := occurrenceID(master, b.sim.Occurrence(master, "2027-03-29"))
			c, ok := got[id]
			if !ok || len(got) != 9 {
				t.Fatalf("%d occurrences, want the 9 inside the window and %s among them", len(got), id)
			}
			// 18:00 in London is 17:00 UTC once the clocks went forward.
			if !c.When.Start.Equal(at("2027-03-29T17:00:00Z")) || c.When.Zone != "Europe/London" {
				t.Errorf("occurrence after the change of clocks is %v", c.When)
			}
			if c.Details.Title != "Choir" || c.Details.Notes != "Bring the folder" || c.Details.Location != "Hall" || !slices.Equal(c.Labels, []string{"Music"}) {
				t.Errorf("occurrence is not whole: %+v, labels %v", c.Details, c.Labels)
			}
			read, err := b.conn.Read(t.Context(), id)
			if err != nil || read.Hash() != c.Hash() || read.Revision != c.Revision {
				t.Errorf("read on its own it is another: %v", err)
			}
			_, err = b.conn.Read(t.Context(), master)
			wantKind(t, err, domain.KindNotFound)
		})
	}
}

func TestSeriesThatChangedReplacesItsOccurrences(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	master := b.sim.Add("Calendar", weekly())
	cursor := pullAll(t, b.conn, "").Next
	gone := occurrenceID(master, b.sim.Occurrence(master, "2027-03-15"))
	moved := weekly()
	moved.Start, moved.End = at("2027-03-23T12:00:00Z"), at("2027-03-23T13:00:00Z")
	b.sim.EditOccurrence(master, "2027-03-22", moved)
	b.sim.DeleteOccurrence(master, "2027-03-15")

	page := pullAll(t, b.conn, cursor)
	got := upserts(page)
	if _, there := got[gone]; there || len(got) != 3 {
		t.Errorf("%d occurrences are left, want 3 without the deleted one", len(got))
	}
	if !slices.Contains(page.Look, seriesID(master)) {
		t.Errorf("looks into %v, want the series, since Graph does not say what it lost", page.Look)
	}
	if c := got[occurrenceID(master, b.sim.Occurrence(master, "2027-03-22"))]; !c.When.Start.Equal(moved.Start) {
		t.Errorf("the exception is at %s, want %s", c.When.Span, moved.Start)
	}
	_, err := b.conn.Read(t.Context(), gone)
	wantKind(t, err, domain.KindNotFound)
}

func TestOccurrenceRemovedByItsOwnIDIsLookedInto(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{RemovedOccurrences: true})
	master := b.sim.Add("Calendar", weekly())
	cursor := pullAll(t, b.conn, "").Next
	id := b.sim.Occurrence(master, "2027-03-15")
	b.sim.DeleteOccurrence(master, "2027-03-15")
	if page := pullAll(t, b.conn, cursor); !slices.Contains(page.Look, id) {
		t.Errorf("looks into %v, want %s: its series is not named beside it", page.Look, id)
	}
}

func TestDeletedSeriesIsRemovedWithItsOccurrences(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	master := b.sim.Add("Calendar", weekly())
	cursor := pullAll(t, b.conn, "").Next
	b.sim.Delete(master)
	if got := removals(pullAll(t, b.conn, cursor)); !slices.Contains(got, seriesID(master)) {
		t.Errorf("removed %v, want %s", got, seriesID(master))
	}
}

func TestEventThatBecomesASeriesAndBackIsLookedInto(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	e := weekly()
	e.Repeat = graphsim.Repeat{}
	id := b.sim.Add("Calendar", e)
	cursor := pullAll(t, b.conn, "").Next
	b.sim.Edit(id, weekly())
	page := pullAll(t, b.conn, cursor)
	if _, there := upserts(page)[id]; there || !slices.Contains(page.Look, id) || slices.Contains(removals(page), id) {
		t.Errorf("a single event became a series: looks into %v, removed %v", page.Look, removals(page))
	}
	occurrence := occurrenceID(id, b.sim.Occurrence(id, "2027-03-08"))
	b.sim.Edit(id, e)
	page = pullAll(t, b.conn, page.Next)
	if _, there := upserts(page)[id]; !there || !slices.Contains(page.Look, seriesID(id)) {
		t.Errorf("the series became a single event: looks into %v", page.Look)
	}
	_, err := b.conn.Read(t.Context(), occurrence)
	wantKind(t, err, domain.KindNotFound)
}

func TestOlderStateInADeltaNeverWins(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{Replays: true})
	id := b.sim.Add("Calendar", tasting())
	before := byID(t, pullAll(t, b.conn, ""), id)
	e := tasting()
	e.Start, e.End = e.Start.Add(3*time.Hour), e.End.Add(3*time.Hour)
	b.sim.Edit(id, e)
	page := pullAll(t, b.conn, "")
	if c := byID(t, page, id); !c.When.Start.Equal(e.Start) || len(page.Changes) != 1 {
		t.Errorf("%d changes, the last at %s, want the newest state once", len(page.Changes), c.When.Span)
	} else if c.RemoteVersion <= before.RemoteVersion {
		t.Errorf("version %d follows %d: an older state on a later page would win", c.RemoteVersion, before.RemoteVersion)
	}
}

func TestTokenIsNeverSentToAnotherHost(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{LooseLinks: true})
	b.sim.Add("Calendar", tasting())
	_, err := b.conn.Pull(t.Context(), "")
	wantKind(t, err, domain.KindUnavailable)

	good := setup(t, graphsim.Options{})
	cur, err := good.conn.parseCursor(pullAll(t, good.conn, "").Next)
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"http://graph.example.net/v1.0/x", "https" + strings.TrimPrefix(good.url, "http") + "/v1.0/x",
		strings.Replace(good.url, "http://", "http://user@", 1) + "/v1.0/x", good.url + "/elsewhere/x", "/v1.0/x", "http://%zz/"} {
		forged := cur
		forged.Link = link
		_, err := good.conn.Pull(t.Context(), forged.String())
		wantKind(t, err, domain.KindGoneToken)
	}
}

func TestChangedSettingsMakeTheCursorAGoneToken(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	cursor := pullAll(t, b.conn, "").Next
	s := b.conn.settings
	days := 100
	s.FutureDays = &days
	_, err := b.connect(t, s, domain.DirectionImport).Pull(t.Context(), cursor)
	wantKind(t, err, domain.KindGoneToken)
}

func TestWindowMovesOnWithoutDeletingAnything(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	early := tasting()
	early.Start, early.End = b.clock().AddDate(0, 0, -29), b.clock().AddDate(0, 0, -29).Add(time.Hour)
	late := tasting()
	late.Start, late.End = b.clock().AddDate(0, 0, 735), b.clock().AddDate(0, 0, 735).Add(time.Hour)
	leaves, enters := b.sim.Add("Calendar", early), b.sim.Add("Calendar", late)
	first := pullAll(t, b.conn, "")
	if _, there := upserts(first)[enters]; there || !first.Complete {
		t.Fatal("the first listing reaches too far or is not complete")
	}
	b.pass(6 * 24 * time.Hour)
	quiet := pullAll(t, b.conn, first.Next)
	if len(quiet.Changes) != 0 {
		t.Errorf("%d changes before the window is due", len(quiet.Changes))
	}
	b.pass(2 * 24 * time.Hour)
	page := pullAll(t, b.conn, quiet.Next)
	got := upserts(page)
	if _, there := got[enters]; !there || len(removals(page)) != 0 || page.Complete || slices.Contains(page.Look, leaves) {
		t.Errorf("after the window moved: %d events, removed %v, complete %v, looks into %v", len(got), removals(page), page.Complete, page.Look)
	}
	b.sim.Delete(enters)
	if got := removals(pullAll(t, b.conn, page.Next)); !slices.Contains(got, enters) {
		t.Errorf("the new view does not tell deletions: %v", got)
	}
}

func TestDeletionWhileTheWindowMovesOnIsNotLost(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	id := b.sim.Add("Calendar", tasting())
	cursor := pullAll(t, b.conn, "").Next
	b.pass(8 * 24 * time.Hour)
	drained, err := b.conn.Pull(t.Context(), cursor)
	if err != nil || !drained.More {
		t.Fatalf("the old view at its end: more %v, %v", drained.More, err)
	}
	b.sim.Delete(id) // the old view was read to its end, and the new one never saw the event
	if got := removals(pullAll(t, b.conn, drained.Next)); !slices.Contains(got, id) {
		t.Errorf("removed %v, want %s", got, id)
	}
}

func TestIDsStayWhenAnEventIsMovedBetweenFolders(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	id := b.sim.Add("Calendar", tasting())
	master := b.sim.Add("Calendar", weekly())
	cursor := pullAll(t, b.conn, "").Next
	b.sim.Rehouse(id)
	b.sim.Rehouse(master)
	page := pullAll(t, b.conn, cursor)
	if _, there := upserts(page)[id]; !there || len(upserts(page)) != 5 || len(removals(page)) != 0 {
		t.Errorf("%d events after a move, removed %v", len(upserts(page)), removals(page))
	}
	done, err := b.conn.Put(t.Context(), write(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.conn.Remove(t.Context(), done.ExternalID, done.Revision); err != nil {
		t.Fatal(err)
	}
	if _, err := b.conn.Onboard(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.sim.WithoutImmutableIDs(); n != 0 {
		t.Errorf("%d requests did not ask for immutable ids", n)
	}
}

func TestAtMostFourRequestsOfAMailboxAreUnderWay(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	var ids []string
	for range 12 {
		ids = append(ids, b.sim.Add("Calendar", tasting()))
	}
	cursor := pullAll(t, b.conn, "").Next
	for _, id := range ids {
		b.sim.Delete(id)
	}
	// Another connection to the same mailbox shares its turns.
	conns := []*connection{b.conn, b.connect(t, b.conn.settings, domain.DirectionImport)}
	b.sim.SetFaults(graphsim.Faults{Hang: true})
	var wg sync.WaitGroup
	pages := make([]provider.Page, 8)
	errs := make([]error, 8)
	var ended atomic.Int32
	for i := range pages {
		wg.Go(func() {
			pages[i], errs[i] = conns[i%2].Pull(t.Context(), cursor)
			ended.Add(1)
		})
	}
	// All eight want their turn and four have it. A fifth would be refused by the server, and its pull would fail.
	for b.sim.Peak() < maxConcurrent || users(b.conn.client.mailbox) < len(pages) {
		if ended.Load() > 0 {
			t.Fatal("a pull ended while the server answers nothing: it was refused")
		}
		runtime.Gosched()
	}
	b.sim.Heal()
	wg.Wait()
	for i := range pages {
		if errs[i] != nil || len(removals(pages[i])) != 24 { // each with its series
			t.Errorf("pull %d: %d removals, %v", i, len(removals(pages[i])), errs[i])
		}
	}
	if n := b.sim.Peak(); n != maxConcurrent {
		t.Errorf("%d requests at once, want %d", n, maxConcurrent)
	}
	if users(b.conn.client.mailbox) != 0 {
		t.Error("the turns of a mailbox that nobody asks are still kept")
	}
}

// users is how many requests have or want a turn at a mailbox.
func users(mailbox string) int {
	mailboxes.mu.Lock()
	defer mailboxes.mu.Unlock()
	if g, ok := mailboxes.gates[mailbox]; ok {
		return g.users
	}
	return 0
}

func TestCalendarThatIsGoneProvesNoDeletion(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{Calendars: []graphsim.Calendar{{Name: "Weddings"}, {Name: "Other"}}})
	done, err := b.conn.Put(t.Context(), write(0))
	if err != nil {
		t.Fatal(err)
	}
	cursor := pullAll(t, b.conn, "").Next
	b.sim.RemoveCalendar("Weddings")
	_, err = b.conn.Read(t.Context(), done.ExternalID)
	wantKind(t, err, domain.KindPermanent)
	wantKind(t, b.conn.Remove(t.Context(), done.ExternalID, done.Revision), domain.KindPermanent)
	if _, err = b.conn.Pull(t.Context(), cursor); err == nil || domain.KindOf(err) == domain.KindGoneToken {
		t.Errorf("pulling a calendar that is gone: %v", err)
	}
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	b.tokens.list = []string{secretToken, "rotated"}
	b.sim.SetToken("rotated")
	if err := b.conn.Probe(t.Context()); err != nil {
		t.Fatalf("probe with a rotated token: %v", err)
	}
	if !slices.Equal(b.tokens.refused, []string{secretToken}) {
		t.Errorf("refused tokens are %d, want the first alone", len(b.tokens.refused))
	}
	b.sim.SetToken("a third one")
	wantKind(t, b.conn.Probe(t.Context()), domain.KindUnauthenticated)
}
