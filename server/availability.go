package server

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/diary"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/availability"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/store"
)

type availabilityInput struct {
	Resource string          `query:"resource" required:"true" maxLength:"1900" doc:"One resource, or up to 50 parted by commas"`
	From     time.Time       `query:"from" required:"true" doc:"Start of the window"`
	To       time.Time       `query:"to" required:"true" doc:"End of the window, at most 400 days later"`
	Category domain.Category `query:"category" required:"true" enum:"wedding,engagement,vendor,consultation,travel,hold,maintenance,personal"`
	Minutes  int             `query:"duration_minutes" required:"true" minimum:"1" maximum:"527040"`
	Zone     string          `query:"zone" maxLength:"64" doc:"IANA zone in which times are told; UTC where absent. Rules are those of the resource's zone in any case"`
}

type blockedView struct {
	Start     time.Time        `json:"start"`
	End       time.Time        `json:"end"`
	Rule      string           `json:"rule" example:"buffer" doc:"overlap, travel, buffer, capacity, same_day, blackout, off_hours, past, lead_time or too_short"`
	Reason    string           `json:"reason" doc:"In words, by the clock of the resource"`
	BookingID domain.BookingID `json:"booking_id,omitempty" doc:"The booking in the way"`
}

type calendarView struct {
	ResourceID   domain.ResourceID `json:"resource_id"`
	Zone         string            `json:"zone" doc:"Of the resource"`
	Free         []domain.Span     `json:"free" doc:"Stretches in which the booking may lie anywhere; empty while a source is unknown"`
	Unknown      []domain.Span     `json:"unknown,omitempty" doc:"The same while a source is unknown: free as far as is known, and not for sure"`
	UnknownSince *time.Time        `json:"unknown_since,omitempty" doc:"Since when a source could not be read; absent while all are fresh"`
	Blocked      []blockedView     `json:"blocked" doc:"Everything else, and why"`
	Sources      []diary.Source    `json:"sources" doc:"The systems from which it is known, and how fresh they are"`
}

type availabilityOutput struct {
	Body struct {
		calendarBody
		Items []calendarView `json:"items,omitempty" doc:"With several resources, one answer for each, in the order asked; the first stands above too"`
	}
}

// calendarBody is exported to huma by its fields.
type calendarBody = calendarView

// resourceList reads ids parted by commas.
func resourceList(field, s string) ([]domain.ResourceID, error) {
	var out []domain.ResourceID
	for _, one := range strings.Split(s, ",") {
		id, err := domain.ParseID[domain.ResourceID](field, strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	if len(out) > diary.MaxResources {
		return nil, domain.Invalid(field, "at most %d, got %d", diary.MaxResources, len(out))
	}
	return out, nil
}

func (s *Server) getAvailability(ctx context.Context, in *availabilityInput) (*availabilityOutput, error) {
	ids, err := resourceList("query.resource", in.Resource)
	if err != nil {
		return nil, err
	}
	loc := time.UTC
	if in.Zone != "" {
		if loc, err = loadZone("query.zone", in.Zone); err != nil {
			return nil, err
		}
	}
	window := domain.Span{Start: in.From.UTC(), End: in.To.UTC()}
	if !window.End.After(window.Start) || window.Duration() > availability.MaxWindow {
		return nil, domain.Invalid("query.to", "must be after from, by at most %d days", int(availability.MaxWindow.Hours()/24))
	}
	var calendars []diary.Calendar
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		calendars, err = diary.Availability(ctx, tx, ids, window, availability.Want{Category: in.Category, Duration: time.Duration(in.Minutes) * time.Minute})
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &availabilityOutput{}
	for _, c := range calendars {
		out.Body.Items = append(out.Body.Items, viewCalendar(c, loc))
	}
	out.Body.calendarBody = out.Body.Items[0]
	if len(ids) == 1 {
		out.Body.Items = nil
	}
	return out, nil
}

func viewCalendar(c diary.Calendar, loc *time.Location) calendarView {
	v := calendarView{ResourceID: c.Resource.ID, Zone: c.Resource.Zone, Free: spansIn(c.Free, loc), UnknownSince: optionalTime(c.Since), Blocked: []blockedView{}, Sources: c.Sources}
	if len(c.Unknown) > 0 {
		v.Unknown = spansIn(c.Unknown, loc)
	}
	suffix := ""
	if loc != time.UTC && loc.String() != c.Resource.Zone {
		suffix = " (" + c.Resource.Zone + ")"
	}
	for _, b := range c.Blocked {
		v.Blocked = append(v.Blocked, blockedView{Start: b.Span.Start.In(loc), End: b.Span.End.In(loc), Rule: b.Rule, Reason: b.Reason + suffix, BookingID: b.BookingID})
	}
	return v
}

func spansIn(spans []domain.Span, loc *time.Location) []domain.Span {
	out := make([]domain.Span, len(spans))
	for i, s := range spans {
		out[i] = domain.Span{Start: s.Start.In(loc), End: s.End.In(loc)}
	}
	return out
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

type searchInput struct {
	PageParams
	Date     string              `query:"date" required:"true" minLength:"10" maxLength:"10" example:"2027-06-12" doc:"The booking is to begin on this date"`
	Zone     string              `query:"zone" maxLength:"64" doc:"IANA zone in which the date is meant; the organisation's where absent"`
	Category domain.Category     `query:"category" required:"true" enum:"wedding,engagement,vendor,consultation,travel,hold,maintenance,personal"`
	Duration string              `query:"duration" required:"true" maxLength:"12" example:"8h" doc:"How long: such as 8h, 90m, or a number of minutes"`
	Skill    string              `query:"skill" maxLength:"1300" doc:"Skills that the resource must have, all of them, parted by commas"`
	Kind     domain.ResourceKind `query:"kind" enum:"person,team,room"`
}

type openView struct {
	ResourceID   domain.ResourceID   `json:"resource_id"`
	Name         string              `json:"name"`
	Kind         domain.ResourceKind `json:"kind"`
	Zone         string              `json:"zone"`
	Skills       []string            `json:"skills"`
	State        string              `json:"state" enum:"free,unknown" doc:"free, or unknown while a source of the resource could not be read"`
	UnknownSince *time.Time          `json:"unknown_since,omitempty"`
	Windows      []domain.Span       `json:"windows" doc:"Where the booking may lie; it begins on the date"`
	Quiet        bool                `json:"quiet" doc:"It has nothing else on the date"`
	Sources      []diary.Source      `json:"sources"`
}

type searchOutput struct {
	Body struct {
		listBody[openView]
		Zone   string `json:"zone" doc:"In which the date was meant"`
		Looked int    `json:"looked_at" doc:"Resources looked at for this page, at most 1000"`
		Room   int    `json:"with_room" doc:"Of them, those with room, shown or not"`
		Taken  int    `json:"taken" doc:"Of them, those without"`
	}
}

func (s *Server) searchAvailability(ctx context.Context, in *searchInput) (*searchOutput, error) {
	date, err := time.Parse(time.DateOnly, in.Date)
	if err != nil {
		return nil, domain.Invalid("query.date", "must be a date such as 2027-06-12")
	}
	length, err := parseLength("query.duration", in.Duration)
	if err != nil {
		return nil, err
	}
	if in.Zone != "" {
		if _, err := loadZone("query.zone", in.Zone); err != nil {
			return nil, err
		}
	}
	skills, err := skillList("query.skill", in.Skill)
	if err != nil {
		return nil, err
	}
	after, err := optionalID[domain.ResourceID]("query.after", in.After)
	if err != nil {
		return nil, err
	}
	ask := diary.DateAsk{Date: calendartime.Date{Year: date.Year(), Month: date.Month(), Day: date.Day()}, Zone: in.Zone, Kind: in.Kind, Skills: skills,
		Limit: in.Limit, After: after, Want: availability.Want{Category: in.Category, Duration: length}}
	var found diary.Found
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		found, err = diary.WhoIsFree(ctx, tx, ask)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &searchOutput{}
	out.Body.Zone, out.Body.Looked, out.Body.Room, out.Body.Taken = found.Zone, found.Looked, found.Free, found.Taken
	out.Body.Items, out.Body.Next = []openView{}, string(found.Next)
	for _, o := range found.Open {
		v := openView{ResourceID: o.Resource.ID, Name: o.Resource.Name, Kind: o.Resource.Kind, Zone: o.Resource.Zone, Skills: o.Resource.Skills, State: "free",
			UnknownSince: optionalTime(o.Since), Windows: o.Free, Quiet: o.Quiet, Sources: o.Sources}
		if v.UnknownSince != nil {
			v.State = "unknown"
		}
		if v.Skills == nil {
			v.Skills = []string{}
		}
		if v.Sources == nil {
			v.Sources = []diary.Source{}
		}
		out.Body.Items = append(out.Body.Items, v)
	}
	return out, nil
}

// parseLength reads a length of time: 8h, 1h30m, or minutes.
func parseLength(field, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if minutes, number := strconv.Atoi(text); number == nil && minutes < 1_000_000 {
		d, err = time.Duration(minutes)*time.Minute, nil
	}
	if err != nil || d < time.Minute || d > domain.MaxSpan {
		return 0, domain.Invalid(field, "must be a length such as 8h or 90m, or minutes, and at most %d days", int(domain.MaxSpan.Hours()/24))
	}
	return d, nil
}

// skillList reads skills parted by commas; none is nil.
func skillList(field, text string) (out []string, err error) {
	for _, one := range strings.Split(text, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		if len(one) > 60 {
			return nil, domain.Invalid(field, "each skill may have at most 60 bytes")
		}
		out = append(out, one)
	}
	if len(out) > 20 {
		return nil, domain.Invalid(field, "at most 20 skills, got %d", len(out))
	}
	return out, nil
}
