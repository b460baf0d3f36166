package schedulers

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// The three providers.
var (
	Calendly = registration(kind{
		name: "calendly", title: "Calendly", doc: "Appointments that clients book at Calendly: read, with messages when something changed.",
		secrets: []provider.SecretField{{Name: "token", Doc: "Personal access token, from Integrations & apps, API and webhooks.", Required: true}},
		limits: []string{"Webhooks come with paid plans only; with a free one appointments are polled.", "A webhook that fails for a day is disabled by Calendly; it is made anew.",
			"The listing does not name the client.", tried},
		base: "https://api.calendly.com", sign: signCalendly, dialect: func(c *client) dialect { return &calendly{c} }, notice: noticeOfCalendly,
	})
	Acuity = registration(kind{
		name: "acuity", title: "Acuity Scheduling", doc: "Appointments that clients book at Acuity Scheduling: read, with messages when something changed.",
		secrets: []provider.SecretField{{Name: "user_id", Doc: "User ID, from Integrations, API.", Required: true}, {Name: "api_key", Doc: "API key, from the same page.", Required: true}},
		limits: []string{"At most 25 webhooks an account.", "Messages are signed with the account's API key and no time, so the address of a webhook holds a secret too.",
			"More than five hundred appointments on one day cannot be listed.", tried},
		base: "https://acuityscheduling.com/api/v1", sign: signAcuity, dialect: func(c *client) dialect { return &acuity{c} }, notice: noticeOfAcuity,
	})
	CalCom = registration(kind{
		name: "calcom", title: "Cal.com", doc: "Bookings that clients make at Cal.com: read, with messages when something changed.",
		secrets: []provider.SecretField{{Name: "api_key", Doc: "API key (cal_…), from Settings, Developer, API keys.", Required: true}},
		limits:  []string{"A reschedule is a removed booking and a new one.", tried},
		base:    "https://api.cal.com/v2", sign: signCalCom, dialect: func(c *client) dialect { return &calcom{c} }, notice: noticeOfCalCom, selfHosted: true,
	})
)

// tried is what all of them have in common.
const tried = "Tried with a simulator that is held to the vendor's documentation, and not with the real system."

// abilities are those of all schedulers.
func (k kind) abilities() []provider.Ability {
	hands := "Nothing is written. Let the scheduler read a calendar that WedSync writes, so that it offers no time that is taken."
	return []provider.Ability{
		{Name: provider.CanList, Has: true, How: "The appointments of a window of days are listed."},
		{Name: provider.CanRead, Has: true, How: "One appointment is asked for by its id."},
		{Name: provider.CanHear, Has: true, How: "Webhooks say that something changed, and are looked at once a day; polling goes on beside them."},
		{Name: provider.CanWrite, How: hands},
		{Name: provider.CanMove, How: "An appointment is moved or cancelled in " + k.title + " by hand."},
		{Name: provider.CanCheck, Has: true, How: "The account is asked for."},
		{Name: provider.CanLead, How: hands},
	}
}

// kind is what is different about a scheduler.
type kind struct {
	name, title, doc string
	secrets          []provider.SecretField
	base             string
	limits           []string
	selfHosted       bool
	sign             func(r *http.Request, secrets map[string]string)
	dialect          func(*client) dialect
	notice           func(provider.NoticeRequest) (provider.Notice, error)
}

// dialect is how a scheduler is asked. Errors have a domain.ErrorKind.
type dialect interface {
	// account names the account that the credentials belong to; it is the cheapest authenticated call.
	account(ctx context.Context) (string, error)
	// list returns a page of the appointments that begin in the window. page is "" for the first one.
	list(ctx context.Context, account string, window domain.Span, page string) (listing, error)
	// get returns one appointment, cancelled or not.
	get(ctx context.Context, id string) (appointment, error)
	// target is the address that is given to the scheduler for one of ours and the secret of its watch.
	target(address, secret string) string
	// hooks lists the webhooks of the account, of whomever they are.
	hooks(ctx context.Context, account string) ([]webhook, error)
	// hook makes a webhook to a target and returns its id at the scheduler.
	hook(ctx context.Context, account, target, secret string) (string, error)
	// hooked reports whether a webhook is there and works.
	hooked(ctx context.Context, id string) (bool, error)
	unhook(ctx context.Context, id string) error
}

// webhook is one that stands at the scheduler.
type webhook struct {
	id, address string
	works       bool
}

// mostHookPages bounds how many pages of webhooks are read.
const mostHookPages = 20

var errTooManyHooks = domain.E(domain.KindPermanent, "the account has more than %d pages of webhooks", mostHookPages)

// listing is a page; next is "" on the last one. total is how many there are in all, 0 where that is not said.
type listing struct {
	items []appointment
	next  string
	total int
	at    time.Time // by the scheduler's clock; zero = it does not tell
}

// appointment is an entry of a scheduler in the words that all have.
type appointment struct {
	id         string
	title      string
	start, end time.Time
	cancelled  bool
	tentative  bool
	updated    time.Time // zero where it is not told
	contact    string
	location   string
	notes      string
	labels     []string
	err        error // why it cannot be understood
}

func registration(k kind) provider.Registration {
	return provider.Registration{
		Name: k.name, Title: k.title, Doc: k.doc, SettingsSchema: k.schema(), Secrets: k.secrets, Abilities: k.abilities(), Limits: k.limits,
		Validate: k.validate,
		Open:     k.open,
		Notice:   k.notice,
		Rates:    k.rates,
	}
}

// rates are what the vendors document for one account: Calendly 500 requests a minute of a user with a paid plan, Cal.com
// 120 a minute of a key. Acuity names no number.
func (k kind) rates(c provider.Connection) []provider.Limit {
	switch k.name {
	case "calendly":
		return []provider.Limit{{Scope: provider.PerAccount, Account: c.Secrets["token"], PerSecond: 7.5, Burst: 50}}
	case "calcom":
		return []provider.Limit{{Scope: provider.PerAccount, Account: c.Secrets["api_key"], PerSecond: 1.6, Burst: 20}}
	}
	return provider.DefaultLimits()
}

// connection is an opened provider value. It is not changed after open.
type connection struct {
	kind     kind
	settings settings
	ask      dialect
	local    *time.Location
	now      func() time.Time
}

var (
	_ provider.Puller    = (*connection)(nil)
	_ provider.Reader    = (*connection)(nil)
	_ provider.Sweeper   = (*connection)(nil)
	_ provider.Prober    = (*connection)(nil)
	_ provider.Onboarder = (*connection)(nil)

	_ provider.Identifier = (*connection)(nil)
)

func (k kind) open(c provider.Connection) (any, error) {
	if c.HTTP == nil {
		return nil, domain.E(domain.KindInternal, "open %s: no HTTP client given", k.title)
	}
	s, err := k.parse(c.Integration.Settings)
	if err != nil {
		return nil, err
	}
	conn := &connection{kind: k, settings: s, local: c.Zone, now: c.Now}
	if conn.now == nil {
		conn.now = time.Now
	}
	if conn.local == nil {
		conn.local = time.UTC
	}
	conn.ask = k.dialect(&client{http: c.HTTP, base: s.base(k), sign: func(r *http.Request) { k.sign(r, c.Secrets) }})
	return conn, nil
}

// Probe asks who the credentials belong to.
func (c *connection) Probe(ctx context.Context) error {
	_, err := c.ask.account(ctx)
	return c.fail("probe", err)
}

// Onboard fills in the account. Once it is there, credentials of another account are refused.
func (c *connection) Onboard(ctx context.Context) (json.RawMessage, error) {
	account, err := c.ask.account(ctx)
	if err != nil {
		return nil, c.fail("look the account up", err)
	}
	s := c.settings
	if s.Account != "" && s.Account != account {
		return nil, domain.Invalid("settings.account", "the credentials belong to another account; leave it empty to connect that one")
	}
	s.Account = account
	return json.Marshal(s)
}

// Identity is the account at the scheduler.
func (c *connection) Identity() string {
	return provider.IdentityOf(c.settings.base(c.kind), c.settings.Account)
}

func (c *connection) fail(doing string, err error) error {
	if err == nil {
		return nil
	}
	return domain.E(domain.KindOf(err), "%s %s: %w", doing, c.kind.title, err)
}

// chosen is the account of the settings, or whom the credentials belong to.
func (c *connection) chosen(ctx context.Context) (string, error) {
	if c.settings.Account != "" {
		return c.settings.Account, nil
	}
	return c.ask.account(ctx)
}
