package server

import (
	"context"
	"errors"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/token"
)

// shownFreezes is how many weddings a page names whose freezes are on.
const shownFreezes = 5

// freezeNotice is what pages tell while a freeze is on.
type freezeNotice struct {
	Until    string // when no freeze is on any more, by the clock of the wedding that ends last
	Weddings []frozenWedding
	More     int
	Near     bool // only removals of bookings within a freeze wait
	Insist   bool // the one who looks may override it
}

// frozenWedding is a wedding whose freeze is on. Link is false while it has no page yet.
type frozenWedding struct {
	ID                          domain.BookingID
	Link                        bool
	Title, Resource             string
	Begins, From, Until, Clocks string // Clocks is the zone of its place
}

// freezeOn reads what is frozen now; nil when nothing is.
func freezeOn(ctx context.Context, tx *store.Tx, who token.Claims) (*freezeNotice, error) {
	all, settings, err := tx.FreezesWith(ctx, tx.Now, tx.Now.Add(freezesAhead))
	if err != nil {
		return nil, err
	}
	if _, on := weddingday.On(all, tx.Now); !on {
		return nil, nil
	}
	thaw := weddingday.Thaw(all, tx.Now)
	out := &freezeNotice{Near: settings.Holds == domain.FreezeHoldsNear, Insist: isAdmin(who)}
	var running []weddingday.Freeze
	for _, f := range all {
		if f.Running(tx.Now) {
			running = append(running, f)
		}
		if f.Until.Equal(thaw) {
			out.Until = placeTime(thaw, f.Zone)
		}
	}
	out.More = max(0, len(running)-shownFreezes)
	running = running[:len(running)-out.More]
	ids := make([]domain.BookingID, len(running))
	for n, f := range running {
		ids[n] = f.Booking
	}
	bookings, err := tx.BookingsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, f := range running {
		b := bookings[f.Booking]
		w := frozenWedding{ID: f.Booking, Title: titleOf(b), Clocks: f.Zone, Begins: weddingcare.Moment(f.Event.Start, f.Zone), From: weddingcare.Moment(f.From, f.Zone),
			Until: weddingcare.Moment(f.Until, f.Zone)}
		_, err := tx.WeddingCare(ctx, f.Booking, false)
		if err != nil && domain.KindOf(err) != domain.KindNotFound {
			return nil, err
		}
		w.Link = err == nil
		r, err := tx.Resource(ctx, b.ResourceID)
		if err != nil && domain.KindOf(err) != domain.KindNotFound {
			return nil, err
		}
		w.Resource = r.Name
		out.Weddings = append(out.Weddings, w)
	}
	return out, nil
}

// placeTime spells a time out by the clock of a place.
func placeTime(t time.Time, zone string) string {
	return weddingcare.Moment(t, zone) + " (" + zone + ")"
}

// frozenWords are the acts that wait, at the beginning of a sentence.
var frozenWords = map[freeze.Act]string{
	freeze.ActSettings: "A change of how the system is read", freeze.ActDirection: "A change of direction", freeze.ActResource: "A change of resource",
	freeze.ActSync: "A change of the sync policy", freeze.ActGuard: "A change of the guard against removals", freeze.ActResync: "A full resync",
	freeze.ActPurge: "The removal of all copies", freeze.ActDisconnect: "Disconnecting", freeze.ActReplay: "Handing webhooks in once more",
	freeze.ActPolicy: "A policy for conflicts", freeze.ActPeriods: "A shorter freeze", freeze.ActPlatform: "A new version of the program",
}

// refusalText says what waits, until when and who may insist.
func refusalText(r *freeze.Refusal) string {
	what := frozenWords[r.Act]
	if what == "" {
		what = "This"
	}
	return what + " waits until " + placeTime(r.Thaw, r.Freeze.Zone) + ", because a wedding is near or on. An admin may insist, with a reason."
}

// insistForm is the form by which an admin does what a freeze refused. It posts the refused form again, with a reason.
type insistForm struct {
	What, Action, CSRF string
	Fields             []hiddenField
}

type hiddenField struct{ Name, Value string }

// overrideField carries the reason of an override in forms, as the header does in requests.
const overrideField = "override"

// insist makes the form when err is a refusal by a freeze, or about the reason of an override, and the caller may override; nil
// otherwise.
func (s *Server) insist(c echo.Context, err error, what, action string, fields ...hiddenField) *insistForm {
	if !isAdmin(callerOf(c.Request().Context())) || !errors.As(err, new(*freeze.Refusal)) && domain.FieldOf(err) != "header."+freeze.Header {
		return nil
	}
	return &insistForm{What: what, Action: action, CSRF: csrfToken(s.sessionOf(c.Request())), Fields: fields}
}
