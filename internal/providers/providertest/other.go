package providertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

func registration(t *testing.T, h Harness) {
	r := h.Registration
	if r.Name == "" || r.Name != strings.ToLower(r.Name) || strings.ContainsAny(r.Name, " /") {
		t.Errorf("the name %q must be short, lower-case and without spaces", r.Name)
	}
	if r.Title == "" || r.Doc == "" {
		t.Error("title and doc are required")
	}
	var schema map[string]any
	if err := json.Unmarshal(r.SettingsSchema, &schema); err != nil || schema["type"] != "object" {
		t.Errorf("the settings schema must be a JSON Schema of type object: %v", err)
	}
	for _, s := range r.Secrets {
		if s.Name == "" || s.Doc == "" {
			t.Errorf("secret %q must have a name and a doc", s.Name)
		}
	}
	for _, bad := range []string{``, `[]`, `"x"`, `{`, `null`, `{"no_such_setting_at_all":1}`} {
		if err := r.Validate(json.RawMessage(bad), nil); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("settings %q: error %v, want KindInvalid", bad, err)
		}
	}
}

// abilities checks that people are told of every ability that a value turns out to have. Settings may leave one out, so the
// other way round is not looked at.
func abilities(t *testing.T, r provider.Registration, opened any) {
	for name, there := range provider.AbilitiesOf(opened) {
		i := slices.IndexFunc(r.Abilities, func(a provider.Ability) bool { return a.Name == name })
		if there && (i < 0 || !r.Abilities[i].Has) {
			t.Errorf("%s can %s, and Registration.Abilities does not say so", r.Name, name)
		}
	}
}

var proberCases = []testCase{
	{"healthy system answers", func(t *testing.T, b *bundle) {
		b.ok(t, "probe", as[provider.Prober](t, b).Probe(b.ctx))
	}},
	{"faults have their kinds", func(t *testing.T, b *bundle) {
		b.faultKinds(t, as[provider.Prober](t, b).Probe)
	}},
	{"ended context stops the call", func(t *testing.T, b *bundle) {
		b.stops(t, as[provider.Prober](t, b).Probe)
	}},
}

var onboarderCases = []testCase{
	{"completed settings are valid and stay", func(t *testing.T, b *bundle) {
		o := as[provider.Onboarder](t, b)
		before := -1
		if _, ok := provider.As[provider.Puller](b.opened); ok {
			before = b.world.Count(t)
		}
		one, err := o.Onboard(b.ctx)
		b.ok(t, "onboard", err)
		two, err := o.Onboard(b.ctx)
		b.ok(t, "onboard again", err)
		if !bytes.Equal(one, two) {
			t.Errorf("onboarding twice differs:\n%s\n%s", one, two)
		}
		if before >= 0 && b.world.Count(t) != before {
			t.Error("onboarding changed the system")
		}
	}},
	{"faults have their kinds", func(t *testing.T, b *bundle) {
		b.faultKinds(t, func(ctx context.Context) error {
			_, err := as[provider.Onboarder](t, b).Onboard(ctx)
			return err
		})
	}},
}

var webhookCases = []testCase{
	{"intake is within its limits", func(t *testing.T, b *bundle) {
		in := as[provider.WebhookSource](t, b).Intake()
		if len(in.KeepHeaders) > 10 {
			t.Errorf("keeps %d headers, at most 10", len(in.KeepHeaders))
		}
	}},
	{"same delivery decodes to the same changes", func(t *testing.T, b *bundle) {
		if len(b.h.Deliveries) == 0 {
			t.Fatal("Harness.Deliveries is empty: the suite needs sample deliveries of a webhook source")
		}
		src := as[provider.WebhookSource](t, b)
		for _, d := range b.h.Deliveries {
			one, err := src.Decode(b.ctx, d.Webhook)
			b.ok(t, "decode "+d.Name, err)
			two, err := src.Decode(b.ctx, d.Webhook)
			b.ok(t, "decode again "+d.Name, err)
			if diff := cmp.Diff(one, two); diff != "" {
				t.Errorf("%s: decoding twice differs:\n%s", d.Name, diff)
			}
			if len(one.Changes) != d.Changes {
				t.Errorf("%s: %d changes, want %d", d.Name, len(one.Changes), d.Changes)
			}
			for _, c := range one.Changes {
				if err := c.Validate(); err != nil {
					t.Errorf("%s: an invalid change: %v", d.Name, err)
				}
			}
		}
	}},
	{"garbage is invalid", func(t *testing.T, b *bundle) {
		src := as[provider.WebhookSource](t, b)
		for _, d := range append(garbage(b.h), b.h.NotDeliveries...) {
			got, err := src.Decode(b.ctx, d)
			changes := got.Changes
			b.clean(t, err)
			if domain.KindOf(err) != domain.KindInvalid || len(changes) != 0 {
				t.Errorf("body %.40q: %d changes and error %v, want KindInvalid", d.Body, len(changes), err)
			}
		}
	}},
	{"damaged deliveries never panic", func(t *testing.T, b *bundle) {
		src := as[provider.WebhookSource](t, b)
		rng := rand.New(rand.NewPCG(1, 2))
		for _, d := range b.h.Deliveries {
			for range 300 {
				b.decodeSafely(t, src, damage(rng, d.Webhook))
			}
		}
	}},
	{"several goroutines decode the same", func(t *testing.T, b *bundle) {
		src := as[provider.WebhookSource](t, b)
		var wg sync.WaitGroup
		for _, d := range b.h.Deliveries {
			want, err := src.Decode(b.ctx, d.Webhook)
			b.ok(t, "decode", err)
			for range 8 {
				wg.Go(func() {
					got, err := src.Decode(b.ctx, d.Webhook)
					if err != nil || !cmp.Equal(want, got) {
						t.Errorf("%s: decoding among others differs: %v", d.Name, err)
					}
				})
			}
		}
		wg.Wait()
	}},
}

// FuzzDecode feeds a webhook source with damaged deliveries for as long as the fuzzer runs. Without -fuzz it decodes
// the seeds only.
func FuzzDecode(f *testing.F, h Harness) {
	opened, _ := h.Open(f)
	src, ok := provider.As[provider.WebhookSource](opened)
	if !ok {
		f.Skipf("%s takes no webhooks", h.Registration.Name)
	}
	for _, d := range h.Deliveries {
		f.Add(d.Webhook.Body)
	}
	for _, d := range append(garbage(h), h.NotDeliveries...) {
		f.Add(d.Body)
	}
	header := sample(h).Header
	f.Fuzz(func(t *testing.T, body []byte) {
		b := &bundle{h: h, record: &record{met: map[Hazard]bool{}}, ctx: t.Context()}
		b.decodeSafely(t, src, provider.Webhook{Header: header, Body: body, ReceivedAt: Now})
	})
}

func (b *bundle) decodeSafely(t *testing.T, src provider.WebhookSource, d provider.Webhook) {
	t.Helper()
	got, err := src.Decode(b.ctx, d)
	changes := got.Changes
	if err != nil {
		if len(changes) != 0 {
			t.Errorf("body %.60q: both changes and an error", d.Body)
		}
		if k := domain.KindOf(err); k != domain.KindInvalid && k != domain.KindTooLarge {
			t.Errorf("body %.60q: error of kind %q (%v), want KindInvalid", d.Body, k, err)
		}
		return
	}
	for _, c := range changes {
		if err := c.Validate(); err != nil {
			t.Errorf("body %.60q: an invalid change: %v", d.Body, err)
		}
	}
}

func sample(h Harness) provider.Webhook {
	if len(h.Deliveries) > 0 {
		return h.Deliveries[0].Webhook
	}
	return provider.Webhook{ReceivedAt: Now}
}

// garbage are bodies that no system sends.
func garbage(h Harness) []provider.Webhook {
	var out []provider.Webhook
	for _, body := range []string{"", " ", "{", "\x00\x01\x02", "\xff\xfe", "<html>", strings.Repeat("[", 200_000), `{"a":` + strings.Repeat("9", 5000) + `}}`} {
		w := sample(h)
		w.Body = []byte(body)
		out = append(out, w)
	}
	return out
}

// damage cuts, flips or doubles a part of the body.
func damage(rng *rand.Rand, d provider.Webhook) provider.Webhook {
	body := bytes.Clone(d.Body)
	if len(body) == 0 {
		return d
	}
	at := rng.IntN(len(body))
	switch rng.IntN(4) {
	case 0:
		body = body[:at]
	case 1:
		body[at] ^= byte(1 + rng.IntN(255))
	case 2:
		body = append(body[:at:at], body[min(len(body), at+1+rng.IntN(20)):]...)
	default:
		body = append(body[:at:at], fmt.Sprintf("%s%s", body[at:], body[at:])...)
	}
	d.Body = body
	return d
}
