// Package provider is the one port to any outside system. A CRM and a calendar are the same thing to WedSync: a
// source and a sink of bookings with abilities. A provider package (internal/providers/NAME) exports one
// Registration; the list in internal/providers names it; the suite in internal/providers/providertest runs over the
// list, so a new provider inherits its cases on its first day.
//
// Little is required: a Registration opens a Connection and returns any value. What that value can do is found by
// type, at one place (As): WebhookSource, Puller, Reader, Writer, Watcher,
// Prober, Onboarder, LeadSender, Identifier. A provider implements only what
// its system really offers, and Registration.Abilities and Limits tell people the same in words.
//
// Every method obeys the same rules. Errors have a domain.ErrorKind; unavailable and rate_limited are retried by the
// caller, unauthenticated moves the integration to needs_reconnect, gone_token restarts a listing, everything else is
// final. Error texts hold no personal data and no secrets. A value is used by several goroutines at once. A context
// that ends stops the call.
package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Registration describes a provider and opens connections to it.
type Registration struct {
	Name  string // short lower-case name stored with every integration; never changed after a release
	Title string // for people
	Doc   string // one sentence: what the system is and what the connection can do
	// Abilities says what a connection can do, and Limits what the system does not offer, both in plain words.
	Abilities []Ability
	Limits    []string
	// SettingsSchema is a JSON Schema (2020-12) of Settings, shown by the API and the docs.
	SettingsSchema json.RawMessage
	// DefinitionSchema is a JSON Schema (2020-12) of the files that people keep settings in, where there are such; nil = none.
	DefinitionSchema json.RawMessage
	// Secrets lists the names of the secrets that the provider uses, with what each is for.
	Secrets []SecretField
	// Validate checks settings and secrets without any network call. Errors are domain.Invalid with the path of the
	// field; a wrong expression is reported with line and column.
	Validate func(settings json.RawMessage, secrets map[string]string) error
	// Trial lays settings that are to be tried over the stored ones, such as one part of them; nil = they replace them.
	// Errors are domain.Invalid.
	Trial func(stored, trial json.RawMessage) (json.RawMessage, error)
	// Open makes a connection's value. It makes no network call and may be called often: the caller caches the
	// value per integration version.
	Open func(Connection) (any, error)
	// OAuth says how a grant is got, for the integration's settings and whether it writes; nil for systems that are
	// reached by Secrets. Errors are domain.Invalid.
	OAuth func(settings json.RawMessage, writes bool) (OAuth, error)
	// Mappings lets people see and change how deliveries are read, kind by kind; nil where no mapping reads them.
	Mappings *Mappings
	// ByConsent tells for settings whether a grant is needed at all; nil = for all of them, where OAuth is set.
	ByConsent func(settings json.RawMessage) bool
	// OAuthClient is who asks, where that is part of the integration; nil = this installation's registration with the
	// vendor. Errors are domain.Invalid.
	OAuthClient func(settings json.RawMessage, secrets map[string]string) (OAuthClient, error)
	// Rates says how fast the system may be called with a connection; nil = DefaultLimits. It makes no network call, and a
	// connection that cannot be opened gets limits too.
	Rates func(c Connection) []Limit
	// RequestIDHeader is the header in which the vendor documents that it takes an id of ours with each request, for finding it
	// in its logs; "" = none.
	RequestIDHeader string
	// Notice reads a message to a watch's address; nil for systems without Watcher. It makes no network call, compares
	// secrets in constant time, and answers KindUnauthenticated when they are wrong, KindInvalid when the message cannot
	// be read.
	Notice func(NoticeRequest) (Notice, error)
}

// Consents reports whether an integration with these settings is connected by a person's consent.
func (r Registration) Consents(settings json.RawMessage) bool {
	return r.OAuth != nil && (r.ByConsent == nil || r.ByConsent(settings))
}

// SecretField names one secret of a provider.
type SecretField struct {
	Name     string `json:"name"`
	Doc      string `json:"doc"`
	Required bool   `json:"required"`
}

// Connection is what a provider needs to talk to one outside system for one integration.
type Connection struct {
	Integration domain.Integration // with Settings
	Secrets     map[string]string  // opened; must not be logged or put into errors
	Zone        *time.Location     // of the integration's resource: resolves floating and all-day times
	HTTP        *httpx.Client      // bounded, guarded; the only way out
	Tokens      TokenSource        // of the integration's OAuth grant; nil for systems without one
	Consents    Consents           // whose pages may be read; nil = nobody's
	Now         func() time.Time
	// Once keeps what is named to once in a time, over all processes: nil says that it is the caller's turn, and an error of kind
	// rate_limited how long nobody has one. The name is kept as a digest. A nil Once knows of nobody else.
	Once func(ctx context.Context, what string, every time.Duration) error
}

// As finds an ability of an opened provider value.
func As[T any](opened any) (T, bool) {
	t, ok := opened.(T)
	return t, ok
}

// WebhookSource is implemented by systems that post webhooks.
type WebhookSource interface {
	// Intake tells how deliveries are verified and told apart. It is read once per integration version.
	Intake() Intake
	// Decode reads a verified delivery. It makes no network call unless the system's payloads are thin. The same
	// delivery always decodes to the same. No change at all means that nothing in it is for us, which is not an
	// error. KindInvalid means that the delivery can never be understood (it becomes a dead letter); nothing of it
	// is returned then.
	Decode(ctx context.Context, d Webhook) (Decoded, error)
}

// Decoded is what a delivery says.
type Decoded struct {
	Changes []domain.Change
	// Ignore says why the delivery is left alone on purpose, in words without personal data; "" if it is not.
	// Changes is empty then.
	Ignore string
	// Route names the integrations of the same organisation to which the raw delivery is handed as well, each once.
	// They decode it by their own rules. Handing over comes in addition to Changes and to Ignore.
	Route []domain.IntegrationID
	// EventType is the vendor's word for what happened, such as booking.updated, for people to search by; at most
	// MaxEventType bytes, "" if there is none.
	EventType string
}

// Explainer is implemented by webhook sources that can show how they read a delivery, for trying settings out.
type Explainer interface {
	// Explain has the same outcome as Decode and is bounded as it is. What is told holds no value of the delivery, but
	// Decoded does.
	Explain(ctx context.Context, d Webhook) Explanation
}

// Explanation tells how a delivery was read.
type Explanation struct {
	Steps    []ExplainStep
	Decoded  Decoded         // empty with Err
	Priority domain.Priority // 0 = none set
	Err      error           // what Decode would return
	Cost     uint64          // of all steps, in units of the source
}

// ExplainStep is one step.
type ExplainStep struct {
	Name    string `json:"name"`              // such as conversion, schema, rule, items, entry
	Subject string `json:"subject,omitempty"` // name of the rule, number of the entry
	Result  string `json:"result"`            // in words
	Cost    uint64 `json:"cost"`
	Fault   *Fault `json:"fault,omitempty"`
}

// Fault is an error with its place.
type Fault struct {
	Position
	Text string `json:"text"`
}

// Position is a place in an expression of the settings. Line and Column count from 1; both are 0 when the fault is not
// about one expression.
type Position struct {
	Path   string `json:"path,omitempty"` // of the expression, such as settings.webhook.rules[0].when
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// MaxEventType bounds Decoded.EventType, in bytes.
const MaxEventType = 100

// Intake is the part of a webhook source that the server needs before anything is stored. Both parts work on raw
// bytes; only Priority, where it is set, looks into a body, after its signature.
type Intake struct {
	Auth webhookauth.Config
	// Credentials are those of the connection itself. The intake adds those that were given to the integration since.
	Credentials []webhookauth.Credential
	// VerifyToken is what the sender shows in a handshake that needs one, see webhookauth.Options.
	VerifyToken webhookauth.Secret
	// DedupeHeader names the header that is equal in every retry of one message; "" uses the message id of the
	// scheme, or the hash of the body where the scheme has none.
	DedupeHeader string
	// DedupePath is the place of the message's id in a JSON body (RFC 6901), such as /data/id; "" = none. It is read after
	// the signature. A body that has nothing there is named by its hash.
	DedupePath string
	// DedupeHash names a message by the hash of its body and nothing else, whatever ids it has.
	DedupeHash bool
	// DedupeFor is how long a repeat is recognised; 0 = for ever. It must be at least MinDedupe.
	DedupeFor time.Duration
	// Hints says that webhooks only tell that something changed, and that this is read from the system. The same words
	// again then mean that it changed again: unless DedupeHash says so, one without an id is a repeat of no other.
	Hints bool
	// ContentEncoding is Gzip when the system may compress its bodies, "" when they are never taken compressed. The
	// signature is over the bytes as received, and those are stored; readers use Webhook.Plain.
	ContentEncoding string
	// KeepHeaders are the further headers stored with the delivery, in canonical form; at most 10.
	KeepHeaders []string
	// ContentTypes are the accepted media types; empty means application/json only.
	ContentTypes []string
	// Priority finds the priority of a verified delivery before it is stored; nil = the connection sets none, and no
	// body has to be read for it. header holds at least the kept headers. It is bounded in work and time, calls nobody
	// and never fails: false means that nothing was said. It is called by many goroutines.
	Priority func(header http.Header, body []byte) (domain.Priority, bool)
}

// MinDedupe is the least time for which every integration recognises repeats.
const MinDedupe = 30 * 24 * time.Hour

// Webhook is a verified delivery.
type Webhook struct {
	Header     http.Header // the kept headers
	Body       []byte      // raw bytes as received
	ReceivedAt time.Time
}

// Puller is implemented by systems that can be listed.
type Puller interface {
	// Pull reads one page after a cursor; "" starts a full listing. The same cursor may be pulled again after a
	// crash and gives at least the same changes. KindGoneToken means that the cursor is no longer known: the caller
	// starts again at "" and deletes nothing by that alone. An incomplete page is an error, never a short page.
	Pull(ctx context.Context, cursor string) (Page, error)
}

// Page is a piece of a listing.
type Page struct {
	Changes []domain.Change
	// Problems are entries that could not be understood. They are reported and stay as they are; the rest of the
	// page is applied.
	Problems []Problem
	Next     string // cursor to continue from
	More     bool   // pull again at once with Next
	// Complete is true on the last page of a listing that began at "" and named every existing entry, so that
	// absence from it is a hint of deletion. A deletion still needs proof by Reader.
	Complete bool
	// Total is how many entries the whole listing has, for telling how long it takes; 0 where the system does not say. It
	// decides nothing.
	Total int
	// Look names entries about which the system said something that only the caller's memory can place. Every known
	// entry with such an id, every known part of it ("id#part") and every known part of that name ("entry#id"), unless
	// Changes or Problems name it, is asked for by Reader, and is removed if it does not exist. Ids that nobody knows mean
	// nothing. It is empty in listings that began at "", where absence tells.
	Look []string
}

// Problem is an entry that could not be understood.
type Problem struct {
	ExternalID string
	Err        error
}

// Reader is implemented by systems in which one entry can be asked for.
type Reader interface {
	// Read returns the entry as it is now, or KindNotFound when the system says that it does not exist. Any doubt
	// is another error.
	Read(ctx context.Context, externalID string) (domain.Change, error)
}

// Unlister is implemented by systems that take entries which they never show: a message in somebody's inbox. Their absence
// from a listing says nothing, and nobody can be asked for them.
type Unlister interface {
	// Unlisted reports whether an entry is of that kind, by its id alone.
	Unlisted(externalID string) bool
}

// Foreteller is implemented by writers that know the id of a copy from Write.Key alone, before it is made. In a system that shows
// nobody what it took, a copy whose write was never answered can be taken back in no other way.
type Foreteller interface {
	// Foretold returns the ExternalID that a copy made with a key has. Remove takes it with "" as its revision, whether or not
	// the copy was made.
	Foretold(key string) string
}

// ReaderOf returns how an entry is asked for; false where the system cannot be asked, or not for this entry.
func ReaderOf(opened any, externalID string) (Reader, bool) {
	if u, ok := As[Unlister](opened); ok && u.Unlisted(externalID) {
		return nil, false
	}
	return As[Reader](opened)
}

// Writer is implemented by systems that take entries from us.
type Writer interface {
	// Put creates or updates the copy of a booking and returns it as the system stored it. It may be repeated after
	// a lost answer: Key is the same for every try of one logical write, and a copy that an earlier try created is
	// adopted, not doubled; see Written.Adopted. KindConflict means that the copy changed since Revision was read.
	Put(ctx context.Context, w Write) (Written, error)
	// Remove deletes the copy. One that is gone already is success. KindConflict as for Put.
	Remove(ctx context.Context, externalID, revision string) error
}

// Write is the wish for a copy.
type Write struct {
	Key        string           // deterministic per integration and booking; 36 characters
	BookingID  domain.BookingID // goes into the origin marker
	ExternalID string           // "" when the copy does not exist yet as far as we know
	Revision   string           // last known revision; "" writes only if the copy is absent or ours
	Category   domain.Category
	Status     domain.BookingStatus
	When       domain.When
	Details    domain.Details // already reduced to what this system may see
	// Unsure says that an earlier write of this entry was not answered, so that it may say something else than at Revision, or
	// be there although ExternalID is "".
	Unsure bool
	// Source is true when the entry is the system's own (a resolved conflict moves it), false for a mirror of ours.
	// A source entry keeps everything that the Write does not name.
	Source bool
}

// Written is the copy after a Put, as the system returned or re-read it.
type Written struct {
	ExternalID string
	UID        string
	Revision   string
	// ReadBack is the copy in the form in which Pull will return it, for recognising the echo.
	ReadBack domain.Change
	// Adopted says that the copy which an earlier try created says something else than the Write, and that it was left as it
	// is: somebody may have moved it meanwhile. The caller applies ReadBack as something read, and writes again. Only a Write
	// without ExternalID ends so. A provider that cannot tell writes over such a copy.
	Adopted bool
}

// Prober is implemented by systems that have a cheap authenticated call.
type Prober interface {
	// Probe makes the cheapest authenticated call. nil means reachable and accepted.
	Probe(ctx context.Context) error
}

// Onboarder is implemented by systems whose settings can be completed by asking them (discovery).
type Onboarder interface {
	// Onboard checks the credentials and returns the completed settings. It changes nothing in the system.
	Onboard(ctx context.Context) (json.RawMessage, error)
}
