package freeze

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// DeployWithin is how long before a wedding's day the platform is left alone, where nobody says otherwise: the evening
// before.
const DeployWithin = 12 * time.Hour

// MaxDeployWithin bounds it.
const MaxDeployWithin = 168 * time.Hour

// Days are the weddings whose day keeps the platform from being changed.
type Days struct {
	Freezes       []store.OrgFreeze // the earliest first
	Organisations int
	Until         time.Time // when none of them is on any more
}

// Platform finds the weddings of all organisations whose day is on, or begins within a time. It is narrower than a freeze:
// with many organisations some freeze is always on, and a program that can never be changed is a risk of its own.
func Platform(ctx context.Context, s *store.Store, within time.Duration) (Days, error) {
	var d Days
	if within < 0 || within > MaxDeployWithin {
		return d, domain.Invalid("freeze-within", "must be 0 to %s", MaxDeployWithin)
	}
	now := s.Now()
	all, err := s.FreezesEverywhere(ctx, now, now.Add(within+time.Microsecond))
	if err != nil {
		return d, err
	}
	orgs := map[domain.OrgID]bool{}
	for _, f := range all {
		if !f.Deploying(now, within) {
			continue
		}
		d.Freezes = append(d.Freezes, f)
		orgs[f.Org] = true
		if f.Day.End.After(d.Until) {
			d.Until = f.Day.End
		}
	}
	d.Organisations = len(orgs)
	return d, nil
}

// Any reports whether there is such a wedding.
func (d Days) Any() bool { return len(d.Freezes) > 0 }

// String says how many, and until when, on one line.
func (d Days) String() string {
	if !d.Any() {
		return "no wedding's day is on or near"
	}
	first := d.Freezes[0]
	return fmt.Sprintf("%s in %s: the first day is from %s, the last one ends at %s", count(len(d.Freezes), "wedding"), count(d.Organisations, "organisation"),
		first.Day.Start.Format(time.RFC3339), d.Until.Format(time.RFC3339))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// NoteOverride writes into the audit trail of each organisation concerned that the platform is changed on the day of its
// wedding, by whom and why.
func NoteOverride(ctx context.Context, s *store.Store, d Days, what, by, reason string) error {
	o := Override{By: by, Admin: true, Reason: reason}
	if err := o.Validate("override-freeze"); err != nil {
		return err
	}
	noted := map[domain.OrgID]bool{}
	for _, f := range d.Freezes {
		if noted[f.Org] {
			continue
		}
		noted[f.Org] = true
		err := s.Tenant(ctx, f.Org, func(ctx context.Context, tx *store.Tx) error {
			return tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: string(ActPlatform), Reason: strings.TrimSpace(reason), Subject: "booking/" + string(f.Booking),
				After: map[string]string{"act": what, "frozen_until": f.Day.End.Format(time.RFC3339)}})
		})
		if err != nil {
			return fmt.Errorf("note the override: %w", err)
		}
	}
	return nil
}
