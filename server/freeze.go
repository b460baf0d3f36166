package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
	"github.com/wedsync/wedsync/internal/store"
)

// FreezeHeader lets an admin do something risky although a wedding is near or on. It is exported because huma reads embedded
// inputs only then.
type FreezeHeader struct {
	OverrideFreeze string `header:"Override-Freeze" doc:"While a wedding is near or on: why this is done all the same, 3 to 500 characters, for the audit trail; admins only"`
}

func (h FreezeHeader) override(ctx context.Context) freeze.Override {
	who := callerOf(ctx)
	return freeze.Override{By: who.Subject, Admin: who.Role.Level() >= domain.RoleAdmin.Level(), Reason: h.OverrideFreeze}
}

// unfrozen refuses an act while a freeze is on, where it has no transaction of its own.
func (s *Server) unfrozen(ctx context.Context, act freeze.Act, field, subject string, h FreezeHeader) error {
	return s.deps.Store.Tenant(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		_, err := freeze.Person(ctx, tx, act, field, subject, h.override(ctx))
		return err
	})
}

// frozenView is what a refusal tells of the freeze.
type frozenView struct {
	Booking  domain.BookingID `json:"booking_id" doc:"The wedding whose freeze ends last"`
	From     time.Time        `json:"from" doc:"When its freeze began"`
	Until    time.Time        `json:"until" doc:"When no freeze is on any more"`
	Zone     string           `json:"zone" doc:"Of the wedding's place"`
	Act      freeze.Act       `json:"act" doc:"What was refused"`
	Override string           `json:"override" doc:"The header that carries an admin's reason" example:"Override-Freeze"`
}

func viewRefusal(r *freeze.Refusal) *frozenView {
	return &frozenView{Booking: r.Freeze.Booking, From: r.Freeze.From, Until: r.Thaw, Zone: r.Freeze.Zone, Act: r.Act, Override: freeze.Header}
}

// freezesAhead is how far ahead freezes are shown.
const freezesAhead = 30 * 24 * time.Hour

type freezeOutput struct {
	ETag string `header:"ETag"`
	Body struct {
		Frozen   bool                  `json:"frozen" doc:"A wedding is near or on"`
		Until    *time.Time            `json:"until,omitempty" doc:"When no freeze is on any more"`
		Freezes  []weddingday.Freeze   `json:"freezes" doc:"Those that are on, and those of the next 30 days, in the order of their weddings"`
		Settings domain.FreezeSettings `json:"settings"`
	}
}

func readFreeze(ctx context.Context, tx *store.Tx) (*freezeOutput, error) {
	out := &freezeOutput{}
	var err error
	if out.Body.Freezes, out.Body.Settings, err = tx.FreezesWith(ctx, tx.Now, tx.Now.Add(freezesAhead)); err != nil {
		return nil, err
	}
	if out.Body.Freezes == nil {
		out.Body.Freezes = []weddingday.Freeze{}
	}
	if _, out.Body.Frozen = weddingday.On(out.Body.Freezes, tx.Now); out.Body.Frozen {
		until := weddingday.Thaw(out.Body.Freezes, tx.Now)
		out.Body.Until = &until
	}
	out.ETag = etag(out.Body.Settings.Version)
	return out, nil
}

// getFreeze tells whether a freeze is on, and which come.
func (s *Server) getFreeze(ctx context.Context, _ *struct{}) (out *freezeOutput, err error) {
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		out, err = readFreeze(ctx, tx)
		return err
	})
	return out, err
}

type putFreezeInput struct {
	FreezeHeader
	Body struct {
		PreflightDays int                `json:"preflight_days" minimum:"2" maximum:"30" doc:"How many days before it a wedding is looked over for the first time"`
		FreezeHours   int                `json:"freeze_hours" minimum:"12" maximum:"168" doc:"How many hours before it, by the clock of its place, its freeze begins"`
		Holds         domain.FreezeHolds `json:"holds,omitempty" enum:"all,near" doc:"Which removals wait for a person meanwhile: all, or those of bookings within the freeze; all if absent"`
		Version       int64              `json:"version" minimum:"0" doc:"The version that the change was made from; 0 for the standard"`
		Reason        string             `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
	}
}

func freezeFacts(f domain.FreezeSettings) map[string]string {
	return map[string]string{"preflight_days": strconv.Itoa(f.PreflightDays), "freeze_hours": strconv.Itoa(f.FreezeHours), "holds": string(f.Holds)}
}

// putFreeze sets the periods. While a freeze is on this could end it, so it needs an override as what it would allow.
func (s *Server) putFreeze(ctx context.Context, in *putFreezeInput) (*freezeOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	want := domain.FreezeSettings{PreflightDays: b.PreflightDays, FreezeHours: b.FreezeHours, Holds: b.Holds}
	if want.Holds == "" {
		want.Holds = domain.FreezeHoldsAll
	}
	if err := want.Validate("body."); err != nil {
		return nil, err
	}
	var out *freezeOutput
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.FreezeSettings(ctx)
		if err != nil {
			return err
		}
		subject := "freeze-settings"
		if want.FreezeHours < was.FreezeHours || want.Holds == domain.FreezeHoldsNear && was.Holds != want.Holds {
			if _, err := freeze.Person(ctx, tx, freeze.ActPeriods, "body.freeze_hours", subject, in.override(ctx)); err != nil {
				return err
			}
		}
		now, err := tx.PutFreezeSettings(ctx, want, who.Subject, b.Version)
		if err != nil {
			return err
		}
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "freeze_settings.put", Reason: reason, Subject: subject,
			Before: freezeFacts(was), After: freezeFacts(now)}); err != nil {
			return err
		}
		out, err = readFreeze(ctx, tx)
		return err
	})
	return out, err
}

// statusFrozen is what a refusal because of a freeze is answered with: unlike a 409 it is not mended by reading again.
const statusFrozen = http.StatusLocked
