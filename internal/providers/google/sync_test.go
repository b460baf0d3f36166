package google

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/googlesim"
)

// weekly are the fields of a series of an evening a week.
func weekly(title string, count string) map[string]any {
	return map[string]any{"summary": title, "recurrence": []any{"RRULE:FREQ=WEEKLY;COUNT=" + count},
		"start": map[string]any{"dateTime": "2027-03-16T18:00:00Z", "timeZone": "Europe/London"},
		"end":   map[string]any{"dateTime": "2027-03-16T19:00:00Z", "timeZone": "Europe/London"}}
}

func summary(p provider.Page) []string {
	var out []string
	for _, c := range p.Changes {
		out = append(out, string(c.Op)+" "+c.ExternalID)
	}
	slices.Sort(out)
	return out
}

func TestLostTokenIsAGoneTokenAndDeletesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	b.sim.Put(studio, timed("Fitting", soon(1), time.Hour))
	full := pullAll(t, b.conn, "")
	b.sim.ExpireTokens()
	page, err := b.conn.Pull(t.Context(), full.Next)
	wantKind(t, err, domain.KindGoneToken)
	if len(page.Changes) != 0 || page.Complete {
		t.Errorf("a lost token says %+v", page)
	}
	if again := pullAll(t, b.conn, ""); len(again.Changes) != 1 || !again.Complete {
		t.Errorf("the full listing has %d changes, complete %v", len(again.Changes), again.Complete)
	}
}

func TestChangedQueryIsAGoneTokenWithoutAskingGoogle(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	cursor := pullAll(t, b.conn, "").Next
	before := len(b.sim.Requests())
	s := b.conn.settings
	s.FocusTimeFree = true
	_, err := connect(t, b, s, domain.DirectionBidirectional).Pull(t.Context(), cursor)
	wantKind(t, err, domain.KindGoneToken)
	if got := len(b.sim.Requests()) - before; got != 0 {
		t.Errorf("%d requests with a token of another query", got)
	}
}

func TestWindowThatMovedOnIsAGoneToken(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	cursor := pullAll(t, b.conn, "").Next
	b.ahead.Store(int64(6 * day))
	if _, err := b.conn.Pull(t.Context(), cursor); err != nil {
		t.Errorf("after six days: %v", err)
	}
	b.ahead.Store(int64(8 * day))
	_, err := b.conn.Pull(t.Context(), cursor)
	wantKind(t, err, domain.KindGoneToken)
}

func TestCancelledItemsNeedNothingButTheirID(t *testing.T) {
	t.Parallel()
	for _, bare := range []bool{false, true} {
		b := setup(t, change{})
		b.sim.SetFaults(googlesim.Faults{BareTombstones: bare})
		series := b.sim.Put(studio, weekly("Class", "3"))
		single := b.sim.Put(studio, timed("Fitting", soon(1), time.Hour))
		cursor := pullAll(t, b.conn, "").Next
		b.sim.Delete(studio, series+"_20270323T180000Z")
		b.sim.Delete(studio, single)
		page := pullAll(t, b.conn, cursor)
		want := []string{"remove " + series + "#20270323T180000Z", "remove " + single}
		slices.Sort(want)
		if diff := cmp.Diff(want, summary(page)); diff != "" || len(page.Problems) != 0 {
			t.Errorf("bare %v: %s %v", bare, diff, page.Problems)
		}
		_, err := b.conn.Read(t.Context(), series+"#20270323T180000Z")
		wantKind(t, err, domain.KindNotFound)
	}
}

func TestSeriesIsReadAsInstancesOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	series := b.sim.Put(studio, weekly("Class", "3"))
	full := pullAll(t, b.conn, "")
	// The clocks go forward on 28 March: the third instance keeps its wall clock, not its hour.
	want := []string{"upsert " + series + "#20270316T180000Z", "upsert " + series + "#20270323T180000Z", "upsert " + series + "#20270330T170000Z"}
	if diff := cmp.Diff(want, summary(full)); diff != "" {
		t.Fatal(diff)
	}
	uids := map[string]bool{}
	for _, c := range full.Changes {
		uids[c.UID] = true
		got, err := b.conn.Read(t.Context(), c.ExternalID)
		if err != nil || got.Hash() != c.Hash() {
			t.Errorf("%s reads otherwise: %v", c.ExternalID, err)
		}
	}
	if !uids[series+"@google.com#20270330T180000"] || len(uids) != 3 {
		t.Errorf("UIDs %v", uids)
	}
	// A moved instance keeps its id, and a moved series names what became of each.
	b.sim.Patch(studio, series+"_20270323T180000Z", timed("Class", soon(20), time.Hour))
	moved := byID(t, pullAll(t, b.conn, full.Next), series+"#20270323T180000Z")
	if !moved.When.Start.Equal(soon(20)) || moved.UID != series+"@google.com#20270323T180000" {
		t.Errorf("%+v", moved)
	}
	b.sim.Delete(studio, series)
	page := pullAll(t, b.conn, full.Next)
	for i, w := range want {
		want[i] = strings.Replace(w, "upsert", "remove", 1)
	}
	if diff := cmp.Diff(want, summary(page)); diff != "" {
		t.Error(diff)
	}
}

// TestEntriesSayWhenTheyWereEditedByGooglesClock holds what decides which of two edits is the newest, and measures lag.
func TestEntriesSayWhenTheyWereEditedByGooglesClock(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	id := b.sim.Put(studio, timed("Before", soon(1), time.Hour))
	full := pullAll(t, b.conn, "")
	made := byID(t, full, id)
	if made.ChangedAt == nil || made.ChangedAt.UnixMilli() != made.RemoteVersion || made.ChangedAt.Location() != time.UTC {
		t.Fatalf("a new entry: %v, version %d", made.ChangedAt, made.RemoteVersion)
	}
	b.ahead.Store(int64(3 * time.Hour))
	b.sim.Patch(studio, id, timed("After", soon(1), time.Hour))
	edited := byID(t, pullAll(t, b.conn, full.Next), id)
	if edited.ChangedAt == nil || edited.ChangedAt.Sub(*made.ChangedAt) < 3*time.Hour || edited.ChangedAt.Sub(b.now()) > time.Second {
		t.Errorf("edited at %v, made at %v", edited.ChangedAt, made.ChangedAt)
	}
	done, err := b.conn.Put(t.Context(), write(0))
	if err != nil || done.ReadBack.ChangedAt == nil || done.ReadBack.ChangedAt.Before(*made.ChangedAt) {
		t.Errorf("a copy: %v, %v", done.ReadBack.ChangedAt, err)
	}
}

// TestSeriesThatBecomesPrivateHidesEveryInstance follows what Google does when somebody makes one instance private: the
// visibility is that of the whole series from then on, its exceptions included.
func TestSeriesThatBecomesPrivateHidesEveryInstance(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	series := b.sim.Put(studio, weekly("Class", "3"))
	b.sim.Patch(studio, series+"_20270323T180000Z", timed("Class", soon(20), time.Hour))
	full := pullAll(t, b.conn, "")
	for _, c := range full.Changes {
		if c.Private {
			t.Fatalf("%s is private", c.ExternalID)
		}
	}
	b.sim.Patch(studio, series, map[string]any{"visibility": "private"})
	b.sim.Patch(studio, series+"_20270323T180000Z", map[string]any{"visibility": "private"})
	page := pullAll(t, b.conn, full.Next)
	for _, was := range full.Changes {
		if now := byID(t, page, was.ExternalID); !now.Private || now.Op != domain.OpUpsert {
			t.Errorf("%s is told as %+v", was.ExternalID, now)
		}
	}
}

func TestNewestUpdateWinsForAnIDThatComesTwice(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1} { // in one page, and in two
		b := setup(t, change{sim: func(o *googlesim.Options) { o.PageSize = size }})
		id := b.sim.Put(studio, timed("Before", soon(1), time.Hour))
		cursor := pullAll(t, b.conn, "").Next
		b.sim.Patch(studio, id, timed("After", soon(2), time.Hour))
		b.sim.SetFaults(googlesim.Faults{StaleRepeats: true})
		var newest domain.Change
		for _, c := range pullAll(t, b.conn, cursor).Changes {
			if c.RemoteVersion >= newest.RemoteVersion {
				newest = c
			}
		}
		if newest.Details.Title != "After" || newest.RemoteVersion == 0 {
			t.Errorf("pages of %d: the newest report is %q", size, newest.Details.Title)
		}
	}
}

func TestEmptyPagesAreGoneThrough(t *testing.T) {
	t.Parallel()
	b := setup(t, change{sim: func(o *googlesim.Options) { o.PageSize = 1 }})
	b.sim.SetFaults(googlesim.Faults{EmptyPages: true})
	b.sim.Put(studio, timed("One", soon(1), time.Hour))
	b.sim.Put(studio, timed("Two", soon(2), time.Hour))
	first, err := b.conn.Pull(t.Context(), "")
	if err != nil || len(first.Changes) != 0 || !first.More || first.Complete {
		t.Fatalf("an empty page reads as %+v, %v", first, err)
	}
	if page := pullAll(t, b.conn, ""); len(page.Changes) != 2 || !page.Complete {
		t.Errorf("%d changes, complete %v", len(page.Changes), page.Complete)
	}
}

func TestPullAfterACrashInTheMiddleLosesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, change{sim: func(o *googlesim.Options) { o.PageSize = 1 }})
	for i := range 3 {
		b.sim.Put(studio, timed("Fitting", soon(i+1), time.Hour))
	}
	first, err := b.conn.Pull(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	one, two := pullAll(t, b.conn, first.Next), pullAll(t, b.conn, first.Next)
	if diff := cmp.Diff(summary(one), summary(two)); diff != "" || len(one.Changes) != 2 || !one.Complete {
		t.Errorf("%s%d changes", diff, len(one.Changes))
	}
	// Page tokens do not live for ever. A full listing begins anew, and so does a delta.
	b.sim.ExpireTokens()
	_, err = b.conn.Pull(t.Context(), first.Next)
	wantKind(t, err, domain.KindGoneToken)
}

func TestChangesBeyondTheWindowAreReportedOnlyOfWhatMayBeKnown(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	known := b.sim.Put(studio, timed("Known", soon(1), time.Hour))
	series := b.sim.Put(studio, weekly("Class", "2"))
	cursor := pullAll(t, b.conn, "").Next
	far := soon(defaultFuture + 100)
	b.sim.Put(studio, timed("History", soon(-400), time.Hour))
	b.ahead.Store(int64(time.Minute))
	b.sim.Patch(studio, known, timed("Known", far, time.Hour))
	b.sim.Patch(studio, series+"_20270323T180000Z", timed("Class", far, time.Hour))
	page := pullAll(t, b.conn, cursor)
	if c := byID(t, page, known); !c.When.Start.Equal(far) {
		t.Errorf("a moved entry is at %s", c.When.Start)
	}
	if c := byID(t, page, series+"#20270323T180000Z"); !c.When.Start.Equal(far) {
		t.Errorf("a moved instance is at %s", c.When.Start)
	}
	for _, c := range page.Changes {
		if c.Details.Title == "History" {
			t.Error("an entry that was never in the window is reported")
		}
	}
	if full := pullAll(t, b.conn, ""); len(full.Changes) != 1 {
		t.Errorf("the full listing names %v", summary(full))
	}
	got, err := b.conn.Read(t.Context(), known)
	if err != nil || !got.When.Start.Equal(far) {
		t.Errorf("an entry beyond the window cannot be read: %v", err)
	}
}

func TestCalendarThatIsGoneIsNotFoundAndProvesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	id := b.sim.Put(studio, timed("Fitting", soon(1), time.Hour))
	cursor := pullAll(t, b.conn, "").Next
	b.sim.SetAccess(studio, "")
	_, err := b.conn.Pull(t.Context(), cursor)
	wantKind(t, err, domain.KindNotFound)
	_, err = b.conn.Pull(t.Context(), "")
	wantKind(t, err, domain.KindNotFound)
	_, err = b.conn.Read(t.Context(), id)
	wantKind(t, err, domain.KindPermanent)
	if strings.Contains(err.Error(), studio) {
		t.Errorf("the error names the calendar: %v", err)
	}
}

func TestAccessThatWasReducedDoesNotEmptyTheTexts(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	b.sim.Put(studio, timed("Fitting", soon(1), time.Hour))
	cursor := pullAll(t, b.conn, "").Next
	b.sim.SetAccess(studio, accessBusy)
	_, err := b.conn.Pull(t.Context(), cursor)
	wantKind(t, err, domain.KindForbidden)
}

func TestQuietCalendarCostsOneRequestThatAsksForNoGuests(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	guests := []any{map[string]any{"email": "guest@example.org", "responseStatus": "accepted"}, map[string]any{"email": studio, "self": true, "responseStatus": "accepted"}}
	b.sim.Put(studio, with(timed("Fitting", soon(1), time.Hour), map[string]any{"attendees": guests}))
	cursor := pullAll(t, b.conn, "").Next
	before := len(b.sim.Requests())
	if page := pullAll(t, b.conn, cursor); len(page.Changes) != 0 || page.Complete {
		t.Errorf("%+v", page)
	}
	asked := b.sim.Requests()[before:]
	if len(asked) != 1 {
		t.Fatalf("%d requests", len(asked))
	}
	q := asked[0].Query
	if q.Get("syncToken") == "" || q.Has("timeMin") || q.Get("maxAttendees") != "1" || strings.Contains(q.Get("fields"), "email") {
		t.Errorf("asked %v", q)
	}
}

func FuzzCursor(f *testing.F) {
	b := &bundle{}
	c := &connection{local: time.UTC, now: func() time.Time { return providertest.Now.Add(time.Duration(b.ahead.Load())) }}
	good := c.startCursor()
	good.Sync = "token"
	for _, seed := range []string{"", "x", "W10", "eyJ2IjoxfQ", good.String()} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cur, err := c.parseCursor(s)
		if err != nil {
			wantKind(t, err, domain.KindGoneToken)
			return
		}
		if again, err := c.parseCursor(cur.String()); err != nil || again != cur {
			t.Errorf("%+v reads back as %+v, %v", cur, again, err)
		}
	})
}
