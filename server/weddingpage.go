package server

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
	"github.com/wedsync/wedsync/internal/store"
)

const shownWeddings = 50

type weddingsData struct {
	Coming []weddingRow
	Over   []weddingRow // the newest that are over
	More   bool
}

type weddingRow struct {
	ID                   domain.BookingID
	Title, Resource, Day string
	State, Outcome       mark
	Checked              string
}

// weddingsPage lists the weddings to come, for planners.
func (s *Server) weddingsPage(c echo.Context) error {
	ctx := c.Request().Context()
	var d weddingsData
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		coming, next, err := tx.WeddingCares(ctx, store.CareFilter{Open: true}, store.Page{Limit: shownWeddings})
		if err != nil {
			return err
		}
		d.More = next != ""
		over, _, err := tx.WeddingCares(ctx, store.CareFilter{State: domain.CareHandedOver, From: tx.Now.Add(-60 * 24 * time.Hour)}, store.Page{Limit: shownWeddings})
		if err != nil {
			return err
		}
		if d.Coming, err = weddingRows(ctx, tx, coming); err != nil {
			return err
		}
		d.Over, err = weddingRows(ctx, tx, over)
		return err
	})
	if err != nil {
		return err
	}
	return s.show(c, http.StatusOK, "weddings.html", s.frame(c, "Weddings", d))
}

func weddingRows(ctx context.Context, tx *store.Tx, all []domain.WeddingCare) ([]weddingRow, error) {
	ids := make([]domain.BookingID, len(all))
	for n, c := range all {
		ids[n] = c.BookingID
	}
	bookings, err := tx.BookingsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	names := map[domain.ResourceID]string{}
	var out []weddingRow
	for _, c := range all {
		if _, read := names[c.ResourceID]; !read {
			r, err := tx.Resource(ctx, c.ResourceID)
			if err != nil {
				return nil, err
			}
			names[c.ResourceID] = r.Name
		}
		row := weddingRow{ID: c.BookingID, Title: titleOf(bookings[c.BookingID]), Resource: names[c.ResourceID], Day: weddingcare.Moment(c.StartsAt, c.Zone),
			State: careMark(c.State), Outcome: checkMark(c.Preflight)}
		if c.PreflightAt != nil {
			row.Checked = weddingcare.Moment(*c.PreflightAt, c.Zone)
		}
		out = append(out, row)
	}
	return out, nil
}

// titleOf is what a wedding is called, without what is private.
func titleOf(b domain.Booking) string {
	if b.Private || b.Details.Title == "" {
		return "A wedding"
	}
	return b.Details.Title
}

type weddingData struct {
	weddingRow
	Zone, Freeze, From, Until string
	CanOperate, Over, Waits   bool
	Outcome                   string
	Why                       string
	Checks                    []checkRow
	HandOver                  *handOverPage
	Frozen                    *freezeNotice // while its own freeze is on
	Log                       []noteRow
}

type checkRow struct {
	domain.Check
	Mark mark
}

type noteRow struct {
	At, Text string
	Bad      bool
}

type handOverPage struct {
	Summary  string
	Failures []failureRow
	Open     []domain.DayLeft
}

type failureRow struct {
	Name, What, Noticed, Over string
	Done                      []string
}

// weddingPage is everything about the care for one wedding, for planners.
func (s *Server) weddingPage(c echo.Context) error {
	ctx := c.Request().Context()
	who := callerOf(ctx)
	v, err := s.wedding(ctx, c.Param("id"))
	if err != nil {
		return err
	}
	at := func(t time.Time) string { return weddingcare.Moment(t, v.Zone) }
	d := weddingData{Zone: v.Zone, Freeze: at(v.FreezeFrom), From: at(v.DayFrom), Until: at(v.DayUntil), CanOperate: canOperate(who), Over: v.State.Over(), Waits: v.WantedAt != nil}
	var notes []domain.WeddingNote
	err = s.deps.Store.TenantRead(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		rows, err := weddingRows(ctx, tx, []domain.WeddingCare{v.WeddingCare})
		if err != nil {
			return err
		}
		d.weddingRow = rows[0]
		if !v.State.Over() && !tx.Now.Before(v.FreezeFrom) && tx.Now.Before(v.DayUntil) {
			if d.Frozen, err = freezeOn(ctx, tx, who); err != nil {
				return err
			}
		}
		notes, err = tx.WeddingNotes(ctx, v.BookingID, v.DayFrom, shownNotes)
		return err
	})
	if err != nil {
		return err
	}
	if p := v.Newest; p != nil {
		d.Outcome, d.Why = weddingcare.Outcome(*p), weddingcare.Why(p.Kind)
		for _, one := range p.Checks {
			d.Checks = append(d.Checks, checkRow{one, checkMark(one.State)})
		}
	}
	for _, n := range notes {
		d.Log = append(d.Log, noteRow{at(n.At), n.Text, n.Bad})
	}
	if h := v.HandOver; h != nil && h.DayFrom.Equal(v.DayFrom) {
		page := &handOverPage{Summary: h.Summary, Open: h.Open}
		for _, f := range h.Failures {
			row := failureRow{Name: f.Name, What: f.What, Noticed: at(f.NoticedAt), Over: "goes on", Done: f.Done}
			if f.OverAt != nil {
				row.Over = "over " + at(*f.OverAt) + ", after " + f.Lasted.Round(time.Second).String()
			}
			page.Failures = append(page.Failures, row)
		}
		d.HandOver = page
	}
	return s.show(c, http.StatusOK, "wedding.html", s.frame(c, d.Title, d))
}

// doWedding is the button that has everything checked now.
func (s *Server) doWedding(c echo.Context) error {
	if _, err := s.wantPreflight(c.Request().Context(), &actionInput{IDParam: IDParam{ID: c.Param("id")}, Body: &reasonBody{Reason: "asked on the page of the wedding"}}); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/weddings/"+c.Param("id"))
}

func careMark(s domain.CareState) mark {
	switch s {
	case domain.CareWaiting:
		return mark{"○", "More than a week away", "low"}
	case domain.CarePreflight:
		return mark{"◐", "Within a week", "low"}
	case domain.CareFrozen:
		return mark{"■", "Frozen: nothing risky happens by itself", "medium"}
	case domain.CareDay:
		return mark{"◆", "It is the day", "high"}
	case domain.CareHandedOver:
		return mark{"✓", "Over, with a report", "low"}
	case domain.CareEnded:
	}
	return mark{"✕", "Off", "low"}
}

func checkMark(s domain.CheckState) mark {
	switch s {
	case domain.CheckBlocking:
		return mark{"◆", "In danger", "high"}
	case domain.CheckAttention:
		return mark{"■", "Needs a look", "medium"}
	case domain.CheckOK:
		return mark{"✓", "Will hold", "low"}
	case domain.CheckNone:
		return mark{"·", "Nothing to check", "low"}
	}
	return mark{"○", "Not checked yet", "low"}
}
