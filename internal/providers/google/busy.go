package google

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/api/calendar/v3"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// busyStep is how much time one question about free/busy covers. Google refuses more than about ninety days.
const busyStep = 60 * day

const busyForm = "20060102T150405Z"

// freeBusy asks when the calendar is busy. The spans are merged and in order.
func (c *connection) freeBusy(ctx context.Context, window domain.Span) ([]domain.Span, error) {
	id := c.settings.Calendar
	var spans []domain.Span
	for from := window.Start; from.Before(window.End); from = from.Add(busyStep) {
		to := from.Add(busyStep)
		if to.After(window.End) {
			to = window.End
		}
		res, err := c.api.Freebusy.Query(&calendar.FreeBusyRequest{
			TimeMin: from.Format(time.RFC3339), TimeMax: to.Format(time.RFC3339), Items: []*calendar.FreeBusyRequestItem{{Id: id}},
		}).Context(ctx).Do()
		if err != nil {
			return nil, err
		}
		answer, ok := res.Calendars[id]
		if !ok || res.Kind != "calendar#freeBusy" {
			return nil, errUnreadable
		}
		for _, e := range answer.Errors {
			if e != nil && e.Reason == "notFound" {
				return nil, domain.E(domain.KindNotFound, "the calendar is gone, or no longer shared")
			}
			return nil, domain.E(domain.KindUnavailable, "Google cannot tell when the calendar is busy")
		}
		for _, p := range answer.Busy {
			if p == nil {
				return nil, errUnreadable
			}
			start, err := time.Parse(time.RFC3339, p.Start)
			end, errEnd := time.Parse(time.RFC3339, p.End)
			if err != nil || errEnd != nil || !start.Before(end) {
				return nil, errUnreadable
			}
			spans = append(spans, domain.Span{Start: start.UTC(), End: end.UTC()})
		}
	}
	slices.SortFunc(spans, func(a, b domain.Span) int { return a.Start.Compare(b.Start) })
	var merged []domain.Span
	for _, s := range spans {
		if n := len(merged); n > 0 && !s.Start.After(merged[n-1].End) {
			if s.End.After(merged[n-1].End) {
				merged[n-1].End = s.End
			}
			continue
		}
		merged = append(merged, s)
	}
	return merged, nil
}

// pullBusy lists busy spans. A second answer that equals the first tells no news; any other is told by a full listing,
// because a span that changed is another entry.
func (c *connection) pullBusy(ctx context.Context, cur cursor) (provider.Page, error) {
	spans, err := c.freeBusy(ctx, cur.window())
	if err != nil {
		return provider.Page{}, err
	}
	hash := sha256.New()
	page := provider.Page{Complete: true}
	for _, s := range spans {
		fmt.Fprintln(hash, busyID(s))
		page.Changes = append(page.Changes, c.busyChange(s))
	}
	digest := hex.EncodeToString(hash.Sum(nil)[:16])
	switch cur.Busy {
	case "":
	case digest:
		return provider.Page{Next: cur.String()}, nil
	default:
		return provider.Page{}, domain.E(domain.KindGoneToken, "the calendar is busy at other times than before")
	}
	next := cur
	next.Busy = digest
	page.Next = next.String()
	return page, nil
}

func busyID(s domain.Span) string {
	return "busy:" + s.Start.UTC().Format(busyForm) + "/" + s.End.UTC().Format(busyForm)
}

func (c *connection) busyChange(s domain.Span) domain.Change {
	return domain.Change{
		Op: domain.OpUpsert, ExternalID: busyID(s), Category: c.settings.category(), Status: domain.StatusConfirmed, Private: true,
		When: domain.When{Span: s, Zone: "UTC", Kind: domain.TimeZoned}, Details: domain.Details{Title: "Busy"},
	}
}

// readBusy asks whether a busy span is still one. A span that was merged with another, or cut, is not found.
func (c *connection) readBusy(ctx context.Context, externalID string) (domain.Change, error) {
	rest, ok := strings.CutPrefix(externalID, "busy:")
	from, to, _ := strings.Cut(rest, "/")
	start, err := time.Parse(busyForm, from)
	end, errEnd := time.Parse(busyForm, to)
	span := domain.Span{Start: start, End: end}
	if !ok || err != nil || errEnd != nil || !span.Valid() {
		return domain.Change{}, domain.Invalid("external_id", "is not a busy span")
	}
	// A listing cuts spans at its own bounds, so no more is asked for than it saw.
	ask := span.Pad(time.Hour, time.Hour)
	window := c.window()
	if !ask.Start.After(window.Start) {
		ask.Start = span.Start
	}
	if !ask.End.Before(window.End) {
		ask.End = span.End
	}
	spans, err := c.freeBusy(ctx, ask)
	if err != nil {
		if kindOf(err) == domain.KindNotFound {
			return domain.Change{}, domain.E(domain.KindPermanent, "the calendar itself does not answer for its entries: %w", fail("ask for free/busy", err))
		}
		return domain.Change{}, err
	}
	if !slices.Contains(spans, span) {
		return domain.Change{}, domain.E(domain.KindNotFound, "the calendar is not busy from and to these times")
	}
	return c.busyChange(span), nil
}
