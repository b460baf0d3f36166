package google

import (
	"context"
	"encoding/json"

	"google.golang.org/api/calendar/v3"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// maxCalendarPages bounds the calendar list.
const maxCalendarPages = 20

// Onboard looks the calendar up in the account's list, and completes the settings by its real id and by what the account
// may do in it. The id matters: primary would be another calendar once another account is connected.
func (c *connection) Onboard(ctx context.Context) (json.RawMessage, error) {
	s, err := c.onboard(ctx)
	if err != nil {
		return nil, fail("look up Google calendar", err)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, domain.E(domain.KindInternal, "write the completed settings")
	}
	return raw, nil
}

func (c *connection) onboard(ctx context.Context) (settings, error) {
	s := c.settings
	var found *calendar.CalendarListEntry
	if s.Calendar != "" {
		one, err := c.api.CalendarList.Get(s.Calendar).Context(ctx).Do()
		if kindOf(err) == domain.KindNotFound {
			return s, domain.Invalid("settings.calendar", "is not in the account's calendar list")
		}
		if err != nil {
			return s, err
		}
		found = one
	} else {
		fits, err := c.fitting(ctx)
		if err != nil {
			return s, err
		}
		switch len(fits) {
		case 0:
			return s, domain.Invalid("settings.calendar", "the account has no calendar that fits the direction")
		case 1:
			found = fits[0]
		default:
			return s, domain.Invalid("settings.calendar", "must be chosen: the account has %d calendars that fit", len(fits))
		}
	}
	if found.Kind != "calendar#calendarListEntry" || found.Id == "" {
		return s, errUnreadable
	}
	switch found.AccessRole {
	case accessOwner, accessWriter:
	case accessReader, accessBusy:
		if c.exports {
			return s, domain.Invalid("settings.calendar", "may not be written by this account, which the direction needs")
		}
	default:
		return s, domain.Invalid("settings.calendar", "gives this account no access that is known")
	}
	s.Calendar, s.Access = found.Id, found.AccessRole
	return s, s.check()
}

// fitting lists the calendars that the direction can use.
func (c *connection) fitting(ctx context.Context) ([]*calendar.CalendarListEntry, error) {
	least := accessBusy
	if c.exports {
		least = accessWriter
	}
	call := c.api.CalendarList.List().MinAccessRole(least).ShowHidden(true).MaxResults(250).Context(ctx)
	var out []*calendar.CalendarListEntry
	for range maxCalendarPages {
		page, err := call.Do()
		if err != nil {
			return nil, err
		}
		if page.Kind != "calendar#calendarList" {
			return nil, errUnreadable
		}
		for _, one := range page.Items {
			if one != nil && !one.Deleted {
				out = append(out, one)
			}
		}
		if page.NextPageToken == "" {
			return out, nil
		}
		call.PageToken(page.NextPageToken)
	}
	return nil, domain.Invalid("settings.calendar", "must be chosen: the account's calendar list is too long to go through")
}

// Identity is the calendar's id, which is the same for every account that sees it. Before the calendar was looked up it may
// be a word such as primary, which means another one for each account.
func (c *connection) Identity() string {
	if c.settings.Access == "" {
		return ""
	}
	return provider.IdentityOf(c.settings.Development.API+"google", c.settings.Calendar)
}
