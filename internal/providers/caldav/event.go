package caldav

import (
	"bytes"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ical"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// resource is one object of the collection, read.
type resource struct {
	path string // as an ExternalID
	etag string
	// method is the METHOD of the object, which a stored one must not have (RFC 4791, 4.1).
	method string
	ical.Object
}

// read parses an object. A resource without a VEVENT gives nil.
func (c *connection) read(path, etag string, raw []byte) (*resource, error) {
	cal, problems, err := ical.Read(bytes.NewReader(raw), ical.Options{Zone: c.local.Loc, MaxBytes: maxResource, MaxParts: maxParts})
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		if p.Lost {
			return nil, p.Err
		}
	}
	if cal.Truncated {
		return nil, domain.Invalid("calendar-data", "is cut off")
	}
	masters, method := 0, ""
	for _, root := range cal.Roots {
		if method == "" {
			method = root.Text("METHOD")
		}
		for _, comp := range root.Children {
			if comp.Name == "VEVENT" && comp.Get("RECURRENCE-ID") == nil {
				masters++
			}
		}
	}
	switch {
	case masters > 1:
		return nil, domain.Invalid("vevent", "occurs twice without RECURRENCE-ID")
	case len(cal.Objects) > 1:
		return nil, domain.Invalid("uid", "must be the same in all of a resource")
	case len(cal.Objects) == 0:
		return nil, nil
	}
	return &resource{path, etag, method, cal.Objects[0]}, nil
}

func parseInstanceID(s string) (calendartime.Wall, bool) {
	layout := "20060102T150405"
	if len(s) == 8 {
		layout = "20060102"
	}
	t, err := time.Parse(layout, s)
	return calendartime.WallOf(t, time.UTC), err == nil
}

// change turns a VEVENT into a change. instance is "" for a single entry.
func (c *connection) change(r *resource, e ical.Event, span domain.Span, instance string) domain.Change {
	out := domain.Change{Op: domain.OpUpsert, ExternalID: r.path, UID: r.UID, Revision: r.etag, Status: e.Status(),
		ChangedAt: e.Revised(r.method)}
	if instance != "" {
		out.ExternalID += "#" + instance
		if out.UID != "" {
			out.UID += "#" + instance
		}
	}
	if e.HasStart {
		out.When = domain.When{Span: span, Zone: e.Start.Zone.Name, Kind: e.Start.Kind()}
	}
	if r.Master != nil && r.Master.Cancelled {
		out.Status = domain.StatusCancelled
	}
	out.Details = domain.Details{
		Title:    cut(e.Text("SUMMARY"), domain.MaxTitle),
		Location: cut(e.Text("LOCATION"), domain.MaxTitle),
		Notes:    cut(e.Text("DESCRIPTION"), domain.MaxNotes),
		Contact:  cut(e.Text("CONTACT"), domain.MaxTitle),
	}
	switch strings.ToUpper(e.Text("CLASS")) {
	case "PRIVATE", "CONFIDENTIAL":
		out.Private = true
	}
	out.Free = strings.EqualFold(e.Text("TRANSP"), "TRANSPARENT") || e.Declined(c.settings.Username) || !e.TakesTime()
	booking, category, ours := readMarker(e.Component, r.UID)
	if ours {
		out.Origin = booking
		if category.Valid() {
			out.Category = category
		}
	} else if instance == "" {
		out.CopyOf = booking
	}
	if out.Category == "" {
		out.Category = c.settings.category(append(e.Texts("CATEGORIES"), out.Details.Title)...)
	}
	return out
}
