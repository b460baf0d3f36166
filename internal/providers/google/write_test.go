package google

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/googlesim"
)

func TestWritesInviteNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	done, err := b.conn.Put(t.Context(), write(0))
	if err != nil {
		t.Fatal(err)
	}
	wish := write(0)
	wish.ExternalID, wish.Revision, wish.Details.Title = done.ExternalID, done.Revision, "Wedding, moved"
	if done, err = b.conn.Put(t.Context(), wish); err != nil {
		t.Fatal(err)
	}
	if err := b.conn.Remove(t.Context(), done.ExternalID, done.Revision); err != nil {
		t.Fatal(err)
	}
	if _, err := b.conn.Put(t.Context(), write(0)); err != nil { // brings the deleted copy back
		t.Fatal(err)
	}
	writes := map[string]int{}
	for _, r := range b.sim.Requests() {
		if r.Method == http.MethodGet {
			continue
		}
		writes[r.Method]++
		if r.Query.Get("sendUpdates") != "none" || strings.Contains(string(r.Body), "attendees") {
			t.Errorf("%s with sendUpdates=%q", r.Method, r.Query.Get("sendUpdates"))
		}
		if r.Method != http.MethodPost && r.Header.Get("If-Match") == "" {
			t.Errorf("%s without a condition", r.Method)
		}
	}
	if writes["POST"] != 2 || writes["PATCH"] != 1 || writes["DELETE"] != 1 || writes["PUT"] != 1 {
		t.Errorf("writes %v", writes)
	}
}

func TestDuplicateThatAPersonMakesOfACopyIsAnEntryOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	done, err := b.conn.Put(t.Context(), write(0))
	if err != nil {
		t.Fatal(err)
	}
	cursor := pullAll(t, b.conn, "").Next
	copied := b.sim.Event(studio, done.ExternalID)
	delete(copied, "id")
	delete(copied, "iCalUID")
	id := b.sim.Put(studio, copied)
	ch := byID(t, pullAll(t, b.conn, cursor), id)
	if ch.Origin != "" || ch.CopyOf != write(0).BookingID || ch.Category != domain.CategoryPersonal || ch.Details.Contact != "" {
		t.Errorf("a duplicate passes for a copy of ours: %+v", ch)
	}
	if got := byID(t, pullAll(t, b.conn, ""), done.ExternalID); got.Origin != write(0).BookingID || got.CopyOf != "" || got.Hash() != done.ReadBack.Hash() {
		t.Error("the copy itself is no longer known")
	}
	// The properties of an instance, inherited from a series that somebody made of a copy, say nothing either.
	b.sim.Patch(studio, done.ExternalID, map[string]any{"recurrence": []any{"RRULE:FREQ=DAILY;COUNT=2"}})
	for _, ch := range pullAll(t, b.conn, "").Changes {
		if strings.Contains(ch.ExternalID, "#") && ch.Origin+ch.CopyOf != "" {
			t.Error("an instance passes for a copy of ours")
		}
	}
	wantKind(t, b.conn.Remove(t.Context(), id, ""), domain.KindConflict)
}

func TestCopyThatSomebodyMovedBeforeTheNextTryIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	done, err := b.conn.Put(t.Context(), write(0))
	if err != nil {
		t.Fatal(err)
	}
	b.sim.Patch(studio, done.ExternalID, map[string]any{"start": map[string]any{"dateTime": "2026-03-02T10:00:00Z"}, "end": map[string]any{"dateTime": "2026-03-02T11:00:00Z"}})
	for range 2 {
		again, err := b.conn.Put(t.Context(), write(0))
		if err != nil || !again.Adopted || again.ExternalID != done.ExternalID || again.ReadBack.When.Start.Year() != 2026 || again.ReadBack.Origin != write(0).BookingID {
			t.Fatalf("put again: %+v, %v", again, err)
		}
	}
}

func TestCopyWhoseDeletedIDIsHiddenGetsTheNextID(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	first, err := b.conn.Put(t.Context(), write(0))
	if err != nil {
		t.Fatal(err)
	}
	b.sim.Delete(studio, first.ExternalID)
	b.sim.SetFaults(googlesim.Faults{HideDeleted: true})
	second, err := b.conn.Put(t.Context(), write(0))
	if err != nil || second.ExternalID == first.ExternalID || second.ReadBack.Origin != write(0).BookingID {
		t.Fatalf("%+v, %v", second, err)
	}
	third, err := b.conn.Put(t.Context(), write(0))
	if err != nil || third.ExternalID != second.ExternalID || len(b.sim.Events(studio)) != 1 {
		t.Errorf("the second try made another copy: %v", err)
	}
}

func TestChangeKeepsWhatAPersonGaveTheCopy(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	done, err := b.conn.Put(t.Context(), write(0))
	if err != nil {
		t.Fatal(err)
	}
	b.sim.Patch(studio, done.ExternalID, map[string]any{"colorId": "11", "reminders": map[string]any{"useDefault": true}})
	ch := byID(t, pullAll(t, b.conn, ""), done.ExternalID)
	wish := write(0)
	wish.ExternalID, wish.Revision = done.ExternalID, ch.Revision
	wish.Details = domain.Details{}
	// From a time to whole days: the time must not stay beside the date.
	zone := b.conn.local
	wish.When = domain.When{Zone: zone.String(), Kind: domain.TimeAllDay, Span: domain.Span{
		Start: time.Date(2027, time.March, 28, 0, 0, 0, 0, zone).UTC(), End: time.Date(2027, time.March, 29, 0, 0, 0, 0, zone).UTC()}}
	if done, err = b.conn.Put(t.Context(), wish); err != nil {
		t.Fatal(err)
	}
	ev := b.sim.Event(studio, done.ExternalID)
	start := ev["start"].(map[string]any)
	if ev["colorId"] != "11" || start["date"] != "2027-03-28" || start["dateTime"] != nil || ev["summary"] != "Busy" || ev["location"] != nil && ev["location"] != "" {
		t.Errorf("%v", ev)
	}
	wish.When, wish.Revision = write(0).When, done.Revision
	if _, err = b.conn.Put(t.Context(), wish); err != nil {
		t.Fatal(err)
	}
	if start = b.sim.Event(studio, done.ExternalID)["start"].(map[string]any); start["date"] != nil || start["dateTime"] == nil {
		t.Errorf("%v", start)
	}
}

func TestTimeWithoutLengthIsWrittenAsAMinute(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	wish := write(0)
	wish.When.End = wish.When.Start.Add(300 * time.Millisecond)
	done, err := b.conn.Put(t.Context(), wish)
	if err != nil || done.ReadBack.When.Duration() != time.Minute {
		t.Fatalf("%s, %v", done.ReadBack.When.Duration(), err)
	}
	again, err := b.conn.Put(t.Context(), wish)
	if err != nil || again.Revision != done.Revision {
		t.Errorf("the same wish wrote again: %v", err)
	}
}

func TestSecondPutOfTheSameWishWritesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	one, err := b.conn.Put(t.Context(), write(0))
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.conn.Put(t.Context(), write(0))
	if err != nil || one.Revision != two.Revision {
		t.Errorf("revisions %s and %s, %v", one.Revision, two.Revision, err)
	}
}

func TestRefusedRemovalIsSuccessOnlyWhenTheCopyIsGone(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	done, err := b.conn.Put(t.Context(), write(0))
	if err != nil {
		t.Fatal(err)
	}
	b.sim.Patch(studio, done.ExternalID, map[string]any{"summary": "Edited"})
	wantKind(t, b.conn.Remove(t.Context(), done.ExternalID, done.Revision), domain.KindConflict)
	if len(b.sim.Events(studio)) != 1 {
		t.Fatal("an edited copy was removed")
	}
	b.sim.Delete(studio, done.ExternalID)
	if err := b.conn.Remove(t.Context(), done.ExternalID, done.Revision); err != nil {
		t.Errorf("a copy that is gone: %v", err)
	}
	if err := b.conn.Remove(t.Context(), "neverwasthere", `"1"`); err != nil {
		t.Errorf("a copy that never was: %v", err)
	}
	wantKind(t, b.conn.Remove(t.Context(), "series#20270323T180000Z", `"1"`), domain.KindInvalid)
}

func TestLostAnswerOfARemovalIsSuccessAtTheNextTry(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	done, err := b.conn.Put(t.Context(), write(0))
	if err != nil {
		t.Fatal(err)
	}
	b.sim.SetFaults(googlesim.Faults{LoseAnswers: 1})
	wantKind(t, b.conn.Remove(t.Context(), done.ExternalID, done.Revision), domain.KindUnavailable)
	if err := b.conn.Remove(t.Context(), done.ExternalID, done.Revision); err != nil {
		t.Error(err)
	}
}

func TestSourceInstanceIsMovedAloneAndCancelledByStatus(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	fields := weekly("Class", "3")
	fields["attendees"] = []any{map[string]any{"email": "guest@example.org", "responseStatus": "accepted"}}
	series := b.sim.Put(studio, fields)
	id := series + "#20270323T180000Z"
	before, err := b.conn.Read(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	wish := write(0)
	wish.ExternalID, wish.Revision, wish.Source, wish.Details = id, before.Revision, true, domain.Details{}
	moved, err := b.conn.Put(t.Context(), wish)
	if err != nil || moved.ExternalID != id || !moved.ReadBack.When.Start.Equal(wish.When.Start) || moved.ReadBack.Details.Title != "Class" {
		t.Fatalf("%+v, %v", moved, err)
	}
	ev := b.sim.Event(studio, eventID(id))
	if guests, _ := json.Marshal(ev["attendees"]); !strings.Contains(string(guests), "guest@") || ev["extendedProperties"] != nil {
		t.Errorf("moving lost the guests or marked the entry: %v", ev)
	}
	if n := len(pullAll(t, b.conn, "").Changes); n != 3 {
		t.Errorf("%d instances after one was moved", n)
	}
	wish.Status, wish.Revision = domain.StatusCancelled, moved.Revision
	b.sim.SetFaults(googlesim.Faults{LoseAnswers: 1})
	_, err = b.conn.Put(t.Context(), wish)
	wantKind(t, err, domain.KindUnavailable)
	gone, err := b.conn.Put(t.Context(), wish)
	if err != nil || gone.ReadBack.Status != domain.StatusCancelled || gone.ReadBack.Validate() != nil {
		t.Fatalf("%+v, %v", gone, err)
	}
	_, err = b.conn.Read(t.Context(), id)
	wantKind(t, err, domain.KindNotFound)
	if n := len(pullAll(t, b.conn, "").Changes); n != 2 {
		t.Errorf("%d instances after one was cancelled", n)
	}
}

func TestCopyIDsAreOfTheLettersThatGoogleTakes(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for n := range 200 {
		for g := range generations {
			id := copyID(write(n).Key, g)
			if len(id) < 5 || len(id) > 1024 || strings.Trim(id, "abcdefghijklmnopqrstuv0123456789") != "" || seen[id] {
				t.Fatalf("id %q", id)
			}
			seen[id] = true
		}
	}
}

func TestWritesThatCannotBeMeantAreInvalid(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	wish := write(0)
	wish.Key = "x"
	_, err := b.conn.Put(t.Context(), wish)
	wantKind(t, err, domain.KindInvalid)
	wish = write(0)
	wish.BookingID = "nobody"
	_, err = b.conn.Put(t.Context(), wish)
	wantKind(t, err, domain.KindInvalid)
	wish = write(0)
	wish.Status = domain.StatusCancelled
	_, err = b.conn.Put(t.Context(), wish)
	wantKind(t, err, domain.KindInvalid)
	wish = write(0)
	wish.Source = true
	_, err = b.conn.Put(t.Context(), wish)
	wantKind(t, err, domain.KindInvalid)
	if n := len(b.sim.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}
