package custom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Draft is what Scaffold makes a definition of. Empty fields take the values of Defaults.
type Draft struct {
	Name    string
	BaseURL string

	Auth     string // one of DraftAuths
	Header   string // for header
	Param    string // for query
	Username string // for basic
	ClientID string // for client_credentials and authorization_code
	AuthURL  string // for authorization_code
	TokenURL string // for client_credentials and authorization_code

	ListPath   string // "" = no listing
	Items      string // expression over the answer
	Paging     string // one of DraftPagings
	PageParam  string
	SizeParam  string
	Next       string // expression; for cursor and next_link
	Total      string // expression; "" = the system does not tell
	SinceParam string // query parameter that takes a time; "" = everything is listed each time
	Updated    string // expression over an entry: when it was changed
	ReadPath   string
	ProbePath  string

	Webhook   string // verification scheme, one of DraftHooks; "" = none
	HookItems string // expression: where the entries of a delivery are
	FetchBack bool   // deliveries only name entries

	Write bool // copies of bookings are written

	ID, Category, Status, Start, End, Zone, Title, Version, Origin string // expressions over an entry

	Requests, PerSeconds int // limits
}

// The choices of a draft.
var (
	DraftAuths   = []string{"header", "bearer", "basic", "query", "client_credentials", "authorization_code", "none"}
	DraftPagings = append(slices.Clone(pagingKinds), "none")
	DraftHooks   = []string{"standard-webhooks", "hmac-sha256", "api-key", "path-token"}
)

// Defaults returns what a draft begins with.
func Defaults() Draft {
	return Draft{Name: "My booking system", BaseURL: "https://api.example.com/v1", Auth: "header", Header: "X-Api-Key", Param: "api_key", Username: "wedsync",
		ClientID: "my-client-id", AuthURL: "https://login.example.com/authorize", TokenURL: "https://login.example.com/token",
		ListPath: "/bookings", Items: "body.bookings", Paging: pagingPage, SizeParam: "limit", Next: "body.?next", Total: "body.total",
		SinceParam: "updated_since", Updated: "item.updated_at", HookItems: "[body.data]",
		ID: "item.id", Category: "'wedding'", Status: "item.?status.orValue('confirmed')", Start: "item.start", End: "item.end", Zone: "item.?timezone",
		Title: "item.?title", Version: "item.version", Origin: "item.?reference", Requests: 60, PerSeconds: 60}
}

func (d Draft) complete() Draft {
	base := Defaults()
	for _, f := range []struct {
		to       *string
		fallback string
	}{{&d.Name, base.Name}, {&d.BaseURL, base.BaseURL}, {&d.Auth, base.Auth}, {&d.Header, base.Header}, {&d.Param, base.Param}, {&d.Username, base.Username},
		{&d.ClientID, base.ClientID}, {&d.AuthURL, base.AuthURL}, {&d.TokenURL, base.TokenURL}, {&d.Items, base.Items}, {&d.Paging, base.Paging}, {&d.Next, base.Next},
		{&d.HookItems, base.HookItems}, {&d.ID, base.ID}, {&d.Category, base.Category}, {&d.Start, base.Start}, {&d.End, base.End}} {
		if *f.to == "" {
			*f.to = f.fallback
		}
	}
	if d.SinceParam != "" && d.Updated == "" {
		d.Updated = base.Updated
	}
	if d.ReadPath == "" {
		d.ReadPath = strings.TrimSuffix(d.entries(), "/") + "/${entry.external_id}"
	}
	if d.ProbePath == "" {
		d.ProbePath = d.entries()
	}
	if d.Requests <= 0 {
		d.Requests, d.PerSeconds = base.Requests, base.PerSeconds
	}
	return d
}

// entries is the path of the collection.
func (d Draft) entries() string {
	if d.ListPath == "" {
		return Defaults().ListPath
	}
	return d.ListPath
}

// page writes a definition line by line.
type yamlPage struct{ bytes.Buffer }

func (p *yamlPage) line(indent int, format string, args ...any) {
	p.WriteString(strings.Repeat("  ", indent))
	fmt.Fprintf(p, format, args...)
	p.WriteByte('\n')
}

// text writes a member whose value is a text, in quotes that YAML and JSON share.
func (p *yamlPage) text(indent int, name, value string) {
	if value != "" {
		p.line(indent, "%s: %s", name, quoted(value))
	}
}

func quoted(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("marshal a text: " + err.Error())
	}
	// YAML takes some characters for line breaks or not at all, which JSON leaves as they are.
	var out strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		if r >= 0x7f && r < 0xa0 || r == 0xfeff || r >= 0xfff0 && r <= 0xffff {
			fmt.Fprintf(&out, `\u%04x`, r)
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

// Scaffold writes a commented definition in YAML. It has no errors for Lint; what it cannot know is a comment. Errors are
// domain.Invalid with the name of the choice.
func Scaffold(d Draft) ([]byte, error) {
	d = d.complete()
	for _, f := range []struct {
		name, value string
		of          []string
	}{{"auth", d.Auth, DraftAuths}, {"paging", d.Paging, DraftPagings}, {"webhook", d.Webhook, append([]string{""}, DraftHooks...)}} {
		if !slices.Contains(f.of, f.value) {
			return nil, domain.Invalid(f.name, "must be one of %s", strings.Join(f.of, ", "))
		}
	}
	if d.ListPath == "" && d.Webhook == "" && !d.Write {
		return nil, domain.Invalid("list-path", "a definition lists entries, takes webhooks or writes")
	}
	p := &yamlPage{}
	p.line(0, "# Definition of a system for WedSync. Check it with: wedsync integration lint FILE")
	p.line(0, "# What each part means is told in docs/custom-provider.md. Expressions are in CEL (https://cel.dev).")
	p.text(0, "name", d.Name)
	p.line(0, "")
	p.text(0, "base_url", d.BaseURL)
	d.auth(p)
	p.line(0, "")
	p.line(0, "# What the system allows. Ask its vendor, and stay below.")
	p.line(0, "limits: {requests: %d, per_seconds: %d}", d.Requests, max(d.PerSeconds, 1))
	d.mapping(p)
	if d.ListPath != "" {
		d.list(p)
	}
	if d.ListPath != "" || d.Write || d.Webhook != "" {
		p.line(0, "")
		p.line(0, "# How one entry is asked for. A removal is believed only after this answers 404 or 410.")
		p.line(0, "read:")
		p.text(1, "path", d.ReadPath)
		p.line(1, "# item: \"body.booking\"     # where the entry is in the answer, if it is not the whole")
	}
	if d.Write {
		d.write(p)
	}
	if d.Webhook != "" {
		d.webhook(p)
	}
	p.line(0, "")
	p.line(0, "# The cheapest request that needs the credentials.")
	p.line(0, "probe:")
	p.text(1, "path", d.ProbePath)
	p.line(0, "")
	p.line(0, "# Answers that mean something else than their status says; the first that applies decides.")
	p.line(0, "errors:")
	p.line(1, "- {status: [400, 403], when: \"body.?error.?code.orValue('') == 'rate_limit'\", kind: rate_limited}")
	p.line(0, "")
	p.line(0, "# Samples keep the definition true: record real answers, without real people, and say what comes out.")
	p.line(0, "samples:")
	p.line(1, "- name: the system answers")
	p.line(2, "do: probe")
	p.line(2, "exchanges:")
	p.line(3, "- request: {path: %s}", quoted(d.ProbePath))
	p.line(3, "  answer: {status: 200}")
	if d.ListPath != "" {
		p.line(1, "# - name: one page")
		p.line(1, "#   do: list")
		p.line(1, "#   exchanges:")
		p.line(1, "#     - request: {path: %s, query: {}}", quoted(d.ListPath))
		p.line(1, "#       answer: {body: {}}")
		p.line(1, "#   expect: {complete: true, changes: [{external_id: \"1\", start: \"2027-06-05T14:00:00Z\"}]}")
	}
	return p.Bytes(), nil
}

func (d Draft) auth(p *yamlPage) {
	p.line(0, "")
	switch d.Auth {
	case "none":
		p.line(0, "auth: {kind: none}")
		return
	case "header":
		p.line(0, "# The key itself is the secret api_key of the integration, and never stands in a file.")
		p.line(0, "auth: {kind: header, header: %s}", quoted(d.Header))
	case "query":
		p.line(0, "# The key itself is the secret api_key of the integration.")
		p.line(0, "auth: {kind: query, param: %s}", quoted(d.Param))
	case "bearer":
		p.line(0, "# The token itself is the secret token of the integration.")
		p.line(0, "auth: {kind: bearer}")
	case "basic":
		p.line(0, "# The password is the secret password of the integration.")
		p.line(0, "auth: {kind: basic, username: %s}", quoted(d.Username))
	default:
		p.line(0, "# The secret of the client is the secret client_secret of the integration.")
		p.line(0, "auth:")
		p.line(1, "kind: oauth2")
		p.text(1, "grant", d.Auth)
		p.text(1, "client_id", d.ClientID)
		if d.Auth == grantPerson {
			p.text(1, "auth_url", d.AuthURL)
		}
		p.text(1, "token_url", d.TokenURL)
		p.line(1, "# scopes: [\"bookings.read\"]")
	}
}

func (d Draft) mapping(p *yamlPage) {
	p.line(0, "")
	p.line(0, "# How an entry becomes a booking. item is the entry; item.?title has no value where the entry has no title.")
	p.line(0, "mapping:")
	p.text(1, "external_id", d.ID)
	p.line(1, "# wedding, engagement, vendor, consultation, travel, hold, maintenance or personal; a table such as")
	p.line(1, "# \"{'wedding': 'wedding', 'call': 'consultation'}[?item.kind].orValue('hold')\" maps words of the system")
	p.text(1, "category", d.Category)
	p.line(1, "# confirmed, tentative or cancelled")
	p.text(1, "status", d.Status)
	p.line(1, "# 2027-06-05T14:00:00Z is an instant, 2027-06-05T14:00 a clock on the wall, 2027-06-05 a whole day")
	p.text(1, "start", d.Start)
	p.text(1, "end", d.End)
	p.text(1, "zone", d.Zone)
	p.text(1, "title", d.Title)
	if d.Version != "" {
		p.line(1, "# grows with each change, so that a late delivery undoes nothing")
		p.text(1, "remote_version", d.Version)
		if d.Write {
			p.line(1, "# goes back as If-Match, so that nobody's change is overwritten")
			p.text(1, "revision", "string("+d.Version+")")
		}
	}
	if d.Write {
		p.line(1, "# what we leave on our copies, so that they are known again")
		p.text(1, "origin", d.origin())
	}
}

func (d Draft) origin() string {
	if d.Origin == "" {
		return Defaults().Origin
	}
	return d.Origin
}

func (d Draft) list(p *yamlPage) {
	p.line(0, "")
	p.line(0, "# The listing. Choose an order that does not change while it is read, such as by id.")
	p.line(0, "list:")
	p.text(1, "path", d.ListPath)
	if d.SinceParam != "" {
		p.line(1, "# since is the time up to which everything is known; empty in a full listing, and then left out")
		p.line(1, "query: {%s: \"${since}\"}", quoted(d.SinceParam))
	}
	p.line(1, "page_size: 100")
	p.text(1, "items", d.Items)
	if d.Total != "" {
		p.line(1, "# how many entries there are in all, so that a page that leaves something out is noticed")
		p.text(1, "total", d.Total)
	}
	if d.Paging == pagingCursor || d.Paging == pagingNext {
		p.line(1, "# no value on the last page")
		p.text(1, "next", d.Next)
	}
	if d.Paging != "none" {
		p.line(1, "paging:")
		p.text(2, "kind", d.Paging)
		if slices.Contains([]string{pagingPage, pagingOffset, pagingCursor}, d.Paging) {
			p.text(2, "param", d.PageParam)
		}
		p.text(2, "size_param", d.SizeParam)
	}
	if d.SinceParam != "" {
		p.line(1, "incremental:")
		p.text(2, "watermark", d.Updated)
		p.line(2, "overlap_seconds: 300")
		p.line(2, "# finds what was removed, which a list of changes does not tell")
		p.line(2, "full_every_hours: 24")
	}
}

var simpleField = regexp.MustCompile(`^item\.\??([a-zA-Z_][a-zA-Z0-9_]*)$`)

// field is the name under which the system takes a value, as far as an expression tells.
func field(expr, fallback string) string {
	if m := simpleField.FindStringSubmatch(expr); m != nil {
		return m[1]
	}
	return fallback
}

func (d Draft) write(p *yamlPage) {
	body := func() {
		p.line(2, "body:")
		p.text(3, field(d.Start, "start"), "${string(entry.start)}")
		p.text(3, field(d.End, "end"), "${string(entry.end)}")
		p.text(3, field(d.Title, "title"), "${entry.title}")
		p.text(3, field(d.origin(), "reference"), "${entry.booking_id}")
	}
	p.line(0, "")
	p.line(0, "# How copies of bookings are written. The answer to create and update must hold the entry.")
	p.line(0, "write:")
	p.line(1, "# The system must answer the same create with the same entry under this key. If it has no such thing, give a lookup:")
	p.line(1, "# lookup: {path: %s, query: {reference: \"${entry.booking_id}\"}, items: %s}", quoted(d.entries()), quoted(d.Items))
	p.line(1, "idempotency_header: Idempotency-Key")
	p.line(1, "create:")
	p.text(2, "path", d.entries())
	body()
	one := strings.TrimSuffix(d.entries(), "/") + "/${entry.external_id}"
	p.line(1, "update:")
	p.text(2, "method", http.MethodPatch)
	p.text(2, "path", one)
	if d.Version != "" {
		p.line(2, "headers: {If-Match: \"${entry.revision}\"}")
	}
	body()
	p.line(1, "remove:")
	p.text(2, "path", one)
	if d.Version != "" {
		p.line(2, "headers: {If-Match: \"${entry.revision}\"}")
	}
}

func (d Draft) webhook(p *yamlPage) {
	p.line(0, "")
	p.line(0, "# What the system posts to us. The address is webhook_url of the integration.")
	p.line(0, "webhook:")
	switch d.Webhook {
	case string(webhookauth.PathToken):
		p.line(1, "# The system signs nothing: an address that cannot be guessed is all there is, so each entry is read back.")
		p.line(1, "verify: {scheme: path-token}")
	case "hmac-sha256":
		p.line(1, "# How the system signs: docs/webhooks.md lists every scheme. The key is the secret webhook_secret.")
		p.line(1, "verify: {scheme: hmac-sha256, header: X-Signature, encoding: hex}")
	case "api-key":
		p.line(1, "verify: {scheme: api-key, header: X-Webhook-Key}")
	default:
		p.line(1, "# How the system signs: docs/webhooks.md lists every scheme. The key is the secret webhook_secret.")
		p.line(1, "verify: {scheme: %s}", quoted(d.Webhook))
	}
	p.line(1, "# Where the entries of a delivery are; an empty list for what is not about bookings.")
	p.text(1, "items", d.HookItems)
	if d.FetchBack || d.Webhook == string(webhookauth.PathToken) {
		p.line(1, "# Deliveries only name entries: each is read by the part read.")
		p.line(1, "fetch_back: true")
	}
}
