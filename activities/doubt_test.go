package activities_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// thin is a system whose deliveries only name entries, each of which is asked for.
type thin struct{ *outside }

func (s thin) Decode(ctx context.Context, d provider.Webhook) (provider.Decoded, error) {
	var id string
	if err := json.Unmarshal(d.Body, &id); err != nil {
		return provider.Decoded{}, domain.Invalid("body", "must be a text")
	}
	c, err := s.Read(ctx, id)
	c.Asked = true
	return provider.Decoded{Changes: []domain.Change{c}}, err
}

// versioned is an entry as a system shows it that numbers its changes by a clock.
func versioned(id string, version int64, from, until float64) domain.Change {
	c := change(id, domain.CategoryVendor, from, until)
	c.RemoteVersion, c.Revision = version, "r"+time.UnixMilli(version).UTC().Format(time.TimeOnly)
	return c
}

func TestChangeAfterTheSystemsClockSteppedBackIsSeen(t *testing.T) {
	t.Parallel()
	d := setup(t)
	moved, gone, kept := d.arrive(d.cal, versioned("moved", 9000, 0, 1)), d.arrive(d.cal, versioned("gone", 9000, 2, 3)), d.arrive(d.cal, versioned("kept", 9000, 4, 5))
	d.advance(time.Hour)
	later := versioned("moved", 5000, 10, 11)
	d.atCal.entries["moved"], d.atCal.entries["kept"] = later, versioned("kept", 9000, 4, 5)
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{later, {Op: domain.OpRemove, ExternalID: "gone", RemoteVersion: 5000}, versioned("kept", 9000, 4, 5)}, Next: "end"}
	got := d.pull(d.startRun(d.cal, false))
	if got.Applied != 1 || got.Removed != 1 || got.Unchanged != 1 || d.atCal.count("read") != 2 {
		t.Errorf("page is %+v after asking for %d entries", got, d.atCal.count("read"))
	}
	if b := d.booking(moved); !b.When.Equal(later.When) {
		t.Errorf("the entry that moved is at %s", b.When.Span)
	}
	if b := d.booking(gone); b.Status != domain.StatusCancelled {
		t.Errorf("the entry that went is %s", b.Status)
	}
	if b := d.booking(kept); b.Version != 1 {
		t.Errorf("the entry that stayed has version %d", b.Version)
	}
	// From here on the new order counts.
	d.advance(time.Hour)
	d.arrive(d.cal, versioned("moved", 4000, 12, 13))
	if b := d.booking(moved); !b.When.Equal(later.When) {
		t.Errorf("a late message moved it to %s", b.When.Span)
	}
	d.arrive(d.cal, versioned("moved", 6000, 14, 15))
	if b := d.booking(moved); !b.When.Equal(span(14, 15)) {
		t.Errorf("news of the new order leave it at %s", b.When.Span)
	}
}

// Systems answer listings from copies of their data that are behind.
func TestPageThatIsBehindUndoesNothing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.cal, versioned("e", 5000, 0, 1))
	newer := versioned("e", 9000, 10, 11)
	d.arrive(d.cal, newer)
	d.atCal.entries["e"] = newer
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{versioned("e", 5000, 0, 1)}, Next: "end"}
	got := d.pull(d.startRun(d.cal, false))
	if got.Applied != 0 || got.Unchanged != 1 {
		t.Errorf("page is %+v", got)
	}
	if b := d.booking(id); !b.When.Equal(newer.When) || b.Version != 2 {
		t.Errorf("the booking is at %s, version %d", b.When.Span, b.Version)
	}
}

func TestPageIsReadAgainWhileTheEntryItselfIsBehind(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.arrive(d.cal, versioned("e", 5000, 0, 1))
	newer := versioned("e", 9000, 10, 11)
	id := d.arrive(d.cal, newer)
	d.atCal.entries["e"] = versioned("e", 5000, 0, 1)
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{versioned("e", 5000, 0, 1)}, Next: "end"}
	ref := d.startRun(d.cal, false)
	_, err := call(d, d.syncs().PullPage, activities.PullPageInput{SyncRef: ref})
	d.wantKind(err, domain.KindUnavailable)
	if b := d.booking(id); !b.When.Equal(newer.When) || d.run(ref).Pages != 0 {
		t.Errorf("the booking is at %s after %d pages", b.When.Span, d.run(ref).Pages)
	}
	// If it is so for long, it is so.
	d.advance(2 * time.Minute)
	if got := d.pull(ref); got.Applied != 1 {
		t.Errorf("page is %+v", got)
	}
	if b := d.booking(id); !b.When.Equal(span(0, 1)) {
		t.Errorf("the booking is at %s", b.When.Span)
	}
}

func TestEntryThatCannotBeAskedForKeepsItsOrder(t *testing.T) {
	t.Parallel()
	d := setup(t)
	newer := versioned("e", 9000, 10, 11)
	d.mu.Lock()
	d.systems[d.cal.ID] = struct{ provider.Puller }{d.atCal}
	d.mu.Unlock()
	id := d.arrive(d.cal, newer)
	d.advance(time.Hour)
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{versioned("e", 5000, 0, 1), versioned("f", 1, 20, 21)}, Next: "end"}
	if got := d.pull(d.startRun(d.cal, false)); got.Applied != 1 || got.Unchanged != 1 {
		t.Errorf("page is %+v", got)
	}
	if b := d.booking(id); !b.When.Equal(newer.When) {
		t.Errorf("the booking is at %s", b.When.Span)
	}
}

func TestThinDeliveryCountsWhateverTheSystemsClockSays(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.mu.Lock()
	d.systems[d.cal.ID] = thin{d.atCal}
	d.mu.Unlock()
	id := d.arrive(d.cal, versioned("e", 9000, 0, 1))
	later := versioned("e", 5000, 10, 11)
	d.atCal.entries["e"] = later
	d.deliver(d.cal, `"e"`)
	apply := func() activities.ApplyDeliveriesResult {
		return run(d, d.deliveries().ApplyDeliveries, activities.ApplyDeliveriesInput{Org: d.org, Integration: d.cal.ID})
	}
	got := apply()
	if got.Retried != 1 || got.NextDue.IsZero() {
		t.Fatalf("a moment after the last word: %+v", got)
	}
	if b := d.booking(id); !b.When.Equal(span(0, 1)) {
		t.Fatalf("a moment after the last word the booking is at %s", b.When.Span)
	}
	for range 8 {
		if got = apply(); got.Applied == 1 {
			break
		}
		d.advance(max(got.NextDue.Sub(d.clock()), time.Second))
	}
	if b := d.booking(id); got.Applied != 1 || !b.When.Equal(later.When) {
		t.Errorf("result %+v, the booking is at %s", got, b.When.Span)
	}
}
