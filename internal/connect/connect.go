// Package connect opens integrations: it finds the provider, hands it settings, secrets and the only way out, and keeps
// the opened value per version of the integration's row, because opening compiles expressions and is too slow to do
// for every webhook.
//
// A changed row has another version and so opens anew; the old value is dropped. The cache is bounded. Safe for any
// number of goroutines.
//
// It also keeps the OAuth grants of integrations (Grants): the way of a consent there and back, and the access tokens of
// what was granted. A rotated refresh token is committed before its access token is used, and one process at a time
// refreshes a grant, under a lock in Postgres. A crash before the commit loses what the system gave: a system that ends
// the old refresh token at once then refuses it, which is told as KindUnauthenticated and never as silence. Try it with
// internal/sim/oauthsim over two stores of one database.
package connect

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/outbound"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Opener opens integrations.
type Opener struct {
	find func(name string) (provider.Registration, bool)
	http *httpx.Client
	now  func() time.Time
	size int

	grants   *Grants
	agreed   func(ctx context.Context, i domain.Integration, origin string) (provider.Consent, error)
	outbound *outbound.Discipline

	mu     sync.Mutex
	recent *list.List // of *entry, most recently used first
	byID   map[domain.IntegrationID]*list.Element
}

type entry struct {
	id      domain.IntegrationID
	version int64
	zone    string
	opened  any
	err     error
}

// New makes an opener over the providers that find knows. size bounds the values kept; 0 means 10,000.
func New(find func(name string) (provider.Registration, bool), client *httpx.Client, now func() time.Time, size int) *Opener {
	if size <= 0 {
		size = 10_000
	}
	return &Opener{find: find, http: client, now: now, size: size, recent: list.New(), byID: map[domain.IntegrationID]*list.Element{}}
}

// WithGrants lets the opener give token sources to providers with OAuth; without it they get none. Call it before the
// first Open.
func (o *Opener) WithGrants(g *Grants) *Opener {
	o.grants = g
	return o
}

// WithConsents lets the opener tell providers that read pages whether the customer agreed to it; without it nobody did. Call
// it before the first Open.
func (o *Opener) WithConsents(agreed func(ctx context.Context, i domain.Integration, origin string) (provider.Consent, error)) *Opener {
	o.agreed = agreed
	return o
}

// WithOutbound lets connections call their systems under a discipline; without it only the client's own bounds hold. Call
// it before the first Open.
func (o *Opener) WithOutbound(d *outbound.Discipline) *Opener {
	o.outbound = d
	return o
}

// ByConsent reports whether an integration is connected by a person's consent.
func (o *Opener) ByConsent(i domain.Integration) bool {
	r, ok := o.find(i.Provider)
	return ok && r.Consents(i.Settings)
}

// PerSecond is how many calls a second the system of an integration allows it, as its provider declares it; 0 = not known.
func (o *Opener) PerSecond(i domain.Integration) float64 {
	r, ok := o.find(i.Provider)
	if !ok || r.Rates == nil {
		return 0
	}
	var least float64
	for _, l := range r.Rates(provider.Connection{Integration: i, Zone: time.UTC, Now: o.now}) {
		if l.Scope != provider.PerHost && l.PerSecond > 0 && (least == 0 || l.PerSecond < least) {
			least = l.PerSecond
		}
	}
	return least
}

// Farewell is Grants.Farewell, where there are grants.
func (o *Opener) Farewell(ctx context.Context, e Ended, by string) error {
	if o.grants == nil {
		return nil
	}
	return o.grants.Farewell(ctx, e, by)
}

// Opened returns the value that Open made of an integration at a version, if it is still kept, with the error of making it.
func (o *Opener) Opened(id domain.IntegrationID, version int64, zone string) (opened any, err error, kept bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	el, ok := o.byID[id]
	if !ok {
		return nil, nil, false
	}
	e := el.Value.(*entry)
	if e.version != version || e.zone != zone {
		return nil, nil, false
	}
	o.recent.MoveToFront(el)
	return e.opened, e.err, true
}

// Open returns the provider's value for an integration at its version. zone is that of its resource. secrets is called
// only when the value has to be made. Errors are permanent faults of the settings, which the API refuses at creation.
func (o *Opener) Open(i domain.Integration, zone string, secrets func() (map[string]string, error)) (any, error) {
	o.mu.Lock()
	if el, ok := o.byID[i.ID]; ok {
		if e := el.Value.(*entry); e.version == i.Version && e.zone == zone {
			o.recent.MoveToFront(el)
			o.mu.Unlock()
			return e.opened, e.err
		}
	}
	o.mu.Unlock()

	opened, err, keep := o.open(i, zone, secrets)
	if !keep {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if el, ok := o.byID[i.ID]; ok {
		o.recent.Remove(el)
	}
	o.byID[i.ID] = o.recent.PushFront(&entry{id: i.ID, version: i.Version, zone: zone, opened: opened, err: err})
	for o.recent.Len() > o.size {
		last := o.recent.Back()
		delete(o.byID, last.Value.(*entry).id)
		o.recent.Remove(last)
	}
	return opened, err
}

// open makes the value; keep is false for faults that may be gone at the next try.
func (o *Opener) open(i domain.Integration, zone string, secrets func() (map[string]string, error)) (opened any, err error, keep bool) {
	registration, ok := o.find(i.Provider)
	if !ok {
		return nil, domain.E(domain.KindPermanent, "provider %q is not part of this build", i.Provider), true
	}
	loc, err := calendartime.LoadZone(zone)
	if err != nil {
		return nil, domain.E(domain.KindPermanent, "zone of the integration's resource: %w", err), true
	}
	values, err := secrets()
	if err != nil {
		return nil, domain.E(domain.KindOf(err), "read secrets: %w", err), false
	}
	c := provider.Connection{Integration: i, Secrets: values, Zone: loc, HTTP: o.http, Now: o.now}
	if o.agreed != nil {
		c.Consents = func(ctx context.Context, origin string) (provider.Consent, error) { return o.agreed(ctx, i, origin) }
	}
	if registration.Consents(i.Settings) && o.grants != nil {
		if c.Tokens, err = o.grants.Source(i); err != nil {
			return nil, domain.E(domain.KindPermanent, "open %s connection: %w", i.Provider, err), true
		}
	}
	if o.outbound != nil && o.http != nil {
		c.HTTP, c.Once = o.http.Through(o.outbound.For(i, registration, c)), o.outbound.Once
	}
	opened, err = registration.Open(c)
	if err != nil {
		return nil, domain.E(domain.KindPermanent, "open %s connection: %w", i.Provider, err), true
	}
	return opened, nil, true
}
