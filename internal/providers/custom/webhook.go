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
	items  *program // nil = the body is the entry
	mapper *mapper
}

func compileWebhook(s Settings, secrets map[string]string, local *time.Location) (*webhookPart, error) {
	const part = "settings.webhook"
	w := s.Webhook
	out := &webhookPart{}
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	var err error
	out.mapper, err = compileMapping(s.Mapping, w.Mapping, part+".mapping", local)
	note(err)
	if w.Items != "" {
		out.items, err = compile(string(w.Items), part+".items", 0, scopeAnswer, wantList, nil)
		note(err)
	}
	if w.DedupeHeader != "" && !headerName(w.DedupeHeader) {
		note(domain.Invalid(part+".dedupe_header", "must be a header name"))
	}
	for i, ct := range w.ContentTypes {
		if !strings.Contains(ct, "/") || strings.ContainsAny(ct, " ;\t\r\n") || len(ct) > 100 || i >= 10 {
			note(domain.Invalid(part+".content_types", "at most 10 media types such as application/json, without parameters"))
			break
		}
	}
	var keep []string
	if out.mapper != nil && len(faults) == 0 {
		names := out.mapper.headerNames()
		if out.items != nil {
			names = append(names, out.items.headers...)
		}
		for _, name := range names {
			if name = http.CanonicalHeaderKey(name); !slices.Contains(keep, name) {
				keep = append(keep, name)
			}
		}
		slices.Sort(keep)
		if len(keep) > maxKeepHeaders {
			note(domain.Invalid(part+".mapping", "reads %d headers, at most %d are kept", len(keep), maxKeepHeaders))
		}
	}
	var all []webhookauth.Credential
	for n, one := range strings.Fields(secrets[SecretWebhook]) {
		all = append(all, webhookauth.Credential{ID: fmt.Sprintf("%s/%d", SecretWebhook, n+1), Secret: webhookauth.Secret(one)})
	}
	if len(all) == 0 {
		note(domain.Invalid("secrets."+SecretWebhook, "required with webhook"))
	} else if _, err := webhookauth.New(w.Verify, all, webhookauth.Options{}); err != nil {
		note(verifyFault(part, err))
	}
	if err := w.Verify.Validate(); err != nil && len(all) == 0 {
		note(verifyFault(part, err))
	}
	out.intake = provider.Intake{Auth: w.Verify, Credentials: all, DedupeHeader: w.DedupeHeader, KeepHeaders: keep, ContentTypes: slices.Clone(w.ContentTypes)}
	return out, errors.Join(faults...)
}

// verifyFault puts a fault of webhookauth at its place in our settings or secrets.
func verifyFault(part string, err error) error {
	var e *domain.Error
	if !errors.As(err, &e) {
		return domain.Invalid(part+".verify", "%s", err)
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

// Decode maps a delivery. If one of its entries cannot be understood, none is applied: the whole delivery is dead and
// a person looks at it.
func (h hooks) Decode(ctx context.Context, d provider.Webhook) (provider.Decoded, error) {
	var none provider.Decoded
	part := h.c.webhook
	body, err := parseJSON(d.Body)
	if err != nil {
		return none, domain.Invalid("body", "%s", err)
	}
	w := newWork(ctx)
	w.vars = vars{body: body, receivedAt: types.Timestamp{Time: d.ReceivedAt.UTC()}}
	if len(part.intake.KeepHeaders) > 0 {
		w.vars.headers = lowerHeaders(d.Header)
	}
	items := []any{body}
	if part.items != nil {
		if items, err = w.list(part.items); err != nil {
			return none, err
		}
	}
	changes := make([]domain.Change, 0, len(items))
	for i, item := range items {
		w.vars.item = item
		c, dropped, err := part.mapper.change(w)
		if err != nil {
			if len(items) > 1 {
				return none, domain.E(domain.KindOf(err), "entry %s: %w", strconv.Itoa(i+1), err)
			}
			return none, err
		}
		if !dropped {
			changes = append(changes, c)
		}
	}
	return provider.Decoded{Changes: changes}, nil
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
