package domain

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// SyncPolicy says what a connection takes from its system, what it shows there, and who wins when both sides changed. It
// is the same for every provider. The zero value takes everything, lets the newest edit win and mirrors private bookings
// as Busy.
type SyncPolicy struct {
	Filters SyncFilters `json:"filters,omitzero" doc:"Which entries of the system become bookings"`
	// EditConflicts decides about edits made on both sides since they last agreed; "" is newest_wins.
	EditConflicts EditPolicy `json:"edit_conflicts,omitempty" enum:"manual,source_wins,newest_wins,keep_both" doc:"Who wins when a booking was changed here and its entry there since they last agreed"`
	// Private says how private bookings are shown there; "" is busy.
	Private PrivatePolicy `json:"private,omitempty" enum:"busy,skip" doc:"How private bookings are shown in the system: as Busy, or not at all"`
	// MirrorTitle is the title of copies, with {title} and {category} replaced; "" is the title itself. Private bookings
	// are Busy whatever it says.
	MirrorTitle string `json:"mirror_title,omitempty" maxLength:"100" doc:"Title of copies written there, such as \"[Studio] {title}\"; {title} and {category} are replaced"`
}

// SyncFilters choose the entries of a system that become bookings. Every filter that is set must let an entry through;
// the zero value lets all through. An entry that is filtered out later is withdrawn as if it had been removed there.
type SyncFilters struct {
	Categories    []Category `json:"categories,omitempty" maxItems:"8" doc:"Only these categories; empty = all"`
	IncludeLabels []string   `json:"include_labels,omitempty" maxItems:"20" doc:"Only entries with one of these categories or colours, in the system's words; case does not count"`
	ExcludeLabels []string   `json:"exclude_labels,omitempty" maxItems:"20" doc:"No entries with one of these"`
	// TitleContains and TitleMatches look at the title alone. Contains ignores case; matches is an RE2 expression.
	TitleContains string   `json:"title_contains,omitempty" maxLength:"100" doc:"Only entries whose title contains this; case does not count"`
	TitleMatches  string   `json:"title_matches,omitempty" maxLength:"200" doc:"Only entries whose title matches this RE2 expression"`
	TitleExcludes string   `json:"title_excludes,omitempty" maxLength:"200" doc:"No entries whose title matches this RE2 expression"`
	SkipDeclined  bool     `json:"skip_declined,omitempty" doc:"No entries that the owner of the calendar declined"`
	SkipAllDay    bool     `json:"skip_all_day,omitempty" doc:"No all-day entries"`
	SkipFree      bool     `json:"skip_free,omitempty" doc:"No entries that leave the time free"`
	Kinds         []string `json:"kinds,omitempty" maxItems:"20" doc:"Only these types of entries; ordinary ones are \"default\", others out_of_office, focus_time, working_location, birthday, from_mail"`
}

// EditPolicy decides about edits on both sides.
type EditPolicy string

// The policies.
const (
	EditManual     EditPolicy = "manual"      // a person decides; until then each side keeps what it has
	EditSourceWins EditPolicy = "source_wins" // the system that brought the booking, or WedSync for one made there
	EditNewestWins EditPolicy = "newest_wins" // by the system's time of change, else by the time at which we learned of it
	EditKeepBoth   EditPolicy = "keep_both"   // the losing version becomes a booking of its own
)

// PrivatePolicy says how private bookings are shown in a system.
type PrivatePolicy string

// The policies.
const (
	PrivateBusy PrivatePolicy = "busy"
	PrivateSkip PrivatePolicy = "skip"
)

// Edits is EditConflicts with its default.
func (p SyncPolicy) Edits() EditPolicy {
	if p.EditConflicts == "" {
		return EditNewestWins
	}
	return p.EditConflicts
}

// Limits of a policy.
const (
	MaxMirrorTitle = 100 // characters
	MaxTitleText   = 100 // characters of title_contains
	MaxTitleRegexp = 200 // bytes
	MaxKinds       = 20
)

// KindDefault is how filters name entries of no particular kind.
const KindDefault = "default"

// Validate checks words and limits. Errors name the field below the path, such as sync.filters.kinds[2].
func (p SyncPolicy) Validate(path string) error {
	switch p.EditConflicts {
	case "", EditManual, EditSourceWins, EditNewestWins, EditKeepBoth:
	default:
		return Invalid(path+".edit_conflicts", "must be manual, source_wins, newest_wins or keep_both")
	}
	switch p.Private {
	case "", PrivateBusy, PrivateSkip:
	default:
		return Invalid(path+".private", "must be busy or skip")
	}
	if err := shortText(path+".mirror_title", p.MirrorTitle, MaxMirrorTitle); err != nil {
		return err
	}
	rest := strings.NewReplacer("{title}", "", "{category}", "").Replace(p.MirrorTitle)
	if strings.ContainsAny(rest, "{}") {
		return Invalid(path+".mirror_title", "knows {title} and {category} only")
	}
	return p.Filters.validate(path + ".filters")
}

func (f SyncFilters) validate(path string) error {
	if len(f.Categories) > len(Categories()) {
		return Invalid(path+".categories", "at most %d, has %d", len(Categories()), len(f.Categories))
	}
	for i, c := range f.Categories {
		if !c.Valid() {
			return Invalid(fmt.Sprintf("%s.categories[%d]", path, i), "is not a category of bookings")
		}
	}
	for _, l := range []struct {
		name  string
		words []string
		limit int
	}{{"include_labels", f.IncludeLabels, MaxLabels}, {"exclude_labels", f.ExcludeLabels, MaxLabels}, {"kinds", f.Kinds, MaxKinds}} {
		if len(l.words) > l.limit {
			return Invalid(path+"."+l.name, "at most %d, has %d", l.limit, len(l.words))
		}
		for i, word := range l.words {
			at := fmt.Sprintf("%s.%s[%d]", path, l.name, i)
			if len(word) == 0 || len(word) > MaxLabel {
				return Invalid(at, "must have 1 to %d bytes, has %d", MaxLabel, len(word))
			}
			if err := shortText(at, word, MaxLabel); err != nil {
				return err
			}
		}
	}
	if err := shortText(path+".title_contains", f.TitleContains, MaxTitleText); err != nil {
		return err
	}
	for _, e := range []struct{ name, text string }{{"title_matches", f.TitleMatches}, {"title_excludes", f.TitleExcludes}} {
		if len(e.text) > MaxTitleRegexp {
			return Invalid(path+"."+e.name, "at most %d bytes, has %d", MaxTitleRegexp, len(e.text))
		}
		if _, err := regexp.Compile(e.text); err != nil {
			return Invalid(path+"."+e.name, "is not an RE2 expression")
		}
	}
	return nil
}

func shortText(path, text string, limit int) error {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return Invalid(path, "must be printable text")
	}
	if n := utf8.RuneCountInString(text); n > limit {
		return Invalid(path, "at most %d characters, has %d", limit, n)
	}
	return nil
}
