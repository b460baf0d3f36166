package activities_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/lightblue"
	"github.com/wedsync/wedsync/internal/sim/lightbluesim"
	"github.com/wedsync/wedsync/internal/store"
)

// cancels calls a booking off.
func (d *desk) cancels(id domain.BookingID, status domain.BookingStatus) {
	d.t.Helper()
	b := d.booking(id)
	b.Status = status
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := apply.Manual(ctx, tx, b, "alex", "asked by the couple")
		return err
	})
}

// studio is a Light Blue account in which bookings of the desk's person are written.
func (d *desk) studio() (*lightbluesim.Server, domain.Integration) {
	d.t.Helper()
	sim := lightbluesim.New(lightbluesim.Options{Now: d.clock})
	server := httptest.NewServer(sim.Handler())
	d.t.Cleanup(server.Close)
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	d.must(err)
	d.t.Cleanup(client.Close)
	opened, err := lightblue.Registration.Open(provider.Connection{HTTP: client, Zone: time.UTC, Now: d.clock, Secrets: map[string]string{"api_key": lightbluesim.Key},
		Integration: domain.Integration{Direction: domain.DirectionExport, Settings: json.RawMessage(`{"development":{"api":"` + server.URL + `"}}`)}})
	d.must(err)
	return sim, d.connect("studio", domain.DirectionExport, opened)
}

func TestMessageWhoseAnswerWasLostIsTakenBackWhenItsBookingIsCancelled(t *testing.T) {
	t.Parallel()
	d := setup(t)
	sim, studio := d.studio()
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	sim.SetFaults(lightbluesim.Faults{LoseAnswer: true})
	if got := d.write(studio); got.Retried != 1 || len(sim.Inbox()) != 1 {
		t.Fatalf("result is %+v with %d messages", got, len(sim.Inbox()))
	}
	d.cancels(id, domain.StatusCancelled)
	if got := d.write(studio); got.Done != 1 {
		t.Fatalf("after the cancellation: %+v", got)
	}
	inbox := sim.Inbox()
	if len(inbox) != 2 || !strings.Contains(inbox[1]["message"], "CANCELLED") {
		t.Fatalf("%d messages; the last one must say that the booking is cancelled", len(inbox))
	}
	_, reference, _ := strings.Cut(inbox[0]["message"], "Reference: ")
	if reference == "" || !strings.Contains(inbox[1]["message"], reference) {
		t.Error("the two messages have different references")
	}
	d.unchanged(func() { d.write(studio) })

	// One that comes back is news, although the first message said the same.
	d.cancels(id, domain.StatusConfirmed)
	d.write(studio)
	if n := len(sim.Inbox()); n != 3 {
		t.Errorf("%d messages after the booking came back, want 3", n)
	}
	d.cancels(id, domain.StatusCancelled)
	d.write(studio)
	if inbox = sim.Inbox(); len(inbox) != 4 || !strings.Contains(inbox[3]["message"], "CANCELLED") {
		t.Errorf("%d messages after it was cancelled again, want 4", len(inbox))
	}
}

func TestBookingThatIsCancelledBeforeAnythingWasSentSaysNothing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	sim, studio := d.studio()
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.cancels(id, domain.StatusCancelled)
	d.write(studio)
	if n := len(sim.Inbox()); n != 0 {
		t.Errorf("%d messages about a booking that was never sent", n)
	}
}

// The message of the change arrived, and whoever reads it must learn that the booking is as it was.
func TestChangeWithoutAnAnswerThatIsTakenBackIsTold(t *testing.T) {
	t.Parallel()
	d := setup(t)
	sim, studio := d.studio()
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.write(studio)
	d.move(id, span(14, 16))
	sim.SetFaults(lightbluesim.Faults{LoseAnswer: true})
	d.write(studio)
	d.move(id, span(10, 12))
	d.write(studio)
	inbox := sim.Inbox()
	if len(inbox) != 3 || inbox[2]["shoottimestart"] != inbox[0]["shoottimestart"] {
		t.Errorf("%d messages; the last one must tell the time of the first", len(inbox))
	}
	d.unchanged(func() { d.write(studio) })
}

func TestCopyWhoseAnswerWasLostIsTakenBackWhereNobodyReads(t *testing.T) {
	t.Parallel()
	for name, arrived := range map[string]bool{"it was made": true, "it was not made": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			there := newOutside()
			export := d.connect("export", domain.DirectionExport, there)
			id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
			if arrived {
				there.lost["put"] = 1
			} else {
				there.faults["put"] = []error{errLost}
			}
			if got := d.write(export); got.Retried != 1 {
				t.Fatalf("result is %+v", got)
			}
			d.cancels(id, domain.StatusCancelled)
			// The first removal loses its answer as well.
			there.lost["remove"] = 1
			got := d.write(export)
			if got.Retried != 1 {
				t.Fatalf("after the cancellation: %+v", got)
			}
			d.advance(got.NextDue.Sub(d.clock()))
			if got := d.write(export); got.Done != 1 {
				t.Fatalf("second try: %+v", got)
			}
			if len(there.entries) != 0 {
				t.Errorf("left there: %+v", there.entries)
			}
			for _, l := range d.links(id, export) {
				if l.RemovedAt == nil {
					t.Errorf("a copy counts as there: %+v", l)
				}
			}
			d.cancels(id, domain.StatusConfirmed)
			d.write(export)
			if len(there.entries) != 1 {
				t.Errorf("%d copies after the booking came back", len(there.entries))
			}
		})
	}
}

// Where copies are come across by reading, none is written only to be removed.
func TestCopyThatReadingWillFindIsNotWrittenAgainToBeRemoved(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.atCal.lost["put"] = 1
	d.write(d.cal)
	d.cancels(id, domain.StatusCancelled)
	if got := d.write(d.cal); got != (activities.PushBookingsResult{Done: 1}) || d.atCal.count("put") != 1 {
		t.Fatalf("result is %+v after %d writes", got, d.atCal.count("put"))
	}
	d.arrive(d.cal, d.atCal.entries["copy-1"])
	d.write(d.cal)
	if len(d.atCal.entries) != 0 {
		t.Errorf("left there: %+v", d.atCal.entries)
	}
}
