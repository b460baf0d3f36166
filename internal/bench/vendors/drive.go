package vendors

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

// sampleEvery is how often memory is looked at.
const sampleEvery = time.Second

// sliceOf is the time for which the delay is told apart, so that a hiccup is seen as one.
const sliceOf = 30 * time.Second

// idle watches the connections while nothing changes.
func (b *bed) idle(ctx context.Context, r *Result) error {
	before, err := b.usage()
	if err != nil {
		return err
	}
	began, cpu := time.Now(), load.Used()
	polled, err := b.polls(ctx)
	if err != nil {
		return err
	}
	timer := time.NewTimer(b.o.Idle)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	after, err := b.usage()
	if err != nil {
		return err
	}
	n, err := b.polls(ctx)
	if err != nil {
		return err
	}
	b.o.Say("idle: CPU time in each second: " + load.Used().Each(cpu, max(1, int(time.Since(began).Seconds()))))
	r.IdleCores = round((after.CPU-before.CPU).Seconds()/time.Since(began).Seconds(), 3)
	b.o.Say(fmt.Sprintf("idle: %.3f cores with %d reconciling polls in %s, %s", r.IdleCores, n-polled, b.o.Idle, after))
	return nil
}

func (b *bed) usage() (u usage, err error) {
	err = b.product.ask("usage", &u)
	return u, err
}

// polls counts the runs that began by schedule.
func (b *bed) polls(ctx context.Context) (n int, err error) {
	if err = b.owner.QueryRow(ctx, "SELECT count(*)::int FROM sync_runs WHERE requested_by = 'schedule'").Scan(&n); err != nil {
		err = fmt.Errorf("count polls: %w", err)
	}
	return n, err
}

// steady lets every system change once in each interval, each at its own moment, whatever the answers take. The moments are drawn
// by lot, so that systems of one kind and one host do not follow each other.
func (b *bed) steady(ctx context.Context, r *Result) error {
	b.o.Say(fmt.Sprintf("steady: %d systems, one change each per %s, for %s", len(b.vendors), b.o.Interval, b.o.Duration))
	polled, err := b.polls(ctx)
	if err != nil {
		return err
	}
	var word string
	if err := b.product.ask("profile", &word); err != nil {
		return err
	}
	before, err := b.usage()
	if err != nil {
		return err
	}
	began, cpu := time.Now(), load.Used()
	var sending sync.WaitGroup
	faults := make(chan error, 1)
	fault := func(err error) {
		select {
		case faults <- err:
		default:
		}
	}
	sampled := began
	b.began = began
	order := rand.New(rand.NewPCG(1, uint64(len(b.vendors)))).Perm(len(b.vendors)) //nolint:gosec // the same lots in each run
	gap := b.o.Interval / time.Duration(len(b.vendors))
	rounds := max(1, int(b.o.Duration/b.o.Interval))
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	look := func() error {
		u, err := b.usage()
		r.RSS, r.Connections = max(r.RSS, round(u.RSS, 1)), max(r.Connections, u.Connections)
		sampled = time.Now()
		return err
	}
	for n := range rounds * len(b.vendors) {
		timer.Reset(time.Until(began.Add(time.Duration(n) * gap)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-faults:
			return err
		case <-timer.C:
		}
		v, slot := b.vendors[order[n%len(order)]], n/len(order)
		sending.Go(func() {
			if err := b.change(ctx, v, slot); err != nil {
				fault(err)
			}
		})
		if time.Since(sampled) > sampleEvery {
			if err := look(); err != nil {
				return err
			}
		}
	}
	sending.Wait()
	if err := look(); err != nil {
		return err
	}
	after, err := b.usage()
	if err != nil {
		return err
	}
	b.o.Say("steady: " + after.String())
	b.o.Say("steady: CPU time for each change, polls included: " + load.Used().Each(cpu, rounds*len(b.vendors)))
	r.Cores = round((after.CPU-before.CPU).Seconds()/time.Since(began).Seconds(), 2)
	n, err := b.polls(ctx)
	if err != nil {
		return err
	}
	r.Polls = n - polled
	if err := b.product.ask("profiled", &word); err != nil {
		return err
	}
	select {
	case err := <-faults:
		return err
	default:
		return nil
	}
}

// first is where the calendars begin.
var first = time.Now().UTC().AddDate(0, 2, 0).Truncate(24 * time.Hour)

// change makes one change in a system and lets it tell. Each has hours of its own.
func (b *bed) change(ctx context.Context, v *vendor, slot int) error {
	start := first.Add(time.Duration(2*slot) * time.Hour)
	if v.tave != nil {
		job := v.tave.Add("job", tavesim.Object{"stage": "booked", "jobTypeId": v.tave.Named("job-type", "Portrait"), "name": fmt.Sprintf("Session %d", slot),
			"eventDate": start.Format(time.DateOnly)})
		event := v.tave.Add("event", tavesim.Object{"jobId": job, "typeId": v.tave.Named("event-type", "Wedding"), "startDate": start.Format(time.DateOnly),
			"startTime": start.Format(time.TimeOnly), "endDate": start.Format(time.DateOnly), "endTime": start.Add(time.Hour).Format(time.TimeOnly)})
		b.note(v, "event:"+event)
		statuses, err := v.tave.DeliverHooks(ctx, b.http)
		if err == nil && len(statuses) == 0 {
			err = fmt.Errorf("studio %d has no hook", v.n)
		}
		return err
	}
	e := v.crm.Create(crmsim.Event{Kind: "meeting", State: "booked", Zone: "UTC", Starts: start.Format(time.RFC3339), Ends: start.Add(time.Hour).Format(time.RFC3339),
		Title: fmt.Sprintf("Consultation %d", slot), Notes: pad})
	b.note(v, e.ID)
	for _, m := range v.crm.TakeMessages() {
		res, err := v.crm.Deliver(ctx, b.http, b.product.url+"/v1/webhooks/"+string(v.id), m)
		if err != nil {
			return err
		}
		if !res.Delivered() {
			return fmt.Errorf("a webhook was answered %d after %d tries", res.Status, res.Attempts)
		}
	}
	return nil
}

// pad makes a body about 1 KiB.
var pad = strings.Repeat("a garden wedding with room for dancing; ", 21)

func (b *bed) note(v *vendor, entry string) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent[string(v.id)+" "+entry] = now
}

// settle waits until everything that was told is applied, or nothing goes on any more.
func (b *bed) settle(ctx context.Context) error {
	last, since := -1, time.Now()
	return b.await(ctx, 5*time.Minute, "the last changes", func() (bool, string, error) {
		var n int
		err := b.owner.QueryRow(ctx, "SELECT count(*)::int FROM bookings").Scan(&n)
		if n != last {
			last, since = n, time.Now()
		}
		// What is lost never comes: it is told as lost.
		return n >= len(b.sent) || time.Since(since) > 45*time.Second, fmt.Sprintf("%d of %d", n, len(b.sent)), err
	})
}

// judge compares what the systems told with the bookings, and takes the times.
func (b *bed) judge(ctx context.Context, r *Result) error {
	rows, err := b.owner.Query(ctx, `SELECT l.integration_id::text, l.external_id, i.provider, count(DISTINCT l.booking_id)::int, min(pg_xact_commit_timestamp(c.xmin))
		FROM links l JOIN integrations i ON i.org_id = l.org_id AND i.id = l.integration_id
		JOIN booking_changes c ON c.org_id = l.org_id AND c.booking_id = l.booking_id AND c.version = 1 GROUP BY 1, 2, 3`)
	if err != nil {
		return fmt.Errorf("read the bookings: %w", err)
	}
	var id, entry, provider string
	var n int
	var at time.Time
	var all, hinted []float64
	slots := make([][]float64, b.o.Duration/sliceOf+1) // by when it was told
	found := 0
	if _, err = pgx.ForEachRow(rows, []any{&id, &entry, &provider, &n, &at}, func() error {
		sent, ok := b.sent[id+" "+entry]
		if !ok {
			r.Duplicated += n
			return nil
		}
		found++
		r.Duplicated += n - 1
		took := float64(at.Sub(sent).Microseconds()) / 1000
		all = append(all, took)
		if s := int(sent.Sub(b.began) / sliceOf); s >= 0 && s < len(slots) {
			slots[s] = append(slots[s], took)
		}
		if provider == "tave" {
			hinted = append(hinted, took)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("read the bookings: %w", err)
	}
	r.Changes, r.Lost = len(b.sent), len(b.sent)-found
	r.AppliedP50, r.AppliedP99, r.HintedP99 = round(percentile(all, 50), 1), round(percentile(all, 99), 1), round(percentile(hinted, 99), 1)
	var parts []string
	for _, s := range slots {
		if len(s) > 0 {
			parts = append(parts, fmt.Sprintf("%.0f", percentile(s, 99)))
		}
	}
	b.o.Say(fmt.Sprintf("steady: applied p99 of each %s: %s ms", sliceOf, strings.Join(parts, ", ")))
	b.o.Say(fmt.Sprintf("steady: %d changes, applied p50 %.0f ms, p99 %.0f ms (those that hint %.0f ms); %.2f cores, %.0f MiB, %d connections, %d polls",
		r.Changes, r.AppliedP50, r.AppliedP99, r.HintedP99, r.Cores, r.RSS, r.Connections, r.Polls))
	return nil
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
