package maintenance_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
)

var starts = time.Date(2027, 6, 9, 2, 0, 0, 0, time.UTC)

func window(state domain.MaintenanceState) domain.Maintenance {
	m := domain.Maintenance{StartsAt: starts, EndsAt: starts.Add(4 * time.Hour), State: state, Approval: domain.ApprovalByPerson}
	if state == domain.MaintenanceDraining || state == domain.MaintenanceRunning {
		m.BeganAt = &m.StartsAt
	}
	if state == domain.MaintenanceReplaying {
		m.ReleasedAt = &m.EndsAt
	}
	return m
}

func lead(minutes int) *int { return &minutes }

func TestWhatFollowsWhat(t *testing.T) {
	t.Parallel()
	frozen := maintenance.Frozen("w", domain.Span{Start: starts.Add(3 * time.Hour), End: starts.Add(72 * time.Hour)})
	mode := func(m domain.Maintenance, by domain.ApprovalMode) domain.Maintenance { m.Approval = by; return m }
	told := func(m domain.Maintenance, minutes int) domain.Maintenance { m.Announced = lead(minutes); return m }
	auto := mode(window(domain.MaintenanceProposed), domain.ApprovalAutomatic)
	for name, x := range map[string]struct {
		m     domain.Maintenance
		at    time.Duration // since the beginning
		facts maintenance.Facts
		want  maintenance.Action
		due   time.Duration // of Wait
		lead  int
	}{
		"waits for an admin until it is to begin":         {m: window(domain.MaintenanceProposed), at: -100 * time.Hour, due: 0},
		"an admin who does not come refuses it":           {m: window(domain.MaintenanceProposed), at: 0, want: maintenance.Refuse},
		"an automatic one waits for its notice":           {m: auto, at: -100 * time.Hour, due: -72 * time.Hour},
		"and approves itself then":                        {m: auto, at: -72 * time.Hour, want: maintenance.Approve},
		"but not when its time went by":                   {m: auto, at: time.Hour, want: maintenance.Refuse},
		"an approved one waits for its announcement":      {m: window(domain.MaintenanceApproved), at: -100 * time.Hour, due: -72 * time.Hour},
		"which is made three days before":                 {m: window(domain.MaintenanceApproved), at: -72 * time.Hour, want: maintenance.Announce, lead: 72 * 60},
		"approved late it is told by the shortest lead":   {m: window(domain.MaintenanceApproved), at: -30 * time.Minute, want: maintenance.Announce, lead: 60},
		"announced once it waits for the second":          {m: told(window(domain.MaintenanceAnnounced), 72*60), at: -71 * time.Hour, due: -time.Hour},
		"which is made an hour before":                    {m: told(window(domain.MaintenanceAnnounced), 72*60), at: -time.Hour, want: maintenance.Announce, lead: 60},
		"then it waits for its beginning":                 {m: told(window(domain.MaintenanceAnnounced), 60), at: -59 * time.Minute, due: 0},
		"and drains":                                      {m: told(window(domain.MaintenanceAnnounced), 60), at: 0, want: maintenance.Drain},
		"also late, if a worker was away":                 {m: told(window(domain.MaintenanceAnnounced), 60), at: 3 * time.Hour, want: maintenance.Drain},
		"but not after its end":                           {m: told(window(domain.MaintenanceAnnounced), 60), at: 4 * time.Hour, want: maintenance.Cancel},
		"what goes on is waited for":                      {m: window(domain.MaintenanceDraining), at: time.Minute, facts: maintenance.Facts{Connections: 3, Quiet: 2}, due: time.Minute + 15*time.Second},
		"and runs when all rest":                          {m: window(domain.MaintenanceDraining), at: time.Minute, facts: maintenance.Facts{Connections: 3, Quiet: 3}, want: maintenance.Run},
		"or when they do not come to rest":                {m: window(domain.MaintenanceDraining), at: 15 * time.Minute, facts: maintenance.Facts{Connections: 3, Quiet: 2}, want: maintenance.Run},
		"it runs until its end":                           {m: window(domain.MaintenanceRunning), at: time.Hour, due: 4 * time.Hour},
		"and lets go then":                                {m: window(domain.MaintenanceRunning), at: 4 * time.Hour, want: maintenance.Release},
		"one that drains too long lets go too":            {m: window(domain.MaintenanceDraining), at: 4 * time.Hour, facts: maintenance.Facts{Connections: 3}, want: maintenance.Release},
		"what is left is waited for":                      {m: window(domain.MaintenanceReplaying), at: 4*time.Hour + 10*time.Second, facts: maintenance.Facts{Left: 1}, due: 4*time.Hour + 15*time.Second},
		"a reading too":                                   {m: window(domain.MaintenanceReplaying), at: 5 * time.Hour, facts: maintenance.Facts{Unread: 1}, due: 5*time.Hour + 30*time.Second},
		"a probe too":                                     {m: window(domain.MaintenanceReplaying), at: 4*time.Hour + 4*time.Minute, facts: maintenance.Facts{Unprobed: 1}, due: 4*time.Hour + 4*time.Minute + 30*time.Second},
		"but for five minutes only":                       {m: window(domain.MaintenanceReplaying), at: 4*time.Hour + 5*time.Minute, facts: maintenance.Facts{Unprobed: 1}, want: maintenance.Finish},
		"with nothing left it is done":                    {m: window(domain.MaintenanceReplaying), at: 4 * time.Hour, want: maintenance.Finish},
		"and after two hours whatever is left":            {m: window(domain.MaintenanceReplaying), at: 6 * time.Hour, facts: maintenance.Facts{Left: 7}, want: maintenance.Finish},
		"a wedding cancels what is proposed":              {m: window(domain.MaintenanceProposed), at: -100 * time.Hour, facts: maintenance.Facts{Frozen: &frozen}, want: maintenance.Cancel},
		"and what was announced":                          {m: told(window(domain.MaintenanceAnnounced), 60), at: -time.Minute, facts: maintenance.Facts{Frozen: &frozen}, want: maintenance.Cancel},
		"at its very beginning":                           {m: told(window(domain.MaintenanceAnnounced), 60), at: 0, facts: maintenance.Facts{Frozen: &frozen}, want: maintenance.Cancel},
		"and lets go what drains":                         {m: window(domain.MaintenanceDraining), at: time.Minute, facts: maintenance.Facts{Frozen: &frozen}, want: maintenance.Release},
		"or runs":                                         {m: window(domain.MaintenanceRunning), at: time.Hour, facts: maintenance.Facts{Frozen: &frozen}, want: maintenance.Release},
		"but what is being done is not stopped":           {m: window(domain.MaintenanceReplaying), at: 5 * time.Hour, facts: maintenance.Facts{Frozen: &frozen, Left: 1}, due: 5*time.Hour + 30*time.Second},
		"nothing follows the end, whatever moves in":      {m: window(domain.MaintenanceDone), at: time.Hour, facts: maintenance.Facts{Frozen: &frozen}},
		"nor a refusal":                                   {m: window(domain.MaintenanceRefused), at: time.Hour},
		"a studio that moves windows moves what is ahead": {m: window(domain.MaintenanceApproved), at: -100 * time.Hour, facts: maintenance.Facts{Frozen: &frozen, Settings: moving()}, want: maintenance.Move},
		"and lets go what runs all the same":              {m: window(domain.MaintenanceRunning), at: time.Hour, facts: maintenance.Facts{Frozen: &frozen, Settings: moving()}, want: maintenance.Release},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x.facts.Now = starts.Add(x.at)
			if x.facts.Settings.Version == 0 {
				x.facts.Settings = domain.StandardMaintenanceSettings()
			}
			got := maintenance.Next(x.m, x.facts)
			if got.Action != x.want || got.Lead != x.lead {
				t.Fatalf("got %+v", got)
			}
			if x.want == maintenance.Wait && !x.m.State.Ended() && !got.Due.Equal(starts.Add(x.due)) {
				t.Errorf("looks again at %v, want %v", got.Due, starts.Add(x.due))
			}
			if x.want != maintenance.Wait && x.want != maintenance.Announce && got.Note == "" {
				t.Error("it is not said why")
			}
		})
	}
}

func moving() domain.MaintenanceSettings {
	s := domain.StandardMaintenanceSettings()
	s.WhenWedding, s.Version = domain.WeddingMoves, 1
	return s
}

// TestAnyCourseEndsAndNeverRestsInAFreeze plays windows through a clock that jumps, with weddings that come at any time.
func TestAnyCourseEndsAndNeverRestsInAFreeze(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := window(domain.MaintenanceProposed)
		m.Approval = rapid.SampledFrom([]domain.ApprovalMode{domain.ApprovalByPerson, domain.ApprovalAutomatic}).Draw(t, "approval")
		s := domain.StandardMaintenanceSettings()
		s.NoticeMinutes = rapid.IntRange(0, 5000).Draw(t, "notice")
		now := starts.Add(-time.Duration(rapid.IntRange(1, 200).Draw(t, "hours before")) * time.Hour)
		weddingAt := starts.Add(time.Duration(rapid.IntRange(-100, 20).Draw(t, "wedding comes")) * time.Hour)
		weddings := rapid.Bool().Draw(t, "wedding")
		frozen := maintenance.Frozen("w", domain.Span{Start: starts.Add(time.Hour), End: starts.Add(90 * time.Hour)})
		approves := starts.Add(-time.Duration(rapid.IntRange(1, 100).Draw(t, "approves")) * time.Hour)
		slow := rapid.IntRange(0, 5).Draw(t, "looks until quiet")
		for n := 0; !m.State.Ended(); n++ {
			if n > 2000 {
				t.Fatalf("it does not end: %s at %v", m.State, now)
			}
			f := maintenance.Facts{Now: now, Settings: s, Connections: m.Connections}
			if weddings && !now.Before(weddingAt) && now.Before(m.EndsAt) {
				f.Frozen = &frozen
			}
			if slow == 0 {
				f.Quiet = f.Connections
			} else if m.State == domain.MaintenanceDraining {
				slow--
			}
			if m.State == domain.MaintenanceProposed && m.Approval == domain.ApprovalByPerson && f.Frozen == nil && !now.Before(approves) && now.Before(m.StartsAt) {
				m.State = domain.MaintenanceApproved
			}
			step := maintenance.Next(m, f)
			if f.Frozen != nil && (step.Action == maintenance.Approve || step.Action == maintenance.Announce || step.Action == maintenance.Drain || step.Action == maintenance.Run) {
				t.Fatalf("%s in a freeze", step.Action)
			}
			if f.Frozen != nil && step.Action == maintenance.Wait && m.State != domain.MaintenanceReplaying {
				t.Fatalf("%s waits in a freeze", m.State)
			}
			at := now
			switch step.Action {
			case maintenance.Wait:
				if !step.Due.After(now) {
					t.Fatalf("%s looks again at %v, which is not after %v", m.State, step.Due, now)
				}
				if step.Due.After(now.Add(time.Hour)) || rapid.IntRange(0, 4).Draw(t, "woken early") > 0 {
					now = step.Due.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "late")) * time.Second)
				} else {
					now = now.Add(step.Due.Sub(now)/2 + time.Second)
				}
				if weddings && at.Before(weddingAt) && now.After(weddingAt) {
					now = weddingAt // its storing wakes the window
				}
			case maintenance.Approve:
				m.State = domain.MaintenanceApproved
			case maintenance.Refuse:
				m.State = domain.MaintenanceRefused
			case maintenance.Announce:
				if m.Announced != nil && step.Lead >= *m.Announced {
					t.Fatalf("announced %d minutes before after %d", step.Lead, *m.Announced)
				}
				m.State, m.Announced = domain.MaintenanceAnnounced, lead(step.Lead)
			case maintenance.Cancel:
				m.State = domain.MaintenanceCancelled
			case maintenance.Drain:
				if now.Before(m.StartsAt) {
					t.Fatal("it begins before its time")
				}
				m.State, m.BeganAt, m.Connections = domain.MaintenanceDraining, &at, 2
			case maintenance.Run:
				m.State = domain.MaintenanceRunning
			case maintenance.Release:
				m.State, m.ReleasedAt = domain.MaintenanceReplaying, &at
			case maintenance.Finish:
				m.State = domain.MaintenanceDone
			case maintenance.Move:
				t.Fatal("it moves although the settings say cancel")
			}
		}
	})
}
