package monitor

import (
	"cmp"
	"container/heap"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/health"
	"github.com/wedsync/wedsync/internal/store"
)

// Rhythms of a shard beside its probes.
const (
	reloadEvery   = 15 * time.Second // connections, wishes, boosts and windows are read
	lookEvery     = time.Minute      // what is known beside probes is read
	tickEvery     = time.Second
	beatEvery     = 4 * time.Second // well within the heartbeat timeout of workflows/policies.go
	moveWait      = 500 * time.Millisecond
	keepFor       = 2 * time.Minute // good results wait so long to be stored
	keepFaultsFor = 5 * time.Second
	keepIdleFor   = 10 * time.Minute // the time of a connection that is not asked
	retryEvery    = 2 * time.Second
	crowded       = 50 * time.Millisecond // until the next look when a probe found no place
	atOnce        = 3                     // things that storage is asked at once
	stopWithin    = 5 * time.Second
	// batchRows bounds the connections of one statement.
	batchRows = 500
)

// Run probes a shard until ctx ends, and then stores what is left. last is where somebody else stopped, nil if nobody did.
// beat is called every few seconds with how far it is, told with moves once they are stored; both must not block for long.
// The beat returned is the newest one. The only errors are of the first reading: from then on faults of storage are logged
// and tried again.
func (p *Prober) Run(ctx context.Context, shard int, last *contract.ProbeBeat, beat func(contract.ProbeBeat), told func([]domain.HealthChange)) (contract.ProbeBeat, error) {
	// Background work goes on after ctx has ended, so that what is left can be stored.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	s := &shardRun{p: p, shard: shard, targets: map[domain.IntegrationID]*target{}, results: make(chan probed, 256), back: make(chan func(), 16),
		work: work, turns: make(chan struct{}, atOnce), told: told, moves: map[domain.OrgID][]store.HealthMove{}}
	if last != nil {
		s.beat = *last
		s.suspects = last.Suspects
	}
	list, err := p.d.Store.ProbeTargets(ctx, shard)
	if err != nil {
		return s.beat, err
	}
	s.apply(list)
	s.loop(ctx, beat)
	for _, t := range s.targets {
		p.count(t.Provider, -1)
	}
	s.saving = false
	s.save(time.Now(), true)
	s.move()
	timer := time.AfterFunc(stopWithin, stop)
	defer timer.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.busy.Wait()
	}()
	for {
		select {
		case fn := <-s.back:
			fn()
			continue
		case <-done:
		}
		// Whoever was waited for has handed back what it did.
		for len(s.back) > 0 {
			(<-s.back)()
		}
		return s.newBeat(time.Now()), nil
	}
}

// do has something done in the background and runs what it returns in the loop. A few things go on at once.
func (s *shardRun) do(job func(ctx context.Context) func()) {
	s.busy.Go(func() {
		s.turns <- struct{}{}
		fn := job(s.work)
		<-s.turns
		s.back <- fn
	})
}

type probed struct {
	id      domain.IntegrationID
	version int64
	asked   Asked
}

// shardRun is one run of a shard. Everything of it belongs to the goroutine of Run, except what probes and jobs hand back
// through results and back.
type shardRun struct {
	p        *Prober
	shard    int
	targets  map[domain.IntegrationID]*target
	queue    queue
	results  chan probed
	back     chan func()
	work     context.Context // of background work
	turns    chan struct{}
	busy     sync.WaitGroup
	told     func([]domain.HealthChange)
	suspects map[domain.IntegrationID]int // of whoever probed before
	beat     contract.ProbeBeat

	reloading, looking, saving, moving bool
	reloadAt, lookAt, beatAt, saveAt   time.Time
	moves                              map[domain.OrgID][]store.HealthMove
	movesAt                            time.Time // when the moves that wait are stored
	lag                                time.Duration
	blindSeen                          time.Time
}

func (s *shardRun) loop(ctx context.Context, beat func(contract.ProbeBeat)) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	now := time.Now()
	s.reloadAt, s.saveAt = now.Add(reloadEvery), now.Add(retryEvery)
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	var alarmAt time.Time
	for {
		next := s.start(ctx, time.Now())
		if !next.Equal(alarmAt) {
			alarmAt = next
			alarm.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-alarm.C:
			s.p.gate.late(time.Now(), time.Since(alarmAt))
			alarmAt = time.Time{}
		case r := <-s.results:
			s.take(time.Now(), r)
		case fn := <-s.back:
			fn()
		case <-tick.C:
			now := time.Now()
			s.look(now)
			s.reload(now)
			s.doubt(now)
			if !now.Before(s.beatAt) {
				s.beatAt = now.Add(beatEvery)
				beat(s.newBeat(now))
			}
			s.save(now, false)
		}
		if len(s.moves) > 0 && !s.moving && !time.Now().Before(s.movesAt) {
			s.move()
		}
	}
}

// start sends out the probes that are due, and returns when to look again.
func (s *shardRun) start(ctx context.Context, now time.Time) time.Time {
	for len(s.queue) > 0 {
		t := s.queue[0]
		if t.due.After(now) {
			return t.due
		}
		switch {
		case !t.wanted(now):
			// It comes back when a reading finds it wanted.
			heap.Pop(&s.queue)
			continue
		case t.asking || now.Before(t.notBefore):
			s.schedule(t, now)
			continue
		case !s.p.gate.enter(now):
			return now.Add(crowded)
		case !s.p.may(t.Provider):
			s.p.gate.leave()
			// Others of its platform wait as well, but not those behind it. Its own time stays: the wait is our lag.
			t.due = now.Add(crowded)
			heap.Fix(&s.queue, 0)
			continue
		}
		t.asking = true
		due, one, track := t.planned, t.ProbeTarget, t.track
		s.schedule(t, now)
		go func() {
			asked := s.p.ask(ctx, one, due, track)
			s.p.gate.leave()
			select {
			case s.results <- probed{one.IntegrationID, one.Version, asked}:
			case <-ctx.Done():
			}
		}()
	}
	return now.Add(reloadEvery)
}

// schedule plans the next probe of a target that is in the queue or is to be.
func (s *shardRun) schedule(t *target, now time.Time) {
	t.planned = t.next(now, s.p.o.Every)
	if t.planned.Before(t.notBefore) {
		t.planned = t.next(t.notBefore, s.p.o.Every)
	}
	t.due = t.planned
	if t.at < 0 {
		heap.Push(&s.queue, t)
	} else {
		heap.Fix(&s.queue, t.at)
	}
}

// take notes a result.
func (s *shardRun) take(now time.Time, r probed) {
	t := s.targets[r.id]
	if t == nil {
		return // deleted meanwhile
	}
	t.asking = false
	if r.version != t.Version {
		return // asked with settings of before
	}
	if r.asked.Silent {
		t.silent = t.Version
		s.judge(now, t)
		return
	}
	if !t.wanted(now) {
		return // it was paused while it was asked
	}
	result := r.asked.Result
	if r.asked.Wait > 0 {
		t.notBefore = now.Add(min(r.asked.Wait, 10*s.p.o.Every))
	}
	t.track = t.track.Note(result)
	t.keep(now, result)
	s.beat.Probes++
	if result.Outcome == domain.ProbeFailed {
		s.beat.Failed++
	}
	s.lag = max(s.lag, result.Lag)
	if s.p.d.Observe != nil {
		s.p.d.Observe(t.ProbeTarget, result)
	}
	if t.track.Refusals >= health.RefusedAfter && s.p.d.Reconnect != nil && !t.telling {
		s.reconnect(t)
	}
	s.judge(now, t)
}

// judge decides anew how a connection does, and has a move stored.
func (s *shardRun) judge(now time.Time, t *target) {
	if !t.looked && t.Wish == domain.IntegrationActive && !t.maintained(now) {
		return // what speaks against it beside probes is not known yet
	}
	blind, _ := s.p.see.state()
	e := t.evidence(now, s.p.o.Every, blind)
	// Whoever does not fail need not know how its platform does, and while our own connection is in doubt nobody knows.
	e.Together = !blind && t.track.Suspect() && s.p.failing(t.Provider, now)
	v := health.Decide(now, t.State, e)
	if v.State == t.State && (v.State != domain.HealthDegraded || v.Reason.Code == t.Reason.Code) {
		return
	}
	if v.State != t.State {
		t.accountTo(now)
		if !t.State.Probed() {
			t.since, t.track = now, health.Track{}
		}
		s.beat.Moves++
	}
	t.State, t.Reason = v.State, v.Reason
	t.moving++
	if len(s.moves) == 0 {
		s.movesAt = now.Add(moveWait)
	}
	s.moves[t.OrgID] = append(s.moves[t.OrgID], store.HealthMove{Integration: t.IntegrationID, To: v.State, Reason: v.Reason})
	if t.wanted(now) && t.at < 0 {
		s.schedule(t, now)
	}
}

// move stores the moves that wait, tenant by tenant.
func (s *shardRun) move() {
	if len(s.moves) == 0 {
		return
	}
	moves := s.moves
	s.moves, s.moving = map[domain.OrgID][]store.HealthMove{}, true
	s.do(func(ctx context.Context) func() {
		var all []domain.HealthChange
		for _, org := range slices.Sorted(maps.Keys(moves)) {
			_ = s.persist(ctx, "store moves of health", func(ctx context.Context) error {
				changes, err := s.p.d.Store.MoveHealths(ctx, org, moves[org])
				all = append(all, changes...)
				return err
			})
		}
		return func() {
			s.moving = false
			for _, list := range moves {
				for _, m := range list {
					if t := s.targets[m.Integration]; t != nil {
						t.moving--
					}
				}
			}
			if len(all) > 0 && s.told != nil {
				s.told(all)
			}
		}
	})
}

// persist does something with storage until it works, can never work, or the run is over. Faults are logged here.
func (s *shardRun) persist(ctx context.Context, doing string, fn func(ctx context.Context) error) error {
	for {
		err := fn(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		s.p.d.Log.Warn(doing+" did not work", "shard", s.shard, "error", err)
		if !domain.Retryable(err) {
			return err
		}
		timer := time.NewTimer(retryEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

func (s *shardRun) reconnect(t *target) {
	t.telling = true
	org, id := t.OrgID, t.IntegrationID
	s.do(func(ctx context.Context) func() {
		err := s.p.d.Reconnect(ctx, org, id)
		if err != nil {
			s.p.d.Log.Warn("a connection that needs a reconnect could not be marked; the next probe tries again", "integration", id, "error", err)
		}
		return func() {
			t.telling = false
			s.reloadAt = time.Now() // the wish has changed
		}
	})
}

// reload reads connections and wishes now and then.
func (s *shardRun) reload(now time.Time) {
	if s.reloading || now.Before(s.reloadAt) {
		return
	}
	s.reloading, s.reloadAt = true, now.Add(reloadEvery)
	s.do(func(ctx context.Context) func() {
		list, err := s.p.d.Store.ProbeTargets(ctx, s.shard)
		if err != nil && ctx.Err() == nil {
			s.p.d.Log.Warn("what is to be probed could not be read; going on with what is known", "shard", s.shard, "error", err)
		}
		return func() {
			s.reloading = false
			if err == nil {
				s.apply(list)
			}
		}
	})
}

// apply takes over what a reading found.
func (s *shardRun) apply(list []store.ProbeTarget) {
	now := time.Now()
	seen := make(map[domain.IntegrationID]bool, len(list))
	for _, one := range list {
		seen[one.IntegrationID] = true
		t := s.targets[one.IntegrationID]
		if t == nil {
			t = newTarget(one, now)
			if n := s.suspects[one.IntegrationID]; n > 0 && now.Sub(s.beat.At) < health.StaleAfter*s.p.o.Every {
				t.track = health.Resume(n, s.beat.At)
			}
			s.targets[one.IntegrationID] = t
			s.p.count(one.Provider, 1)
			s.lookAt = now
		} else {
			before := t.Every(now, s.p.o.Every)
			t.update(one)
			if t.at >= 0 && t.Every(now, s.p.o.Every) != before {
				s.schedule(t, now)
			}
		}
		s.judge(now, t)
		if t.at < 0 && t.wanted(now) {
			s.schedule(t, now)
		}
	}
	for id, t := range s.targets {
		if !seen[id] {
			if t.at >= 0 {
				heap.Remove(&s.queue, t.at)
			}
			delete(s.targets, id)
			s.p.count(t.Provider, -1)
		}
	}
	s.beat.Targets = len(s.targets)
}

// look reads what is known beside probes.
func (s *shardRun) look(now time.Time) {
	if s.looking || now.Before(s.lookAt) {
		return
	}
	s.looking, s.lookAt = true, now.Add(lookEvery)
	s.do(func(ctx context.Context) func() {
		looks, err := s.p.d.Store.ProbeLooks(ctx, s.shard)
		if err != nil && ctx.Err() == nil {
			s.p.d.Log.Warn("what is known beside probes could not be read; going on with what was known", "shard", s.shard, "error", err)
		}
		return func() {
			s.looking = false
			if err != nil {
				return
			}
			now := time.Now()
			for id, t := range s.targets {
				t.see(now, looks[id])
				s.judge(now, t)
			}
		}
	})
}

// doubt takes back what was counted against systems just before our own connection turned out to be in doubt.
func (s *shardRun) doubt(now time.Time) {
	blind, since := s.p.see.state()
	if !blind || since.Equal(s.blindSeen) {
		return
	}
	s.blindSeen = since
	for _, t := range s.targets {
		if t.State != domain.HealthDown {
			t.unsure(since.Add(-sightWindow))
		}
	}
}

// save stores what is old enough, or everything.
func (s *shardRun) save(now time.Time, all bool) {
	if s.saving || !all && now.Before(s.saveAt) {
		return
	}
	s.saveAt = now.Add(retryEvery)
	byHour := map[time.Time][]store.ProbeBatch{}
	for _, t := range s.targets {
		if all || t.ripe(now) {
			t.accountTo(now)
			for _, b := range t.batches() {
				hour := b.From.Truncate(time.Hour)
				byHour[hour] = append(byHour[hour], b)
			}
		}
	}
	if len(byHour) == 0 {
		return
	}
	s.saving = true
	s.do(func(ctx context.Context) func() {
		for _, hour := range slices.SortedFunc(maps.Keys(byHour), time.Time.Compare) {
			for rows := range slices.Chunk(byHour[hour], batchRows) {
				s.keep(ctx, rows)
			}
		}
		return func() { s.saving = false }
	})
}

// keep stores batches. If storage will never take them, those that it takes are stored one by one.
func (s *shardRun) keep(ctx context.Context, rows []store.ProbeBatch) {
	err := s.persist(ctx, "store probes", func(ctx context.Context) error { return s.p.d.Store.SaveProbes(ctx, rows) })
	if err == nil || ctx.Err() != nil || len(rows) == 1 {
		return
	}
	for n := range rows {
		_ = s.persist(ctx, "store probes of one connection", func(ctx context.Context) error { return s.p.d.Store.SaveProbes(ctx, rows[n:n+1]) })
	}
}

// newBeat tells how far the run is.
func (s *shardRun) newBeat(now time.Time) contract.ProbeBeat {
	b := s.beat
	b.At, b.LagMS = now.UTC().Truncate(time.Millisecond), s.lag.Milliseconds()
	b.Busy, b.Limit = s.p.gate.figures()
	s.lag = 0
	b.Suspects = map[domain.IntegrationID]int{}
	for _, id := range slices.SortedFunc(maps.Keys(s.targets), cmp.Compare[domain.IntegrationID]) {
		if t := s.targets[id]; t.track.Suspect() && t.State != domain.HealthDown && len(b.Suspects) < contract.MaxSuspects {
			b.Suspects[id] = t.track.Failures
		}
	}
	return b
}
