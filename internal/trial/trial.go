// Package trial compares two ways of reading a delivery: by the settings of a connection as they are, and by others that
// are to be tried before they are switched on. It decides from two explanations alone and touches nothing.
//
// A comparison names the fields that differ and never their values, so it may be shown to whoever may see the delivery's
// state. Test it with tables (go test ./internal/trial).
package trial

import (
	"slices"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Outcome is what becomes of a delivery that is read in some way.
type Outcome string

// The outcomes. Applied says that there is something to apply, not that it has an effect.
const (
	Applied Outcome = "applied"
	Ignored Outcome = "ignored"
	Dead    Outcome = "dead"
)

// OutcomeOf tells what becomes of a delivery that was read like this.
func OutcomeOf(e provider.Explanation) Outcome {
	switch {
	case e.Err != nil:
		return Dead
	case len(e.Decoded.Changes) == 0:
		return Ignored
	}
	return Applied
}

// Reason says in words why a delivery is not applied; "" for one that is.
func Reason(e provider.Explanation) string {
	switch OutcomeOf(e) {
	case Dead:
		if domain.KindOf(e.Err) == domain.KindInternal {
			return "an unexpected fault"
		}
		return e.Err.Error()
	case Ignored:
		if e.Decoded.Ignore != "" {
			return e.Decoded.Ignore
		}
		return "nothing in it is for us"
	case Applied:
	}
	return ""
}

// Kind sums a comparison up.
type Kind string

// The kinds.
const (
	Same         Kind = "same"
	Changed      Kind = "changed"       // the outcome is the same, and something in it is not
	NewlyApplied Kind = "newly_applied" // was ignored or dead
	NewlyIgnored Kind = "newly_ignored" // was applied or dead
	NewlyDead    Kind = "newly_dead"    // was applied or ignored
)

// Kinds lists all of them.
func Kinds() []Kind { return []Kind{Same, Changed, NewlyApplied, NewlyIgnored, NewlyDead} }

// Compare tells what another way of reading changes, and the sorted names of the fields that differ. Entries are told
// apart by their external ids; where these differ, the field is "entries".
func Compare(was, now provider.Explanation) (Kind, []string) {
	fields := map[string]bool{}
	note := func(name string, differs bool) {
		if differs {
			fields[name] = true
		}
	}
	before, after := OutcomeOf(was), OutcomeOf(now)
	note("event_type", was.Decoded.EventType != now.Decoded.EventType)
	note("priority", was.Priority != now.Priority)
	note("route", !sameSet(was.Decoded.Route, now.Decoded.Route))
	if before == after {
		note("reason", Reason(was) != Reason(now))
	}
	if before == Applied && after == Applied {
		compareChanges(was.Decoded.Changes, now.Decoded.Changes, note)
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	switch {
	case before != after && after == Applied:
		return NewlyApplied, names
	case before != after && after == Ignored:
		return NewlyIgnored, names
	case before != after:
		return NewlyDead, names
	case len(names) > 0:
		return Changed, names
	}
	return Same, names
}

func sameSet(a, b []domain.IntegrationID) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// compareChanges pairs the changes of equal external id in their order: of one entry the last has the last word.
func compareChanges(was, now []domain.Change, note func(string, bool)) {
	if len(was) != len(now) {
		note("entries", true)
	}
	byID := make(map[string][]domain.Change, len(was))
	for _, c := range was {
		byID[c.ExternalID] = append(byID[c.ExternalID], c)
	}
	for _, b := range now {
		left := byID[b.ExternalID]
		if len(left) == 0 {
			note("entries", true)
			continue
		}
		a := left[0]
		byID[b.ExternalID] = left[1:]
		note("op", a.Op != b.Op)
		note("uid", a.UID != b.UID)
		note("revision", a.Revision != b.Revision)
		note("remote_version", a.RemoteVersion != b.RemoteVersion)
		note("category", a.Category != b.Category)
		note("status", a.Status != b.Status)
		note("start", !a.When.Start.Equal(b.When.Start))
		note("end", !a.When.End.Equal(b.When.End))
		note("zone", a.When.Zone != b.When.Zone)
		note("time_kind", a.When.Kind != b.When.Kind)
		note("title", a.Details.Title != b.Details.Title)
		note("location", a.Details.Location != b.Details.Location)
		note("notes", a.Details.Notes != b.Details.Notes)
		note("contact", a.Details.Contact != b.Details.Contact)
		note("private", a.Private != b.Private)
		note("free", a.Free != b.Free)
		note("labels", !slices.Equal(a.Labels, b.Labels))
		note("declined", a.Declined != b.Declined)
		note("kind", a.Kind != b.Kind)
		note("changed_at", (a.ChangedAt == nil) != (b.ChangedAt == nil) || a.ChangedAt != nil && !a.ChangedAt.Equal(*b.ChangedAt))
		note("origin", a.Origin != b.Origin)
		note("unbound", a.Unbound != b.Unbound)
		note("copy_of", a.CopyOf != b.CopyOf)
	}
}
