package server

import (
	"context"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// How much of held removals the page shows.
const (
	shownQuarantines = 5
	shownHeld        = 10
)

type quarantineCard struct {
	domain.Quarantine
	Title, System string
	Bookings      []bookingLine
	More          int
}

// quarantineCards are the held removals that wait for a person.
func quarantineCards(ctx context.Context, tx *store.Tx, labels map[domain.IntegrationID]string) ([]quarantineCard, error) {
	open, _, err := tx.Quarantines(ctx, store.QuarantineFilter{State: domain.QuarantineOpen}, store.Page{Limit: shownQuarantines})
	if err != nil {
		return nil, err
	}
	var out []quarantineCard
	for _, q := range open {
		card := quarantineCard{Quarantine: q, System: labels[q.IntegrationID], Title: strconv.Itoa(q.Left) + " removals"}
		rows, _, err := tx.HeldRows(ctx, q.ID, true, store.Page{Limit: shownHeld})
		if err != nil {
			return nil, err
		}
		ids := make([]domain.BookingID, len(rows))
		for n, r := range rows {
			ids[n] = r.BookingID
		}
		bookings, err := tx.BookingsByID(ctx, ids)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			b := bookings[id]
			detail := b.Details.Title
			if b.Private {
				detail = "Private"
			}
			card.Bookings = append(card.Bookings, bookingLine{What: sentence(string(b.Category)) + ", " + string(b.Status), When: whenText(b.When), Detail: detail})
		}
		card.More = max(0, q.Left-len(rows))
		out = append(out, card)
	}
	return out, nil
}

func (s *Server) doQuarantine(c echo.Context) error {
	in := &actionInput{IDParam: IDParam{ID: c.Param("id")}, Body: &reasonBody{Reason: c.Request().PostForm.Get("reason")}}
	var err error
	action := c.Param("action")
	switch action {
	case "approve":
		_, err = s.approveQuarantine(c.Request().Context(), in)
	case "restore":
		_, err = s.restoreQuarantine(c.Request().Context(), in)
	default:
		err = domain.E(domain.KindNotFound, "no such action")
	}
	return s.done(c, action, err)
}
