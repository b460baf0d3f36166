// Package freeze keeps risky things from happening while a wedding is near or on. It is the one place that decides so:
//
//   - [Person] stands before what a person asks for and what could spoil a wedding day: another mapping, another sync
//     policy, a replay, a purge, a disconnection, a reading from the beginning. It refuses with a [Refusal], unless an
//     admin overrides the freeze with a reason, which goes into the audit trail beside the wedding.
//   - [Look] tells what happens by itself whether it must wait ([Now.Stops]): removals that a system reports, decisions
//     between two versions of an entry, policies for conflicts, holds that end, replays and purges that were begun before.
//     The caller leaves it to a person, or does it later.
//   - [Platform] tells whoever changes the program under all organisations whether a wedding's day is on, see
//     docs/operations.md.
//
// What protects goes on: new bookings, their busy time in other systems, changes of times, and whatever a person decides
// about a booking. When a freeze begins and ends is decided by rules/weddingday from the weddings themselves, read in the
// caller's transaction, so nothing has to run for it to be true.
//
// Errors have a domain.ErrorKind and hold ids and times only. Everything may be repeated; an override is noted each time.
// Test it on real Postgres: go test ./internal/freeze.
package freeze

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
	"github.com/wedsync/wedsync/internal/store"
)

// Act is something risky that a person may ask for, as the audit trail names it.
type Act string

// The acts that need an override while a freeze is on.
const (
	ActSettings   Act = "integration.settings"     // by which definition or mapping a system is read, and where it is
	ActDirection  Act = "integration.direction"    // whether it is read and written
	ActResource   Act = "integration.resource"     // whose calendar it is
	ActSync       Act = "integration.sync"         // its sync policy
	ActGuard      Act = "integration.guard"        // how many removals pass without asking
	ActResync     Act = "integration.resync"       // a reading from the beginning
	ActPurge      Act = "integration.purge"        // the removal of all our copies
	ActDisconnect Act = "integration.delete"       // its end
	ActReplay     Act = "replay"                   // webhooks handed in once more
	ActPolicy     Act = "conflict_policy"          // what is decided about conflicts without asking
	ActPeriods    Act = "freeze_settings"          // when a freeze begins
	ActPlatform   Act = "platform.override_freeze" // a new version of the program
)

// Bounds of the reason for an override, in characters.
const (
	MinReason = 3
	MaxReason = 500
)

// Override is a person's word that something is to be done in spite of a freeze. The zero value is none.
type Override struct {
	By     string // token subject
	Admin  bool
	Reason string
}

// Validate checks the reason; field names it. No override is valid.
func (o Override) Validate(field string) error {
	if o.Reason == "" {
		return nil
	}
	if !utf8.ValidString(o.Reason) || strings.ContainsFunc(o.Reason, unicode.IsControl) {
		return domain.Invalid(field, "must be printable text")
	}
	// Blanks say nothing, and the trail keeps 1,000 bytes.
	if n := utf8.RuneCountInString(strings.TrimSpace(o.Reason)); n < MinReason || n > MaxReason || len(o.Reason) > 1000 {
		return domain.Invalid(field, "must be a reason of %d to %d characters", MinReason, MaxReason)
	}
	return nil
}

// Refusal says which freeze stands in the way of an act. It unwraps to a KindConflict about the field.
type Refusal struct {
	Act    Act
	Freeze weddingday.Freeze // that ends last
	Thaw   time.Time         // when none is on any more
	fault  error
}

// Error says until when, and what helps.
func (r *Refusal) Error() string { return r.fault.Error() }

// Unwrap returns an error with a domain kind and the field.
func (r *Refusal) Unwrap() error { return r.fault }

func refusal(act Act, field string, n Now) *Refusal {
	f, _ := weddingday.On(n.freezes, n.at)
	r := &Refusal{Act: act, Freeze: f, Thaw: n.Thaw()}
	r.fault = &domain.Error{Kind: domain.KindConflict, Field: field, Text: fmt.Sprintf("is frozen until %s, because a wedding is near or on; an admin may override that with a reason of %d to %d characters",
		r.Thaw.Format(time.RFC3339), MinReason, MaxReason)}
	return r
}

// Now is what is frozen in an organisation at the moment of a transaction.
type Now struct {
	at      time.Time
	freezes []weddingday.Freeze
	holds   domain.FreezeHolds
	length  time.Duration
}

// Look reads it.
func Look(ctx context.Context, tx *store.Tx) (Now, error) {
	// As far ahead as freezes can follow each other without a break that matters to whoever waits.
	freezes, settings, err := tx.FreezesWith(ctx, tx.Now, tx.Now.Add(14*24*time.Hour))
	return Now{tx.Now, freezes, settings.Holds, weddingday.PeriodsOf(settings).Freeze}, err
}

// Frozen reports whether a freeze is on.
func (n Now) Frozen() bool {
	_, on := weddingday.On(n.freezes, n.at)
	return on
}

// Length is how long before a wedding the organisation's freeze begins.
func (n Now) Length() time.Duration { return n.length }

// Wedding is the freeze that is on and ends last; the zero value when none is.
func (n Now) Wedding() weddingday.Freeze {
	f, _ := weddingday.On(n.freezes, n.at)
	return f
}

// Thaw is when no freeze is on any more, as far as is known.
func (n Now) Thaw() time.Time { return weddingday.Thaw(n.freezes, n.at) }

// Stops reports whether what would happen by itself to a booking of this time must wait for a person, as the organisation's
// settings say.
func (n Now) Stops(about domain.Span) bool {
	_, on := weddingday.Stops(n.freezes, n.at, about, n.holds)
	return on
}

// Within is the freeze that is on and within which a time lies, of several the one that ends last.
func (n Now) Within(about domain.Span) (weddingday.Freeze, bool) {
	return weddingday.Stops(n.freezes, n.at, about, domain.FreezeHoldsNear)
}

// Person refuses an act of a person while a freeze is on, with a *Refusal about field. With an admin's override it passes,
// and the audit trail gets a line about the wedding with the reason. subject names what is acted on, such as
// "integration/<id>". overridden tells whether a freeze was on. Errors besides: KindInvalid for a reason out of bounds,
// KindForbidden for an override by somebody else.
func Person(ctx context.Context, tx *store.Tx, act Act, field, subject string, o Override) (overridden bool, err error) {
	if err := o.Validate("header." + Header); err != nil {
		return false, err
	}
	n, err := Look(ctx, tx)
	if err != nil || !n.Frozen() {
		return false, err
	}
	switch {
	case o.Reason == "":
		return false, refusal(act, field, n)
	case !o.Admin:
		return false, domain.E(domain.KindForbidden, "only an admin may override a freeze")
	}
	f := n.Wedding()
	return true, tx.Audit(ctx, domain.AuditEntry{Actor: o.By, Action: "freeze.override", Reason: strings.TrimSpace(o.Reason), Subject: "booking/" + string(f.Booking),
		After: map[string]string{"act": string(act), "of": subject, "frozen_until": n.Thaw().Format(time.RFC3339)}})
}

// Header carries the reason of an override in every request that may need one.
const Header = "Override-Freeze"
