// Package ics reads a calendar that somebody publishes under an address (an .ics file, webcal:), such as the secret
// address of a Google calendar, an Airbnb listing or a venue's schedule. It cannot write.
//
// # Reading
//
// Pull asks with the ETag and Last-Modified of the time before. A feed that answers 304, or with the same bytes, has no
// news. Otherwise the whole feed is compared with what the cursor remembers: short digests of every entry in its window.
// Changed and new entries are told. When one is missing, the cursor that follows is a gone token, because a digest does
// not name what is gone: the full listing of the next pull does, and the caller asks Read about each before it removes
// anything. A calendar of more than provider.MaxRemembered entries that changed, and a window that moved on by a week, are gone
// tokens at once.
//
// The ExternalID of a single entry is its UID, that of an instance of a series "UID#RECURRENCE-ID" with the recurrence
// id as a local clock in the zone of the series. Entries without a UID are known by a digest of what they say.
// RemoteVersion is always 0: publishers write SEQUENCE as they please, and every pull reads the present state.
//
// # What is never a deletion
//
// No bytes, a page of HTML, a calendar whose end is missing and one without a single event after one that had some are
// errors of kind unavailable. A calendar without any event at the first reading is an empty page that is not Complete,
// and neither is one in which something could not be read. An address that answers 404 or 410 was withdrawn: that is
// kind unauthenticated, which stops the integration until a person gives it another address, and removes nothing.
//
// # The address
//
// It is a secret: whoever knows it reads the calendar. It lies in the secrets, and errors never hold it. webcal: and
// webcals: mean https. Redirects are followed, and the address of the secret itself is used again the next time. A feed
// behind a user name and a password (HTTP Basic) is followed on its own host only.
//
// # Testing
//
// The suite in providertest runs against sim/icssim.
package ics

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/ical"
	"github.com/wedsync/wedsync/internal/provider"
)

// maxBody is the largest feed, in bytes.
const maxBody = 10 << 20

// maxRedirects bounds the hops of one request.
const maxRedirects = 5

// Registration describes the provider.
var Registration = provider.Registration{
	Name:  "ics",
	Title: "Calendar subscription (ICS)",
	Doc:   "A calendar that is published under an address, such as webcal: links and secret iCal addresses: read-only, polled.",
	Abilities: []provider.Ability{
		{Name: provider.CanList, Has: true, How: "The whole feed is read, by conditional requests where the server takes them."},
		{Name: provider.CanRead, Has: true, How: "An entry is looked for in the feed as it is now."},
		{Name: provider.CanHear, How: "A feed tells nobody of changes; it is read every few minutes."},
		{Name: provider.CanWrite, How: "A feed can only be read."},
		{Name: provider.CanMove, How: "A feed can only be read; a decision must be carried out in the system that publishes it."},
		{Name: provider.CanCheck, Has: true, How: "The feed is asked for."},
		{Name: provider.CanLead, How: "A feed can only be read."},
	},
	Limits: []string{
		"Publishers refresh feeds in their own time, some only every few hours.",
		"Half a feed is an error, and never taken for removals.",
	},
	SettingsSchema: settingsSchema,
	Secrets: []provider.SecretField{
		{Name: "url", Doc: "Address of the feed (https or webcal). Whoever knows it can read the calendar.", Required: true},
		{Name: "user", Doc: "User name of a feed that asks for one (HTTP Basic)."},
		{Name: "password", Doc: "Password that belongs to the user name."},
	},
	Validate: validate,
	Open:     open,
}

// connection is an opened provider value. Only last changes after open.
type connection struct {
	settings settings
	at       *url.URL
	user     string // "" = the feed asks for none
	password string
	http     *httpx.Client
	zone     *time.Location
	now      func() time.Time

	mu   sync.Mutex
	last *fetched // of the last Read, for reading many entries of a feed that stands still
}

var (
	_ provider.Puller = (*connection)(nil)
	_ provider.Reader = (*connection)(nil)
	_ provider.Prober = (*connection)(nil)
)

func open(c provider.Connection) (any, error) {
	if c.HTTP == nil {
		return nil, domain.E(domain.KindInternal, "open a subscription: no HTTP client given")
	}
	if c.Integration.Direction.Exports() {
		return nil, domain.E(domain.KindPermanent, "a subscription can only be read: the direction must be import")
	}
	s, err := parseSettings(c.Integration.Settings)
	if err != nil {
		return nil, err
	}
	conn := &connection{settings: s, http: c.HTTP, zone: time.UTC, now: time.Now}
	if conn.at, err = parseAddress(c.Secrets["url"]); err != nil {
		return nil, err
	}
	if err := checkLogin(c.Secrets); err != nil {
		return nil, err
	}
	conn.user, conn.password = c.Secrets["user"], c.Secrets["password"]
	if c.Zone != nil {
		conn.zone = c.Zone
	}
	if c.Now != nil {
		conn.now = c.Now
	}
	return conn, nil
}

// validators are what a conditional request shows.
type validators struct {
	etag, modified string
}

// fetched is a feed as it was read.
type fetched struct {
	validators
	body     []byte
	calendar ical.Calendar
	problems []ical.Problem
}

// get asks for the feed. It returns nil when nothing changed since v.
func (c *connection) get(ctx context.Context, v validators) (*fetched, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.at.String(), http.NoBody)
	if err != nil {
		return nil, domain.E(domain.KindInternal, "make a request")
	}
	req.Header.Set("Accept", "text/calendar, */*;q=0.1")
	if v.etag != "" {
		req.Header.Set("If-None-Match", v.etag)
	}
	if v.modified != "" {
		req.Header.Set("If-Modified-Since", v.modified)
	}
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	// Another host is followed only where no credentials travel along.
	res, err := c.http.DoFollow(req, maxRedirects, func(*url.URL) bool { return c.user == "" })
	switch {
	case res != nil && (res.Status == http.StatusNotFound || res.Status == http.StatusGone):
		return nil, domain.E(domain.KindUnauthenticated, "the feed is no longer published under its address (status %d)", res.Status)
	case err != nil:
		return nil, err
	case res.Status == http.StatusNotModified && v != (validators{}):
		return nil, nil
	case res.Status != http.StatusOK:
		return nil, domain.E(domain.KindUnavailable, "the server answered with status %d instead of the feed", res.Status)
	case len(res.Body) > maxBody:
		return nil, domain.E(domain.KindTooLarge, "the feed has more than %d bytes", maxBody)
	}
	f := &fetched{validators: validators{bounded(res.Header.Get("ETag")), bounded(res.Header.Get("Last-Modified"))}, body: res.Body}
	return f, c.read(f)
}

// bounded drops a validator that does not fit a cursor.
func bounded(s string) string {
	if len(s) > 200 {
		return ""
	}
	return s
}

// read parses a feed. What is not a whole calendar proves nothing and is an error.
func (c *connection) read(f *fetched) error {
	trimmed := strings.TrimSpace(strings.TrimPrefix(string(f.body[:min(len(f.body), 1024)]), "\ufeff"))
	switch {
	case trimmed == "":
		return domain.E(domain.KindUnavailable, "the server answered with nothing instead of the feed")
	case !strings.HasPrefix(strings.ToUpper(trimmed), "BEGIN:VCALENDAR"):
		return domain.E(domain.KindUnavailable, "the server answered with something that is no calendar")
	}
	var err error
	f.calendar, f.problems, err = ical.Read(strings.NewReader(string(f.body)), ical.Options{Zone: c.zone, MaxBytes: maxBody})
	if err != nil {
		return domain.E(domain.KindUnavailable, "read the feed: %w", err)
	}
	if f.calendar.Truncated {
		return domain.E(domain.KindUnavailable, "the feed ends in the middle")
	}
	return nil
}

// Probe asks for the feed.
func (c *connection) Probe(ctx context.Context) error {
	if _, err := c.get(ctx, validators{}); err != nil {
		return domain.E(domain.KindOf(err), "probe feed: %w", err)
	}
	return nil
}
