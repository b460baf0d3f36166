package server

import (
	"context"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/upkeep"
)

type maintenanceSettingsOutput struct {
	ETag string `header:"ETag"`
	Body domain.MaintenanceSettings
}

func (s *Server) getMaintenanceSettings(ctx context.Context, _ *struct{}) (*maintenanceSettingsOutput, error) {
	out := &maintenanceSettingsOutput{}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out.Body, err = tx.MaintenanceSettings(ctx)
		out.ETag = etag(out.Body.Version)
		return err
	})
}

type putMaintenanceSettingsInput struct {
	Body struct {
		Approval    domain.ApprovalMode `json:"approval" enum:"person,automatic" doc:"Who approves windows; automatic ones take place unless somebody cancels them before their notice begins"`
		Notice      int                 `json:"notice_minutes" minimum:"0" maximum:"43200"`
		Announce    []int               `json:"announce_minutes" maxItems:"5" doc:"When people are told, in minutes before the beginning, the longest first"`
		Zone        string              `json:"zone,omitempty" maxLength:"64" doc:"On whose clock days and hours are meant; that of the organization if absent"`
		Weekdays    []int               `json:"weekdays" minItems:"1" maxItems:"7" doc:"Days on which maintenance may be, 0 = Sunday"`
		From        int                 `json:"from_minute" minimum:"0" maximum:"1439" doc:"Local minutes after midnight from which it may be"`
		Until       int                 `json:"until_minute" minimum:"1" maximum:"1440" doc:"And until which; before from_minute it reaches over midnight"`
		Seasons     []domain.Season     `json:"seasons,omitempty" maxItems:"20" doc:"Local days without any"`
		WhenWedding domain.WhenWedding  `json:"when_wedding" enum:"cancel,move" doc:"What becomes of a window ahead into which a wedding moves"`
		EveryDays   *int                `json:"propose_days,omitempty" minimum:"0" maximum:"365" doc:"After how many days without one a window is proposed by itself, 7 to 365; 0 = never; as it is if absent"`
		Minutes     *int                `json:"propose_minutes,omitempty" minimum:"5" maximum:"720" doc:"How long such a window is; as it is if absent"`
		Version     int64               `json:"version" minimum:"0" doc:"The version that the change was made from; 0 = the standard"`
		Reason      string              `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
	}
}

// putMaintenanceSettings sets what the organisation wants. Windows that are open follow it from their next step on.
func (s *Server) putMaintenanceSettings(ctx context.Context, in *putMaintenanceSettingsInput) (*maintenanceSettingsOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	want := domain.MaintenanceSettings{Approval: b.Approval, NoticeMinutes: b.Notice, AnnounceMinutes: b.Announce, Zone: b.Zone, Weekdays: b.Weekdays, FromMinute: b.From,
		UntilMinute: b.Until, Seasons: b.Seasons, WhenWedding: b.WhenWedding}
	if _, err := maintenance.CalendarOf(want, "UTC"); err != nil {
		return nil, atBody(err, "")
	}
	facts := func(m domain.MaintenanceSettings) map[string]string {
		return map[string]string{"approval": string(m.Approval), "notice_minutes": strconv.Itoa(m.NoticeMinutes), "zone": m.Zone, "from_minute": strconv.Itoa(m.FromMinute),
			"until_minute": strconv.Itoa(m.UntilMinute), "weekdays": strconv.Itoa(len(m.Weekdays)), "seasons": strconv.Itoa(len(m.Seasons)), "when_wedding": string(m.WhenWedding),
			"propose_days": strconv.Itoa(m.ProposeDays), "propose_minutes": strconv.Itoa(m.ProposeMinutes)}
	}
	out := &maintenanceSettingsOutput{}
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.MaintenanceSettings(ctx)
		if err != nil {
			return err
		}
		want.ProposeDays, want.ProposeMinutes = was.ProposeDays, was.ProposeMinutes
		if b.EveryDays != nil {
			want.ProposeDays = *b.EveryDays
		}
		if b.Minutes != nil {
			want.ProposeMinutes = *b.Minutes
		}
		if err := want.Validate("body."); err != nil {
			return err
		}
		if out.Body, err = tx.PutMaintenanceSettings(ctx, want, who.Subject, b.Version); err != nil {
			return err
		}
		out.ETag = etag(out.Body.Version)
		return s.maintenanceSettingChanged(ctx, tx, "maintenance_settings.put", reason, "maintenance_settings/"+string(who.Org), facts(was), facts(out.Body))
	})
}

func (s *Server) maintenanceSettingChanged(ctx context.Context, tx *store.Tx, action, reason, subject string, before, after map[string]string) error {
	if err := tx.Audit(ctx, domain.AuditEntry{Actor: callerOf(ctx).Subject, Action: action, Reason: reason, Subject: subject, Before: before, After: after}); err != nil {
		return err
	}
	return tx.Emit(ctx, domain.TopicMaintenanceSettings, map[string]string{"subject": subject})
}

type listProviderWindowsInput struct {
	From  time.Time `query:"from" doc:"Now if absent"`
	Until time.Time `query:"until" doc:"A year ahead if absent"`
}

func (s *Server) listProviderWindows(ctx context.Context, in *listProviderWindowsInput) (*listOutput[domain.ProviderWindow], error) {
	from, until := in.From.UTC(), in.Until.UTC()
	if in.From.IsZero() {
		from = s.now().UTC()
	}
	if in.Until.IsZero() {
		until = from.Add(domain.MaxMaintenanceAhead)
	}
	if !from.Before(until) {
		return nil, domain.Invalid("query.until", "must be after from")
	}
	var out []domain.ProviderWindow
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = tx.ProviderWindows(ctx, from, until)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(out, ""), nil
}

type createProviderWindowInput struct {
	KeyHeader
	Body struct {
		Provider string    `json:"provider" minLength:"1" maxLength:"60"`
		StartsAt time.Time `json:"starts_at"`
		EndsAt   time.Time `json:"ends_at" doc:"At most 7 days later"`
		Source   string    `json:"source" minLength:"1" maxLength:"500" doc:"Where it was announced: an https address, or words without personal data"`
	}
}

type providerWindowOutput struct{ Body domain.ProviderWindow }

// createProviderWindow notes maintenance that a provider announced, and proposes a window of ours for it where one is free; other
// proposals prefer such times.
func (s *Server) createProviderWindow(ctx context.Context, in *createProviderWindowInput) (*providerWindowOutput, error) {
	who, b := callerOf(ctx), &in.Body
	if _, ok := s.providers[b.Provider]; !ok {
		return nil, domain.Invalid("body.provider", "no such provider")
	}
	id, _ := newOrRepeated[domain.ProviderWindowID](in.Key, who, "provider_window", s.now())
	w := domain.ProviderWindow{ID: id, Provider: b.Provider, StartsAt: b.StartsAt.UTC(), EndsAt: b.EndsAt.UTC(), Source: b.Source, CreatedBy: who.Subject}
	out := &providerWindowOutput{}
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		if err := w.Validate("body.", tx.Now); err != nil {
			return err
		}
		if err := tx.LockMaintenance(ctx); err != nil {
			return err
		}
		had, err := tx.ProviderWindows(ctx, w.StartsAt.Add(-time.Second), w.EndsAt)
		if err != nil {
			return err
		}
		for _, one := range had {
			if one.ID == id {
				out.Body = one // the same key again
				return nil
			}
		}
		if out.Body, err = tx.CreateProviderWindow(ctx, w); err != nil {
			return err
		}
		if err := s.maintenanceSettingChanged(ctx, tx, "provider_window.create", b.Source, "provider_window/"+string(id), nil,
			map[string]string{"provider": w.Provider, "starts_at": w.StartsAt.Format(time.RFC3339), "ends_at": w.EndsAt.Format(time.RFC3339)}); err != nil {
			return err
		}
		if _, err := upkeep.SuggestAnnounced(ctx, tx); err != nil {
			return err
		}
		out.Body, err = tx.ProviderWindow(ctx, id)
		return err
	})
}

func (s *Server) deleteProviderWindow(ctx context.Context, in *deleteSettingInput) (*struct{}, error) {
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.ProviderWindowID]("announced window", in.ID)
	if err != nil {
		return nil, err
	}
	return nil, s.deps.Store.Tenant(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockMaintenance(ctx); err != nil {
			return err
		}
		was, err := tx.DeleteProviderWindow(ctx, id)
		if err != nil {
			return err
		}
		if was.MaintenanceID != "" {
			if err := upkeep.Withdraw(ctx, tx, was.MaintenanceID, callerOf(ctx).Subject); err != nil {
				return err
			}
		}
		return s.maintenanceSettingChanged(ctx, tx, "provider_window.delete", reason, "provider_window/"+string(id), map[string]string{"provider": was.Provider}, nil)
	})
}
