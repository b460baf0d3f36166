package domain

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaintenanceID names a window of maintenance, ProviderWindowID one that a provider announced.
type (
	MaintenanceID    string
	ProviderWindowID string
)

// MaintenanceState is where a window of maintenance stands.
type MaintenanceState string

// The states of a window, in the order in which they follow each other; the last three are final.
const (
	MaintenanceProposed  MaintenanceState = "proposed"  // waits for approval
	MaintenanceApproved  MaintenanceState = "approved"  // waits for its announcement
	MaintenanceAnnounced MaintenanceState = "announced" // people were told; waits for its beginning
	MaintenanceDraining  MaintenanceState = "draining"  // new work is held, what was going on finishes
	MaintenanceRunning   MaintenanceState = "running"   // nothing goes on but what the maintenance does
	MaintenanceReplaying MaintenanceState = "replaying" // what was held is being done
	MaintenanceDone      MaintenanceState = "done"
	MaintenanceCancelled MaintenanceState = "cancelled" // before it began
	MaintenanceRefused   MaintenanceState = "refused"   // nobody approved it in time
)

// MaintenanceStates lists every state.
func MaintenanceStates() []MaintenanceState {
	return []MaintenanceState{MaintenanceProposed, MaintenanceApproved, MaintenanceAnnounced, MaintenanceDraining, MaintenanceRunning,
		MaintenanceReplaying, MaintenanceDone, MaintenanceCancelled, MaintenanceRefused}
}

// Ended reports whether nothing follows.
func (s MaintenanceState) Ended() bool {
	return s == MaintenanceDone || s == MaintenanceCancelled || s == MaintenanceRefused
}

// Holds reports whether work of the window's connections is held.
func (s MaintenanceState) Holds() bool { return s == MaintenanceDraining || s == MaintenanceRunning }

// Ahead reports whether the window has not begun and may still begin.
func (s MaintenanceState) Ahead() bool {
	return s == MaintenanceProposed || s == MaintenanceApproved || s == MaintenanceAnnounced
}

// ApprovalMode says who approves windows.
type ApprovalMode string

// The modes.
const (
	ApprovalByPerson  ApprovalMode = "person"    // an admin
	ApprovalAutomatic ApprovalMode = "automatic" // nobody, unless somebody cancels it before its notice begins
)

// WhenWedding says what becomes of a window that has not begun when a wedding's freeze moves into it.
type WhenWedding string

// The ways.
const (
	WeddingCancels WhenWedding = "cancel"
	WeddingMoves   WhenWedding = "move" // to the best free time; cancelled where there is none
)

// Bounds of maintenance.
const (
	MinMaintenance        = 5 * time.Minute
	MaxMaintenance        = 12 * time.Hour
	MaxMaintenanceAhead   = 366 * 24 * time.Hour
	MaxMaintenances       = 50  // windows of an organisation that have not ended
	MaxMaintained         = 500 // connections of one window
	MaxMaintenanceScopes  = 50
	MaxMaintenanceNotice  = 30 * 24 * 60 // minutes
	MaxMaintenanceReason  = 500          // bytes
	MaxAnnouncements      = 5
	MaxSeasons            = 20
	MaxProviderWindows    = 200 // of an organisation that are not over
	MaxProviderWindowTime = 7 * 24 * time.Hour
	MinProposeDays        = 7 // between two windows that the platform proposes by itself
	MaxProposeDays        = 365
)

// Maintenance is a window in which connections are at rest: what arrives is stored and not applied, nothing is written to the other
// systems, and nothing of it counts against what was promised.
type Maintenance struct {
	ID       MaintenanceID    `json:"id"`
	OrgID    OrgID            `json:"-"`
	Scopes   []Scope          `json:"scopes"` // which connections; one is enough
	StartsAt time.Time        `json:"starts_at"`
	EndsAt   time.Time        `json:"ends_at"`
	State    MaintenanceState `json:"state"`
	Approval ApprovalMode     `json:"approval"`
	Reason   string           `json:"reason"`         // what is done, by the person who asked for it; no personal data
	Note     string           `json:"note,omitempty"` // why it is in its state
	// ShortNotice says that an admin let it begin before the usual notice.
	ShortNotice bool       `json:"short_notice,omitempty"`
	RequestedBy string     `json:"requested_by"` // token subject
	ApprovedBy  string     `json:"approved_by,omitempty"`
	ApprovedAt  *time.Time `json:"approved_at,omitempty"`
	// Announced is the shortest of the times before the beginning at which people were told, in minutes; nil = they were not.
	Announced *int `json:"announced_minutes,omitempty"`
	Moved     int  `json:"moved,omitempty"` // how often it gave way to a wedding
	// DrainedAt is when the last of its connections came to rest, ReleasedAt when they were let go on.
	BeganAt    *time.Time `json:"began_at,omitempty"`
	DrainedAt  *time.Time `json:"drained_at,omitempty"`
	ReleasedAt *time.Time `json:"released_at,omitempty"`
	EndedAt    *time.Time `json:"ended_at,omitempty"`
	// Early is true when it ended before its time.
	Early       bool      `json:"ended_early,omitempty"`
	Connections int       `json:"connections"` // that were held
	Held        int       `json:"held"`        // deliveries and writes that waited when it ended
	Left        int       `json:"left"`        // of them, those that wait still
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
	Version     int64     `json:"version"` // grows by one with each change
}

// Span is the time of the window.
func (m Maintenance) Span() Span { return Span{Start: m.StartsAt, End: m.EndsAt} }

// Covers reports whether a connection is one of the window's.
func (m Maintenance) Covers(platform string, id IntegrationID) bool {
	return slices.ContainsFunc(m.Scopes, func(s Scope) bool { return s.Covers(platform, id) })
}

// Validate checks scopes, times and reason; prefix is put before the names of fields. Whether the time is free is not known here.
func (m Maintenance) Validate(prefix string, now time.Time) error {
	if len(m.Scopes) == 0 || len(m.Scopes) > MaxMaintenanceScopes {
		return Invalid(prefix+"scopes", "must name 1 to %d scopes, has %d", MaxMaintenanceScopes, len(m.Scopes))
	}
	for n, s := range m.Scopes {
		if err := s.Validate(prefix + "scopes[" + strconv.Itoa(n) + "]."); err != nil {
			return err
		}
	}
	if fault := lineFault(m.Reason, MaxMaintenanceReason); fault != "" {
		return Invalid(prefix+"reason", "%s", fault)
	}
	switch d := m.EndsAt.Sub(m.StartsAt); {
	case m.StartsAt.IsZero() || m.EndsAt.IsZero():
		return Invalid(prefix+"starts_at", "starts_at and ends_at are required")
	case d < MinMaintenance || d > MaxMaintenance:
		return Invalid(prefix+"ends_at", "must be %s to %s after starts_at", MinMaintenance, MaxMaintenance)
	case m.StartsAt.After(now.Add(MaxMaintenanceAhead)):
		return Invalid(prefix+"starts_at", "must be within %d days", int(MaxMaintenanceAhead.Hours()/24))
	}
	return nil
}

// MaintenanceMember is what is known of one connection of a window that has begun.
type MaintenanceMember struct {
	IntegrationID IntegrationID `json:"integration_id"`
	HeldAt        time.Time     `json:"held_at"`
	QuietAt       *time.Time    `json:"quiet_at,omitempty"`    // when the last that was going on had finished
	ReleasedAt    *time.Time    `json:"released_at,omitempty"` // when it was let go on
	Pulls         bool          `json:"pulls"`                 // it is read after the window
	Held          int           `json:"held"`                  // deliveries and writes that waited when it was let go on
	Left          int           `json:"left"`                  // of them, those that wait still
	ReadAt        *time.Time    `json:"read_at,omitempty"`     // when a reading that began after the window ended
}

// Season is a stretch of local days in which an organisation wants no maintenance.
type Season struct {
	// From and Until are the first and the last day: YYYY-MM-DD for once, or MM-DD for every year, which may reach over the new year.
	From  string `json:"from" maxLength:"10" doc:"First day: YYYY-MM-DD for once, MM-DD for every year"`
	Until string `json:"until" maxLength:"10" doc:"Last day, in the same form"`
	Name  string `json:"name" maxLength:"60" doc:"What it is called, such as high season"`
}

// MaintenanceSettings are what an organisation wants of maintenance.
type MaintenanceSettings struct {
	Approval ApprovalMode `json:"approval" enum:"person,automatic"`
	// NoticeMinutes is how long before its beginning a window must be approved.
	NoticeMinutes int `json:"notice_minutes" minimum:"0" maximum:"43200"`
	// AnnounceMinutes are the times before the beginning at which people are told, the longest first.
	AnnounceMinutes []int `json:"announce_minutes" maxItems:"5"`
	// Zone is on whose clock days and hours are meant; "" = that of the organisation.
	Zone string `json:"zone,omitempty" maxLength:"64"`
	// Weekdays are those on which maintenance may be, 0 = Sunday.
	Weekdays []int `json:"weekdays" maxItems:"7"`
	// FromMinute and UntilMinute are the local hours in which it may be, in minutes after midnight. 0 and 1440 are the whole day;
	// from after until reaches over midnight.
	FromMinute  int         `json:"from_minute" minimum:"0" maximum:"1439"`
	UntilMinute int         `json:"until_minute" minimum:"1" maximum:"1440"`
	Seasons     []Season    `json:"seasons" maxItems:"20"`
	WhenWedding WhenWedding `json:"when_wedding" enum:"cancel,move"`
	// ProposeDays is after how many days without a window the platform proposes one for a connection by itself; 0 = it does not.
	// What providers announce of their own systems is proposed in any case.
	ProposeDays int `json:"propose_days" minimum:"0" maximum:"365"`
	// ProposeMinutes is how long such a window is.
	ProposeMinutes int        `json:"propose_minutes" maximum:"720"`
	UpdatedBy      string     `json:"updated_by,omitempty"`
	UpdatedAt      *time.Time `json:"updated_at,omitempty"`
	Version        int64      `json:"version"` // 0 = the standard
}

// StandardMaintenanceSettings are those of an organisation that set none: an admin approves, people are told three days and an hour
// before, and Saturdays are closed.
func StandardMaintenanceSettings() MaintenanceSettings {
	return MaintenanceSettings{Approval: ApprovalByPerson, NoticeMinutes: 72 * 60, AnnounceMinutes: []int{72 * 60, 60},
		Weekdays: []int{0, 1, 2, 3, 4, 5}, FromMinute: 0, UntilMinute: 1440, Seasons: []Season{}, WhenWedding: WeddingCancels, ProposeMinutes: 60}
}

// Notice is NoticeMinutes as a duration.
func (s MaintenanceSettings) Notice() time.Duration {
	return time.Duration(s.NoticeMinutes) * time.Minute
}

// Validate checks everything but whether the zone exists and the days of seasons do; prefix is put before the names of fields.
func (s MaintenanceSettings) Validate(prefix string) error {
	if s.Approval != ApprovalByPerson && s.Approval != ApprovalAutomatic {
		return Invalid(prefix+"approval", "must be person or automatic")
	}
	if s.WhenWedding != WeddingCancels && s.WhenWedding != WeddingMoves {
		return Invalid(prefix+"when_wedding", "must be cancel or move")
	}
	if s.NoticeMinutes < 0 || s.NoticeMinutes > MaxMaintenanceNotice {
		return Invalid(prefix+"notice_minutes", "must be 0 to %d, is %d", MaxMaintenanceNotice, s.NoticeMinutes)
	}
	if len(s.AnnounceMinutes) > MaxAnnouncements {
		return Invalid(prefix+"announce_minutes", "at most %d, has %d", MaxAnnouncements, len(s.AnnounceMinutes))
	}
	for n, lead := range s.AnnounceMinutes {
		if lead < 1 || lead > MaxMaintenanceNotice || n > 0 && lead >= s.AnnounceMinutes[n-1] {
			return Invalid(prefix+"announce_minutes", "must be 1 to %d, each less than the one before", MaxMaintenanceNotice)
		}
	}
	if s.ProposeDays != 0 && (s.ProposeDays < MinProposeDays || s.ProposeDays > MaxProposeDays) {
		return Invalid(prefix+"propose_days", "must be 0 (never) or %d to %d, is %d", MinProposeDays, MaxProposeDays, s.ProposeDays)
	}
	if d := time.Duration(s.ProposeMinutes) * time.Minute; s.ProposeDays > 0 && (d < MinMaintenance || d > MaxMaintenance) {
		return Invalid(prefix+"propose_minutes", "must be %d to %d, is %d", int(MinMaintenance.Minutes()), int(MaxMaintenance.Minutes()), s.ProposeMinutes)
	}
	if len(s.Zone) > 64 {
		return Invalid(prefix+"zone", "must be an IANA zone name of at most 64 characters")
	}
	if len(s.Weekdays) == 0 {
		return Invalid(prefix+"weekdays", "must name at least one day")
	}
	for n, day := range s.Weekdays {
		if day < 0 || day > 6 || slices.Contains(s.Weekdays[:n], day) {
			return Invalid(prefix+"weekdays", "must be 0 (Sunday) to 6 (Saturday), each once")
		}
	}
	if s.FromMinute < 0 || s.FromMinute > 1439 || s.UntilMinute < 1 || s.UntilMinute > 1440 || s.FromMinute == s.UntilMinute {
		return Invalid(prefix+"from_minute", "from_minute must be 0 to 1439, until_minute 1 to 1440, and not the same")
	}
	if len(s.Seasons) > MaxSeasons {
		return Invalid(prefix+"seasons", "at most %d, has %d", MaxSeasons, len(s.Seasons))
	}
	for n, one := range s.Seasons {
		at := prefix + "seasons[" + strconv.Itoa(n) + "]."
		if fault := lineFault(one.Name, 60); fault != "" {
			return Invalid(at+"name", "%s", fault)
		}
		if len(one.From) != len(one.Until) || len(one.From) != len("01-02") && len(one.From) != len(time.DateOnly) {
			return Invalid(at+"from", "from and until must both be YYYY-MM-DD or both MM-DD")
		}
	}
	return nil
}

// ProviderWindow is maintenance that a provider announced of its own system.
type ProviderWindow struct {
	ID       ProviderWindowID `json:"id"`
	OrgID    OrgID            `json:"-"`
	Provider string           `json:"provider"`
	StartsAt time.Time        `json:"starts_at"`
	EndsAt   time.Time        `json:"ends_at"`
	// Source says where it was announced: an address of https, or words.
	Source string `json:"source"`
	// MaintenanceID is the window of ours that was proposed for it, "" as long as none could be.
	MaintenanceID MaintenanceID `json:"maintenance_id,omitempty"`
	CreatedBy     string        `json:"created_by"`
	CreatedAt     time.Time     `json:"created_at"`
}

// Validate checks times and source; prefix is put before the names of fields. Whether the provider exists is not known here.
func (w ProviderWindow) Validate(prefix string, now time.Time) error {
	switch d := w.EndsAt.Sub(w.StartsAt); {
	case w.Provider == "" || len(w.Provider) > 60:
		return Invalid(prefix+"provider", "must be the name of a provider, 1 to 60 characters")
	case w.StartsAt.IsZero() || d <= 0 || d > MaxProviderWindowTime:
		return Invalid(prefix+"ends_at", "must be after starts_at, by at most %d days", int(MaxProviderWindowTime.Hours()/24))
	case !w.EndsAt.After(now):
		return Invalid(prefix+"ends_at", "must not be over")
	case w.StartsAt.After(now.Add(MaxMaintenanceAhead)):
		return Invalid(prefix+"starts_at", "must be within %d days", int(MaxMaintenanceAhead.Hours()/24))
	}
	if fault := lineFault(w.Source, 500); fault != "" {
		return Invalid(prefix+"source", "%s", fault)
	}
	if strings.Contains(w.Source, "://") && !strings.HasPrefix(w.Source, "https://") {
		return Invalid(prefix+"source", "an address must be one of https")
	}
	return nil
}

// WorkHold says that the work of a connection rests during a window of maintenance. Nobody needs to end it: it is over at Until.
type WorkHold struct {
	By    MaintenanceID `json:"by"`
	Until time.Time     `json:"until"`
}

// In reports whether the hold is in force at a time; a nil one never is.
func (h *WorkHold) In(now time.Time) bool { return h != nil && now.Before(h.Until) }
