package activities_test

import (
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/outbound"
)

// heldBack is the error of a call that was not sent.
func heldBack(wait time.Duration) error {
	return domain.WithRetryAfter(domain.E(domain.KindUnavailable, "GET crm.example: %w: it does not answer", outbound.ErrHeld), wait)
}

func TestAHeldBackWriteCountsAsNoTry(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.arrive(d.crm, change("w2", domain.CategoryWedding, 14, 16))
	for range 20 { // more than a push has tries
		d.atCal.faults["put"] = []error{heldBack(40 * time.Second)}
		before := d.atCal.count("put")
		got := d.write(d.cal)
		if got.Done+got.Retried+got.Failed != 0 || got.More || got.NextDue.Sub(d.clock()) != 40*time.Second || d.atCal.count("put") != before+1 {
			t.Fatalf("after %d calls: %+v", d.atCal.count("put")-before, got)
		}
		d.advance(40 * time.Second)
	}
	if got := d.write(d.cal); got.Done != 2 {
		t.Errorf("when calls go again: %+v", got)
	}
}

func TestTheNextTryWaitsAsAskedWithinBounds(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ asked, want time.Duration }{{0, 0}, {42 * time.Second, 42 * time.Second}, {time.Hour, 10 * time.Minute}} {
		d := setup(t)
		run := d.startRun(d.crm, false)
		d.atCRM.faults["pull"] = []error{domain.WithRetryAfter(domain.E(domain.KindRateLimited, "%w",
			&httpx.StatusError{Method: "GET", Host: "crm.example", Status: 429, RequestID: "req-4711"}), x.asked)}
		_, err := call(d, d.syncs().PullPage, activities.PullPageInput{SyncRef: run})
		var app *temporal.ApplicationError
		if !errors.As(err, &app) || app.NextRetryDelay() != x.want || app.NonRetryable() {
			t.Errorf("asked for %s: %v", x.asked, err)
		}
		if got := d.run(run); got.VendorRequestID != "req-4711" {
			t.Errorf("the run names request %q", got.VendorRequestID)
		}
	}
}

func TestADeliveryThatWaitsForItsTurnToAskCountsAsNoTry(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.atCRM.held = 40 * time.Second
	ids := d.deliver(d.crm, "held", body(change("w1", domain.CategoryWedding, 10, 12)), "held")
	for n := range 20 { // more than a delivery has tries
		got := d.applyTo(d.crm)
		applied := 0
		if n == 0 {
			applied = 1 // what asks nobody goes on
		}
		if got.Applied != applied || got.Retried != 2 || got.Dead != 0 || got.NextDue.Sub(d.clock()) != 40*time.Second {
			t.Fatalf("round %d: %+v", n, got)
		}
		for _, at := range []int{0, 2} {
			if have := d.delivery(ids[at]); have.State != domain.DeliveryRetrying || have.Attempts != 0 || have.Reason == "" {
				t.Fatalf("round %d: %+v", n, have)
			}
		}
		d.advance(40 * time.Second)
	}
	d.atCRM.held = 0
	if got := d.applyTo(d.crm); got.Ignored != 2 {
		t.Errorf("when calls go again: %+v", got)
	}
	if have := d.delivery(ids[0]); have.State != domain.DeliveryIgnored || have.Attempts != 1 {
		t.Errorf("in the end: %+v", have)
	}
}
