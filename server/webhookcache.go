package server

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// intakeEntry is an integration made ready for its webhooks. It does not change once it is in the cache.
type intakeEntry struct {
	id           domain.IntegrationID
	org          domain.OrgID
	provider     string
	version      int64
	verifier     *webhookauth.Verifier
	scheme       string            // of verification, for operators
	slots        []*credentialSlot // by the position of the credential
	dedupeHeader string
	repeats      repeatRule
	encoding     string // declared Content-Encoding
	keep         []keptHeader
	contentTypes []string
	takesJSON    bool
	urgentUntil  time.Time // the end of a wedding at hand
	priority     domain.Priority
	rule         func(http.Header, []byte) (domain.Priority, bool) // the provider's; may be nil

	fault     error // why webhooks cannot be taken; the fields above are then not set
	readAt    time.Time
	allowance *allowance
	used      atomic.Int64 // Unix milliseconds
}

type keptHeader struct{ canonical, lower string }

// allowance is what an integration may use of the server. It outlives a refresh of its entry.
type allowance struct {
	inFlight atomic.Int64
}

const cacheShards = 16

// intakeCache keeps integrations ready. Reads of storage happen once per integration and change, and are bounded for
// ids that nobody is known to have: answers about those are remembered too, apart from the others, so that a flood of
// invented ids pushes no real integration out.
type intakeCache struct {
	deps   IntakeDeps
	limit  IntakeLimits
	log    *slog.Logger
	seed   maphash.Seed
	shards [cacheShards]cacheShard
	loads  singleflight.Group

	strangers *rate.Limiter
	known     sync.Map // domain.IntegrationID -> int64 version, as far as follow has heard
}

type cacheShard struct {
	mu      sync.RWMutex
	ready   map[domain.IntegrationID]*intakeEntry
	unknown map[domain.IntegrationID]*intakeEntry
}

func newIntakeCache(deps IntakeDeps, log *slog.Logger) *intakeCache {
	c := &intakeCache{deps: deps, limit: deps.Limits, log: log, seed: maphash.MakeSeed(),
		strangers: rate.NewLimiter(rate.Limit(deps.Limits.StrangerReads), int(2*deps.Limits.StrangerReads)+1)}
	for i := range c.shards {
		c.shards[i].ready = make(map[domain.IntegrationID]*intakeEntry)
		c.shards[i].unknown = make(map[domain.IntegrationID]*intakeEntry)
	}
	return c
}

func (c *intakeCache) shard(id domain.IntegrationID) *cacheShard {
	return &c.shards[maphash.String(c.seed, string(id))%cacheShards]
}

// get returns the ready entry of an integration. Errors: not_found; rate_limited for too many invented ids at once;
// unavailable when storage cannot be asked; internal when the stored settings make no verifier.
func (c *intakeCache) get(ctx context.Context, id domain.IntegrationID) (*intakeEntry, error) {
	s := c.shard(id)
	s.mu.RLock()
	e := s.ready[id]
	if e == nil {
		e = s.unknown[id]
	}
	s.mu.RUnlock()
	now := c.deps.Now()
	if e == nil {
		var err error
		if e, err = c.load(ctx, id, nil); err != nil {
			return nil, err
		}
	} else if now.Sub(e.readAt) >= c.limit.FreshFor {
		// Storage that is down does not make a ready integration unknown: the commit will tell.
		if fresh, err := c.load(ctx, id, e); err == nil {
			e = fresh
		}
	}
	e.used.Store(now.UnixMilli())
	if e.fault != nil {
		return nil, e.fault
	}
	return e, nil
}

// heard returns the version that follow has heard of, 0 for none.
func (c *intakeCache) heard(id domain.IntegrationID) int64 {
	v, _ := c.known.Load(id)
	version, _ := v.(int64)
	return version
}

// load reads an integration, once for all who ask at the same time.
func (c *intakeCache) load(ctx context.Context, id domain.IntegrationID, old *intakeEntry) (*intakeEntry, error) {
	v, err, _ := c.loads.Do(string(id), func() (any, error) {
		// Those who wait for another's read cost nothing, so a burst for one integration is charged once.
		if _, known := c.known.Load(id); !known && (old == nil || old.verifier == nil) && !c.strangers.AllowN(c.deps.Now(), 1) {
			return nil, errStrangers
		}
		// One caller reads for all, so its leaving must not end the read.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		heard := c.heard(id)
		record, err := c.deps.Record(ctx, id)
		if err != nil && domain.KindOf(err) != domain.KindNotFound {
			return nil, domain.WithRetryAfter(domain.E(domain.KindUnavailable, "read integration: %w", err), defaultRetryAfter)
		}
		var e *intakeEntry
		if err != nil {
			e = &intakeEntry{id: id, fault: errUnknownIntegration, version: heard}
		} else {
			e = c.prepare(record)
		}
		e.readAt = c.deps.Now()
		c.put(e, old)
		return e, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*intakeEntry), nil
}

// prepare compiles a record. Settings were checked when they were stored, so a fault here is ours and is logged.
func (c *intakeCache) prepare(record store.IntakeRecord) *intakeEntry {
	i := record.Integration
	e := &intakeEntry{id: i.ID, org: i.OrgID, provider: i.Provider, version: i.Version, urgentUntil: record.UrgentUntil,
		priority: i.Priority.OrNormal()}
	if err := c.compile(e, record); err != nil {
		if domain.KindOf(err) != domain.KindNotFound {
			c.log.Error("integration cannot take webhooks", "integration", i.ID, "provider", i.Provider, "error", err)
		}
		e.fault, e.verifier = err, nil
	}
	return e
}

func (c *intakeCache) compile(e *intakeEntry, record store.IntakeRecord) error {
	if record.Integration.State == domain.IntegrationDeleted {
		return errUnknownIntegration
	}
	registration, ok := c.deps.Provider(e.provider)
	if !ok {
		return domain.E(domain.KindInternal, "provider %q is not in this program", e.provider)
	}
	zone, err := time.LoadLocation(record.Zone)
	if err != nil {
		return domain.E(domain.KindInternal, "load the integration's zone: %w", err)
	}
	connection := provider.Connection{Integration: record.Integration, Secrets: record.Secrets, Zone: zone, Now: c.deps.Now}
	if c.deps.Connect != nil {
		c.deps.Connect(&connection)
	}
	opened, err := registration.Open(connection)
	if err != nil {
		return domain.E(domain.KindInternal, "open the connection: %w", err)
	}
	source, ok := provider.As[provider.WebhookSource](opened)
	if !ok {
		// As for an unknown id: there is no such address.
		return domain.E(domain.KindNotFound, "this integration takes no webhooks")
	}
	intake := source.Intake()
	options := webhookauth.Options{KeySets: c.deps.KeySets, VerifyToken: intake.VerifyToken}
	credentials := withStored(intake, record.Credentials, options, c.log)
	if e.verifier, err = webhookauth.New(intake.Auth, credentials, options); err != nil {
		return domain.E(domain.KindInternal, "make the verifier: %w", err)
	}
	e.slots = credentialSlots(credentials, record.Credentials)
	e.rule = intake.Priority
	e.scheme = string(intake.Auth.Scheme)
	if intake.DedupeHeader != "" {
		e.dedupeHeader = http.CanonicalHeaderKey(intake.DedupeHeader)
	}
	e.keepHeaders("Content-Type", intake.DedupeHeader)
	e.keepHeaders(e.verifier.IDHeader())
	if e.repeats, err = newRepeatRule(intake); err != nil {
		return domain.E(domain.KindInternal, "read how repeats are known: %w", err)
	}
	if e.encoding = intake.ContentEncoding; e.encoding != "" {
		e.keepHeaders("Content-Encoding")
	}
	e.keepHeaders(intake.KeepHeaders...)
	for _, t := range intake.ContentTypes {
		e.contentTypes = append(e.contentTypes, strings.ToLower(t))
	}
	if len(e.contentTypes) == 0 {
		e.contentTypes = []string{defaultMediaType}
	}
	for _, t := range e.contentTypes {
		e.takesJSON = e.takesJSON || t == defaultMediaType
	}
	return nil
}

// priorityOf decides how urgent a verified delivery is: a wedding at hand goes before everything, then what the provider's
// rule says of this delivery, then what the admin chose for the connection.
func (e *intakeEntry) priorityOf(h http.Header, body []byte, now time.Time) domain.Priority {
	if now.Before(e.urgentUntil) {
		return domain.PriorityUrgent
	}
	if e.rule != nil {
		if p, said := e.ruled(h, body); said && p.Valid() {
			return p
		}
	}
	return e.priority
}

// ruled asks the provider's rule. One that panics has said nothing: a genuine webhook is taken whatever is wrong with a rule.
func (e *intakeEntry) ruled(h http.Header, body []byte) (p domain.Priority, said bool) {
	defer func() {
		if recover() != nil {
			p, said = 0, false
		}
	}()
	return e.rule(h, body)
}

func (e *intakeEntry) keepHeaders(names ...string) {
next:
	for _, name := range names {
		if name == "" {
			continue
		}
		k := keptHeader{canonical: http.CanonicalHeaderKey(name), lower: strings.ToLower(name)}
		for _, have := range e.keep {
			if have == k {
				continue next
			}
		}
		e.keep = append(e.keep, k)
	}
}

// put replaces what is cached of an integration. Its allowance goes on.
func (c *intakeCache) put(e, old *intakeEntry) {
	s := c.shard(e.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.ready[e.id]; before != nil {
		old = before
	}
	if c.heard(e.id) > e.version {
		// It changed while it was being read, and the next get reads it again. Whoever hears of a change notes the version before
		// asking for this lock, so that no change falls between.
		e.readAt = time.Time{}
	}
	if old != nil && old.allowance != nil {
		e.allowance = old.allowance
	} else {
		e.allowance = &allowance{}
	}
	e.used.Store(e.readAt.UnixMilli())
	room := max(1, c.limit.Cached/cacheShards)
	if e.verifier != nil {
		delete(s.unknown, e.id)
		makeRoom(s.ready, e.id, room)
		s.ready[e.id] = e
		return
	}
	delete(s.ready, e.id)
	makeRoom(s.unknown, e.id, room)
	s.unknown[e.id] = e
}

// makeRoom removes the least recently used of a few entries, which is near enough to the least of all.
func makeRoom(m map[domain.IntegrationID]*intakeEntry, id domain.IntegrationID, room int) {
	if _, there := m[id]; there || len(m) < room {
		return
	}
	var oldest *intakeEntry
	looked := 0
	for _, e := range m { // in random order
		if oldest == nil || e.used.Load() < oldest.used.Load() {
			oldest = e
		}
		if looked++; looked == 8 {
			break
		}
	}
	delete(m, oldest.id)
}

// invalidate makes the next get read again, and keeps the entry for the case that it cannot.
func (c *intakeCache) invalidate(id domain.IntegrationID) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.unknown, id)
	if e := s.ready[id]; e != nil {
		stale := &intakeEntry{id: e.id, org: e.org, provider: e.provider, version: e.version, verifier: e.verifier, scheme: e.scheme, slots: e.slots,
			dedupeHeader: e.dedupeHeader, repeats: e.repeats, encoding: e.encoding, keep: e.keep, contentTypes: e.contentTypes, takesJSON: e.takesJSON, urgentUntil: e.urgentUntil,
			priority: e.priority, rule: e.rule, allowance: e.allowance}
		stale.used.Store(e.used.Load())
		s.ready[id] = stale // readAt is zero
	}
}

const (
	followEvery = time.Second
	// followOverlap is asked for again each time, because clocks of servers differ and commits come late, and every
	// followDeep times so much that what is a minute late is heard of too: asking for a minute each second would cost as
	// much as intake itself after thousands of connections were changed at once.
	followOverlap     = 10 * time.Second
	followDeep        = 10
	followDeepOverlap = time.Minute + followDeep*followEvery
	// maxKnown bounds the ids remembered as existing.
	maxKnown = 1_000_000
)

// followFrom is how far back the question after so many answered ones looks, the last of which was asked at since: the
// zero time, which means everything, for the first.
func followFrom(since time.Time, answered int) time.Time {
	switch {
	case answered == 0:
		return time.Time{}
	case answered%followDeep == 0:
		return since.Add(-followDeepOverlap)
	}
	return since.Add(-followOverlap)
}

// follow asks for changed versions every second until ctx ends. The first answer names every integration.
func (c *intakeCache) follow(ctx context.Context) {
	if c.deps.Versions == nil {
		<-ctx.Done()
		return
	}
	var since time.Time // of the last question that was answered
	known := 0
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for round := 0; ; {
		asked := c.deps.Now()
		versions, err := c.deps.Versions(ctx, followFrom(since, round))
		if err == nil {
			since = asked
			round++
			for id, version := range versions {
				before, there := c.known.Load(id)
				if there && before.(int64) == version {
					continue
				}
				if there || known < maxKnown {
					c.known.Store(id, version)
				}
				if !there {
					known++
				}
				if !c.upToDate(id, version) {
					c.invalidate(id)
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *intakeCache) upToDate(id domain.IntegrationID, version int64) bool {
	s := c.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.ready[id]
	return e != nil && e.version == version && !e.readAt.IsZero()
}

func (c *intakeCache) size() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.ready)
		s.mu.RUnlock()
	}
	return n
}
