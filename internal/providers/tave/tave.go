// Package tave connects to a studio of Tave, which VSCO sells as Workspace, over its API v2: events and dated jobs are read
// and written, rest hooks tell of news early, and new leads may go through the older New Lead API.
//
// # Entries
//
// The dates of a studio are its events; "event:ID" is the ExternalID of one. A job or a lead, which is a job of stage lead,
// that has a date but no event with a date is an entry of its own, "job:ID", of one whole day. When an event comes, that
// entry ends. Sample jobs are left out. The status of an event:
//
//   - cancelled: it is hidden, or its job is closed and not completed;
//   - confirmed: its job is booked (stage booked, fulfillment or completed, or a lead with a booked order), or the event is
//     marked as confirmed;
//   - tentative: everything else.
//
// Contact is the names of the job's clients. RemoteVersion is not set: servers' clocks may jump, and every answer is the
// present state anyway.
//
// # Reading
//
// The API cannot be asked for what changed. A full listing (sweep) walks the jobs in the order of their ids, closed ones too,
// with a worksheet for each (one request for job, events and contacts), then the events, hidden ones too. Pages are numbered,
// so a deletion moves later entries forward past a reader: the windows of a walk overlap by one entry, and an entry that
// could have slipped through sends the walk back. Afterwards orders, job contacts, contacts, jobs and events are walked by
// "modified desc" down to a watermark minus an overlap; a job that any of them names is read anew by its worksheet. The
// watermark is taken from the entries and never runs ahead of the servers' own Date; a Date behind the watermark is a clock that was
// set back, and the cursor a gone token. What was read and is older than
// settleAfter is remembered in the cursor and not read twice. One page
// holds the news of several lists, and a job that two of them name is read once, unless it changed in between. Deletions are told by nothing, so after settings.sweep_hours
// the cursor is KindGoneToken and the caller begins a full listing.
//
// # Writing
//
// There are no conditional writes and no idempotency keys. A copy carries an external mapping made of booking and Write.Key,
// by which it is found before it is made, and looked for once more afterwards: of two the later is taken away. Changes read the
// entity, compare what is there with the Revision (a digest of what can be written), and send all its writable members
// back, because PUT may replace; between both somebody else may write unnoticed. Copies are events without a job, or
// job and event in one worksheet for the categories in settings.jobs. Of a source entry only times and status are changed.
//
// # Failure
//
// Kinds are those of httpx; redirects are refused, since the key would go along. Only a 404 while the studio itself answers
// proves that an entry is gone. After 429 nothing is sent with that key before Retry-After, and the
// rate is halved, by all workers; it grows again slowly. A studio in read-only mode is KindUnavailable for writes.
//
// # Testing
//
// The suite in providertest runs against sim/tavesim, and every exchange is held against the vendor's OpenAPI document where
// it lies beside the checkout.
package tave

import (
	"context"
	"net/url"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Registration describes the provider.
var Registration = provider.Registration{
	Name:  "tave",
	Title: "Tave (VSCO Workspace)",
	Doc:   "A studio of Tave, now VSCO Workspace: its events, leads and jobs are read, written as events or jobs, and watched by rest hooks.",
	Abilities: []provider.Ability{
		{Name: provider.CanList, Has: true, How: "Lists are walked by time of change down to where the last walk ended, and as a whole once a day."},
		{Name: provider.CanRead, Has: true, How: "One event or job is asked for by its id; only a 404 while the studio itself answers proves that it is gone."},
		{Name: provider.CanHear, Has: true, How: "Rest hooks tell of new jobs, booked orders and new payments; there is none for changes and removals."},
		{Name: provider.CanWrite, Has: true, How: "Events, or jobs with their event, found again by an external mapping."},
		{Name: provider.CanMove, Has: true, How: "Time and status of an event or a job are changed."},
		{Name: provider.CanCheck, Has: true, How: "The studio is asked for."},
		{Name: provider.CanLead, Has: true, How: "As copies: tentative bookings come in by the New Lead API with settings.lead_studio."},
	},
	Limits: []string{
		"No list of what changed, no conditional writes and no keys against repeats.",
		"Rest hooks are not signed; their address holds a secret, and what they name is read.",
		"No published limit of requests.",
		"Built against the vendor's OpenAPI document and a simulator that is held to it, and not tried with a real studio.",
	},
	SettingsSchema: settingsSchema,
	Secrets: []provider.SecretField{
		{Name: secretKey, Doc: "API key of the studio, made in Settings, API Integrations. Read/Write is needed for copies.", Required: true},
		{Name: secretLead, Doc: "Secret key of the New Lead API, needed with settings.lead_studio only."},
	},
	Validate: validate,
	Open:     open,
	Notice:   notice,
	Rates:    rates,
}

// connection is an opened provider value.
type connection struct {
	settings settings
	client   client
	lead     string // secret of the New Lead API
	exports  bool
	zone     *time.Location // the studio's
	now      func() time.Time
	writing  keyed

	mu      sync.Mutex
	known   map[string]eventType
	knownAt time.Time
}

var (
	_ provider.Puller    = (*connection)(nil)
	_ provider.Reader    = (*connection)(nil)
	_ provider.Writer    = (*connection)(nil)
	_ provider.Watcher   = (*connection)(nil)
	_ provider.Selective = (*connection)(nil)
	_ provider.Prober    = (*connection)(nil)
	_ provider.Onboarder = (*connection)(nil)

	_ provider.Identifier = (*connection)(nil)
)

// rates are one studio's: the vendor publishes no number, so it is what the settings allow, and less after each refusal.
func rates(c provider.Connection) []provider.Limit {
	most := float64(defaultRate)
	if s, err := parseSettings(c.Integration.Settings); err == nil {
		most = s.rate()
	}
	return []provider.Limit{{Scope: provider.PerAccount, Account: c.Secrets[secretKey], PerSecond: most, Burst: burst(most), Slows: true},
		{Scope: provider.PerHost, PerSecond: 100, Burst: 400}}
}

func open(c provider.Connection) (any, error) {
	s, err := parseSettings(c.Integration.Settings)
	if err != nil {
		return nil, err
	}
	if err := s.checkSecrets(c.Secrets); err != nil {
		return nil, err
	}
	if c.HTTP == nil {
		return nil, domain.E(domain.KindInternal, "open a studio: no HTTP client given")
	}
	conn := &connection{settings: s, lead: c.Secrets[secretLead], exports: c.Integration.Direction.Exports(), zone: c.Zone, now: c.Now,
		writing: keyed{held: map[string]*hold{}}}
	if conn.now == nil {
		conn.now = time.Now
	}
	if s.Timezone != "" {
		if conn.zone, err = calendartime.LoadZone(s.Timezone); err != nil {
			return nil, domain.Invalid("settings.timezone", "must be an IANA zone name")
		}
	}
	if conn.zone == nil {
		conn.zone = time.UTC
	}
	key := c.Secrets[secretKey]
	conn.client = client{http: c.HTTP, key: key, base: s.base, now: conn.now}
	if !c.HTTP.Gated() {
		conn.client.limit = limiterOf(s.base.Host, key, s.rate())
	}
	return conn, nil
}

// studio is what /studio/me tells.
type studio struct {
	ID         string `json:"id"`
	TimezoneID string `json:"timezoneId"`
	Readonly   bool   `json:"readonlyEnabled"`
}

func (c *connection) studio(ctx context.Context) (studio, error) {
	var s studio
	if _, err := c.client.get(ctx, "/studio/me", nil, &s); err != nil {
		return s, err
	}
	if s.ID == "" {
		return s, domain.E(domain.KindUnavailable, "the answer does not name the studio")
	}
	if c.settings.Studio != "" && s.ID != c.settings.Studio {
		return s, domain.Invalid("settings.studio", "the key is of another studio than the one that was connected; make a new integration for it")
	}
	return s, nil
}

// Probe asks for the studio. One in read-only mode takes no copies.
func (c *connection) Probe(ctx context.Context) error {
	s, err := c.studio(ctx)
	if err == nil && c.exports && s.Readonly {
		err = domain.E(domain.KindForbidden, "the studio is in read-only mode")
	}
	if err != nil {
		return domain.E(domain.KindOf(err), "probe studio: %w", err)
	}
	return nil
}

// proved returns a not-found error if the studio itself answers, and else why it does not.
func (c *connection) proved(ctx context.Context, err error) error {
	if _, gone := c.studio(ctx); gone != nil {
		kind := domain.KindOf(gone)
		if kind == domain.KindNotFound {
			kind = domain.KindPermanent
		}
		return domain.E(kind, "the studio itself does not answer for its entries: %w", gone)
	}
	return err
}

// eventType is a type of events.
type eventType struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Duration int    `json:"defaultDuration"` // minutes
}

// typesFresh is how long the studio's types of events are used before they are asked for again.
const typesFresh = 10 * time.Minute

// typeOf returns a type of events, the zero value for none and for one that the studio does not list.
func (c *connection) typeOf(ctx context.Context, id string) (eventType, error) {
	if id == "" {
		return eventType{}, nil
	}
	c.mu.Lock()
	known, age := c.known, c.now().Sub(c.knownAt)
	c.mu.Unlock()
	if t, ok := known[id]; known != nil && age >= 0 && (ok && age < typesFresh || age < time.Minute) {
		return t, nil
	}
	all, err := everything[eventType](ctx, c.client, "/event-type", "eventtype-collection", url.Values{"includeHidden": {"true"}})
	if err != nil {
		return eventType{}, err
	}
	known = make(map[string]eventType, len(all))
	for _, t := range all {
		known[t.ID] = t
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.knownAt = known, c.now()
	return known[id], nil
}
