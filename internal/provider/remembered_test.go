package provider_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

func TestNewsIsWhatChangedSinceTheListingThatWasKept(t *testing.T) {
	t.Parallel()
	entry := func(id int, title string) domain.Change {
		return domain.Change{Op: domain.OpUpsert, ExternalID: fmt.Sprint("e", id), Details: domain.Details{Title: title}}
	}
	draw := func(t *rapid.T, label string) map[int]string {
		return rapid.MapOf(rapid.IntRange(0, 30), rapid.SampledFrom([]string{"a", "b"})).Draw(t, label)
	}
	rapid.Check(t, func(t *rapid.T) {
		before, now := draw(t, "before"), draw(t, "now")
		var was, is, want []domain.Change
		missing := false
		for id := range 31 {
			old, had := before[id]
			title, has := now[id]
			if had {
				was = append(was, entry(id, old))
			}
			if has {
				is = append(is, entry(id, title))
			}
			if has && (!had || old != title) {
				want = append(want, entry(id, title))
			}
			missing = missing || had && !has
		}
		var r provider.Remembered
		r.Keep(was)
		if !r.Valid() || r.Any() != (len(was) > 0) {
			t.Fatalf("kept %d entries: valid %v, any %v", len(was), r.Valid(), r.Any())
		}
		news, lost := r.News(is)
		if diff := cmp.Diff(want, news); diff != "" || lost != missing {
			t.Fatalf("missing %v, want %v; news (-want +got):\n%s", lost, missing, diff)
		}
	})
	var r provider.Remembered
	if r.Keep(make([]domain.Change, provider.MaxRemembered+1)); !r.Over || !r.Any() || len(r.Digests) > 0 {
		t.Errorf("of too many entries %d bytes are kept", len(r.Digests))
	}
}
