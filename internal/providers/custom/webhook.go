package custom

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// maxItems is the most entries of one delivery or page.
const maxItems = 5_000

// maxKeepHeaders is how many headers the inbox stores for us.
const maxKeepHeaders = 10

// webhookPart is a compiled Webhook.
type webhookPart struct {
	intake provider.Intake
	schema *bodySchema // nil = any body
	event  *program    // nil = no event type
	rules  []rule
	items  *program // nil = the body is the entry
	mapper *mapper  // nil = nothing is mapped
	now    func() time.Time
	// fetchBack means that what a delivery says of an entry is not believed, or is not there: the entry is read.
	fetchBack bool
	selective bool // see Webhook.Selective
}

// compileReading compiles all that reads a delivery: items, schema, event type, rules and mapping. What is compiled is
// returned with every fault that was found. part is the place of w in the settings.
func compileReading(common *Mapping, w *Webhook, part string, local *time.Location) (*webhookPart, error) {
	out := &webhookPart{now: time.Now}
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	var err error
	if w.FetchBack {
		out.mapper, err = compileHint(common, w.Mapping, part+".mapping", local)
	} else {
		out.mapper, err = compileMapping(common, w.Mapping, part+".mapping", local)
	}
	note(err)
	note(out.compileAround(w, part))
	for i, ct := range w.ContentTypes {
		if !strings.Contains(ct, "/") || strings.ContainsAny(ct, " ;\t\r\n") || len(ct) > 100 || i >= 10 {
			note(domain.Invalid(part+".content_types", "at most 10 media types such as application/json, without parameters"))
			break
		}
	}
	if len(faults) == 0 {
		note(out.keepHeaders(part))
	}
	out.intake.ContentTypes = slices.Clone(w.ContentTypes)
	return out, errors.Join(faults...)
}

// compileAround compiles what stands before the mapping.
func (p *webhookPart) compileAround(w *Webhook, part string) (err error) {
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	if w.Items != "" {
		p.items, err = compile(string(w.Items), part+".items", 0, scopeAnswer, wantList, nil)
		note(err)
	}
	if len(w.Schema) > 0 {
		p.schema, err = compileBodySchema(w.Schema, part+".schema")
		note(err)
	}
	if w.EventType != "" {
		p.event, err = compile(string(w.EventType), part+".event_type", 0, scopeAnswer, wantText, nil)
		note(err)
	}
	p.rules, err = compileRules(w.Rules, part+".rules")
	note(err)
	return errors.Join(faults...)
}

// keepHeaders notes the headers that the expressions read, so that the inbox keeps exactly those.
func (p *webhookPart) keepHeaders(part string) error {
	var names, keep []string
	if p.mapper != nil {
		names = p.mapper.headerNames()
	}
	if p.items != nil {
		names = append(names, p.items.headers...)
	}
	if p.event != nil {
		names = append(names, p.event.headers...)
	}
	for _, r := range p.rules {
		names = append(names, r.when.headers...)
	}
	for _, name := range names {
		if name = http.CanonicalHeaderKey(name); !slices.Contains(keep, name) {
			keep = append(keep, name)
		}
	}
	slices.Sort(keep)
	p.intake.KeepHeaders = keep
	if len(keep) > maxKeepHeaders {
		return domain.Invalid(part+".mapping", "reads %d headers, at most %d are kept", len(keep), maxKeepHeaders)
	}
	return nil
}

func compileWebhook(s Settings, secrets map[string]string, local *time.Location) (*webhookPart, error) {
	const part = "settings.webhook"
	w := s.Webhook
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	out, err := compileReading(s.Mapping, w, part, local)
	note(err)
	if w.DedupeHeader != "" && !headerName(w.DedupeHeader) {
		note(domain.Invalid(part+".dedupe_header", "must be a header name"))
	}
	note(w.dedupe(part, &out.intake))
	if w.ContentEncoding != "" && w.ContentEncoding != provider.Gzip {
		note(domain.Invalid(part+".content_encoding", "must be gzip, or left out"))
	}
	out.selective = w.Selective
	out.fetchBack = w.FetchBack || w.Verify.Scheme == webhookauth.PathToken
	if w.FetchBack && s.Read == nil {
		note(domain.Invalid("settings.read", "required with webhook.fetch_back, which reads each entry that a delivery names"))
	}
	if w.Verify.Scheme == webhookauth.PathToken && s.Read == nil {
		note(domain.Invalid("settings.read", "required with scheme %s, whose webhooks are only a hint to read the entry", webhookauth.PathToken))
	}
	all, err := Verification(w.Verify, secrets, part)
	note(err)
	out.intake.Auth, out.intake.Credentials, out.intake.VerifyToken = w.Verify, all, webhookauth.Secret(secrets[SecretVerifyToken])
	out.intake.ContentEncoding, out.intake.Hints = w.ContentEncoding, out.fetchBack
	if setsPriority(out.rules) {
		out.intake.Priority = out.priorityOf
	}
	return out, errors.Join(faults...)
}

// Verification returns the credentials in the secret webhook_secret and checks them with the scheme. Faults are
// domain.Invalid with the field below part, where verify stands, or with the secret.
func Verification(c webhookauth.Config, secrets map[string]string, part string) ([]webhookauth.Credential, error) {
	var all []webhookauth.Credential
	for n, one := range c.Split(secrets[SecretWebhook]) {
		all = append(all, webhookauth.Credential{ID: fmt.Sprintf("%s/%d", SecretWebhook, n+1), Secret: one})
	}
	var faults []error
	if len(all) == 0 && !c.Secretless() {
		faults = append(faults, domain.Invalid("secrets."+SecretWebhook, "required with webhook"))
	} else if _, err := webhookauth.New(c, all, webhookauth.Options{VerifyToken: webhookauth.Secret(secrets[SecretVerifyToken])}); err != nil {
		faults = append(faults, verifyFault(part, err))
	}
	if err := c.Validate(); err != nil && len(all) == 0 {
		faults = append(faults, verifyFault(part, err))
	}
	return all, errors.Join(faults...)
}

// verifyFault puts a fault of webhookauth at its place in our settings or secrets.
func verifyFault(part string, err error) error {
	var e *domain.Error
	if !errors.As(err, &e) {
		return domain.Invalid(part+".verify", "%s", err)
	}
	if e.Field == "verify_token" {
		return domain.Invalid("secrets."+SecretVerifyToken, "%s", e.Text)
	}
	if strings.HasPrefix(e.Field, "secrets") {
		return domain.Invalid("secrets."+SecretWebhook, "%s: %s", e.Field, e.Text)
	}
	return domain.Invalid(part+".verify."+e.Field, "%s", e.Text)
}

// hooks is the ability to take webhooks.
type hooks struct{ c *connection }

// Intake tells how deliveries are verified and which headers the mapping reads.
func (h hooks) Intake() provider.Intake { return h.c.webhook.intake }

// Selective reports what settings.webhook.selective says.
func (h hooks) Selective() bool { return h.c.webhook.selective }

// Decode maps a delivery. If one of its entries cannot be understood, none is applied: the whole delivery is dead and
// a person looks at it.
func (h hooks) Decode(ctx context.Context, d provider.Webhook) (provider.Decoded, error) {
	part := h.c.webhook
	reading := ctx // the system's answers, which are read back afterwards, take their own time
	if len(part.rules) > 0 || part.items != nil || part.event != nil {
		// Only these look at a whole body, and only they can take long.
		var cancel context.CancelFunc
		reading, cancel = context.WithTimeout(ctx, decodeTime)
		defer cancel()
	}
	out, _, err := part.decode(newWork(reading), d)
	if err == nil && part.fetchBack {
		out.Changes, err = h.c.fetchBack(ctx, out.Changes)
	}
	return out, err
}

// maxFetchBack bounds the entries that one hint may make us read.
const maxFetchBack = 50

// fetchBack puts what the system itself says in the place of what a delivery claims. Who knows the address of the
// webhook may name an entry, and no more.
func (c *connection) fetchBack(ctx context.Context, claimed []domain.Change) ([]domain.Change, error) {
	if len(claimed) > maxFetchBack {
		return nil, domain.Invalid("body", "names %d entries; at most %d are read for one webhook", len(claimed), maxFetchBack)
	}
	out := make([]domain.Change, 0, len(claimed))
	seen := make(map[string]bool, len(claimed))
	for _, hint := range claimed {
		if seen[hint.ExternalID] {
			continue
		}
		seen[hint.ExternalID] = true
		change, err := c.readEntry(ctx, hint.ExternalID)
		if errors.Is(err, errDropped) {
			continue
		}
		if domain.KindOf(err) == domain.KindNotFound {
			change, err = domain.Change{Op: domain.OpRemove, ExternalID: hint.ExternalID}, nil
		}
		if err != nil {
			return nil, err
		}
		change.Asked = true
		out = append(out, change)
	}
	return out, nil
}

// decode converts the body, checks it against the schema, asks the rules and maps what they leave. priority is what the
// rules say.
func (p *webhookPart) decode(w *work, d provider.Webhook) (out provider.Decoded, priority domain.Priority, err error) {
	body, err := p.body(w, d)
	if err != nil {
		return provider.Decoded{}, 0, err
	}
	w.vars = vars{body: body, receivedAt: types.Timestamp{Time: d.ReceivedAt.UTC()}}
	if len(p.intake.KeepHeaders) > 0 {
		w.vars.headers = lowerHeaders(d.Header)
	}
	if p.event != nil {
		step := w.begin("event_type", "")
		if out.EventType, err = w.eventType(p.event); err != nil {
			step.failed(err)
			return provider.Decoded{}, 0, err
		}
		step.done(strconv.Itoa(len(out.EventType)) + " bytes")
	}
	said, err := w.judge(p.rules)
	if err != nil {
		return provider.Decoded{}, 0, err
	}
	out.Ignore, out.Route = said.ignore, said.route
	if out.Ignore != "" {
		return out, said.priority, nil
	}
	if p.mapper == nil {
		return out, said.priority, nil
	}
	if out.Changes, err = p.changes(w, body); err != nil {
		return provider.Decoded{}, 0, err
	}
	return out, said.priority, nil
}

// body converts and checks a body.
func (p *webhookPart) body(w *work, d provider.Webhook) (any, error) {
	step := w.begin("conversion", "")
	f, err := p.formatFor(d.Header.Get("Content-Type"))
	if err != nil {
		step.failed(err)
		return nil, err
	}
	if d.Body, err = d.Plain(p.intake.ContentEncoding); err != nil {
		step.failed(err)
		return nil, err
	}
	body, err := parseBody(f, d.Body)
	if err != nil {
		step.failed(err)
		return nil, err
	}
	if step != nil {
		step.done(summary(f, d.Body, body))
	}
	if p.schema != nil {
		step := w.begin("schema", "")
		if err := p.schema.check(body); err != nil {
			step.failed(err)
			return nil, err
		}
		step.done("fits")
	}
	return body, nil
}

// changes maps the entries of a body.
func (p *webhookPart) changes(w *work, body any) ([]domain.Change, error) {
	items := []any{body}
	if p.items != nil {
		step := w.begin("items", "")
		var err error
		if items, err = w.list(p.items); err != nil {
			step.failed(err)
			return nil, err
		}
		step.done(strconv.Itoa(len(items)) + " entries")
	}
	changes := make([]domain.Change, 0, len(items))
	for i, item := range items {
		w.vars.item = item
		var step *step
		if i < maxExplained {
			step = w.begin("entry", strconv.Itoa(i+1))
		}
		c, dropped, err := p.mapper.change(w)
		switch {
		case err != nil:
			step.failedIn(p.mapper, err)
			if len(items) > 1 {
				return nil, domain.E(domain.KindOf(err), "entry %s: %w", strconv.Itoa(i+1), err)
			}
			return nil, err
		case dropped:
			step.done("dropped")
		default:
			step.done(string(c.Op))
			changes = append(changes, c)
		}
	}
	return changes, nil
}

// list evaluates an expression that gives entries.
func (w *work) list(p *program) ([]any, error) {
	v, err := w.eval(p)
	if err != nil {
		return nil, err
	}
	l, ok := v.(traits.Lister)
	if !ok {
		what := "has no value"
		if v != nil {
			what = "is " + valueWord(v)
		}
		return nil, domain.Invalid(p.field, "must be a list, %s", what)
	}
	if n, _ := l.Size().(types.Int); n > maxItems {
		return nil, domain.Invalid(p.field, "at most %d entries, has %d", maxItems, int64(n))
	}
	if native, ok := l.Value().([]any); ok {
		return native, nil
	}
	var out []any
	for it := l.Iterator(); it.HasNext() == types.True; {
		e := it.Next()
		if native, ok := e.Value().(map[string]any); ok {
			out = append(out, native)
			continue
		}
		out = append(out, e)
	}
	return out, nil
}
