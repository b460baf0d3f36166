// Package caldav connects to a calendar on a CalDAV server: iCloud, Fastmail, Nextcloud, Radicale and the like. It
// reads by collection synchronisation (RFC 6578), writes by conditional requests (RFC 4791), and finds the calendar by
// itself (RFC 6764).
//
// # Reading
//
// Pull uses sync-collection where the server offers it. Where it does not, Pull compares change tags and ETags, keeps
// short digests of them in the cursor, and answers a removal by KindGoneToken, because a digest does not name what is
// gone: the full listing that follows does. A cursor is ours and opaque. It carries a fingerprint of the settings and
// the day up to which series were expanded; once that is a week old, or the settings or the rules of the time zones
// changed (calendartime.ZoneDataVersion), the cursor is a gone token too, and the full listing brings the instances that
// came into the window or moved with their zone's clocks.
//
// The ExternalID of an entry is the path of its resource. An instance of a series is "PATH#RECURRENCE-ID", with the
// recurrence id as a local clock in the zone of the series (20270605T140000, or 20270605 for whole days), and its UID
// is the series' UID with the same ending, so that instances of one series are never taken for one booking. A removed
// resource is one OpRemove with the path: the caller removes the link of that path and all links that begin with the
// path and "#". A single instance taken out of a series (EXDATE) is an OpRemove of its own; one that vanished because
// the rule was changed is not named by anything in the new resource: it is missing in the next full listing, and Read
// answers KindNotFound for it, which is proof. The same holds for a single entry that became a series, and back.
//
// A full listing leaves out what lies outside the window of the settings. A later pull reports a changed entry
// wherever it lies, so that one that was moved out of the window is seen; of series only instances in the window.
//
// RemoteVersion is always 0. SEQUENCE and LAST-MODIFIED are written by clients, stand still or go back when a file is
// imported again, and a change wrongly taken for stale would hide a double booking. Every pull reads the present state.
//
// # Times
//
// Dates and floating times are resolved in the zone of the resource. Package ical reads resources, and says what a TZID
// may be. An entry whose time cannot be
// understood is a Problem and stays as it is. A timed entry without an end takes no time: it is reported as one free
// minute. Texts over the limits of domain.Details are cut, since the time matters more than the text.
//
// # Writing
//
// A copy of ours has a resource name and a UID that follow from Write.Key, so a repeated create meets its own first
// try: the server refuses it by If-None-Match, and the copy is adopted if its origin marker says the key. The marker
// holds a digest of booking, key and UID; an entry that a person duplicated from a copy has another UID and counts as
// the person's own. Copies carry UTC times or dates, no attendees and no METHOD. A write to a source entry edits the
// lines of its times, STATUS, SEQUENCE, LAST-MODIFIED and DTSTAMP and leaves every other byte of the resource alone.
//
// An entry of the owner that has guests is not moved: a server that sends invitations would tell all of them
// (RFC 6638), and nothing that a client can write keeps it from that. Such a write is KindPermanent.
//
// # iCloud
//
// The preset icloud knows the address and takes app-specific passwords only. All connections of one account share an
// allowance of requests, a calendar is polled once a minute at most, and a 503 or 429 stops the whole account for as long as
// it says, or a minute: in all workers. A timeout is unavailable and never a fault of the credentials; a 401
// counts when it is said twice.
//
// # Limits
//
// Basic authentication only. Servers that offer nothing but Digest are refused with KindUnauthenticated. A series of more
// than 2000 instances in the window is a Problem and stays as it is.
//
// # Testing
//
// The suite in providertest runs against sim/caldavsim, and against Radicale and Xandikos where they are installed
// (tools/interop.sh installs them).
package caldav

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Registration describes the provider.
var Registration = provider.Registration{
	Name:  "caldav",
	Title: "CalDAV calendar",
	Doc:   "A calendar on any CalDAV server, such as iCloud, Fastmail or Nextcloud: read by synchronisation, written by conditional requests.",
	Abilities: []provider.Ability{
		{Name: provider.CanList, Has: true, How: "By sync tokens where the server has them, else by comparing the ETags of a time range."},
		{Name: provider.CanRead, Has: true, How: "One event is asked for by its address."},
		{Name: provider.CanHear, How: "CalDAV tells nobody of changes; the calendar is read every few minutes."},
		{Name: provider.CanWrite, Has: true, How: "Events with our marker, by conditional requests."},
		{Name: provider.CanMove, Has: true, How: "The time of an entry is changed and the rest of it kept."},
		{Name: provider.CanCheck, Has: true, How: "The calendar is asked for its properties."},
		{Name: provider.CanLead, How: "Bookings are written instead."},
	},
	Limits: []string{
		"What changes shows with the next poll, not at once.",
		"Servers without sync tokens are listed anew to find removals.",
	},
	SettingsSchema: settingsSchema,
	Secrets:        []provider.SecretField{{Name: "password", Doc: "Password of the account; an app-specific one where the server offers that.", Required: true}},
	Validate:       validate,
	Open:           open,
	Rates:          rates,
}

// rates are those of an account for a preset, by all workers together, and else the usual ones.
func rates(c provider.Connection) []provider.Limit {
	s, err := parseSettings(c.Integration.Settings)
	if err != nil || s.Preset == "" {
		return nil
	}
	return []provider.Limit{{Scope: provider.PerAccount, Account: strings.ToLower(s.server.Host + "\n" + s.Username), PerSecond: accountRate, Burst: accountBurst, Rest: accountPause},
		{Scope: provider.PerHost}}
}

// doer is the part of httpx.Client that is used.
type doer interface {
	Do(*http.Request) (*httpx.Response, error)
	DoFollow(*http.Request, int, func(*url.URL) bool) (*httpx.Response, error)
	DoRead(*http.Request, int64, func(io.Reader) error) (*httpx.Response, error)
}

// connection is an opened provider value. It is not changed after open.
type connection struct {
	settings   settings
	server     *url.URL // where discovery begins
	collection *url.URL // nil until a calendar is chosen
	exports    bool     // the integration writes
	auth       string   // value of the Authorization header
	http       doer
	local      calendartime.NamedZone
	zoneData   string // version of the rules by which series are expanded
	now        func() time.Time
	account    *account // bounds requests of this process; nil for servers of no preset
	polls      bool     // no more often than pollEvery
	once       func(ctx context.Context, what string, every time.Duration) error
}

var (
	_ provider.Puller    = (*connection)(nil)
	_ provider.Reader    = (*connection)(nil)
	_ provider.Writer    = (*connection)(nil)
	_ provider.Prober    = (*connection)(nil)
	_ provider.Onboarder = (*connection)(nil)

	_ provider.Identifier = (*connection)(nil)
)

func open(c provider.Connection) (any, error) {
	if c.HTTP == nil {
		return nil, domain.E(domain.KindInternal, "open a calendar: no HTTP client given")
	}
	return openWith(c, c.HTTP)
}

func openWith(c provider.Connection, client doer) (*connection, error) {
	s, err := parseSettings(c.Integration.Settings)
	if err != nil {
		return nil, err
	}
	password, err := s.password(c.Secrets)
	if err != nil {
		return nil, err
	}
	conn := &connection{settings: s, http: client, now: c.Now, zoneData: calendartime.ZoneDataVersion(), local: calendartime.UTC}
	if conn.now == nil {
		conn.now = time.Now
	}
	if c.Zone != nil {
		conn.local = calendartime.NamedZone{Name: c.Zone.String(), Loc: c.Zone}
	}
	conn.server, conn.collection, conn.exports = s.server, s.collection, c.Integration.Direction.Exports()
	conn.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(s.Username+":"+password))
	if s.Preset != "" {
		conn.account = shared.of(s.server, s.Username)
		if conn.polls, conn.once = true, c.Once; conn.once == nil {
			conn.once = conn.account.once(conn.now)
		}
	}
	return conn, nil
}

// chosen returns the collection's URL, or an error when there is none yet.
func (c *connection) chosen() (*url.URL, error) {
	if c.collection == nil {
		return nil, domain.Invalid("settings.calendar", "is empty: no calendar was chosen yet")
	}
	return c.collection, nil
}

// Probe asks for the type of the collection.
func (c *connection) Probe(ctx context.Context) error {
	at, err := c.chosen()
	if err != nil {
		return err
	}
	if _, err := c.collectionKind(ctx, at); err != nil {
		return domain.E(domain.KindOf(err), "probe calendar: %w", err)
	}
	return nil
}

// window is the time in which series are expanded and single entries are listed.
func (c *connection) window() domain.Span {
	const day = 24 * time.Hour
	today := c.now().UTC().Truncate(day)
	return domain.Span{
		Start: today.Add(-time.Duration(c.settings.past()) * day),
		End:   today.Add(time.Duration(c.settings.future()) * day),
	}
}

// resourceURL turns the path of an ExternalID into an URL on the collection's host. Paths outside the collection are
// refused: the id of another integration must not reach another calendar.
func (c *connection) resourceURL(p string) (*url.URL, error) {
	at, err := c.chosen()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(p)
	if err != nil || u.IsAbs() || u.Host != "" || !isMember(at, u.Path) {
		return nil, domain.Invalid("external_id", "is not a path in this calendar")
	}
	r := *at
	r.Path, r.RawPath, r.RawQuery = u.Path, u.RawPath, ""
	return &r, nil
}

// isMember reports whether a decoded path names a resource directly inside the collection.
func isMember(collection *url.URL, p string) bool {
	name, ok := strings.CutPrefix(p, strings.TrimSuffix(collection.Path, "/")+"/")
	return ok && name != "" && name != "." && name != ".." && !strings.Contains(name, "/")
}

// pathID writes a decoded path as an ExternalID.
func pathID(p string) string { return (&url.URL{Path: p}).EscapedPath() }
