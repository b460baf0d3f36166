package caldav

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
)

// sourceMove seeds a resource, moves one of its entries, and returns what is stored then.
func sourceMove(t *testing.T, data, instance string, to domain.When, status domain.BookingStatus) (string, provider.Written) {
	t.Helper()
	b := setup(t, caldavsim.Options{})
	id := b.sim.PutEvent("weddings", "own.ics", data) + instance
	before, err := b.conn.Read(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	wish := provider.Write{ExternalID: id, Revision: before.Revision, Source: true, Status: status, When: to}
	done, err := b.conn.Put(t.Context(), wish)
	if err != nil {
		t.Fatal(err)
	}
	after, err := b.conn.Read(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if !after.When.Start.Equal(to.Start) || !after.When.End.Equal(to.End) || after.Status != status {
		t.Errorf("the entry is %s at %s, want %s at %s", after.Status, after.When.Span, status, to.Span)
	}
	if diff := cmp.Diff(after, done.ReadBack); diff != "" {
		t.Errorf("the read-back is not the entry (-entry +read back):\n%s", diff)
	}
	again, err := b.conn.Put(t.Context(), wish)
	if err != nil || again.Revision != done.Revision {
		t.Errorf("the same move again: %v, revision %s after %s", err, again.Revision, done.Revision)
	}
	return b.sim.Events("weddings")[0].Data, done
}

// changedLines tells which lines differ, removed ones first.
func changedLines(before, after string) (removed, added []string) {
	old, now := strings.Split(before, "\r\n"), strings.Split(after, "\r\n")
	for _, l := range old {
		if !slices.Contains(now, l) {
			removed = append(removed, l)
		}
	}
	for _, l := range now {
		if !slices.Contains(old, l) {
			added = append(added, l)
		}
	}
	return removed, added
}

func TestSourceMoveKeepsTheFormAndEveryOtherByte(t *testing.T) {
	t.Parallel()
	const rest = "UID:own\r\nX-PRIVATE;X-P=\"a;b\":kept\r\nATTENDEE;CN=\"Smith, J\":mailto:guest@example.com\r\nATTENDEE:mailto:other@example.com\r\n" +
		"DESCRIPTION:a folded\r\n  line\r\nSEQUENCE:4\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\nDESCRIPTION:x\r\nTRIGGER:-PT15M\r\nDURATION:PT5M\r\nREPEAT:1\r\nEND:VALARM"
	to := when("2027-06-07T08:30:00Z", 2*time.Hour)
	for _, v := range []struct {
		name, times string
		to          domain.When
		want        []string
	}{
		{"zone and end", "DTSTART;TZID=Europe/London:20270605T130000\r\nDTEND;TZID=Europe/Paris:20270605T150000", to,
			[]string{"DTSTART;TZID=Europe/London:20270607T093000", "DTEND;TZID=Europe/Paris:20270607T123000"}},
		{"zone and duration", "DTSTART;TZID=W. Europe Standard Time:20270605T130000\r\nDURATION:PT1H", to,
			[]string{"DTSTART;TZID=W. Europe Standard Time:20270607T103000", "DURATION:PT7200S"}},
		{"floating", "DTSTART:20270605T130000\r\nDTEND:20270605T140000", to, []string{"DTSTART:20270607T093000", "DTEND:20270607T113000"}},
		{"UTC", "DTSTART:20270605T130000Z\r\nDTEND:20270605T140000Z", to, []string{"DTSTART:20270607T083000Z", "DTEND:20270607T103000Z"}},
		{"days", "DTSTART;VALUE=DATE:20270605\r\nDTEND;VALUE=DATE:20270606", when("2027-06-06T23:00:00Z", 48*time.Hour),
			[]string{"DTSTART;VALUE=DATE:20270607", "DTEND;VALUE=DATE:20270609"}},
		{"days to hours", "DTSTART;VALUE=DATE:20270605", to, []string{"DTEND:20270607T103000Z", "DTSTART:20270607T083000Z"}},
		{"second of two clocks", "DTSTART;TZID=Europe/London:20270605T130000\r\nDURATION:PT1H", when("2027-10-31T01:30:00Z", 2*time.Hour),
			[]string{"DTSTART:20271031T013000Z", "DURATION:PT7200S"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			before := vevent(v.times, rest)
			after, done := sourceMove(t, before, "", v.to, domain.StatusConfirmed)
			removed, added := changedLines(before, after)
			want := append([]string{"SEQUENCE:5", "DTSTAMP:20270301T090000Z", "LAST-MODIFIED:20270301T090000Z"}, v.want...)
			slices.Sort(want)
			slices.Sort(added)
			if diff := cmp.Diff(want, added); diff != "" {
				t.Errorf("lines that came (-want +got):\n%s", diff)
			}
			for _, l := range removed {
				name, _, _ := strings.Cut(strings.ReplaceAll(l, ";", ":"), ":")
				if !slices.Contains([]string{"DTSTART", "DTEND", "DURATION", "SEQUENCE", "DTSTAMP"}, name) {
					t.Errorf("a line went that nobody asked for: %s", l)
				}
			}
			if done.ReadBack.Origin != "" {
				t.Error("the entry was marked as ours")
			}
		})
	}
}

func TestSourceEntryIsCancelledByItsStatusOnly(t *testing.T) {
	t.Parallel()
	before := vevent("UID:own", "SUMMARY:x", "DTSTART:20270605T130000Z", "DTEND:20270605T140000Z")
	after, _ := sourceMove(t, before, "", when("2027-06-05T13:00:00Z", time.Hour), domain.StatusCancelled)
	if !strings.Contains(after, "\r\nSTATUS:CANCELLED\r\n") || !strings.Contains(after, "\r\nDTSTART:20270605T130000Z\r\n") {
		t.Errorf("stored:\n%s", after)
	}
}

func TestInstanceOfASeriesIsMovedAlone(t *testing.T) {
	t.Parallel()
	to := when("2027-03-28T15:00:00Z", time.Hour)
	after, _ := sourceMove(t, calendar(series), "#20270327T100000", to, domain.StatusConfirmed)
	if n := strings.Count(after, "BEGIN:VEVENT"); n != 4 {
		t.Fatalf("%d components, want the three and a new one:\n%s", n, after)
	}
	for _, want := range []string{"RECURRENCE-ID;TZID=Europe/London:20270327T100000", "DTSTART;TZID=Europe/London:20270328T160000"} {
		if !strings.Contains(after, "\r\n"+want+"\r\n") {
			t.Errorf("no line %s in:\n%s", want, after)
		}
	}
	if n := strings.Count(after, "RRULE:"); n != 1 {
		t.Errorf("%d rules, want the one of the series", n)
	}
	got, problems := changesOf(t, offline(t), after)
	if len(got) != 5 || len(problems) != 0 {
		t.Errorf("the series now has %d instances and %v", len(got), problems)
	}

	// One that has a component of its own is edited there.
	after, _ = sourceMove(t, calendar(series), "#20270410T100000", to, domain.StatusTentative)
	if n := strings.Count(after, "BEGIN:VEVENT"); n != 3 {
		t.Errorf("%d components, want the three:\n%s", n, after)
	}
	if !strings.Contains(after, "\r\nDTSTART:20270328T150000Z\r\n") || !strings.Contains(after, "\r\nSTATUS:TENTATIVE\r\n") {
		t.Errorf("stored:\n%s", after)
	}
}

func TestSourceWriteOverAChangeIsAConflict(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	id := b.sim.PutEvent("weddings", "own.ics", vevent("UID:own", "DTSTART:20270605T130000Z", "DURATION:PT1H"))
	_, err := b.conn.Put(t.Context(), provider.Write{ExternalID: id, Revision: `"other"`, Source: true, Status: domain.StatusConfirmed, When: when("2027-06-07T08:30:00Z", time.Hour)})
	if domain.KindOf(err) != domain.KindConflict {
		t.Errorf("error %v, want KindConflict", err)
	}
}

func TestCopyWithoutETagInTheAnswerIsReadBack(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	b.sim.SetFaults(caldavsim.Faults{NoETagOnPut: true})
	done, err := b.conn.Put(t.Context(), write(1))
	if err != nil {
		t.Fatal(err)
	}
	stored := b.sim.Events("weddings")
	if len(stored) != 1 || done.Revision != stored[0].ETag {
		t.Errorf("revision %q, stored %+v", done.Revision, stored)
	}
}

func TestRefusalInsideAMultistatusIsARefusal(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	b.sim.SetFaults(caldavsim.Faults{MultiStatusOnFailedPut: true})
	first, err := b.conn.Put(t.Context(), write(1))
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.conn.Put(t.Context(), write(1))
	if err != nil || again.ExternalID != first.ExternalID {
		t.Errorf("adoption after a 412 inside a 207: %v", err)
	}
	stale := write(1)
	stale.ExternalID, stale.Revision, stale.Details.Title = first.ExternalID, `"stale"`, "Another"
	if _, err := b.conn.Put(t.Context(), stale); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a stale write: %v, want KindConflict", err)
	}
}

func TestCopyThatAPersonsProgramRenamedIsFoundByItsUID(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	done, err := b.conn.Put(t.Context(), write(1))
	if err != nil {
		t.Fatal(err)
	}
	data := b.sim.Events("weddings")[0].Data
	b.sim.DeleteEvent(done.ExternalID)
	renamed := b.sim.PutEvent("weddings", "renamed.ics", data)
	again, err := b.conn.Put(t.Context(), write(1))
	if err != nil || again.ExternalID != renamed || again.Adopted {
		t.Errorf("put: %v, copy %s, want %s", err, again.ExternalID, renamed)
	}
	if n := len(b.sim.Events("weddings")); n != 1 {
		t.Errorf("%d resources, want 1", n)
	}
}

func TestCopyThatSomebodyMovedBeforeTheNextTryIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	done, err := b.conn.Put(t.Context(), write(1))
	if err != nil {
		t.Fatal(err)
	}
	data := b.sim.Events("weddings")[0].Data
	b.sim.PutEvent("weddings", nameOf(write(1).Key), strings.ReplaceAll(data, "DTSTART:2027", "DTSTART:2026"))
	for range 2 {
		again, err := b.conn.Put(t.Context(), write(1))
		if err != nil || !again.Adopted || again.ExternalID != done.ExternalID || again.ReadBack.When.Start.Year() != 2026 || again.ReadBack.Origin != write(1).BookingID {
			t.Fatalf("put again: %+v, %v", again, err)
		}
	}
}

func TestNameTakenBySomebodyElseIsAConflict(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	data := vevent("UID:theirs", "DTSTART:20270605T130000Z", "DURATION:PT1H")
	b.sim.PutEvent("weddings", nameOf(write(1).Key), data)
	if _, err := b.conn.Put(t.Context(), write(1)); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("error %v, want KindConflict", err)
	}
	if got := b.sim.Events("weddings")[0].Data; got != data {
		t.Error("the entry of somebody else was changed")
	}
}

func TestRemoveWithoutRevisionTouchesOnlyOurCopies(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	done, err := b.conn.Put(t.Context(), write(1))
	if err != nil {
		t.Fatal(err)
	}
	theirs := b.sim.PutEvent("weddings", "theirs.ics", vevent("UID:theirs", "DTSTART:20270605T130000Z", "DURATION:PT1H"))
	if err := b.conn.Remove(t.Context(), theirs, ""); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("removing somebody else's entry: %v, want KindConflict", err)
	}
	if err := b.conn.Remove(t.Context(), done.ExternalID, ""); err != nil {
		t.Error(err)
	}
	if got := b.sim.Events("weddings"); len(got) != 1 || got[0].Path != theirs {
		t.Errorf("left: %+v", got)
	}
}

func TestReadOnlyCalendarForbidsWrites(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{Calendars: []caldavsim.Calendar{{Name: "weddings", ReadOnly: true}}})
	if _, err := b.conn.Put(t.Context(), write(1)); domain.KindOf(err) != domain.KindForbidden {
		t.Errorf("error %v, want KindForbidden", err)
	}
}

func TestBadWriteNamesTheField(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	for field, spoil := range map[string]func(*provider.Write){
		"key":         func(w *provider.Write) { w.Key = "../../x" },
		"booking_id":  func(w *provider.Write) { w.BookingID = "x" },
		"when":        func(w *provider.Write) { w.When.End = w.When.Start },
		"title":       func(w *provider.Write) { w.Details.Title = strings.Repeat("x", 501) },
		"external_id": func(w *provider.Write) { w.ExternalID = "/elsewhere/a.ics" },
	} {
		w := write(1)
		spoil(&w)
		_, err := b.conn.Put(t.Context(), w)
		if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != field {
			t.Errorf("%s: error %v on field %q, want KindInvalid", field, err, domain.FieldOf(err))
		}
	}
	if n := len(b.sim.Events("weddings")); n != 0 {
		t.Errorf("%d resources were written", n)
	}
}

func TestCredentialsStayUnderTheGivenDomain(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		given, other string
		want         bool
	}{
		{"https://caldav.icloud.com/", "https://p12-caldav.icloud.com:443/1/", true},
		{"https://example.co.uk/", "https://dav.example.co.uk/", true},
		{"https://a.example.co.uk/", "https://evil.co.uk/", false},
		{"https://example.com/", "https://example.com.evil.net/", false},
		{"https://example.com/", "http://example.com/", false},
		{"http://example.com/", "https://example.com/", true},
		{"http://127.0.0.1:5232/", "http://127.0.0.1:5232/x/", true},
		{"http://127.0.0.1:5232/", "http://127.0.0.1:5233/", false},
		{"https://10.0.0.1/", "https://11.0.0.1/", false},
		{"https://localhost/", "https://localhost:444/", false},
	} {
		given, _ := url.Parse(v.given)
		other, _ := url.Parse(v.other)
		if got := sameDomain(given, other); got != v.want {
			t.Errorf("from %s to %s: %v, want %v", v.given, v.other, got, v.want)
		}
	}
}
