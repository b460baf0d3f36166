package outlook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

const maxCalendarPages = 50

// Onboard finds the calendar by its id or name, or takes the default one, and fills in its id and the account's
// fingerprint. A calendar that belongs to another account than the settings were made for is refused.
func (c *connection) Onboard(ctx context.Context) (json.RawMessage, error) {
	s, err := c.onboard(ctx)
	if err != nil {
		return nil, domain.E(domain.KindOf(err), "connect calendar: %w", err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, domain.E(domain.KindInternal, "write settings: %w", err)
	}
	return b, nil
}

func (c *connection) onboard(ctx context.Context) (settings, error) {
	s := c.settings
	list, err := c.calendars(ctx)
	if err != nil {
		return s, err
	}
	cal, err := choose(list, s.Calendar)
	if err != nil {
		return s, err
	}
	if c.exports && !cal.CanEdit {
		return s, domain.Invalid("settings.calendar", "the account may not write to it")
	}
	mailbox := fingerprintOf(list)
	if s.Mailbox != "" && mailbox != s.Mailbox {
		return s, domain.Invalid("settings.mailbox", "this is another account than the one that was connected; make a new integration for it")
	}
	s.Calendar, s.Mailbox = cal.ID, mailbox
	return s, nil
}

// calendars reads all pages of the account's list.
func (c *connection) calendars(ctx context.Context) ([]calendar, error) {
	var all []calendar
	ask := call{method: http.MethodGet, path: "/me/calendars", query: url.Values{"$top": {"100"}}}
	for range maxCalendarPages {
		var page struct {
			Value *[]calendar `json:"value"`
			Next  string      `json:"@odata.nextLink"`
		}
		if _, err := c.client.do(ctx, ask, &page); err != nil {
			return nil, err
		}
		if page.Value == nil {
			return nil, domain.E(domain.KindUnavailable, "Graph answered without a list of calendars")
		}
		all = append(all, *page.Value...)
		if page.Next == "" {
			return all, nil
		}
		link, err := c.client.follow(page.Next)
		if err != nil {
			return nil, err
		}
		ask = call{method: http.MethodGet, link: link}
	}
	return nil, domain.E(domain.KindUnavailable, "the list of calendars has more than %d pages", maxCalendarPages)
}

// choose finds the wanted calendar by id, then by name.
func choose(list []calendar, want string) (calendar, error) {
	var named []calendar
	for _, cal := range list {
		if cal.ID == want && want != "" || want == "" && cal.IsDefault {
			return cal, nil
		}
		if strings.EqualFold(cal.Name, want) && want != "" {
			named = append(named, cal)
		}
	}
	switch {
	case len(named) == 1:
		return named[0], nil
	case want == "":
		return calendar{}, domain.Invalid("settings.calendar", "is empty, and the account has no default calendar")
	case len(named) > 1:
		return calendar{}, domain.Invalid("settings.calendar", "is the name of %d calendars; give the id of one", len(named))
	}
	return calendar{}, domain.Invalid("settings.calendar", "is neither id nor name of one of the %d calendars of the account", len(list))
}

// fingerprintOf tells accounts apart without naming them: a digest of who owns the default calendar, else of its id.
func fingerprintOf(list []calendar) string {
	for _, cal := range list {
		if cal.IsDefault {
			who := strings.ToLower(cal.Owner.Address)
			if who == "" {
				who = cal.ID
			}
			sum := sha256.Sum256([]byte("wedsync outlook mailbox\n" + who))
			return hex.EncodeToString(sum[:8])
		}
	}
	return ""
}

// Identity is the account's fingerprint with the calendar's id.
func (c *connection) Identity() string {
	return provider.IdentityOf(c.settings.graph.Host, c.settings.Mailbox, c.settings.Calendar)
}
