// Package scrape reads bookings out of web pages of systems that have no API, by a recipe (internal/scrape). It is read-only.
//
// It runs only where the customer agreed to it: before every reading Connection.Consents is asked for the recipe's origin,
// and without a consent the answer is KindForbidden and no request is made.
//
// # Reading
//
// Pull reads the whole list, whatever its pages, and compares it with what the cursor remembers: short digests of every
// entry in its window. Changed and new entries are told. When one is missing, the cursor that follows is a gone token,
// because a digest does not name what is gone: the full listing of the next pull does, and the caller asks Read about each.
// Read reads the list again, and uses it for a minute.
//
// The ExternalID is the identity of the row. RemoteVersion is 0: pages tell no order.
//
// # What is never a deletion
//
// Everything that the engine calls drift, a list without rows after one that had some, and a list in which a row could not
// be read. A list that says of itself that it is empty is an empty page that is not Complete.
//
// # Fields
//
// title; start and end (datetime), or date, end_date (date), start_time, end_time (time); status (confirmed, tentative or
// cancelled after mapping); location, contact, notes, label, category. title and start or date are needed. A date without a
// start_time is a whole day. An end_time before the start_time is on the next day. An end_date without an end_time is taken to
// its end. Without an end an entry lasts settings.minutes.
//
// # Health
//
// Probe answers from the last ten minutes where a reading ended well or was refused for good, and makes a request otherwise, so that
// a portal is not asked, or logged in to with wrong credentials, as often as health is.
//
// # Testing
//
// The suite in providertest runs against sim/lightbluesim, whose portal is invented.
package scrape

import (
	"context"
	"net/url"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	engine "github.com/wedsync/wedsync/internal/scrape"
)

// Names of the secrets.
const (
	secretUser     = "user"
	secretPassword = "password"
)

// Registration describes the provider.
var Registration = provider.Registration{
	Name:  "scrape",
	Title: "Web pages, by a recipe",
	Doc:   "Bookings on web pages of a system without an API, read politely by a recipe once you agreed to it: read-only, polled.",
	Abilities: []provider.Ability{
		{Name: provider.CanList, Has: true, How: "The pages of the recipe are read whole, politely, once the customer agreed to it."},
		{Name: provider.CanRead, Has: true, How: "An entry is looked for in the list as it is now."},
		{Name: provider.CanHear, How: "Pages tell nobody of changes; they are read now and then."},
		{Name: provider.CanWrite, How: "Pages are only read; no form but that of the log-in is ever filled in."},
		{Name: provider.CanMove, How: "Pages are only read; a decision must be carried out in the system itself."},
		{Name: provider.CanCheck, Has: true, How: "It logs in where that is needed and reads the first page."},
		{Name: provider.CanLead, How: "Pages are only read."},
	},
	Limits: []string{
		"Pages change without notice; then nothing is read until somebody mends the recipe, and nothing is removed.",
		"Only lists are read, not the pages behind their rows, and no page that needs a program in the browser.",
		"Whether the pages may be read by a program is decided by the terms of their operator.",
	},
	SettingsSchema: settingsSchema,
	Secrets: []provider.SecretField{
		{Name: secretUser, Doc: "User name for the log-in of the recipe."},
		{Name: secretPassword, Doc: "Password for the log-in of the recipe."},
	},
	Validate: validate,
	Open:     open,
}

// probeFor is how long the outcome of a request answers for Probe, where another one would tell nothing new: health is asked
// for far more often than a portal should be.
const probeFor = 10 * time.Minute

// memoFor is how long one reading answers questions about single entries.
const memoFor = time.Minute

// connection is an opened provider value.
type connection struct {
	settings settings
	program  *engine.Program
	session  *engine.Session
	agreed   provider.Consents
	user     string
	zone     *time.Location
	now      func() time.Time

	mu      sync.Mutex
	memo    *reading
	last    error // of the last reading that ended well or for good
	lastAt  time.Time
	reading int // readings under way
}

// reading is a list as Read keeps it.
type reading struct {
	at      time.Time
	changes map[string]domain.Change
	unsure  bool
}

// read runs a reading and keeps its outcome for Probe. What may pass is forgotten at once.
func (c *connection) read(do func() error) error {
	c.mu.Lock()
	c.reading++
	c.mu.Unlock()
	err := do()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading--
	c.last, c.lastAt = err, time.Time{}
	if !domain.Retryable(err) {
		c.lastAt = c.now()
	}
	return err
}

// known returns what Probe can say without a request: the outcome of the last minutes, or, while a reading is under way, that
// nothing is wrong so far.
func (c *connection) known() (error, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.now().Sub(c.lastAt)
	if !c.lastAt.IsZero() && since >= 0 && since < probeFor {
		return c.last, true
	}
	return nil, c.reading > 0
}

var (
	_ provider.Puller = (*connection)(nil)
	_ provider.Reader = (*connection)(nil)
	_ provider.Prober = (*connection)(nil)

	_ provider.Identifier = (*connection)(nil)
)

func open(c provider.Connection) (any, error) {
	if c.HTTP == nil {
		return nil, domain.E(domain.KindInternal, "open pages: no HTTP client given")
	}
	if c.Integration.Direction.Exports() {
		return nil, domain.E(domain.KindPermanent, "pages can only be read: the direction must be import")
	}
	s, program, err := parseSettings(c.Integration.Settings)
	if err != nil {
		return nil, err
	}
	if err := checkSecrets(program, c.Secrets); err != nil {
		return nil, err
	}
	conn := &connection{settings: s, program: program, agreed: c.Consents, user: c.Secrets[secretUser], zone: time.UTC, now: time.Now}
	if c.Now != nil {
		conn.now = c.Now
	}
	if c.Zone != nil {
		conn.zone = c.Zone
	}
	conn.session = program.Session(engine.Options{HTTP: c.HTTP, Secrets: map[string]string{"user": c.Secrets[secretUser], "password": c.Secrets[secretPassword]},
		Zone: conn.zone, Now: conn.now, Once: c.Once})
	if z := program.Recipe().Zone; z != "" {
		if conn.zone, err = time.LoadLocation(z); err != nil {
			return nil, domain.Invalid("settings.recipe.zone", "must be an IANA zone name")
		}
	}
	return conn, nil
}

// Origin returns the origin of the recipe in settings of this provider, such as https://portal.example.com, which is what a
// consent is given for. Errors are domain.Invalid.
func Origin(settings []byte) (string, error) {
	_, program, err := parseSettings(settings)
	if err != nil {
		return "", err
	}
	return program.Base(), nil
}

// consent refuses to read what nobody agreed to.
func (c *connection) consent(ctx context.Context) error {
	none := domain.E(domain.KindForbidden, "nobody agreed that pages of %s are read; record the customer's consent first", hostOf(c.program.Base()))
	if c.agreed == nil {
		return none
	}
	_, err := c.agreed(ctx, c.program.Base())
	if domain.KindOf(err) == domain.KindNotFound {
		return none
	}
	return err
}

func hostOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return "the recipe"
	}
	return u.Host
}

// Probe logs in where that is needed and reads the first page, unless the last minutes or a reading under way tell already.
func (c *connection) Probe(ctx context.Context) error {
	err := c.consent(ctx)
	if err == nil {
		var there bool
		if err, there = c.known(); !there {
			err = c.read(func() error { return c.session.Check(ctx, c.asked()) })
		}
	}
	if err != nil {
		return domain.E(domain.KindOf(err), "probe pages: %w", err)
	}
	return nil
}

// Identity is the list that the connection leads to, and as whom.
func (c *connection) Identity() string {
	r := c.program.Recipe()
	return provider.IdentityOf("scrape", c.program.Base(), r.List.Path, "user "+c.user)
}
