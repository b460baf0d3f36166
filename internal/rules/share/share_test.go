package share

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

const (
	mine   = domain.ResourceID("01900000-0000-7000-8000-000000000001")
	theirs = domain.ResourceID("01900000-0000-7000-8000-000000000002")
)

var start = time.Date(2027, 6, 12, 13, 0, 0, 0, time.UTC)

// secrets are in a wedding and must not be in anybody's view.
var secrets = []string{"BOOKING-TITLE", "NOTES-PRICE-900", "CONTACT-PHONE", "LABEL-FOR-US", "01900000-0000-7000-8000-0000000000"}

// wedding has something in every field of everything, each with a word of its own.
func wedding() Wedding {
	item := func(key string, of domain.ResourceID, minutes int) domain.TimelineItem {
		return domain.TimelineItem{Key: key, Kind: domain.TimelineMusic, Title: "TITLE-" + key, Place: "PLACE-" + key, ResourceID: of, OffsetMinutes: minutes, DurationMinutes: 30, Export: true}
	}
	w := Wedding{Booking: domain.Booking{ID: "01900000-0000-7000-8000-000000000010", OrgID: "01900000-0000-7000-8000-000000000011", ResourceID: theirs,
		Category: domain.CategoryWedding, Status: domain.StatusConfirmed, SourceID: "01900000-0000-7000-8000-000000000012",
		When:    domain.When{Span: domain.Span{Start: start, End: start.Add(9 * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned},
		Details: domain.Details{Title: "BOOKING-TITLE", Location: "VENUE", Notes: "NOTES-PRICE-900", Contact: "CONTACT-PHONE"}},
		Items: []domain.TimelineItem{item("mine", mine, 60), item("theirs", theirs, 30), item("everybody", "", 0)},
		Spans: map[string]domain.Span{}, Vendors: map[domain.ResourceID]string{mine: "NAME-mine", theirs: "NAME-theirs"},
		PlanChangedAt: start.AddDate(0, -1, 0)}
	for _, i := range w.Items {
		from := start.Add(time.Duration(i.OffsetMinutes) * time.Minute)
		w.Spans[i.Key] = domain.Span{Start: from, End: from.Add(30 * time.Minute)}
		if i.ResourceID != "" {
			w.Confirmations = append(w.Confirmations, domain.Confirmation{BookingID: w.Booking.ID, ItemKey: i.Key, ShareID: "01900000-0000-7000-8000-000000000013",
				ResourceID: i.ResourceID, Revision: Revision(i, w.Spans[i.Key]), At: start.AddDate(0, 0, -10)})
		}
	}
	for n, fields := range [][]string{{"created"}, {"start", "end"}, {"notes"}, {"contact", "title"}, {"location"}} {
		w.Changes = append(w.Changes, domain.BookingChange{Version: int64(n + 1), At: start.AddDate(0, 0, n-40),
			Cause: domain.Cause{Kind: domain.CausePerson, ID: "CONTACT-PHONE"}, Fields: fields})
	}
	return w
}

func link(role domain.ShareRole) domain.Share {
	s := domain.Share{ID: "01900000-0000-7000-8000-000000000014", Role: role, Label: "LABEL-FOR-US", Title: "HEADING", ExpiresAt: start.AddDate(0, 1, 0)}
	if role == domain.ShareVendor {
		s.ResourceID = mine
	}
	return s
}

func build(w Wedding, role domain.ShareRole) (View, string) {
	v := Build(w, link(role), start.AddDate(0, 0, -1))
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return v, string(text)
}

// TestEachRoleSeesItsFieldsAndNothingElse goes word by word: what a view must hold, and that no other word of the wedding is there.
func TestEachRoleSeesItsFieldsAndNothingElse(t *testing.T) {
	t.Parallel()
	words := slices.Concat(secrets, []string{"HEADING", "VENUE"})
	for _, key := range []string{"mine", "theirs", "everybody"} {
		words = append(words, "TITLE-"+key, "PLACE-"+key, "NAME-"+key)
	}
	for role, sees := range map[domain.ShareRole][]string{
		domain.ShareCouple: {"HEADING", "VENUE", "TITLE-mine", "PLACE-mine", "NAME-mine", "TITLE-theirs", "PLACE-theirs", "NAME-theirs", "TITLE-everybody", "PLACE-everybody"},
		domain.ShareVendor: {"HEADING", "VENUE", "TITLE-mine", "PLACE-mine", "NAME-mine", "TITLE-everybody", "PLACE-everybody"},
		"stranger":         nil,
	} {
		_, text := build(wedding(), role)
		for _, w := range words {
			if got, want := strings.Contains(text, w), slices.Contains(sees, w); got != want {
				t.Errorf("%s sees %s: %t, want %t in %s", role, w, got, want, text)
			}
		}
	}
}

func TestTheWholeViewIsWhatThePlannerExpects(t *testing.T) {
	t.Parallel()
	for role, want := range map[domain.ShareRole][]string{
		domain.ShareCouple: {"13:00 everybody", "13:30 theirs confirmed by NAME-theirs", "14:00 mine confirmed by NAME-mine"},
		domain.ShareVendor: {"13:00 everybody", "14:00 mine confirmed by NAME-mine"},
	} {
		v, _ := build(wedding(), role)
		var got []string
		for _, i := range v.Items {
			text := i.Start.Format("15:04 ") + i.Key
			if i.ConfirmedAt != nil {
				text += " confirmed by " + i.Vendor
			}
			if i.MayConfirm {
				text += " may confirm"
			}
			got = append(got, text)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", role, d)
		}
		var changes []string
		for _, c := range v.Changes {
			changes = append(changes, c.What)
		}
		said := []string{"confirmed: TITLE-mine", "confirmed: TITLE-theirs"}
		if role == domain.ShareVendor {
			said = said[:1]
		}
		if d := cmp.Diff(append(said, "the timeline changed", "the place of the wedding changed", "the wedding was moved", "the wedding was entered"), changes); d != "" {
			t.Errorf("changes of %s (-want +got):\n%s", role, d)
		}
	}
}

func TestAnItemThatChangedIsConfirmedAnew(t *testing.T) {
	t.Parallel()
	w := wedding()
	w.Items[0].Place = "ELSEWHERE"
	v, _ := build(w, domain.ShareVendor)
	item := v.Items[1]
	if !item.Outdated || !item.MayConfirm || item.Revision != Revision(w.Items[0], w.Spans["mine"]) {
		t.Errorf("%+v", item)
	}
	couple, _ := build(w, domain.ShareCouple)
	if item := couple.Items[2]; !item.Outdated || item.MayConfirm || item.Revision != "" {
		t.Errorf("the couple: %+v", item)
	}
	// Given to somebody else, the word of the first counts no more.
	w.Items[0].ResourceID = theirs
	if v, _ := build(w, domain.ShareCouple); v.Items[2].ConfirmedAt != nil {
		t.Errorf("another vendor has it: %+v", v.Items[2])
	}
}

func TestACancelledOrPrivateWeddingShowsLess(t *testing.T) {
	t.Parallel()
	w := wedding()
	w.Booking.Private = true
	if _, text := build(w, domain.ShareVendor); strings.Contains(text, "VENUE") {
		t.Errorf("a vendor sees where a private wedding is: %s", text)
	}
	if _, text := build(w, domain.ShareCouple); !strings.Contains(text, "VENUE") {
		t.Errorf("the couple does not see where its own wedding is: %s", text)
	}
	w.Booking.Status = domain.StatusCancelled
	if v, _ := build(w, domain.ShareCouple); len(v.Items) != 0 || v.Status != "cancelled" {
		t.Errorf("%+v", v)
	}
}

// TestEveryFieldOfAViewIsInTheTable keeps a new field from being shown without a decision.
func TestEveryFieldOfAViewIsInTheTable(t *testing.T) {
	t.Parallel()
	decided := map[string]Field{"View.Title": FieldTitle, "View.StartsAt": FieldWhen, "View.EndsAt": FieldWhen, "View.Zone": FieldWhen, "View.Status": FieldStatus,
		"View.Location": FieldLocation, "View.Items": FieldItems, "View.Changes": FieldMoved, "View.AsOf": "", "View.Role": "", "View.Until": "",
		"Item.Key": FieldItems, "Item.Kind": FieldItems, "Item.Title": FieldItems, "Item.Place": FieldItems, "Item.Start": FieldItems, "Item.End": FieldItems,
		"Item.Vendor": FieldVendor, "Item.ConfirmedAt": FieldConfirmed, "Item.Outdated": FieldConfirmed, "Item.MayConfirm": FieldConfirm, "Item.Revision": FieldConfirm,
		"Change.At": FieldMoved, "Change.What": FieldMoved}
	for _, shape := range []reflect.Type{reflect.TypeFor[View](), reflect.TypeFor[Item](), reflect.TypeFor[Change]()} {
		for i := range shape.NumField() {
			name := shape.Name() + "." + shape.Field(i).Name
			field, ok := decided[name]
			if !ok {
				t.Errorf("nobody decided who sees %s", name)
			}
			if _, ok := Sees[field]; field != "" && !ok {
				t.Errorf("%s is field %q, which is not in the table", name, field)
			}
			delete(decided, name)
		}
	}
	if len(decided) != 0 {
		t.Errorf("decided about what is not there: %v", decided)
	}
	for field, roles := range Sees {
		for _, role := range []domain.ShareRole{domain.ShareCouple, domain.ShareVendor} {
			if _, ok := roles[role]; !ok {
				t.Errorf("the table does not say whether a %s sees %s", role, field)
			}
		}
	}
}

// TestTheTableDecides takes each field away from each role in turn, by looking at what a role sees that the table says nothing of.
func TestTheTableDecides(t *testing.T) {
	t.Parallel()
	v, text := build(wedding(), "stranger")
	if v.Title != "" || v.Zone != "" || v.Status != "" || len(v.Items) != 0 || len(v.Changes) != 0 || !v.StartsAt.IsZero() {
		t.Errorf("a role that is not in the table sees %s", text)
	}
	for _, s := range secrets {
		if strings.Contains(fmt.Sprint(v), s) {
			t.Errorf("and %s", s)
		}
	}
}
