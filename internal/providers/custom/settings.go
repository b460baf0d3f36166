package custom

import (
	"encoding/json"

	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Settings is the whole definition of a custom integration. Every part is optional, but at least one of Webhook,
// List and Write must be there; the abilities of the connection follow from the parts.
//
// A field of type Expr holds one CEL expression. A field of type Template holds text in which ${expression} is
// replaced by a value; $${ stands for a plain ${.
type Settings struct {
	// Schema is ignored; it lets an editor find the JSON Schema.
	Schema string `json:"$schema,omitempty"`
	// BaseURL is the start of every request's address, such as https://crm.example/api. Plain http works only where
	// the client allows private addresses, in development.
	BaseURL string `json:"base_url,omitempty"`
	Auth    *Auth  `json:"auth,omitempty"`
	// Mapping holds the expressions common to all parts; a part's own mapping overrides it field by field.
	Mapping *Mapping `json:"mapping,omitempty"`
	Webhook *Webhook `json:"webhook,omitempty"`
	List    *List    `json:"list,omitempty"`
	Read    *Read    `json:"read,omitempty"`
	Write   *Write   `json:"write,omitempty"`
	Probe   *Probe   `json:"probe,omitempty"`
	// Limits bounds how often the system is asked.
	Limits *Limits `json:"limits,omitempty"`
	// Errors gives answers another kind than their status has; the first that applies decides.
	Errors []ErrorRule `json:"errors,omitempty"`
}

// Expr is the source of a CEL expression, at most 4 KiB.
type Expr string

// Template is text with ${expression} parts.
type Template string

// Auth says how our requests prove who we are.
type Auth struct {
	// Kind is none, bearer (secret token), basic (Username and secret password), header (Header and secret api_key),
	// query (Param and secret api_key) or oauth2 (ClientID and secret client_secret).
	Kind     string `json:"kind"`
	Username string `json:"username,omitempty"`
	Header   string `json:"header,omitempty"`
	Prefix   string `json:"prefix,omitempty"` // put before the key in Header, such as "Token "
	Param    string `json:"param,omitempty"`

	// Grant is client_credentials (the client itself is let in) or authorization_code (a person consents, by the link of
	// POST /v1/integrations/{id}/connect).
	Grant     string   `json:"grant,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	AuthURL   string   `json:"auth_url,omitempty"` // for authorization_code
	TokenURL  string   `json:"token_url,omitempty"`
	RevokeURL string   `json:"revoke_url,omitempty"` // for authorization_code: RFC 7009
	Scopes    []string `json:"scopes,omitempty"`
	// Params are added to the authorization request, or to the question for a token by client_credentials, such as audience.
	Params map[string]string `json:"params,omitempty"`
	// ClientAuth is body (default) or basic: how the token endpoint is told who asks.
	ClientAuth string `json:"client_auth,omitempty"`
}

// Limits is what the system allows. Requests over it wait a little, or are refused as rate_limited with the time to wait.
type Limits struct {
	Requests   int `json:"requests"`              // at most so many
	PerSeconds int `json:"per_seconds,omitempty"` // in so many seconds; 0 = 1
	Burst      int `json:"burst,omitempty"`       // at once after a rest; 0 = 1
	Concurrent int `json:"concurrent,omitempty"`  // under way at the same time; 0 = no bound of its own
}

// ErrorRule gives an answer a kind by its status and its body.
type ErrorRule struct {
	// Status lists the statuses to which it applies; none = every one from 400 on. A status below 300 must be listed, and
	// needs When: some systems answer 200 to everything.
	Status []int `json:"status,omitempty"`
	When   Expr  `json:"when,omitempty"` // bool over body, headers and status; no value, or a body of another form, counts as false
	// Kind is unauthenticated, forbidden, not_found, conflict, gone_token, rate_limited, unavailable or permanent.
	Kind       string `json:"kind"`
	RetryAfter Expr   `json:"retry_after,omitempty"` // whole number of seconds; with rate_limited and unavailable
}

// Probe is the cheapest request that shows that the system answers and accepts our credentials.
type Probe struct {
	Request
	Expect Expr `json:"expect,omitempty"` // bool over the answer; false = the system is not well
}

// Mapping turns one entry of the system into a change. All expressions see item (the entry), body (all of the JSON),
// headers (lower-case names) and received_at. Null, an absent optional and an empty text mean that there is no value.
type Mapping struct {
	Drop          Expr `json:"drop,omitempty"`           // bool; true = the entry is not for us
	Op            Expr `json:"op,omitempty"`             // upsert (default) or remove
	ExternalID    Expr `json:"external_id,omitempty"`    // text or int; required
	UID           Expr `json:"uid,omitempty"`            // text or int
	Revision      Expr `json:"revision,omitempty"`       // text or int
	RemoteVersion Expr `json:"remote_version,omitempty"` // int, or a timestamp (then its milliseconds)
	Category      Expr `json:"category,omitempty"`       // a category name; required
	Status        Expr `json:"status,omitempty"`         // confirmed (default), tentative or cancelled
	Start         Expr `json:"start,omitempty"`          // timestamp, or text with a time or a date; required
	End           Expr `json:"end,omitempty"`            // the same, or a duration; required unless all-day
	AllDay        Expr `json:"all_day,omitempty"`        // bool; default: both times are dates
	Zone          Expr `json:"zone,omitempty"`           // IANA name; default: the zone of the resource
	Title         Expr `json:"title,omitempty"`
	Location      Expr `json:"location,omitempty"`
	Notes         Expr `json:"notes,omitempty"`
	Contact       Expr `json:"contact,omitempty"`
	Private       Expr `json:"private,omitempty"` // bool
	Free          Expr `json:"free,omitempty"`    // bool
	Origin        Expr `json:"origin,omitempty"`  // the booking id that a write left on the entry
}

// Webhook describes the deliveries that the system posts.
type Webhook struct {
	Verify       webhookauth.Config `json:"verify"`
	DedupeHeader string             `json:"dedupe_header,omitempty"`
	// Dedupe says by what a repeat is known, in place of DedupeHeader.
	Dedupe *Dedupe `json:"dedupe,omitempty"`
	// ContentEncoding is gzip when the system may compress its bodies; at most 4 MiB unpacked, and 100 times their size.
	ContentEncoding string `json:"content_encoding,omitempty"`
	// ContentTypes are the accepted media types, default application/json. Bodies of application/x-www-form-urlencoded,
	// application/xml, text/xml and what ends in +xml are converted; any other is JSON.
	ContentTypes []string `json:"content_types,omitempty"`
	// Schema is a JSON Schema (draft 2020-12) of the body after conversion. What does not fit is put aside.
	Schema    json.RawMessage `json:"schema,omitempty"`
	EventType Expr            `json:"event_type,omitempty"` // text by which people search, such as body.type
	Rules     []Rule          `json:"rules,omitempty"`      // in order, before the mapping
	Items     Expr            `json:"items,omitempty"`      // list of entries; default [body]
	Mapping   *Mapping        `json:"mapping,omitempty"`
	// FetchBack says that deliveries only name entries (thin payloads): each is read by the part read, and only
	// external_id, and drop of the mapping here, count for the delivery.
	FetchBack bool `json:"fetch_back,omitempty"`
	// Selective says that the system posts about some kinds of changes only, so that one found by a poll alone says nothing
	// against its webhooks.
	Selective bool `json:"selective,omitempty"`
}

// Rule does one thing with the deliveries for which its condition holds: exactly one of Drop, Route and Priority.
type Rule struct {
	Name string `json:"name"` // for people, at most 60 bytes, each once
	When Expr   `json:"when"` // bool over body, headers and received_at; no value counts as false
	// Drop ignores the delivery; later rules are not asked.
	Drop *Drop `json:"drop,omitempty"`
	// Route hands the delivery as it came to other integrations of the organisation, at most 10. Without Keep it is not
	// mapped here and later rules are not asked.
	Route []string `json:"route,omitempty"`
	Keep  bool     `json:"keep,omitempty"`
	// Priority is urgent, high, normal or bulk. The first rule that applies decides.
	Priority string `json:"priority,omitempty"`
}

// Drop says why a delivery is ignored.
type Drop struct {
	Reason string `json:"reason"` // for people, at most 200 bytes, no personal data
}

// Dedupe says by what a repeated message is known. At most one of Header, BodyPath and Hash is given; none means the
// message id of the scheme, or the hash of the body where the scheme has none.
type Dedupe struct {
	Header   string `json:"header,omitempty"`
	BodyPath string `json:"body_path,omitempty"` // JSON pointer, such as /data/id
	Hash     bool   `json:"hash,omitempty"`      // of the body alone
	Days     int    `json:"days,omitempty"`      // for how long, 30 to 3650; default: for ever
}

// Request is one HTTP request. Its templates see what its place offers.
type Request struct {
	Method  string              `json:"method,omitempty"`
	Path    Template            `json:"path"` // values are escaped as one path segment
	Query   map[string]Template `json:"query,omitempty"`
	Headers map[string]Template `json:"headers,omitempty"` // left out when empty, like query parameters
	// Body is any JSON. A text that is wholly ${expression} becomes the value with its type; a member whose value is
	// an absent optional is left out.
	Body json.RawMessage `json:"body,omitempty"`
}

// List describes the listing. Its templates see page (token of the page, "" at first), since (incremental token, ""
// in a full listing) and page_size.
type List struct {
	Request
	Items       Expr         `json:"items"`           // list of entries
	Next        Expr         `json:"next,omitempty"`  // token of the next page; empty on the last
	Total       Expr         `json:"total,omitempty"` // number of entries in the whole listing
	PageSize    int          `json:"page_size,omitempty"`
	Paging      *Paging      `json:"paging,omitempty"` // nil = Next gives the token of the next page, and the templates send it
	Incremental *Incremental `json:"incremental,omitempty"`
	GoneStatus  []int        `json:"gone_status,omitempty"` // answers that mean an expired token; default 410
	Mapping     *Mapping     `json:"mapping,omitempty"`
}

// Paging says how pages follow each other, so that the templates need not.
type Paging struct {
	// Kind is page (numbered pages), offset (number of entries to skip), cursor (Next gives a token), next_link (Next gives
	// an address), link_header (RFC 8288, rel="next") or hal (_links.next.href).
	Kind string `json:"kind"`
	// Param is the query parameter for the number or token; default page, offset or cursor. Without it nothing is added
	// where the templates use page themselves.
	Param     string `json:"param,omitempty"`
	SizeParam string `json:"size_param,omitempty"` // query parameter for page_size; none = not sent
	First     *int   `json:"first,omitempty"`      // number of the first page, default 1
	Pages     Expr   `json:"pages,omitempty"`      // for page: how many pages there are
	More      Expr   `json:"more,omitempty"`       // bool: there is a further page
	// NoOverlap is for systems that take multiples of page_size as offsets only. Else each page is asked for with the last
	// entry of the one before, which proves that nothing moved meanwhile.
	NoOverlap bool `json:"no_overlap,omitempty"`
}

// Incremental lets a listing continue where the last one ended, by Token or by Watermark.
type Incremental struct {
	Token Expr `json:"token,omitempty"` // text or int over the answer
	// From says which page of a listing gives the token: first (default; for a server clock, so that changes made
	// while we read are read again) or last (for a watermark over sorted entries).
	From string `json:"from,omitempty"`

	// Watermark is the time of an entry's last change: a timestamp, or a text in RFC 3339. The greatest one, but none after
	// the listing began, is where the next listing continues.
	Watermark      Expr   `json:"watermark,omitempty"`
	OverlapSeconds int    `json:"overlap_seconds,omitempty"` // how far before it; 0 means 300
	Format         string `json:"format,omitempty"`          // of since: rfc3339 (default), unix, unix_ms or date
	// Order is newest_first for a system that cannot filter by time and lists the last change first: reading ends at the
	// watermark.
	Order string `json:"order,omitempty"`
	// FullEveryHours makes a listing begin anew from time to time, for systems that tell nothing of removals; 0 = never.
	FullEveryHours int `json:"full_every_hours,omitempty"`
}

// Read describes asking for one entry. Its templates see entry.external_id.
type Read struct {
	Request
	Item          Expr     `json:"item,omitempty"`           // the entry in the answer; default body
	MissingStatus []int    `json:"missing_status,omitempty"` // answers that prove absence; default 404 and 410
	Mapping       *Mapping `json:"mapping,omitempty"`
}

// Write describes how bookings are written. Its templates see entry.* (see docs/custom-provider.md).
type Write struct {
	Create WriteRequest  `json:"create"`
	Update *WriteRequest `json:"update,omitempty"`
	Remove Request       `json:"remove"`
	// IdempotencyHeader carries the key that is equal in every try of one write. This or Lookup is required, since
	// otherwise a create whose answer is lost would be doubled.
	IdempotencyHeader string `json:"idempotency_header,omitempty"`
	// KeysOutliveEntries says that the system still answers a create with the old entry under its key when that entry
	// was deleted. Then another key is tried. It must not be set for a system whose reads lag behind its writes: a
	// new entry that cannot be read yet would be made twice.
	KeysOutliveEntries bool     `json:"keys_outlive_entries,omitempty"`
	Lookup             *Lookup  `json:"lookup,omitempty"`
	Mapping            *Mapping `json:"mapping,omitempty"`
}

// WriteRequest is a request whose answer holds the stored entry.
type WriteRequest struct {
	Request
	Item Expr `json:"item,omitempty"` // the entry in the answer; default body
}

// Lookup finds an entry that an earlier try created.
type Lookup struct {
	Request
	Items Expr `json:"items"` // list of the entries found; more than one is an error
}
