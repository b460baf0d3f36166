package syncs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/sim/googlesim"
)

// account is the simulator's calendar.
const account = "studio@example.org"

// googleCalendar is a calendar in the simulator.
type googleCalendar struct {
	*diary
	sim   *googlesim.Server
	front *front
}

func (b *bed) newGoogle(ctx context.Context, events int) (*googleCalendar, error) {
	d, err := newDiary(events)
	if err != nil {
		return nil, err
	}
	g := &googleCalendar{diary: d, sim: googlesim.New(googlesim.Options{Token: password, Calendars: []googlesim.Calendar{{ID: account, Primary: true, Zone: home}}})}
	for _, e := range d.entries {
		g.put(e)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	g.front = newFront(g.sim.Handler())
	b.end = append(b.end, g.front.server.Close)
	return g, nil
}

// put stores an entry as it is now.
func (g *googleCalendar) put(e *entry) {
	fields := map[string]any{"id": e.uid, "summary": e.title, "location": e.location, "description": e.notes, "start": e.google(e.start), "end": e.google(e.start.Add(e.length))}
	switch e.kind {
	case allDay:
		y, m, on := e.start.Date()
		fields["start"] = map[string]any{"date": e.start.Format(time.DateOnly)}
		fields["end"] = map[string]any{"date": time.Date(y, m, on+e.days, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)}
		fields["transparency"] = "transparent"
	case weekly:
		series := []string{fmt.Sprintf("RRULE:FREQ=WEEKLY;COUNT=%d", e.count)}
		if e.except >= 0 {
			series = append(series, "EXDATE"+e.moment(e.instance(e.except)))
		}
		fields["recurrence"] = series
	case zoned, universal, floating:
	}
	g.sim.Put(account, fields)
	if e.moved >= 0 {
		at := e.instance(e.moved)
		g.sim.Patch(account, e.uid+"_"+at.UTC().Format(instant), map[string]any{"start": e.google(at.Add(10 * time.Minute)), "end": e.google(at.Add(10*time.Minute + e.length))})
	}
}

// google writes a time with its zone, which a floating one does not have at Google.
func (e *entry) google(t time.Time) map[string]any {
	return map[string]any{"dateTime": t.In(e.zone).Format(time.RFC3339), "timeZone": e.zone.String()}
}

// change changes the calendar.
func (g *googleCalendar) change(number int) *changed {
	ch := g.diary.change(number)
	for _, e := range append(append([]*entry{}, ch.edited...), ch.added...) {
		g.put(e)
	}
	for _, e := range ch.gone {
		g.sim.Delete(account, e.uid)
	}
	return ch
}

func (b *bed) connectGoogle(ctx context.Context, g *googleCalendar) (target, error) {
	settings, err := json.Marshal(map[string]any{"calendar": account, "access": "owner", "window_future_days": window,
		"development": map[string]any{"api": g.front.url + "/calendar/v3/"}})
	if err != nil {
		return target{}, fmt.Errorf("write settings: %w", err)
	}
	t, err := b.connect(ctx, "google", settings, nil)
	t.front = g.front
	t.id = func(e *entry) string { return e.uid }
	return t, err
}

func (b *bed) connectCalDAV(ctx context.Context, c *davCalendar) (target, error) {
	settings, err := json.Marshal(map[string]any{"url": b.front.url, "username": user, "calendar": strings.TrimSuffix(b.front.url, "/") + c.path,
		"window_future_days": window})
	if err != nil {
		return target{}, fmt.Errorf("write settings: %w", err)
	}
	t, err := b.connect(ctx, "caldav", settings, map[string]string{"password": password})
	t.front, t.server = b.front, b.dav.pid
	t.id = c.id
	return t, err
}
