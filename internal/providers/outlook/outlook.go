// Package outlook connects to a calendar of Outlook or Microsoft 365 over Microsoft Graph: read by deltas of a calendar
// view, written by conditional requests, watched by subscriptions. The client is thin and typed, on httpx; Microsoft's
// own is too large for what is needed.
//
// # Reading
//
// Pull follows a delta of the calendar view to its last page, one page a call. The window of a view is fixed by its
// first request, so a cursor carries the link to follow and the window. Once the window is rearmAfter behind the days
// of the settings, a new view is read page by page, and then the old delta once more, so that nothing is lost in
// between; nothing is removed because it left a window. A lost delta token is KindGoneToken. Links in answers are
// followed on the host of the settings only.
//
// An @removed of Graph is told of deleted events and of any change outside the window, so each is asked for by its id:
// only 404 is an OpRemove, an event that is still inside the window is reported as it is, and one outside is left to
// Page.Look, by which the caller reads it if it knows it.
//
// The ExternalID of an event is its immutable id, which is asked for with every request. A series master is never an
// entry: it carries the dates of its first occurrence. Occurrences are "series:MASTER#OCCURRENCE"; a delta tells only
// their times, and the rest is read from the master. A deleted occurrence is not told by Graph; the series is sent
// whole, so Page.Look names "series:MASTER" for every series that changed, and the caller reads the known occurrences
// that the page left out. Recurrence rules are never expanded here.
//
// RemoteVersion of single events is the server's lastModifiedDateTime in milliseconds, because deltas repeat older
// states. Occurrences have none.
//
// # Times
//
// Every answer is asked for in UTC (Prefer outlook.timezone). A time without a zone that can be read is a Problem. An
// all-day event is taken by its dates, in the zone of the resource. When.Zone is the zone that the author used where it
// is known, else UTC.
//
// # Writing
//
// Graph gives ids itself, so a copy carries two extended properties: a key (booking and Write.Key), by which a copy
// whose answer was lost is found, and an origin that binds the key to the event's id in a second request. An event that
// a person duplicated from a copy has another id and is the person's own. The transactionId follows from the key, so
// that two creations at once make one event. Copies have no attendees and no reminder. Outlook cannot mark an event as
// cancelled: a cancelled booking is shown as free time. Of a source event only the times and showAs are changed.
//
// # Failure
//
// Kinds are those of httpx. Syncing again after 429 and 503 is the caller's; at most four requests of a mailbox are
// under way at once in this process. A 401 asks the TokenSource for another token once.
//
// # Testing
//
// The suite in providertest runs against sim/graphsim.
package outlook

import (
	"context"
	"net/url"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Registration describes the provider.
var Registration = provider.Registration{
	Name:  "outlook",
	Title: "Outlook and Microsoft 365 calendar",
	Doc:   "A calendar of Outlook.com or Microsoft 365 over Microsoft Graph: read by deltas, written by conditional requests, watched by subscriptions.",
	Abilities: []provider.Ability{
		{Name: provider.CanList, Has: true, How: "By delta links over a time window that moves on."},
		{Name: provider.CanRead, Has: true, How: "One event is asked for by its id."},
		{Name: provider.CanHear, Has: true, How: "Subscriptions say that something changed, and are renewed before they end; polling goes on beside them."},
		{Name: provider.CanWrite, Has: true, How: "Events with our marker, by conditional requests."},
		{Name: provider.CanMove, Has: true, How: "The time of an entry is changed and the rest of it kept."},
		{Name: provider.CanCheck, Has: true, How: "The calendar is asked for."},
		{Name: provider.CanLead, How: "Bookings are written instead."},
	},
	Limits: []string{
		"A person must consent, and the installation needs a client of its own at Microsoft.",
		"Messages can be lost and say nothing of what changed.",
		"Tried with a simulator that is held to Microsoft's documentation, and not with the real system.",
	},
	SettingsSchema: settingsSchema,
	Validate:       validate,
	Open:           open,
	OAuth:          oauth,
	Notice:         notice,
	Rates:          rates,
	// Graph returns it, and its support finds a request by it.
	RequestIDHeader: "client-request-id",
}

// rates are Graph's for one app and mailbox: 10,000 requests in ten minutes, and four under way, which the client keeps for
// probes too.
func rates(c provider.Connection) []provider.Limit {
	one := provider.Limit{Scope: provider.PerAccount, PerSecond: 15, Burst: 1000, AtOnce: maxConcurrent}
	if s, err := parseSettings(c.Integration.Settings); err == nil {
		one.Account = s.Mailbox
	}
	return []provider.Limit{one}
}

// connection is an opened provider value. It is not changed after open.
type connection struct {
	settings settings
	client   client
	exports  bool
	local    *time.Location
	now      func() time.Time
}

var (
	_ provider.Puller    = (*connection)(nil)
	_ provider.Reader    = (*connection)(nil)
	_ provider.Writer    = (*connection)(nil)
	_ provider.Watcher   = (*connection)(nil)
	_ provider.Prober    = (*connection)(nil)
	_ provider.Onboarder = (*connection)(nil)

	_ provider.Identifier = (*connection)(nil)
)

func open(c provider.Connection) (any, error) {
	s, err := parseSettings(c.Integration.Settings)
	if err != nil {
		return nil, err
	}
	switch {
	case c.HTTP == nil:
		return nil, domain.E(domain.KindInternal, "open a calendar: no HTTP client given")
	case c.Tokens == nil:
		return nil, domain.E(domain.KindUnauthenticated, "open a calendar: the account is not connected yet")
	}
	conn := &connection{settings: s, exports: c.Integration.Direction.Exports(), local: c.Zone, now: c.Now}
	if conn.now == nil {
		conn.now = time.Now
	}
	if conn.local == nil {
		conn.local = time.UTC
	}
	mailbox := s.Mailbox
	if mailbox == "" {
		mailbox = string(c.Integration.ID)
	}
	conn.client = client{http: c.HTTP, tokens: c.Tokens, base: s.graph, mailbox: s.graph.Host + "/" + mailbox}
	return conn, nil
}

// calendarPath is the path of the chosen calendar below the base, or an error when there is none yet.
func (c *connection) calendarPath() (string, error) {
	if c.settings.Calendar == "" {
		return "", domain.Invalid("settings.calendar", "is empty: no calendar was chosen yet")
	}
	return "/me/calendars/" + url.PathEscape(c.settings.Calendar), nil
}

// Probe asks for the calendar.
func (c *connection) Probe(ctx context.Context) error {
	cal, err := c.calendar(ctx)
	if err == nil && c.exports && !cal.CanEdit {
		err = domain.E(domain.KindForbidden, "the account may not write to the calendar")
	}
	if err != nil {
		return domain.E(domain.KindOf(err), "probe calendar: %w", err)
	}
	return nil
}

// window is the time that a view covers.
func (c *connection) window() domain.Span {
	today := calendartime.DateOf(c.now(), time.UTC)
	return domain.Span{
		Start: calendartime.DayStart(today.AddDays(-c.settings.past()), time.UTC),
		End:   calendartime.DayStart(today.AddDays(c.settings.future()), time.UTC),
	}
}
