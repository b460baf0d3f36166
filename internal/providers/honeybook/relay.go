package honeybook

import (
	"context"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// relay is an opened connection that only takes posts. It does not change after it was made.
type relay struct{ *compiled }

var (
	_ provider.WebhookSource = relay{}
	_ provider.Explainer     = relay{}
)

func open(c provider.Connection) (any, error) {
	local := c.Zone
	if local == nil {
		local = time.UTC
	}
	read, err := compile(c.Integration.Settings, c.Secrets, local)
	if err != nil {
		return nil, err
	}
	r := relay{read}
	form := read.settings.LeadForm
	if form == nil || !form.Enabled {
		return r, nil
	}
	return struct {
		relay
		leads
	}{r, leads{form: *form, client: c.HTTP}}, nil
}

// Intake tells how posts are verified and told apart.
func (r relay) Intake() provider.Intake { return r.intake }

// Decode reads a post: which trigger it is of, what the rules say, and what the trigger's mapping makes of it.
func (r relay) Decode(ctx context.Context, d provider.Webhook) (provider.Decoded, error) {
	out, err := r.router.Decode(ctx, d)
	if err != nil {
		return provider.Decoded{}, err
	}
	t, reading, err := r.of(&out)
	if err != nil || reading == nil {
		return out, err
	}
	read, err := reading.Decode(ctx, d)
	if err != nil {
		return provider.Decoded{}, err
	}
	r.take(t, &out, read.Changes)
	return out, nil
}

// mappedBy is what reads the posts of one trigger.
type mappedBy interface {
	Decode(ctx context.Context, d provider.Webhook) (provider.Decoded, error)
	Explain(ctx context.Context, d provider.Webhook) provider.Explanation
}

// of finds the trigger of what the router read, and what reads on; nil when nothing is to be read.
func (r relay) of(out *provider.Decoded) (trigger, mappedBy, error) {
	t, err := triggerOf(out.EventType)
	if err == nil {
		out.EventType = t.name
	}
	if out.Ignore != "" {
		return t, nil, nil // a rule decided, whatever the trigger
	}
	if err != nil {
		*out = provider.Decoded{}
		return t, nil, err
	}
	if r.settings.Triggers[t.name].Off {
		out.Ignore = "the trigger " + t.name + " is switched off in the settings"
		return t, nil, nil
	}
	return t, r.readings[t.name], nil
}

// take puts the changes of a post into what was decoded.
func (r relay) take(t trigger, out *provider.Decoded, changes []domain.Change) {
	if len(changes) == 0 {
		out.Ignore = "the mapping of " + t.name + " leaves it alone"
		return
	}
	if r.intake.Auth.Scheme == webhookauth.PathToken {
		if changes = pencilled(changes); len(changes) == 0 {
			out.Ignore = "it came by path token alone, and so may cancel nothing"
			return
		}
	}
	out.Changes = changes
}

// pencilled is what may be made of posts of which only the address is secret: there is nobody who could be asked what is
// true, so they take time tentatively, and give none back.
func pencilled(changes []domain.Change) []domain.Change {
	out := slices.DeleteFunc(slices.Clone(changes), func(c domain.Change) bool { return c.Op == domain.OpRemove || c.Status == domain.StatusCancelled })
	for i := range out {
		out[i].Status = domain.StatusTentative
	}
	return out
}

// Explain reads a post and tells how, with the same outcome as Decode.
func (r relay) Explain(ctx context.Context, d provider.Webhook) provider.Explanation {
	out := r.router.Explain(ctx, d)
	if out.Err != nil {
		return out
	}
	ruled := out.Decoded.Ignore != ""
	t, reading, err := r.of(&out.Decoded)
	if ruled {
		return out
	}
	step := provider.ExplainStep{Name: "trigger", Subject: t.name, Result: "known"}
	if err != nil {
		step.Result, step.Fault = "failed", &provider.Fault{Text: err.Error()}
		out.Priority = 0
	}
	out.Steps, out.Err = append(out.Steps, step), err
	if reading == nil || err != nil {
		return out
	}
	read := reading.Explain(ctx, d)
	for _, s := range read.Steps {
		if s.Name != "conversion" { // told by the router already
			out.Steps = append(out.Steps, s)
		}
	}
	out.Cost += read.Cost
	if out.Err = read.Err; out.Err != nil {
		out.Decoded, out.Priority = provider.Decoded{}, 0
		return out
	}
	r.take(t, &out.Decoded, read.Decoded.Changes)
	return out
}
