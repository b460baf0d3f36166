package activities_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/notify"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/timelines"
)

// audience is somebody in Rome who is told of the care for a wedding in London.
type audience struct {
	*care
	who   domain.Recipient
	tells *activities.Notifications
}

func newAudience(t *testing.T) *audience {
	t.Helper()
	c := newCare(t)
	a := &audience{care: c, tells: &activities.Notifications{Store: c.Store}}
	a.who = domain.Recipient{ID: domain.NewID[domain.RecipientID](c.clock()), Name: "Ann", Zone: "Europe/Rome", CreatedBy: "test", Addresses: domain.NotifyAddresses{Email: "ann@example.com"}}
	c.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.CreateRecipient(ctx, a.who, "secret") })
	return a
}

// heard is the newest message of a kind, and its words; its reference is left out.
func (a *audience) heard(kind domain.NotifyKind) (n domain.Notification, said notify.Content) {
	a.t.Helper()
	run(a.desk, a.tells.PlanNotifications, activities.PlanNotificationsInput{Org: a.org})
	a.tenant(func(ctx context.Context, tx *store.Tx) error {
		about, err := tx.NotificationsAbout(ctx, notify.SubjectOf(kind)+"/"+string(a.wedding), 50)
		if err != nil {
			return err
		}
		for _, one := range about {
			if one.Kind == kind && one.Channel == domain.ChannelEmail && one.CreatedAt.After(n.CreatedAt) {
				n = one
			}
		}
		if n.ID == "" {
			a.t.Fatalf("nobody is told %s: %+v", kind, about)
		}
		n.MessageID = "REFERENCE"
		v, over, err := notify.Load(ctx, tx, a.who, n, "https://sync.example.com")
		if err != nil || over != "" {
			a.t.Fatalf("%s is not said: %q, %v", kind, over, err)
		}
		said, err = notify.Render(v)
		return err
	})
	return n, said
}

// says holds the words of the newest message of a kind against what they are to be.
func (a *audience) says(kind domain.NotifyKind, severity domain.Severity, subject, text string) {
	a.t.Helper()
	n, said := a.heard(kind)
	text = "Hello Ann,\n\n" + text + "\n\nSee and decide: https://sync.example.com\n\nYou get this because your organisation notifies you by WedSync. Reference REFERENCE.\n"
	if d := cmp.Diff([]string{string(severity), subject, text}, []string{string(n.Severity), said.Subject, said.Text}); d != "" {
		a.t.Errorf("%s (-want +got):\n%s", kind, d)
	}
	// A channel is read by more people than a mail: the title of the booking names the couple.
	if strings.Contains(said.Subject+string(said.Slack), "Marker wed") || !strings.Contains(said.HTML, "Marker wed") {
		a.t.Errorf("%s: %s\n%s\n%s", kind, said.Subject, said.Slack, said.HTML)
	}
}

// TestMailsAboutAWeddingSayWhatMatters holds the words of each kind against what they are to be.
func TestMailsAboutAWeddingSayWhatMatters(t *testing.T) {
	t.Parallel()
	a := newAudience(t)
	a.system.answer = func(int64) error { return domain.E(domain.KindUnavailable, "timed out") }
	a.preflight()
	a.says(domain.NotifyPreflightFailed, domain.SeverityHigh, "High: a wedding of Robin Marker rests on something that may not hold", `High: a wedding of Robin Marker rests on something that may not hold.

One thing puts the wedding in danger, and 2 need a look. The wedding is Sat 12 June 2027, 13:00 to 21:00 (Europe/London).

* Marker wed: Sat 12 June 2027, 13:00 to 21:00 (Europe/London)

What was found:
* third: it did not answer, twice (unavailable). See whether the system itself works; if it does, look at its settings.
* there is no timeline. Write the order of the day, so that vendors can confirm it.
* calendar: the wedding is about to be written to it.`)
	a.system.answer = func(int64) error { return nil }
	a.advance(day.Add(12*time.Hour - 48*time.Hour).Sub(a.clock()))
	run(a.desk, a.steps.LookAfterWedding, a.ref())
	a.says(domain.NotifyWeddingFrozen, domain.SeverityMedium, "The wedding of Robin Marker is near: nothing risky happens by itself", `The wedding of Robin Marker is near: nothing risky happens by itself.

The wedding is Sat 12 June 2027, 13:00 to 21:00 (Europe/London). Until Sun 13 June 2027, 03:00 (Europe/London) there is no maintenance, nothing is removed by itself and no rule is switched; an admin can override that with a reason.

* Marker wed: Sat 12 June 2027, 13:00 to 21:00 (Europe/London)`)
	a.advance(day.Add(8 * time.Hour).Sub(a.clock()))
	run(a.desk, a.steps.LookAfterWedding, a.ref())
	a.advance(26 * time.Hour)
	run(a.desk, a.steps.LookAfterWedding, a.ref())
	a.says(domain.NotifyWeddingOver, domain.SeverityHigh, "The report of the wedding day of Robin Marker", `The report of the wedding day of Robin Marker.

Nothing failed on the day; one thing is left to do. The wedding was Sat 12 June 2027, 13:00 to 21:00 (Europe/London).

* Marker wed: Sat 12 June 2027, 13:00 to 21:00 (Europe/London)

What is left to do:
* calendar does not show the wedding as it is: it is about to be written. Put the entry right there if it stays.`)
}

func TestTheMailAfterAPreflightThatPassesSaysThatAllIsWellAgain(t *testing.T) {
	t.Parallel()
	a := newAudience(t)
	a.system.answer = func(int64) error { return domain.E(domain.KindUnavailable, "timed out") }
	a.preflight()
	a.heard(domain.NotifyPreflightFailed)
	a.exec("UPDATE notifications SET attempts = 1") // who was not told of the failure hears of neither
	a.system.answer = func(int64) error { return nil }
	a.write(a.cal)
	a.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := timelines.Set(ctx, tx, a.wedding, domain.TimelinePlan{Items: []domain.TimelineItem{{Key: "cake", Kind: domain.TimelineSetup, Title: "Cake", DurationMinutes: 30}}},
			0, "test", "")
		return err
	})
	a.advance(time.Hour)
	if _, found := a.preflight(); len(found) != 0 {
		t.Fatalf("found %q; want nothing", found)
	}
	a.says(domain.NotifyPreflightPassed, domain.SeverityMedium, "All is well again for the wedding of Robin Marker", `All is well again for the wedding of Robin Marker.

Everything that was checked will hold through the day. The wedding is Sat 12 June 2027, 13:00 to 21:00 (Europe/London).

* Marker wed: Sat 12 June 2027, 13:00 to 21:00 (Europe/London)`)
}

func TestAPrivateWeddingIsNamedInNoMail(t *testing.T) {
	t.Parallel()
	a := newAudience(t)
	a.exec("UPDATE bookings SET private = true WHERE id = '" + string(a.wedding) + "'")
	a.advance(day.Add(12*time.Hour - 48*time.Hour).Sub(a.clock()))
	run(a.desk, a.steps.LookAfterWedding, a.ref())
	_, said := a.heard(domain.NotifyWeddingFrozen)
	if all := said.Subject + said.Text + said.HTML + string(said.Slack); strings.Contains(all, "Marker wed") || !strings.Contains(said.Text, "a private booking") {
		t.Error(all)
	}
}

func TestAWeddingThatIsFirstLookedAfterOnItsDayIsAnnouncedAsFrozen(t *testing.T) {
	t.Parallel()
	a := newAudience(t)
	a.advance(day.Add(8 * time.Hour).Sub(a.clock()))
	run(a.desk, a.steps.LookAfterWedding, a.ref())
	a.advance(time.Minute)
	run(a.desk, a.steps.LookAfterWedding, a.ref())
	if d := cmp.Diff([]string{"wedding.changed frozen"}, a.told()); d != "" {
		t.Errorf("told (-want +got):\n%s", d)
	}
	a.heard(domain.NotifyWeddingFrozen)
}

// TestTomorrowIsThatOfTheWeddingsPlace has a photographer from London with a wedding in Auckland, where it is Friday already.
func TestTomorrowIsThatOfTheWeddingsPlace(t *testing.T) {
	t.Parallel()
	a := newAudience(t)
	auckland, err := time.LoadLocation("Pacific/Auckland")
	a.must(err)
	saturday := time.Date(2027, time.June, 12, 14, 0, 0, 0, auckland)
	a.tenant(func(ctx context.Context, tx *store.Tx) error {
		b, err := tx.Booking(ctx, a.wedding)
		if err != nil {
			return err
		}
		b.When = domain.When{Span: domain.Span{Start: saturday.UTC(), End: saturday.UTC().Add(8 * time.Hour)}, Zone: "Pacific/Auckland", Kind: domain.TimeZoned}
		_, err = apply.Manual(ctx, tx, b, "admin", "they marry far away")
		return err
	})
	a.advance(time.Date(2027, time.June, 11, 0, 30, 0, 0, auckland).Sub(a.clock())) // Thursday in London
	a.system.answer = func(int64) error { return domain.E(domain.KindUnavailable, "timed out") }
	a.preflight()
	if n, said := a.heard(domain.NotifyPreflightFailed); !n.WeddingDay || !strings.HasPrefix(said.Subject, "Wedding day: Critical: ") {
		t.Errorf("%+v: %s", n, said.Subject)
	}
}

// TestADayThatIsMadeShorterWhileItGoesOnStillEndsWithItsReport corrects the end of a wedding so that its day is over by now.
func TestADayThatIsMadeShorterWhileItGoesOnStillEndsWithItsReport(t *testing.T) {
	t.Parallel()
	a := newAudience(t)
	a.advance(day.Add(8 * time.Hour).Sub(a.clock()))
	on := run(a.desk, a.steps.LookAfterWedding, a.ref())
	if on.Status.State != domain.CareDay {
		t.Fatalf("%+v", on.Status)
	}
	a.advance(on.Status.DayUntil.Add(-10 * time.Minute).Sub(a.clock()))
	a.tenant(func(ctx context.Context, tx *store.Tx) error {
		b, err := tx.Booking(ctx, a.wedding)
		if err != nil {
			return err
		}
		b.When.End = b.When.End.Add(-time.Hour)
		_, err = apply.Manual(ctx, tx, b, "admin", "they left early")
		return err
	})
	if over := run(a.desk, a.steps.LookAfterWedding, a.ref()); over.Status.State != domain.CareHandedOver || !over.Done {
		t.Errorf("%+v", over)
	}
	a.heard(domain.NotifyWeddingOver)
}

// TestAClashThatCameAndWentBetweenTwoLooksIsInTheReport has a double booking decided within minutes.
func TestAClashThatCameAndWentBetweenTwoLooksIsInTheReport(t *testing.T) {
	t.Parallel()
	a := newAudience(t)
	a.advance(day.Add(8 * time.Hour).Sub(a.clock()))
	on := run(a.desk, a.steps.LookAfterWedding, a.ref())
	a.advance(time.Minute)
	late := a.arrive(a.crm, change("late", domain.CategoryEngagement, 14, 16))
	a.advance(5 * time.Minute)
	a.tenant(func(ctx context.Context, tx *store.Tx) error {
		b, err := tx.Booking(ctx, late)
		if err != nil {
			return err
		}
		b.Status = domain.StatusCancelled
		_, err = apply.Manual(ctx, tx, b, "admin", "another day")
		return err
	})
	for range 2 { // the second look finds nothing new
		a.advance(5 * time.Minute)
		run(a.desk, a.steps.LookAfterWedding, a.ref())
	}
	a.advance(on.Status.DayUntil.Sub(a.clock()))
	run(a.desk, a.steps.LookAfterWedding, a.ref())
	var h domain.HandOver
	a.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		h, err = tx.HandOver(ctx, a.wedding)
		return err
	})
	var clashes []time.Duration
	for _, f := range h.Failures {
		if strings.HasPrefix(f.Subject, "conflict/") && f.OverAt != nil {
			clashes = append(clashes, f.OverAt.Sub(f.NoticedAt))
		}
	}
	if d := cmp.Diff([]time.Duration{5 * time.Minute}, clashes); d != "" {
		t.Errorf("clashes in the report (-want +got):\n%s\n%+v", d, h)
	}
}

// TestMessagesAboutBookingsTellTheClockOfTheirPlace has a reader in Rome, a resource in London, and weddings in
// Athens and Lisbon.
func TestMessagesAboutBookingsTellTheClockOfTheirPlace(t *testing.T) {
	t.Parallel()
	a := newAudience(t)
	said := func(kind domain.NotifyKind, subject string) (text string) {
		t.Helper()
		a.tenant(func(ctx context.Context, tx *store.Tx) error {
			v, over, err := notify.Load(ctx, tx, a.who, domain.Notification{Kind: kind, Severity: domain.SeverityHigh, Subject: subject}, "")
			if err != nil || over != "" {
				t.Fatalf("%s: %q, %v", kind, over, err)
			}
			c, err := notify.Render(v)
			text = c.Text
			return err
		})
		if strings.Contains(text, "Rome") {
			t.Errorf("%s tells the reader's clock:\n%s", kind, text)
		}
		return text
	}
	want := func(text, stretch string, times int) {
		t.Helper()
		if n := strings.Count(text, stretch); n != times {
			t.Errorf("%q is said %d times, want %d:\n%s", stretch, n, times, text)
		}
	}
	met, _, _ := a.meet(40)
	want(said(domain.NotifyConflictOpened, "conflict/"+string(met.ID)), "17:00 to 18:00 (Europe/London)", 4)
	book := func(zone string, category domain.Category, from float64) (id domain.BookingID, clash domain.ConflictID) {
		t.Helper()
		id = domain.NewID[domain.BookingID](a.clock())
		a.tenant(func(ctx context.Context, tx *store.Tx) error {
			when := span(from, from+2)
			when.Zone, when.Kind = zone, domain.TimeZoned
			r, err := apply.Manual(ctx, tx, domain.Booking{ID: id, OrgID: a.org, ResourceID: a.person.ID, Category: category, Status: domain.StatusConfirmed, When: when}, "admin-1", "test")
			for _, c := range r.Conflicts() {
				clash = c.ID
			}
			return err
		})
		return id, clash
	}
	book("Europe/Athens", domain.CategoryWedding, 60)
	_, clash := book("Europe/London", domain.CategoryConsultation, 60)
	want(said(domain.NotifyConflictOpened, "conflict/"+string(clash)), "13:00 to 15:00 (Europe/London)", 4)
	held, _ := book("Europe/Lisbon", domain.CategoryWedding, 90)
	a.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateHold(ctx, domain.Hold{ID: held, State: domain.HoldLive, ExpiresAt: tx.Now.Add(time.Hour), MadeBy: "admin-1"}, []byte("{}"))
	})
	text := said(domain.NotifyHoldExpiring, "hold/"+string(held))
	want(text, "(Europe/Lisbon)", 3)
	if !strings.Contains(text, "It ends at ") {
		t.Error(text)
	}
}
