package timelines

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/place"
	"github.com/wedsync/wedsync/internal/rules/timeline"
	"github.com/wedsync/wedsync/internal/store"
)

// clashesOf finds what vendors cannot keep, with ways by the venues that are known and the speed of the vendors.
func clashesOf(ctx context.Context, tx *store.Tx, plan domain.TimelinePlan, spans map[string]domain.Span) ([]timeline.Clash, error) {
	var measured timeline.Measured
	if slices.ContainsFunc(plan.Items, func(i domain.TimelineItem) bool { return i.ResourceID != "" && i.Place != "" }) {
		venues, err := tx.Venues(ctx)
		if err != nil {
			return nil, err
		}
		known, vendors := place.Learn(venues), map[domain.ResourceID]domain.Resource{}
		for _, item := range plan.Items {
			if _, read := vendors[item.ResourceID]; read || item.ResourceID == "" {
				continue
			}
			if vendors[item.ResourceID], err = tx.Resource(ctx, item.ResourceID); err != nil {
				return nil, err
			}
		}
		measured = func(vendor domain.ResourceID, from, to string) (time.Duration, bool) {
			a, b, travel := known.Find(from), known.Find(to), vendors[vendor].Travel
			if !a.Known() || !b.Known() || travel.SpeedKmh == 0 {
				return 0, false
			}
			return conflict.WayBetween(travel, a, b).Took, true
		}
	}
	return timeline.Clashes(plan, spans, measured), nil
}

// report makes conflicts of what vendors cannot keep, so that it is listed, decided and told of like any other clash.
func report(ctx context.Context, tx *store.Tx, t domain.Timeline, wedding domain.Booking) error {
	spans, err := timeline.Resolve(t.Items, wedding.When.Start, "")
	if err != nil {
		return err
	}
	clashes, err := clashesOf(ctx, tx, t.TimelinePlan, spans)
	if err != nil {
		return err
	}
	zone, err := calendartime.LoadZone(wedding.When.Zone)
	if err != nil {
		return err
	}
	items := map[string]domain.TimelineItem{}
	for _, item := range t.Items {
		items[item.Key] = item
	}
	byVendor := map[domain.ResourceID][]timeline.Clash{}
	var vendors []domain.ResourceID
	for _, c := range clashes {
		_, one := t.Exported[c.First]
		_, two := t.Exported[c.Second]
		if one && two && c.Kind != timeline.TooFar {
			continue // both are bookings of the vendor, and clash as those
		}
		if len(byVendor[c.ResourceID]) == 0 {
			vendors = append(vendors, c.ResourceID)
		}
		byVendor[c.ResourceID] = append(byVendor[c.ResourceID], c)
	}
	var found []apply.VendorClash
	for _, vendor := range vendors {
		list := byVendor[vendor]
		marks := make([]string, len(list))
		for i, c := range list {
			marks[i] = fmt.Sprintf("%s %s %s %d", c.Kind, c.First, c.Second, c.MissingMinutes)
		}
		slices.Sort(marks)
		sum := sha256.Sum256([]byte(strings.Join(marks, "\n")))
		first := list[0]
		at := spans[first.Second].Start
		found = append(found, apply.VendorClash{ResourceID: vendor, Mark: "timeline " + hex.EncodeToString(sum[:12]),
			Overlap:     domain.Span{Start: at, End: at.Add(time.Duration(first.MissingMinutes) * time.Minute)},
			Short:       !slices.ContainsFunc(list, func(c timeline.Clash) bool { return c.Kind == timeline.TwoPlaces }),
			Explanation: words(items, spans, zone, list)})
	}
	return apply.TimelineConflicts(ctx, tx, wedding, found)
}

// words tells the first pair that cannot be kept. Titles and places name people; kinds and times do not.
func words(items map[string]domain.TimelineItem, spans map[string]domain.Span, zone *time.Location, list []timeline.Clash) string {
	c := list[0]
	short := conflict.Length(time.Duration(c.MissingMinutes) * time.Minute)
	what := map[timeline.ClashKind]string{
		timeline.TwoPlaces: "are in two places at once, by " + short,
		timeline.TooFar:    "have too little time in between for the way, by " + short,
		timeline.AtOnce:    "are at the same time, by " + short,
	}[c.Kind]
	say := func(key string) string {
		s := domain.Span{Start: spans[key].Start.In(zone), End: spans[key].End.In(zone)}
		return fmt.Sprintf("%s %s-%s", items[key].Kind, s.Start.Format("15:04"), s.End.Format("15:04"))
	}
	text := fmt.Sprintf("in the timeline of the wedding, %s and %s on %s %s", say(c.First), say(c.Second),
		spans[c.Second].Start.In(zone).Format("Mon 2 January 2006"), what)
	switch n := len(list) - 1; {
	case n == 1:
		text += "; one more pair does not go together"
	case n > 1:
		text += fmt.Sprintf("; %d more pairs do not go together", n)
	}
	return text + " (" + zone.String() + ")"
}
