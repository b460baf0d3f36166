package outbound

import (
	"context"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/ratelimit"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	// leastRate is the slowest that a limit becomes by refusals, unless it is slower anyway.
	leastRate = 0.5
	// mostHalvings bounds how often a rate is halved.
	mostHalvings = 6
	// restPause is how long nothing is sent after a refusal that does not say for how long, doubled with each halving.
	restPause = 5 * time.Second
)

// pace is how much slower than its limit a system is called at present.
type pace struct {
	level   int       // halvings
	at      time.Time // of the last refusal
	until   time.Time // nothing is sent before, or whose turn it is ends
	version int64     // of the row that was read or written last
}

// now is the level at a time: one halving is given back each minute without a refusal.
func (p pace) now(at time.Time) int {
	return max(0, p.level-int(max(at.Sub(p.at), 0)/store.PaceRecovers))
}

// over reports whether nothing is left of it.
func (p pace) over(at time.Time) bool { return p.now(at) == 0 && !p.until.After(at) }

// pause is how long an account is left alone yet because the system asked for it, whichever integration was told so.
func (g *gate) pause() time.Duration {
	var longest time.Duration
	now := g.d.o.Now()
	g.d.paces.Lock()
	defer g.d.paces.Unlock()
	for _, l := range g.limits {
		if l.account {
			longest = max(longest, g.d.paces.byKey[l.key].until.Sub(now))
		}
	}
	return longest
}

// slower are the shapes of a limit after one refusal, two, and so on.
func (d *Discipline) slower(l provider.Limit) (out []shape) {
	for n := 1; n <= mostHalvings && l.PerSecond/2 >= leastRate; n++ {
		l.PerSecond, l.Burst = l.PerSecond/2, max(1, l.Burst/2)
		out = append(out, d.shapeOf(l))
	}
	return out
}

// level is how many halvings of a limit hold now, at most so many.
func (d *Discipline) level(key ratelimit.Key, most int) int {
	if most == 0 {
		return 0
	}
	d.paces.Lock()
	defer d.paces.Unlock()
	p, ok := d.paces.byKey[key]
	if !ok {
		return 0
	}
	now := d.o.Now()
	if p.over(now) {
		delete(d.paces.byKey, key)
	}
	return min(p.now(now), most)
}

// slow halves the rates after a 429 and keeps the pause of the account, both for all processes, and returns the error with a pause
// where the system named none. A 503 is only a pause, of accounts that rest. A call that was sent before the last halving says
// nothing new about the rate.
func (g *gate) slow(ctx context.Context, host string, sent time.Time, err error) error {
	d, now := g.d, g.d.o.Now()
	highest := 0
	named, busy := domain.RetryAfter(err), httpx.StatusOf(err) == http.StatusServiceUnavailable
	rest := named
	for _, l := range g.limits {
		pause := named
		if named <= 0 {
			pause, rest = l.rest, max(rest, l.rest)
		}
		slows, pauses := len(l.shapes) > 1 && !busy, l.account && pause >= time.Second && (!busy || l.rest > 0)
		if !slows && !pauses {
			continue
		}
		key := g.keyAt(l, host)
		d.paces.Lock()
		p := d.paces.byKey[key]
		news := false
		if slows && sent.After(p.at) {
			p.level, p.at, news = min(p.now(now)+1, len(l.shapes)-1), now, true
		}
		if until := now.Add(pause); pauses && until.After(p.until.Add(time.Second)) {
			p.until, news = until, true
			if !slows {
				p.at = now
			}
		}
		if news {
			d.paces.byKey[key] = p
		}
		d.paces.Unlock()
		highest = max(highest, p.level)
		if news {
			d.tellPace(ctx, key, p)
		}
	}
	switch {
	case named > 0:
		return err
	case rest > 0:
		return domain.WithRetryAfter(err, rest)
	case !g.slows:
		return err
	}
	return domain.WithRetryAfter(err, restPause<<max(highest-1, 0))
}

// Once is provider.Connection.Once. While Postgres does not answer each process goes by what it knows.
func (d *Discipline) Once(ctx context.Context, what string, every time.Duration) error {
	key, now := digest("once", what), d.o.Now()
	d.paces.Lock()
	p := d.paces.byKey[key]
	wait := p.until.Sub(now)
	if wait <= 0 {
		// Before it is asked for: of the goroutines of this process one asks.
		p.at, p.until = now, now.Add(every)
		d.paces.byKey[key] = p
	}
	d.paces.Unlock()
	if wait <= 0 && d.o.Store != nil {
		ctx, cancel := context.WithTimeout(ctx, storeWithin)
		defer cancel()
		row, mine, err := d.o.Store.ClaimOutbound(ctx, key, now, now.Add(every))
		if err != nil {
			d.unstored("whose turn it is cannot be asked", line{}, err)
			return nil
		}
		d.adoptPaces([]store.Pace{row})
		if !mine {
			wait = max(row.Until.Sub(now), time.Millisecond)
		}
	}
	if wait <= 0 {
		return nil
	}
	return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "%w: it is nobody's turn", ErrHeld), wait)
}

// tellPace stores a halving for other processes, and takes what stands there then.
func (d *Discipline) tellPace(ctx context.Context, key ratelimit.Key, p pace) {
	if d.o.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer cancel()
	row, err := d.o.Store.SlowOutbound(ctx, store.Pace{Key: key, Level: p.level, At: p.at, Until: p.until})
	if err != nil {
		d.unstored("other processes could not be told to slow down", line{}, err)
		return
	}
	d.adoptPaces([]store.Pace{row})
}

func (d *Discipline) adoptPaces(rows []store.Pace) {
	now := d.o.Now()
	d.paces.Lock()
	defer d.paces.Unlock()
	for _, row := range rows {
		p := pace{row.Level, row.At, row.Until, row.Version}
		if had, known := d.paces.byKey[row.Key]; row.Version > had.version && (known || !p.over(now)) {
			d.paces.byKey[row.Key] = p
		}
	}
}

// forgetPaces drops what is over.
func (d *Discipline) forgetPaces(now time.Time) {
	d.paces.Lock()
	defer d.paces.Unlock()
	for key, p := range d.paces.byKey {
		if p.over(now) {
			delete(d.paces.byKey, key)
		}
	}
}
