// Package google connects to a calendar of Google Calendar through the API v3, with Google's own client for the forms
// and the connection's bounded client for the way. It reads by sync tokens, writes by conditional requests, and hears of
// changes by channels.
//
// # Reading
//
// Pull lists with singleEvents: Google expands series, and every instance is an entry of its own. That was chosen over
// series with exceptions because Google's expansion is the one its users see, and because a change of a series then
// names each instance that is new, moved or gone, so no rule has to be applied twice in the same way. The price is a
// window: the time bounds of the first call are part of the sync token. So a cursor is a gone token once the window of
// the settings has moved on by a week, and the full listing that follows brings the instances that came into it.
//
// A cursor is ours and opaque. It carries the sync token, the page token, the bounds of the listing and a fingerprint of
// everything that shapes the query or what is made of its answer; under other settings it is a gone token, because
// Google leaves the result of a changed query undefined. 410, and 400 for a token, are gone tokens as well. Nothing is
// ever deleted for being absent: only a cancelled item is an OpRemove, and it needs nothing but its id.
//
// The ExternalID of an entry is Google's id; that of an instance is "SERIES#ORIGINAL", where Google writes an underscore,
// so that the removal of a series removes what begins with it and "#". The UID of an instance ends in "#" and the original
// start as a local clock, which is how the caldav provider names it too.
//
// RemoteVersion is the time of Google's "updated", which grows with every edit: of two reports of one id the newest
// wins, in whatever pages they come. A full listing names what lies in the window. A later pull leaves out instances beyond
// it and entries beyond it that were never edited since they were made; an edited one is reported wherever it lies now,
// since it may have been moved out of the window.
//
// A calendar that shows only when it is busy (access freeBusyReader) is read by free/busy queries. Each busy span is an
// entry; any difference to the last answer is a gone token, and the full listing tells what there is.
//
// # What blocks
//
// Entries marked as free, declined ones, working locations and birthdays never block. Out of office always does. Focus
// time does unless focus_time_free is set. An invitation that the owner has not answered, or answered with maybe, is
// tentative. An entry without length is one free minute.
//
// # Writing
//
// A copy's id follows from Write.Key, so a create that is repeated meets its first try as 409, and what is there is
// adopted when its marker says that it is the copy. The id of a deleted copy stays taken: the copy is brought back. Where
// Google does not let that be done, the next id of a short row is used. Later writes carry If-Match. Copies have no
// guests, no reminders, and no write ever sends a mail. The marker sits in the private extended properties with a digest
// over booking, key and event id, so an event that a person duplicates from a copy, properties and all, is the person's
// own. A source entry is changed in its time and status only.
//
// # Limits
//
// A contact is kept in a private property, where Google shows it to nobody. Event labels are known by their id, since
// their names need a further scope. An entry that turned into a series, and back, is found at the next full listing.
//
// # Testing
//
// The suite in providertest runs against sim/googlesim, behind a check of every request and answer against Google's
// discovery document.
package google

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/api/calendar/v3"
	"google.golang.org/api/option"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
)

// Registration describes the provider.
var Registration = provider.Registration{
	Name:  "google",
	Title: "Google Calendar",
	Doc:   "A calendar of a Google account: read by synchronisation, written by conditional requests, with messages when something changed.",
	Abilities: []provider.Ability{
		{Name: provider.CanList, Has: true, How: "By sync tokens; a calendar shared as free/busy only is asked for its busy times."},
		{Name: provider.CanRead, Has: true, How: "One event is asked for by its id."},
		{Name: provider.CanHear, Has: true, How: "Push channels say that something changed, and are renewed before they end; polling goes on beside them."},
		{Name: provider.CanWrite, Has: true, How: "Events with our marker, by conditional requests."},
		{Name: provider.CanMove, Has: true, How: "The time of an entry is changed and the rest of it kept."},
		{Name: provider.CanCheck, Has: true, How: "The calendar is asked for."},
		{Name: provider.CanLead, How: "Bookings are written instead."},
	},
	Limits: []string{
		"A person must consent, and the installation needs a client of its own at Google.",
		"Messages of channels can be lost and say nothing of what changed.",
		"Tried with a simulator that is held to Google's discovery document, and not with the real system.",
	},
	SettingsSchema: settingsSchema,
	Validate:       validate,
	Open:           open,
	OAuth:          oauth,
	Notice:         notice,
	Rates:          rates,
}

// rates are Google's: 600 requests a minute of a user and 10,000 a minute of the whole project, both over a window that
// slides. The user of a grant is not known, so each integration has the user's limit by itself.
func rates(provider.Connection) []provider.Limit {
	return []provider.Limit{{Scope: provider.PerIntegration, PerSecond: 8, Burst: 120}, {Scope: provider.PerHost, PerSecond: 150, Burst: 1000}}
}

// connection is an opened provider value. It is not changed after open.
type connection struct {
	settings settings
	exports  bool
	api      *calendar.Service
	local    *time.Location
	now      func() time.Time
}

var (
	_ provider.Puller    = (*connection)(nil)
	_ provider.Reader    = (*connection)(nil)
	_ provider.Writer    = (*connection)(nil)
	_ provider.Prober    = (*connection)(nil)
	_ provider.Onboarder = (*connection)(nil)

	_ provider.Identifier = (*connection)(nil)
	_ provider.Watcher    = (*connection)(nil)
)

// doer is the part of httpx.Client that is used.
type doer interface {
	Do(*http.Request) (*httpx.Response, error)
}

func open(c provider.Connection) (any, error) {
	if c.HTTP == nil {
		return nil, domain.E(domain.KindInternal, "open a Google calendar: no HTTP client given")
	}
	s, err := parseSettings(c.Integration.Settings)
	if err != nil {
		return nil, err
	}
	conn := &connection{settings: s, exports: c.Integration.Direction.Exports(), local: time.UTC, now: c.Now}
	if conn.now == nil {
		conn.now = time.Now
	}
	if c.Zone != nil {
		conn.local = c.Zone
	}
	client := httpx.Standard(&transport{http: c.HTTP, tokens: c.Tokens, now: conn.now})
	options := []option.ClientOption{option.WithHTTPClient(client), option.WithUserAgent("WedSync")}
	if s.Development.API != "" {
		options = append(options, option.WithEndpoint(s.Development.API))
	}
	if conn.api, err = calendar.NewService(context.Background(), options...); err != nil {
		return nil, domain.E(domain.KindInternal, "open a Google calendar: the client refuses its options")
	}
	return conn, nil
}

// chosen returns the calendar's id, or an error when there is none yet.
func (c *connection) chosen() (string, error) {
	if c.settings.Calendar == "" {
		return "", domain.Invalid("settings.calendar", "is empty: no calendar was chosen yet")
	}
	return c.settings.Calendar, nil
}

// Probe asks for a page of one entry, or for an hour of free/busy.
func (c *connection) Probe(ctx context.Context) error {
	if _, err := c.chosen(); err != nil {
		return err
	}
	return fail("probe Google calendar", c.answers(ctx))
}

// answers is nil when the calendar itself is there and may be read.
func (c *connection) answers(ctx context.Context) error {
	if c.settings.busyOnly() {
		now := c.now().UTC().Truncate(time.Hour)
		_, err := c.freeBusy(ctx, domain.Span{Start: now, End: now.Add(time.Hour)})
		return err
	}
	list, err := c.api.Events.List(c.settings.Calendar).MaxResults(1).Fields("kind").Context(ctx).Do()
	if err == nil && list.Kind != "calendar#events" {
		err = errUnreadable
	}
	return err
}

const day = 24 * time.Hour

// window is the time in which entries are listed.
func (c *connection) window() domain.Span {
	today := c.now().UTC().Truncate(day)
	return domain.Span{
		Start: today.Add(-time.Duration(c.settings.past()) * day),
		End:   today.Add(time.Duration(c.settings.future()) * day),
	}
}
