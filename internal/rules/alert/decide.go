package alert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

const (
	// together is the share of a platform's connections that must have the same finding for one alert to tell of all, apart the
	// share below which it is over, and least how many connections the platform must have.
	together, apart, least = 0.30, 0.15, 5
	// FlapWindow is how soon after its end an alert that comes back is the same one.
	FlapWindow = 30 * time.Minute
	// flapMemory is how far back returns are counted, flapsMany how many make it flapping.
	flapMemory = 6 * time.Hour
	flapsMany  = 3
)

// Seen is a connection with what is wrong with it.
type Seen struct {
	ID       domain.IntegrationID
	Platform string
	Wedding  *time.Time
	// Day says that the day of a wedding goes on that rests on the connection: what is critical is escalated at once.
	Day bool
	Verdict
}

// Input is everything that a decision rests on.
type Input struct {
	Now time.Time
	// Seen are all connections of the organisation; one that is missing is gone.
	Seen []Seen
	// Alerts are the unresolved ones and those that were resolved within FlapWindow.
	Alerts   []domain.Alert
	Rules    []domain.AlertRule
	Silences []domain.Silence
	Policy   domain.AlertPolicy
	NewID    func() domain.AlertID
}

// Telling is what people are to be told of an alert.
type Telling string

// The tellings.
const (
	TellNothing   Telling = ""
	TellOpened    Telling = "opened"
	TellWorse     Telling = "worse"
	TellReminder  Telling = "reminder"
	TellEscalated Telling = "escalated"
	TellResolved  Telling = "resolved"
)

// Change is what becomes of one alert.
type Change struct {
	Alert domain.Alert // as it is to be; its version is the one that was read
	New   bool
	Tell  Telling
}

// Plan is what is to be done.
type Plan struct {
	Changes []Change  // in the order in which they are to be carried out: platforms first
	Next    time.Time // when time alone changes something: a reminder, an escalation, the end of a silence; zero = never
	Open    int       // unresolved alerts after it
}

// key is what an alert is about.
type key struct {
	kind  domain.AlertKind
	scope domain.Scope
}

// wanted is an alert that must be there.
type wanted struct {
	Finding
	wedding  *time.Time
	platform string
	members  int
}

// Decide says what becomes of the alerts of an organisation. The same input gives the same plan, but for the ids of new
// alerts; carried out, the same input gives an empty one.
func Decide(in Input) Plan {
	d := &decider{Input: in, want: map[key]wanted{}, hold: map[key]bool{}, off: map[key]string{}, platform: map[key]string{}, under: map[key]key{}, had: map[key]domain.Alert{}, day: map[domain.Scope]bool{}}
	for _, a := range in.Alerts {
		k := key{a.Kind, a.Scope}
		if was, ok := d.had[k]; !ok || was.Unresolved() == a.Unresolved() && a.OpenedAt.After(was.OpenedAt) || !was.Unresolved() && a.Unresolved() {
			d.had[k] = a
		}
	}
	d.connections()
	d.platforms()
	return d.plan()
}

type decider struct {
	Input
	want     map[key]wanted
	hold     map[key]bool   // neither raised nor ended
	off      map[key]string // over, and why
	platform map[key]string
	under    map[key]key // the alert of the platform that says the same of more
	had      map[key]domain.Alert
	day      map[domain.Scope]bool // a wedding day goes on
	ids      map[key]domain.AlertID
}

func (d *decider) connections() {
	for _, s := range d.Seen {
		scope := domain.Scope{Kind: domain.ScopeIntegration, Target: string(s.ID)}
		if s.Day {
			d.day[scope], d.day[domain.Scope{Kind: domain.ScopePlatform, Target: s.Platform}] = true, true
		}
		for _, k := range domain.AlertKinds() {
			d.platform[key{k, scope}] = s.Platform
			if s.Off != "" {
				d.off[key{k, scope}] = s.Off
			}
		}
		for _, k := range s.Held {
			d.hold[key{k, scope}] = true
		}
		for _, f := range s.Findings {
			d.want[key{f.Kind, scope}] = wanted{Finding: f, wedding: s.Wedding, platform: s.Platform, members: 1}
		}
	}
}

// platforms raises one alert for many.
func (d *decider) platforms() {
	type group struct{ all, found, held int }
	for _, kind := range domain.AlertKinds() {
		groups := map[string]*group{}
		for _, s := range d.Seen {
			if s.Off != "" {
				continue
			}
			g := groups[s.Platform]
			if g == nil {
				g = &group{}
				groups[s.Platform] = g
			}
			k := key{kind, domain.Scope{Kind: domain.ScopeIntegration, Target: string(s.ID)}}
			g.all++
			if _, ok := d.want[k]; ok {
				g.found++
			} else if d.hold[k] {
				g.held++
			}
		}
		for _, name := range slices.Sorted(maps.Keys(groups)) {
			g, whole := groups[name], key{kind, domain.Scope{Kind: domain.ScopePlatform, Target: name}}
			d.platform[whole] = name
			had, ok := d.had[whole]
			share := together
			if ok && had.Unresolved() {
				share = apart
			}
			// Of connections that nothing is known of neither can be said.
			if ok && had.Unresolved() && g.held > 0 && float64(g.found) < share*float64(g.all) && float64(g.found+g.held) >= share*float64(g.all) {
				d.hold[whole] = true
				d.below(kind, name, whole)
				continue
			}
			if g.all < least || float64(g.found) < share*float64(g.all) || g.found == 0 {
				continue
			}
			d.want[whole] = d.joined(kind, name, g.found, g.all)
			d.below(kind, name, whole)
		}
	}
}

// joined is the finding of a platform: the worst of its connections, and the nearest wedding.
func (d *decider) joined(kind domain.AlertKind, name string, found, all int) wanted {
	w := wanted{platform: name, members: found, Finding: Finding{Kind: kind}}
	example, bounded := "", true
	for _, s := range d.Seen {
		one, ok := d.want[key{kind, domain.Scope{Kind: domain.ScopeIntegration, Target: string(s.ID)}}]
		if !ok || s.Platform != name {
			continue
		}
		if one.Technical.Level() > w.Technical.Level() {
			w.Technical, example = one.Technical, one.Reason
		}
		if bounded = bounded && one.AtMost != ""; one.AtMost.Level() > w.AtMost.Level() {
			w.AtMost = one.AtMost
		}
		if one.wedding != nil && (w.wedding == nil || one.wedding.Before(*w.wedding)) {
			w.wedding = one.wedding
		}
	}
	if !bounded {
		w.AtMost = "" // one of them may be as severe as it is
	}
	w.Reason = fmt.Sprintf("%d of %d connections of %s have it, such as one that is %s", found, all, name, example)
	if kind != domain.AlertConnection {
		w.Reason = fmt.Sprintf("%d of %d connections of %s have it; of one of them %s", found, all, name, example)
	}
	return w
}

// below puts the alerts of a platform's connections under the one of the platform.
func (d *decider) below(kind domain.AlertKind, name string, whole key) {
	for _, s := range d.Seen {
		if s.Platform == name {
			d.under[key{kind, domain.Scope{Kind: domain.ScopeIntegration, Target: string(s.ID)}}] = whole
		}
	}
}

func (d *decider) plan() Plan {
	d.ids = map[key]domain.AlertID{}
	keys := map[key]bool{}
	for k := range d.want {
		keys[k] = true
	}
	for k, a := range d.had {
		if a.Unresolved() {
			keys[k] = true
			d.ids[k] = a.ID
		}
	}
	order := slices.SortedFunc(maps.Keys(keys), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.scope.Narrowness(), b.scope.Narrowness()), cmp.Compare(slices.Index(domain.AlertKinds(), a.kind), slices.Index(domain.AlertKinds(), b.kind)),
			cmp.Compare(a.scope.Target, b.scope.Target))
	})
	var out Plan
	for _, k := range order {
		c := d.one(k)
		if c.Alert.Unresolved() {
			out.Open++
			for _, at := range []*time.Time{c.Alert.RemindAt, c.Alert.EscalateAt, c.Alert.SilencedUntil, d.settledAt(k, c.Alert)} {
				if at != nil && at.After(d.Now) && (out.Next.IsZero() || at.Before(out.Next)) {
					out.Next = *at
				}
			}
		}
		if c.New || c.Tell != TellNothing || !same(c.Alert, d.had[k]) {
			out.Changes = append(out.Changes, c)
		}
	}
	return out
}

func (d *decider) settledAt(k key, a domain.Alert) *time.Time {
	if a.ClearSince == nil {
		return nil
	}
	at := a.ClearSince.Add(d.settleOf(k, a))
	return &at
}

// settleOf is how long an alert must be calm before it is over.
func (d *decider) settleOf(k key, a domain.Alert) time.Duration {
	var id domain.IntegrationID // of a platform the rules of the platform count, and of all
	if k.scope.Kind == domain.ScopeIntegration {
		id = domain.IntegrationID(k.scope.Target)
	}
	calm := settle
	if r := domain.RuleFor(d.Rules, k.kind, d.platform[k], id); r.ResolveAfter > 0 {
		calm = time.Duration(r.ResolveAfter) * time.Minute
	}
	if a.Flapping {
		return max(calm, settleFlapping)
	}
	return calm
}

// one says what becomes of one alert.
func (d *decider) one(k key) Change {
	w, found := d.want[k]
	a, exists := d.had[k]
	if found {
		if !exists || !a.Unresolved() && d.Now.Sub(deref(a.ResolvedAt)) > FlapWindow {
			a, exists = domain.Alert{ID: d.NewID(), Kind: k.kind, Scope: k.scope, State: domain.AlertOpen, OpenedAt: d.Now}, false
		} else if !a.Unresolved() {
			a = d.again(a)
		}
		d.ids[k] = a.ID
		a.Reason, a.Technical, a.Members, a.ClearSince = w.Reason, w.Technical, w.members, nil
		a.WeddingAt = w.wedding
		a.Severity = w.Near(w.wedding, d.Now)
		c := Change{Alert: d.quiet(k, a), New: !exists}
		return d.tell(c)
	}
	if why, over := d.off[k]; over {
		return d.resolve(a, why)
	}
	if _, known := d.platform[k]; !known {
		why := "the connection is gone"
		if k.scope.Kind == domain.ScopePlatform {
			why = "its connections are paused, in maintenance, or gone"
		}
		return d.resolve(a, why)
	}
	a = d.quiet(k, a)
	if d.hold[k] {
		a.ClearSince = nil
		return d.tell(Change{Alert: a})
	}
	if a.ClearSince == nil {
		now := d.Now
		a.ClearSince = &now
	}
	if d.Now.Sub(*a.ClearSince) >= d.settleOf(k, a) {
		return d.resolve(a, "calm since "+a.ClearSince.UTC().Format("2006-01-02 15:04 UTC"))
	}
	return Change{Alert: a} // nobody is reminded of what seems to be over
}

// again opens an alert that was just over.
func (d *decider) again(a domain.Alert) domain.Alert {
	flaps := []time.Time{}
	for _, at := range a.Flaps {
		if d.Now.Sub(at) < flapMemory {
			flaps = append(flaps, at)
		}
	}
	a.Flaps = append(flaps, d.Now)
	a.Flapping = len(a.Flaps) >= flapsMany
	a.State, a.ResolvedAt, a.Resolution = domain.AlertOpen, nil, ""
	a.ToldAt, a.ToldSeverity, a.Level, a.RemindAt, a.EscalateAt, a.AcknowledgedAt, a.AcknowledgedBy = nil, "", 0, nil, nil, nil, ""
	return a
}

// quiet says whether an alert is kept from being told.
func (d *decider) quiet(k key, a domain.Alert) domain.Alert {
	a.InhibitedBy, a.SilencedUntil = "", nil
	if whole, ok := d.under[k]; ok {
		a.InhibitedBy = d.ids[whole]
	} else if k.kind != domain.AlertConnection && d.hold[k] {
		// What a connection that is down did before it went down is no news.
		above := key{domain.AlertConnection, k.scope}
		if _, ok := d.want[above]; ok {
			a.InhibitedBy = d.ids[above]
		}
	}
	for _, s := range d.Silences {
		if !s.Matches(a, d.platform[k]) {
			continue
		}
		// A silence that cannot be understood keeps nothing quiet.
		if until, ok, err := Silent(s, d.Now); err == nil && ok && (a.SilencedUntil == nil || until.After(*a.SilencedUntil)) {
			a.SilencedUntil = &until
		}
	}
	return a
}

// tell says what people are told of an unresolved alert.
func (d *decider) tell(c Change) Change {
	a := &c.Alert
	if a.Quiet() {
		return c
	}
	now := d.Now
	switch {
	case a.ToldAt == nil:
		c.Tell, a.ToldAt, a.ToldSeverity = TellOpened, &now, a.Severity
		d.timers(a, now)
	case a.Severity.Level() > a.ToldSeverity.Level():
		// Who acknowledged it did so when it was less.
		c.Tell, a.ToldSeverity, a.State, a.AcknowledgedAt, a.AcknowledgedBy = TellWorse, a.Severity, domain.AlertOpen, nil, ""
		d.timers(a, now)
	case a.State == domain.AlertAcknowledged, !urgent(a.Severity):
		a.RemindAt, a.EscalateAt = nil, nil
	case a.EscalateAt != nil && !now.Before(*a.EscalateAt):
		a.Level++
		c.Tell = TellEscalated
		d.timers(a, now)
	case a.RemindAt != nil && !now.Before(*a.RemindAt):
		a.Reminders++
		c.Tell = TellReminder
		d.timers(a, now)
	}
	return c
}

// urgent alerts are reminded of and escalated; the others can wait for somebody to look.
func urgent(s domain.Severity) bool { return s.Level() >= domain.SeverityHigh.Level() }

// timers sets when people are told next.
func (d *decider) timers(a *domain.Alert, now time.Time) {
	if !urgent(a.Severity) {
		a.RemindAt, a.EscalateAt = nil, nil
		return
	}
	remind := now.Add(time.Duration(d.Policy.RemindEvery) * time.Minute)
	a.RemindAt, a.EscalateAt = &remind, nil
	if a.Level < len(d.Policy.Steps) {
		at := a.ToldAt.Add(time.Duration(d.Policy.Steps[a.Level].After) * time.Minute)
		if a.Level == 0 && a.Severity == domain.SeverityCritical && d.day[a.Scope] {
			// On the day of a wedding nobody waits whether the first ones look after it.
			escalate := now.Add(time.Second)
			a.EscalateAt = &escalate
			return
		}
		if !at.After(now) {
			at = now.Add(time.Minute)
		}
		a.EscalateAt = &at
	}
}

func (d *decider) resolve(a domain.Alert, why string) Change {
	now := d.Now
	told := a.ToldAt != nil
	a.State, a.ResolvedAt, a.Resolution = domain.AlertResolved, &now, why
	a.RemindAt, a.EscalateAt, a.InhibitedBy, a.SilencedUntil = nil, nil, "", nil
	c := Change{Alert: a}
	if told {
		c.Tell = TellResolved
	}
	return c
}

func deref(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// same reports whether nothing changed that is worth writing down. Reasons hold running numbers, so they alone are written with
// the next change or when the severity moves.
func same(a, b domain.Alert) bool {
	return a.State == b.State && a.Severity == b.Severity && a.Technical == b.Technical && a.Members == b.Members && a.InhibitedBy == b.InhibitedBy &&
		sameTime(a.SilencedUntil, b.SilencedUntil) && sameTime(a.ClearSince, b.ClearSince) && sameTime(a.WeddingAt, b.WeddingAt) && sameTime(a.RemindAt, b.RemindAt) &&
		sameTime(a.EscalateAt, b.EscalateAt) && a.Level == b.Level
}

func sameTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}
