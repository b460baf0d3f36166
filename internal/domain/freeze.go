package domain

import "time"

// FreezeHolds says which removals, and decisions between two versions, wait for a person while a freeze is on.
type FreezeHolds string

// The two ways.
const (
	FreezeHoldsAll  FreezeHolds = "all"  // all of the organisation's; the standard
	FreezeHoldsNear FreezeHolds = "near" // of bookings that lie within the freeze, for who has a wedding on most days
)

// FreezeSettings are an organisation's periods before a wedding.
type FreezeSettings struct {
	PreflightDays int         `json:"preflight_days" minimum:"2" maximum:"30" doc:"How many days before it a wedding is looked over for the first time"`
	FreezeHours   int         `json:"freeze_hours" minimum:"12" maximum:"168" doc:"How many hours before it, by the clock of its place, its freeze begins"`
	Holds         FreezeHolds `json:"holds" enum:"all,near" doc:"Which removals wait for a person meanwhile: all, or those of bookings within the freeze"`
	UpdatedAt     time.Time   `json:"updated_at,omitzero"`
	Version       int64       `json:"version"` // 0 = the standard
}

// Bounds of FreezeSettings. A freeze of less than half a day would begin after the evening before, and one of more than a
// week would never end in the season.
const (
	MinFreezeHours   = 12
	MaxFreezeHours   = 168
	MinPreflightDays = 2
	MaxPreflightDays = 30
)

// StandardFreezeSettings is a week, 48 hours, and everything held.
func StandardFreezeSettings() FreezeSettings {
	return FreezeSettings{PreflightDays: 7, FreezeHours: 48, Holds: FreezeHoldsAll}
}

// Validate checks the periods; prefix is put before the names of fields.
func (s FreezeSettings) Validate(prefix string) error {
	if s.PreflightDays < MinPreflightDays || s.PreflightDays > MaxPreflightDays {
		return Invalid(prefix+"preflight_days", "must be %d to %d, is %d", MinPreflightDays, MaxPreflightDays, s.PreflightDays)
	}
	if s.FreezeHours < MinFreezeHours || s.FreezeHours > MaxFreezeHours {
		return Invalid(prefix+"freeze_hours", "must be %d to %d, is %d", MinFreezeHours, MaxFreezeHours, s.FreezeHours)
	}
	if s.FreezeHours > s.PreflightDays*24 {
		return Invalid(prefix+"freeze_hours", "must not be more than preflight_days, which are %d hours", s.PreflightDays*24)
	}
	switch s.Holds {
	case FreezeHoldsAll, FreezeHoldsNear:
		return nil
	}
	return Invalid(prefix+"holds", "must be all or near, not %q", string(s.Holds))
}
