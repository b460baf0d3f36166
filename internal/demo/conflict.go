package demo

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/domain"
)

func (s *story) conflictFound(ctx context.Context) (string, error) {
	said := "the double-booking appeared on the live stream"
	e, err := s.event1(ctx, func(e apiclient.Event) bool {
		return e.Topic == domain.TopicConflictOpened && e.Refs["booking"] == string(s.booking.ID)
	})
	if err != nil {
		return said, err
	}
	if _, err := s.api.Do(ctx, http.MethodGet, "/v1/conflicts/"+e.Refs["conflict"], nil, &s.conflict); err != nil {
		return said, err
	}
	c := s.conflict
	if c.State != domain.ConflictOpen || len(c.Alternatives) < 3 {
		return said, fmt.Errorf("want an open conflict with at least 3 alternatives, have %s with %d", c.State, len(c.Alternatives))
	}
	for i, a := range c.Alternatives {
		if len(a.Reasons) == 0 || i > 0 && a.Score > c.Alternatives[i-1].Score {
			return said, fmt.Errorf("alternative %d has no reasons or is out of order", i+1)
		}
		said += fmt.Sprintf("\n               %d. %s %s, score %d: %s", i+1, a.Action, a.When.Start.In(s.loc).Format("Mon 2 Jan 15:04"), a.Score, strings.Join(a.Reasons, "; "))
	}
	return said + "\n               " + string(c.Severity) + ": " + c.Explanation, nil
}

// shows waits until the calendar holds a consultation at a time, read over CalDAV.
func (s *story) shows(ctx context.Context, start time.Time, count int) error {
	return s.eventually(ctx, func() error {
		events, err := s.calendar.events(ctx)
		if err != nil {
			return err
		}
		if len(events) != count {
			return fmt.Errorf("the calendar holds %d events, want %d", len(events), count)
		}
		for _, e := range events {
			if strings.Contains(e, start.UTC().Format(icsTime)) && strings.Contains(e, string(s.booking.ID)) {
				return nil
			}
		}
		return fmt.Errorf("no copy of the booking at %s", start.Format(time.RFC3339))
	})
}

func (s *story) busyWritten(ctx context.Context) (string, error) {
	return "the consultation was written into the calendar, so that nobody books over it", s.shows(ctx, s.clock(15), 2)
}

// unchanged checks that there are still two bookings and one open conflict.
func (s *story) unchanged(ctx context.Context) error {
	list, err := s.listBookings(ctx)
	if err != nil {
		return err
	}
	var conflicts struct {
		Items []domain.Conflict `json:"items"`
	}
	if _, err := s.api.Do(ctx, http.MethodGet, "/v1/conflicts?state=open&resource="+s.resource, nil, &conflicts); err != nil {
		return err
	}
	for _, b := range list {
		if b.ID == s.booking.ID && b.Version != s.booking.Version {
			return fmt.Errorf("the booking has version %d now, was %d", b.Version, s.booking.Version)
		}
	}
	if len(list) != 2 || len(conflicts.Items) != 1 {
		return fmt.Errorf("%d bookings and %d open conflicts, want 2 and 1", len(list), len(conflicts.Items))
	}
	return nil
}

func (s *story) resolve(ctx context.Context) (string, error) {
	said := "an admin takes a proposal"
	n := slices.IndexFunc(s.conflict.Alternatives, func(a domain.Alternative) bool { return a.Action == domain.ActionMove && a.BookingID == s.booking.ID })
	if n < 0 {
		return said, fmt.Errorf("no proposal moves the consultation")
	}
	s.moved = s.conflict.Alternatives[n].When
	said = fmt.Sprintf("an admin moves the consultation to %s, proposal %d", s.moved.Start.In(s.loc).Format("Mon 2 Jan 15:04"), n+1)
	status, err := s.api.Do(ctx, http.MethodPost, "/v1/conflicts/"+string(s.conflict.ID)+"/resolve",
		map[string]any{"alternative": n, "reason": "agreed on the phone", "version": s.conflict.Version}, nil)
	if err == nil && status != http.StatusAccepted {
		err = fmt.Errorf("status %d, want 202", status)
	}
	return said, err
}

func (s *story) resolved(ctx context.Context) (string, error) {
	said := "the conflict is resolved: every system was written and read back before it was closed"
	if _, err := s.event1(ctx, func(e apiclient.Event) bool {
		return e.Topic == domain.TopicConflictClosed && e.Refs["conflict"] == string(s.conflict.ID)
	}); err != nil {
		return said, err
	}
	var c domain.Conflict
	if _, err := s.api.Do(ctx, http.MethodGet, "/v1/conflicts/"+string(s.conflict.ID), nil, &c); err != nil {
		return said, err
	}
	if c.State != domain.ConflictResolved || c.Resolution == nil || c.Resolution.By == "" {
		return said, fmt.Errorf("the conflict is %s", c.State)
	}
	return said, nil
}

func (s *story) readBack(ctx context.Context) (string, error) {
	said := "the calendar shows the new time, read back over CalDAV, and so does the customer system"
	if err := s.shows(ctx, s.moved.Start, 2); err != nil {
		return said, err
	}
	return said, s.eventually(ctx, func() error {
		e, ok := s.crm.Get(s.event.ID)
		if !ok {
			return fmt.Errorf("the customer system lost the consultation")
		}
		at, err := time.Parse(time.RFC3339, e.Starts)
		if err != nil {
			at, err = time.ParseInLocation("2006-01-02T15:04:05", e.Starts, s.loc)
		}
		if err != nil || !at.Equal(s.moved.Start) {
			return fmt.Errorf("the customer system shows %s", e.Starts)
		}
		return nil
	})
}
