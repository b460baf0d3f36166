package apply_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
)

// TestNewEntriesMeetEveryClashThoughLittleIsReadAroundThem compares what pages of new entries open with what clashes when
// all of them are known at once.
func TestNewEntriesMeetEveryClashThoughLittleIsReadAroundThem(t *testing.T) {
	t.Parallel()
	for _, oneWedding := range []bool{false, true} {
		s := setup(t)
		res := s.newResource(s.org, domain.Resource{Capacity: 1, OneWeddingADay: oneWedding, BufferBefore: time.Hour, BufferAfter: 2 * time.Hour})
		from := s.newIntegration(s.org, "diary", domain.DirectionImport, res.ID)
		loc, err := calendartime.LoadZone(res.Zone)
		s.must(err)
		random := rand.New(rand.NewPCG(3, 4))
		var all []domain.Change
		for n := range 90 {
			start := float64(random.IntN(30*24*4)) / 4
			c := change(fmt.Sprint("e", n), []domain.Category{domain.CategoryWedding, domain.CategoryConsultation, domain.CategoryPersonal}[random.IntN(3)], start,
				start+[]float64{0.25, 1, 3, 30}[random.IntN(4)])
			all = append(all, c)
		}
		candidates := map[string]conflict.Candidate{}
		for page := range slices.Chunk(all, 15) {
			for i, o := range s.apply(from, page...).Outcomes {
				if o.Effect != reconcile.EffectCreated {
					t.Fatalf("%s was %s: %s", page[i].ExternalID, o.Effect, o.Reason)
				}
				c := page[i]
				candidates[c.ExternalID] = conflict.Candidate{BookingID: o.BookingID, Category: c.Category, Status: c.Status, Event: c.When.Span,
					Busy: conflict.Busy(res, c.When.Span, c.Category), CreatedAt: s.clock()}
			}
		}
		want, got := map[string]domain.ConflictKind{}, map[string]domain.ConflictKind{}
		for n, a := range all {
			for _, b := range all[:n] {
				for _, f := range conflict.Detect(s.clock(), res, loc, candidates[a.ExternalID], []conflict.Candidate{candidates[b.ExternalID]}) {
					if f.OtherID != "" {
						want[reconcile.PairKey(f.BookingID, f.OtherID)] = f.Kind
					}
				}
			}
		}
		for _, c := range s.conflicts(domain.ConflictOpen) {
			if c.OtherID != "" {
				got[reconcile.PairKey(c.BookingID, c.OtherID)] = c.Kind
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || len(want) < 20 {
			t.Errorf("one wedding a day %v: %d clashes (-want +got):\n%s", oneWedding, len(want), diff)
		}
	}
}
