package monitor

import (
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/alert"
	"github.com/wedsync/wedsync/internal/rules/health"
	"github.com/wedsync/wedsync/internal/store"
)

// target is one connection while it is probed.
type target struct {
	store.ProbeTarget
	track     health.Track
	passive   health.Passive
	signals   []domain.HealthSignal
	since     time.Time // since when it is looked at
	silent    int64     // the version at which it was found that it cannot be asked; 0 = it can, as far as known
	asking    bool
	telling   bool // that it needs a reconnect
	moving    int  // moves that are being stored
	notBefore time.Time

	planned time.Time // when it is to be asked
	due     time.Time // when the queue looks at it
	at      int       // in the queue; -1 = it is not

	hours     map[time.Time]*hour
	accounted time.Time // up to when its time in states is counted
	dirty     time.Time // of the oldest that is not stored; zero = nothing of a probe
	urgent    bool      // something failed, or takes longer than before
	last      *domain.ProbeResult
	writes    int64     // copies written, at the last look
	ended     time.Time // of the newest outcome that was counted
	pace      alert.Pace
	looked    bool
}

// hour is what is not stored of one hour.
type hour struct {
	from               time.Time
	results            []domain.ProbeResult
	spent              map[domain.HealthState]time.Duration
	worked, failedWork int64
}

// mostKept bounds the results of a connection that wait while storage is away; the oldest go first.
const mostKept = 2000

func newTarget(one store.ProbeTarget, now time.Time) *target {
	return &target{ProbeTarget: one, since: now, at: -1, hours: map[time.Time]*hour{}, accounted: now, ended: now}
}

// update takes over what was read anew. A state whose move is being stored is newer than what was read.
func (t *target) update(one store.ProbeTarget) {
	state, reason, rhythm := t.State, t.Reason, t.Rhythm
	changed := one.Version != t.Version
	t.ProbeTarget = one
	if t.moving > 0 {
		t.State, t.Reason = state, reason
	}
	t.Rhythm = rhythm
	if changed {
		t.notBefore = time.Time{}
	}
}

// maintained reports whether a window of maintenance is going on.
func (t *target) maintained(now time.Time) bool {
	return t.MaintenanceUntil != nil && now.Before(*t.MaintenanceUntil)
}

// wanted reports whether it is to be asked.
func (t *target) wanted(now time.Time) bool {
	return t.Wish == domain.IntegrationActive && !t.maintained(now) && t.silent != t.Version
}

// next is the next moment of the connection after a time. Its place within the interval follows from its id, so it is even
// among connections and stays over restarts.
func (t *target) next(after time.Time, usual time.Duration) time.Time {
	every := int64(t.Every(after, usual))
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.IntegrationID))
	phase := int64(h.Sum64() % uint64(every))
	n := (after.UnixNano()-phase)/every + 1
	return time.Unix(0, n*every+phase)
}

func (t *target) evidence(now time.Time, usual time.Duration, blind bool) health.Evidence {
	return health.Evidence{Wish: t.Wish, WishReason: t.WishReason, Maintenance: t.maintained(now), MaintenanceText: t.MaintenanceText,
		Probed: t.silent != t.Version, Every: t.Every(now, usual), Track: t.track, Reason: t.Reason, RestUntil: t.notBefore, Since: t.since, Blind: blind, Passive: t.passive,
		Mode: t.Mode, ModeReason: t.ModeReason, QuickPolls: t.QuickPolls}
}

// part is what is not stored of the hour of a time.
func (t *target) part(at time.Time) *hour {
	key := at.UTC().Truncate(time.Hour)
	h := t.hours[key]
	if h == nil {
		h = &hour{from: at.UTC(), spent: map[domain.HealthState]time.Duration{}}
		t.hours[key] = h
	}
	return h
}

// keep has a result stored, with its hour.
func (t *target) keep(now time.Time, r domain.ProbeResult) {
	h := t.part(r.At)
	h.results = append(h.results, r)
	if len(h.results) > mostKept {
		h.results = slices.Delete(h.results, 0, len(h.results)-mostKept)
	}
	if t.dirty.IsZero() {
		t.dirty = now
	}
	t.urgent = t.urgent || r.Outcome != domain.ProbeOK || t.pace.Slower(r.Took)
	t.last = &r
}

// accountTo counts the time since the last call for the state that it is in, hour by hour.
func (t *target) accountTo(now time.Time) {
	for t.accounted.Before(now) {
		end := t.accounted.Truncate(time.Hour).Add(time.Hour)
		if end.After(now) {
			end = now
		}
		t.part(t.accounted).spent[t.State] += end.Sub(t.accounted)
		t.accounted = end
	}
}

// ripe reports whether what is kept is to be stored.
func (t *target) ripe(now time.Time) bool {
	if t.dirty.IsZero() {
		oldest := now
		for _, h := range t.hours {
			if h.from.Before(oldest) {
				oldest = h.from
			}
		}
		if len(t.hours) == 0 {
			oldest = t.accounted
		}
		return now.Sub(oldest) >= keepIdleFor
	}
	wait := keepFor
	if t.urgent {
		wait = keepFaultsFor
	}
	return now.Sub(t.dirty) >= wait
}

// batches hands out what is kept. Parts of seconds stay for the next time.
func (t *target) batches() (out []store.ProbeBatch) {
	rest := map[domain.HealthState]time.Duration{}
	for _, key := range slices.SortedFunc(maps.Keys(t.hours), time.Time.Compare) {
		h := t.hours[key]
		b := store.ProbeBatch{Org: t.OrgID, Integration: t.IntegrationID, Provider: t.Provider, From: h.from, Results: h.results,
			TrafficOK: h.worked, TrafficFailed: h.failedWork, Seconds: map[domain.HealthState]int64{}, Last: t.last, Signals: t.signals, Rhythm: t.Rhythm}
		for _, r := range h.results {
			if at := r.At.UTC(); at.Before(b.From) {
				b.From = at
			}
		}
		for state, d := range h.spent {
			d += rest[state]
			b.Seconds[state] = int64(d / time.Second)
			rest[state] = d % time.Second
		}
		out = append(out, b)
	}
	clear(t.hours)
	for state, d := range rest {
		if d > 0 {
			t.part(t.accounted).spent[state] += d
		}
	}
	t.dirty, t.urgent = time.Time{}, false
	return out
}

// see takes over what a look found: the rhythm of webhooks, and what was read and written since the last look.
func (t *target) see(now time.Time, l store.ProbeLook) {
	if t.LastDeliveryAt != nil {
		t.Rhythm = t.Rhythm.Note(*t.LastDeliveryAt)
	}
	newest := t.ended
	for _, o := range l.Outcomes {
		if !o.At.After(t.ended) {
			break
		}
		if o.OK {
			t.part(now).worked++
		} else {
			t.part(now).failedWork++
		}
		if o.At.After(newest) {
			newest = o.At
		}
	}
	t.ended = newest
	if t.looked && l.Writes > t.writes {
		t.part(now).worked += l.Writes - t.writes
	}
	t.writes, t.looked = l.Writes, true
	t.passive, t.signals = health.Passively(now, health.Look{Imports: t.Imports, PollEvery: t.PollEvery, CreatedAt: t.CreatedAt, LastSyncAt: t.LastSyncAt,
		LastDeliveryAt: t.LastDeliveryAt, Outcomes: l.Outcomes, Watches: l.Watches, TokenExpiresAt: l.TokenExpiresAt, Rhythm: t.Rhythm})
}

// unsure turns failures since a time that are not stored into unknown ones, and forgets the row of failures.
func (t *target) unsure(since time.Time) {
	t.track = t.track.Unsure()
	for _, h := range t.hours {
		for n := range h.results {
			if r := &h.results[n]; r.Outcome == domain.ProbeFailed && !r.At.Before(since) {
				r.Outcome = domain.ProbeBlind
			}
		}
	}
}

// queue is a heap of targets, the next one first.
type queue []*target

func (q queue) Len() int           { return len(q) }
func (q queue) Less(a, b int) bool { return q[a].due.Before(q[b].due) }
func (q queue) Swap(a, b int) {
	q[a], q[b] = q[b], q[a]
	q[a].at, q[b].at = a, b
}

// Push is for container/heap.
func (q *queue) Push(x any) {
	t := x.(*target)
	t.at = len(*q)
	*q = append(*q, t)
}

// Pop is for container/heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	t.at = -1
	return t
}
