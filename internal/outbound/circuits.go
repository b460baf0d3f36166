package outbound

import (
	"context"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/rules/breaker"
	"github.com/wedsync/wedsync/internal/store"
)

// line is an integration's way to a host.
type line struct {
	id   domain.IntegrationID
	host string
}

// circuit is what this process knows of a line. One that works is forgotten.
type circuit struct {
	state     breaker.State
	paused    time.Time // the system asked for it
	reason    string
	requestID string
	since     time.Time
	provider  string
	probing   bool  // by this process
	stored    int64 // version of the row that was read or written last
}

const (
	// storeWithin bounds a word to Postgres about a circuit. The call it is about has ended by then.
	storeWithin = 3 * time.Second
	// unsureFor is how long calls are held back when it cannot be asked who makes the probe.
	unsureFor = 5 * time.Second
	// overlap is how far back changed circuits are read again, for transactions that commit late and clocks that differ.
	overlap = 30 * time.Second
	// keepFor is how long a row that nothing changes is kept, and purgeEvery how often others are looked for.
	keepFor, purgeEvery = 24 * time.Hour, time.Hour
)

// admit lets a call through, as the probe if probe is true, or holds it back.
func (d *Discipline) admit(ctx context.Context, g *gate, at line) (probe bool, err error) {
	now := d.o.Now()
	d.circuits.Lock()
	c := d.circuits.byPlace[at]
	if c == nil {
		d.circuits.Unlock()
		return false, nil
	}
	if wait := c.paused.Sub(now); wait > 0 {
		d.circuits.Unlock()
		d.meter.held(g.provider, heldByPause)
		return false, held(domain.KindRateLimited, wait, "%s asked to be left alone until %s", at.host, c.paused.UTC().Format(time.RFC3339))
	}
	switch c.state.Ask(now) {
	case breaker.Go:
		if c.state.Stale(now, d.o.Rules) && !c.probing {
			delete(d.circuits.byPlace, at)
		}
		d.circuits.Unlock()
		return false, nil
	case breaker.Hold:
		err := c.held(at, now)
		d.circuits.Unlock()
		d.meter.held(g.provider, heldByCircuit)
		return false, err
	case breaker.Try:
	}
	c.state = c.state.Claim(now, d.o.Rules)
	c.probing = true
	until := c.state.Until
	d.circuits.Unlock()
	mine, err := d.claim(ctx, g, at, now, until)
	if err == nil && mine {
		return true, nil
	}
	d.circuits.Lock()
	defer d.circuits.Unlock()
	c.probing = false
	if err != nil {
		c.state.Until = now.Add(unsureFor)
	} else if c = d.circuits.byPlace[at]; c == nil || !c.state.Open {
		return false, nil // it was closed by somebody else
	}
	d.meter.held(g.provider, heldByCircuit)
	return false, c.held(at, now)
}

func (c *circuit) held(at line, now time.Time) error {
	return held(domain.KindUnavailable, c.state.Until.Sub(now), "calls to %s are held back until %s; the last one: %s", at.host,
		c.state.Until.UTC().Format(time.RFC3339), c.reason)
}

// claim asks for the right to make the probe. Where somebody else has it, or the circuit is closed, that is noted.
func (d *Discipline) claim(ctx context.Context, g *gate, at line, now, until time.Time) (mine bool, err error) {
	if d.o.Store == nil {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	var there domain.Circuit
	err = d.o.Store.Tenant(ctx, g.org, func(ctx context.Context, tx *store.Tx) (err error) {
		there, mine, err = tx.ClaimProbe(ctx, at.id, at.host, now, until)
		return err
	})
	switch {
	case err != nil:
		d.unstored("who tries whether a system answers cannot be asked", at, err)
		return false, err
	case mine:
		return true, nil
	case there.Version == 0:
		// Nobody stored it: it opened while Postgres did not answer, so this process alone knows of it.
		return true, nil
	}
	d.circuits.Lock()
	defer d.circuits.Unlock()
	if c := d.circuits.byPlace[at]; c != nil {
		c.probing, c.stored = false, 0 // what stands there counts, whenever it was written
	}
	d.adopt(at, there, now)
	return false, nil
}

// report notes the outcome of a call.
func (d *Discipline) report(ctx context.Context, g *gate, at line, probe bool, o breaker.Outcome, cause error) {
	now := d.o.Now()
	wait := domain.RetryAfter(cause)
	asked := wait >= time.Second && (httpx.StatusOf(cause) == http.StatusTooManyRequests || httpx.StatusOf(cause) == http.StatusServiceUnavailable)
	d.circuits.Lock()
	c := d.circuits.byPlace[at]
	if c == nil {
		if o != breaker.Failed && !asked {
			d.circuits.Unlock()
			return
		}
		c = &circuit{provider: g.provider, since: now}
		d.circuits.byPlace[at] = c
	}
	was := c.state
	if probe {
		c.probing = false
		c.state = c.state.Probed(now, d.o.Rules, o, d.o.Random())
	} else {
		c.state = c.state.Note(now, d.o.Rules, o, d.o.Random())
	}
	opened := c.state.Open && !was.Open
	if opened {
		c.since = now
		d.meter.opened(g.provider)
	}
	if o == breaker.Failed || asked {
		c.reason, c.requestID = reasonOf(cause), httpx.RequestIDOf(cause)
	}
	tell := domain.Circuit{OrgID: g.org, IntegrationID: at.id, Host: at.host, Reason: c.reason, RequestID: c.requestID, Since: c.since}
	switch until := now.Add(wait); {
	case opened, probe && o == breaker.Failed:
		if asked && until.After(c.state.Until) {
			c.state.Until = until // it said when
		}
		tell.State, tell.Until, tell.Openings = domain.CircuitOpen, c.state.Until, c.state.Trips
	case probe && o == breaker.Worked:
		tell.State, tell.Until, tell.Reason, tell.RequestID = domain.CircuitClosed, now, "", ""
	case asked && !c.state.Open && until.After(c.paused.Add(time.Second)):
		c.paused = until
		tell.State, tell.Until = domain.CircuitPaused, until
	}
	if c.state == (breaker.State{}) && !c.paused.After(now) {
		delete(d.circuits.byPlace, at)
	}
	d.circuits.Unlock()
	if opened {
		d.o.Log.Warn("a system does not answer; calls are held back", "integration", at.id, "host", at.host, "until", tell.Until, "error", tell.Reason)
	} else if tell.State == domain.CircuitClosed {
		d.o.Log.Info("a system answers again", "integration", at.id, "host", at.host)
	}
	if tell.State != "" {
		d.tell(ctx, tell)
	}
}

// reasonOf is what may be told of a failure: errors of httpx hold neither paths nor texts of the other side.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// tell stores a change for other processes, and takes what stands there then.
func (d *Discipline) tell(ctx context.Context, c domain.Circuit) {
	if d.o.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer cancel()
	var now domain.Circuit
	err := d.o.Store.Tenant(ctx, c.OrgID, func(ctx context.Context, tx *store.Tx) (err error) {
		now, err = tx.PutCircuit(ctx, c)
		return err
	})
	at := line{c.IntegrationID, c.Host}
	switch {
	case domain.KindOf(err) == domain.KindNotFound:
		return // an integration that is only being tried out
	case err != nil:
		d.unstored("other processes could not be told of a circuit", at, err)
		return
	}
	d.circuits.Lock()
	defer d.circuits.Unlock()
	d.adopt(at, now, d.o.Now())
}

// adopt takes what a row says, unless it is old news or this process is finding out by itself. It runs under the lock.
func (d *Discipline) adopt(at line, row domain.Circuit, now time.Time) {
	c := d.circuits.byPlace[at]
	if c != nil && (c.probing || row.Version <= c.stored) {
		return
	}
	if !row.Holds(now) {
		if c != nil && c.state.Open {
			delete(d.circuits.byPlace, at)
		}
		return
	}
	if c == nil {
		c = &circuit{}
		d.circuits.byPlace[at] = c
	}
	c.reason, c.requestID, c.since, c.stored = row.Reason, row.RequestID, row.Since, row.Version
	switch row.State {
	case domain.CircuitOpen:
		c.state = breaker.State{Open: true, Until: row.Until, Trips: row.Openings, InRow: c.state.InRow}
	case domain.CircuitPaused:
		c.paused = row.Until
	case domain.CircuitClosed:
	}
}

// follow reads what other processes stored, until the end.
func (d *Discipline) follow() {
	var read, purged time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-d.life.Done():
			return
		case <-timer.C:
		}
		now := d.o.Now()
		since := read.Add(-overlap)
		if read.IsZero() {
			since = now.Add(-keepFor)
		}
		ctx, cancel := context.WithTimeout(d.life, storeWithin)
		rows, err := d.o.Store.CircuitsSince(ctx, since)
		var slowed []store.Pace
		if err == nil {
			slowed, err = d.o.Store.PacesSince(ctx, since)
		}
		cancel()
		if err == nil {
			read = now
			d.adoptPaces(slowed)
			d.circuits.Lock()
			for _, row := range rows {
				d.adopt(line{row.IntegrationID, row.Host}, row, now)
			}
			d.circuits.Unlock()
		} else if d.life.Err() == nil {
			d.unstored("circuits of other processes cannot be read", line{}, err)
		}
		if err == nil && now.Sub(purged) > purgeEvery {
			purged = now
			ctx, cancel := context.WithTimeout(d.life, storeWithin)
			if _, err := d.o.Store.PurgeOutbound(ctx, now.Add(-keepFor)); err != nil && d.life.Err() == nil {
				d.unstored("old circuits were not removed", line{}, err)
			}
			cancel()
			d.forget(now)
			d.forgetPaces(now)
		}
		timer.Reset(d.o.Refresh)
	}
}

// forget drops what is too old to matter.
func (d *Discipline) forget(now time.Time) {
	d.circuits.Lock()
	defer d.circuits.Unlock()
	for at, c := range d.circuits.byPlace {
		if c.state.Stale(now, d.o.Rules) && !c.paused.After(now) && !c.probing || c.state.Open && now.Sub(c.state.Until) > keepFor {
			delete(d.circuits.byPlace, at)
		}
	}
}

func (d *Discipline) unstored(what string, at line, err error) {
	d.meter.unstored.Inc()
	d.says.Do(func() { d.o.Log.Warn(what, "integration", at.id, "host", at.host, "error", err) })
}
