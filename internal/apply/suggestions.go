package apply

import (
	"cmp"
	"context"
	"slices"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// LinkSuggestion is a pair of bookings that may be one event. A person decides.
type LinkSuggestion struct {
	BookingID  domain.BookingID      `json:"booking_id"` // made first: the one to link the other into
	OtherID    domain.BookingID      `json:"other_id"`
	ResourceID domain.ResourceID     `json:"resource_id"`
	Score      int                   `json:"score"` // reconcile.SuggestBar..100
	Parts      []reconcile.ScorePart `json:"parts"` // what the score is made of, in words without personal data
	Why        string                `json:"why"`   // why nothing was done without asking
}

// maxCompared bounds how many bookings one search reads.
const maxCompared = 2000

// LinkSuggestions lists pairs of bookings in a window that are probably one event, likeliest first. Left out are pairs that a
// person parted, and pairs that one system has both as entries of its own. cut is true when the window has more bookings than
// were compared.
func LinkSuggestions(ctx context.Context, tx *store.Tx, resource domain.ResourceID, window domain.Span, limit int) (out []LinkSuggestion, cut bool, err error) {
	byResource := map[domain.ResourceID][]domain.Booking{}
	n := 0
	for after := ""; ; {
		list, next, err := tx.Bookings(ctx, store.BookingFilter{From: window.Start, To: window.End, Resource: resource}, store.Page{Limit: store.MaxPage, After: after})
		if err != nil {
			return nil, false, err
		}
		for _, b := range list {
			if b.Blocks() {
				byResource[b.ResourceID] = append(byResource[b.ResourceID], b)
			}
		}
		if n += len(list); next == "" {
			break
		}
		if n >= maxCompared {
			cut = true
			break
		}
		after = next
	}
	out = []LinkSuggestion{}
	ids := map[domain.BookingID]bool{}
	for id, list := range byResource {
		// Lists come by their starts.
		for i, a := range list {
			for _, b := range list[i+1:] {
				if b.When.Start.Sub(a.When.Start) > reconcile.SuggestNear && !b.When.Start.Before(a.When.End) {
					break
				}
				s := reconcile.Alike(a, b)
				if s.Total < reconcile.SuggestBar {
					continue
				}
				first, second := a, b
				if c := cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID)); c < 0 {
					first, second = b, a
				}
				ids[a.ID], ids[b.ID] = true, true
				why := "the score is below the one from which two entries are linked without asking"
				if s.Total >= reconcile.LikenessBar {
					why = "they became alike after both were known, or one was made by hand"
				}
				out = append(out, LinkSuggestion{BookingID: first.ID, OtherID: second.ID, ResourceID: id, Score: s.Total, Parts: s.Parts, Why: why})
			}
		}
	}
	if out, err = leaveOut(ctx, tx, out, ids); err != nil {
		return nil, false, err
	}
	slices.SortFunc(out, func(a, b LinkSuggestion) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.BookingID, b.BookingID), cmp.Compare(a.OtherID, b.OtherID))
	})
	return out[:min(limit, len(out))], cut, nil
}

func leaveOut(ctx context.Context, tx *store.Tx, out []LinkSuggestion, ids map[domain.BookingID]bool) ([]LinkSuggestion, error) {
	if len(ids) == 0 {
		return out, nil
	}
	list := make([]domain.BookingID, 0, len(ids))
	for id := range ids {
		list = append(list, id)
	}
	var (
		links   []domain.Link
		choices []domain.LinkChoice
	)
	r := tx.Reads()
	r.Links(store.LinkKeys{Bookings: list}, &links)
	r.LinkChoices(list, &choices)
	if err := r.Do(ctx); err != nil {
		return nil, err
	}
	parted := map[string]bool{}
	for _, c := range choices {
		parted[reconcile.PairKey(c.BookingID, c.OtherID)] = c.Decision == domain.DecidedUnlinked
	}
	own := map[domain.BookingID]map[domain.IntegrationID]bool{}
	for _, l := range links {
		if l.Mirror || l.RemovedAt != nil {
			continue
		}
		if own[l.BookingID] == nil {
			own[l.BookingID] = map[domain.IntegrationID]bool{}
		}
		own[l.BookingID][l.IntegrationID] = true
	}
	return slices.DeleteFunc(out, func(s LinkSuggestion) bool {
		if parted[reconcile.PairKey(s.BookingID, s.OtherID)] {
			return true
		}
		for in := range own[s.BookingID] {
			if own[s.OtherID][in] {
				return true
			}
		}
		return false
	}), nil
}
