package server

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/timeline"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/timelines"
)

// timelineEntry is an item with the times that follow from the plan.
type timelineEntry struct {
	domain.TimelineItem
	Start     time.Time        `json:"start"`
	End       time.Time        `json:"end"`
	BookingID domain.BookingID `json:"booking_id,omitempty" doc:"The booking that stands for it in its resource's calendars"`
	// Confirmed is the vendor's word through a link.
	Confirmed *domain.Confirmation `json:"confirmed,omitempty" doc:"When its vendor confirmed it, and by which link"`
	Outdated  bool                 `json:"changed_since_confirmed,omitempty" doc:"It changed after its vendor confirmed it"`
	Drift     timelines.Drift      `json:"drift,omitempty" enum:"moved,cancelled" doc:"How that booking differs from the plan, because somebody changed it there"`
}

type timelineOutput struct {
	ETag string `header:"ETag"`
	Body struct {
		BookingID     domain.BookingID `json:"booking_id"`
		TravelMinutes int              `json:"travel_minutes"`
		Journeys      []domain.Journey `json:"journeys"`
		Items         []timelineEntry  `json:"items" doc:"In the order in which they were given, with times in the wedding's zone"`
		Clashes       []timeline.Clash `json:"clashes" doc:"Pairs of items that one vendor cannot keep"`
		Zone          string           `json:"zone"`
		UpdatedAt     time.Time        `json:"updated_at"`
		Version       int64            `json:"version"`
	}
}

func timelineAnswer(v timelines.View) (*timelineOutput, error) {
	zone, err := calendartime.LoadZone(v.Zone)
	if err != nil {
		return nil, err
	}
	out := &timelineOutput{ETag: etag(v.Version)}
	b := &out.Body
	b.BookingID, b.TravelMinutes, b.Clashes, b.Zone, b.UpdatedAt, b.Version = v.BookingID, v.TravelMinutes, v.Clashes, v.Zone, v.UpdatedAt, v.Version
	b.Journeys, b.Items = append([]domain.Journey{}, v.Journeys...), make([]timelineEntry, len(v.Items))
	for i, item := range v.Items {
		t := v.Times[i]
		b.Items[i] = timelineEntry{TimelineItem: item, Start: t.Start.In(zone), End: t.End.In(zone), BookingID: t.BookingID, Drift: t.Drift,
			Confirmed: t.Confirmed, Outdated: t.Outdated}
	}
	return out, nil
}

func (s *Server) getTimeline(ctx context.Context, in *IDParam) (*timelineOutput, error) {
	id, err := parseID[domain.BookingID]("booking", in.ID)
	if err != nil {
		return nil, err
	}
	var v timelines.View
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		v, err = timelines.Read(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return timelineAnswer(v)
}

type setTimelineInput struct {
	IDParam
	VersionHeader
	Body struct {
		Version int64 `json:"version,omitempty" minimum:"1" doc:"The version that the change was made from, unless If-Match says it; neither for a first timeline"`
		domain.TimelinePlan
	}
}

// setTimeline replaces the plan of a wedding's timeline, and exports it.
func (s *Server) setTimeline(ctx context.Context, in *setTimelineInput) (*timelineOutput, error) {
	id, err := parseID[domain.BookingID]("booking", in.ID)
	if err != nil {
		return nil, err
	}
	who := callerOf(ctx)
	var v timelines.View
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Booking(ctx, id); err != nil {
			return err
		}
		have, err := tx.Timeline(ctx, id, true)
		expect := int64(0)
		switch {
		case domain.KindOf(err) == domain.KindNotFound:
			if in.IfMatch != "" || in.Body.Version != 0 {
				return domain.E(domain.KindConflict, "the wedding has no timeline any more")
			}
		case err != nil:
			return err
		default:
			if expect, err = in.expect(in.Body.Version, have.Version); err != nil {
				return err
			}
		}
		v, err = timelines.Set(ctx, tx, id, in.Body.TimelinePlan, expect, who.Subject, "body.")
		return err
	})
	if err != nil {
		return nil, err
	}
	return timelineAnswer(v)
}

func (s *Server) deleteTimeline(ctx context.Context, in *IDParam) (*struct{}, error) {
	id, err := parseID[domain.BookingID]("booking", in.ID)
	if err != nil {
		return nil, err
	}
	who := callerOf(ctx)
	return nil, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		return timelines.Remove(ctx, tx, id, who.Subject)
	})
}
