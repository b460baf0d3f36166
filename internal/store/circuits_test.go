package store

import (
	"context"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func (b *bundle) circuit(org domain.OrgID, i domain.Integration, c domain.Circuit) (now domain.Circuit) {
	b.t.Helper()
	c.IntegrationID, c.Host = i.ID, "crm.example"
	b.tenant(org, func(tx *Tx) (err error) {
		if c.Since.IsZero() {
			c.Since = tx.Now
		}
		now, err = tx.PutCircuit(context.Background(), c)
		return err
	})
	return now
}

func TestACircuitHoldsForTheLongerAndTheFurther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	at := b.clock.now()
	for n, x := range []struct {
		put   domain.Circuit
		state domain.CircuitState
		until time.Duration
		open  int
	}{
		{domain.Circuit{State: domain.CircuitPaused, Until: at.Add(20 * time.Second)}, domain.CircuitPaused, 20 * time.Second, 0},
		{domain.Circuit{State: domain.CircuitOpen, Until: at.Add(10 * time.Second), Openings: 1}, domain.CircuitOpen, 10 * time.Second, 1},
		{domain.Circuit{State: domain.CircuitOpen, Until: at.Add(5 * time.Second), Openings: 1}, domain.CircuitOpen, 10 * time.Second, 1}, // another worker, later
		{domain.Circuit{State: domain.CircuitOpen, Until: at.Add(8 * time.Second), Openings: 3}, domain.CircuitOpen, 8 * time.Second, 3},  // a probe failed
		{domain.Circuit{State: domain.CircuitPaused, Until: at.Add(30 * time.Second), Openings: 3}, domain.CircuitOpen, 30 * time.Second, 3},
		{domain.Circuit{State: domain.CircuitClosed, Until: at}, domain.CircuitClosed, 0, 0},
		{domain.Circuit{State: domain.CircuitOpen, Until: at.Add(10 * time.Second), Openings: 1}, domain.CircuitOpen, 10 * time.Second, 1},
	} {
		got := b.circuit(org, i, x.put)
		if got.State != x.state || got.Until.Sub(at).Round(time.Millisecond) != x.until || got.Openings != x.open {
			t.Errorf("step %d: %s until %s, %d openings; want %s, %s, %d", n, got.State, got.Until.Sub(at), got.Openings, x.state, x.until, x.open)
		}
	}
}

func TestOneProbeIsClaimedAndOnlyWhenItIsDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	at := b.clock.now()
	claim := func(after time.Duration) (c domain.Circuit, mine bool) {
		t.Helper()
		b.tenant(org, func(tx *Tx) (err error) {
			c, mine, err = tx.ClaimProbe(t.Context(), i.ID, "crm.example", at.Add(after), at.Add(after+time.Minute))
			return err
		})
		return c, mine
	}
	if c, mine := claim(0); mine || c.State != domain.CircuitClosed || c.Version != 0 {
		t.Errorf("without a circuit: %t, %+v", mine, c)
	}
	b.circuit(org, i, domain.Circuit{State: domain.CircuitOpen, Until: at.Add(10 * time.Second), Openings: 1})
	if c, mine := claim(9 * time.Second); mine || c.State != domain.CircuitOpen {
		t.Errorf("before it is due: %t, %+v", mine, c)
	}
	if _, mine := claim(10 * time.Second); !mine {
		t.Error("not claimed when due")
	}
	if _, mine := claim(11 * time.Second); mine {
		t.Error("claimed twice")
	}
	if _, mine := claim(71 * time.Second); !mine {
		t.Error("a probe that never reported keeps others out for ever")
	}
}

func TestOpeningAndClosingAreToldAndSeenByAllProcesses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	told := func() (n int) {
		b.must(b.owner().QueryRow(t.Context(), "SELECT count(*) FROM stream_events WHERE topic = 'integration.changed' AND refs ->> 'integration' = $1", i.ID).Scan(&n))
		return n
	}
	before, began := told(), b.clock.now()
	open := domain.Circuit{State: domain.CircuitOpen, Until: began.Add(10 * time.Second), Openings: 1, Reason: "GET crm.example: status 503", RequestID: "r1"}
	b.circuit(org, i, open)
	open.Openings = 2
	b.circuit(org, i, open)
	if n := told() - before; n != 1 {
		t.Errorf("told %d times of one opening", n)
	}
	rows, err := b.CircuitsSince(t.Context(), began)
	b.must(err)
	if len(rows) != 1 || rows[0].IntegrationID != i.ID || rows[0].OrgID != org || rows[0].Openings != 2 || rows[0].RequestID != "r1" {
		t.Errorf("changed since: %+v", rows)
	}
	b.circuit(org, i, domain.Circuit{State: domain.CircuitClosed, Until: began})
	if n := told() - before; n != 2 {
		t.Errorf("told %d times of opening and closing", n)
	}
	b.tenant(org, func(tx *Tx) error {
		all, err := tx.Circuits(t.Context(), "")
		if len(all) != 0 {
			t.Errorf("a closed circuit is listed: %+v", all)
		}
		return err
	})
	if n, err := b.PurgeOutbound(t.Context(), b.clock.now().Add(time.Hour)); err != nil || n != 1 {
		t.Errorf("removed %d, %v", n, err)
	}
}

func TestLimitsOfOutsideSystemsAreLeasedByAnyKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	of, _ := domain.ParseUUID(string(i.ID))
	host := [16]byte{1, 2, 3}
	at := b.clock.now()
	got, err := b.LeaseOutbound(t.Context(), AllowanceLimit{Rate: 1, Burst: 10}, []OutboundAsk{{Key: host, Want: 4}, {Key: of, Want: 20}}, at)
	b.must(err)
	if got[0] != 4 || got[1] != 10 {
		t.Errorf("leased %v, want 4 and all 10", got)
	}
	if got, err = b.LeaseOutbound(t.Context(), AllowanceLimit{Rate: 1, Burst: 10}, []OutboundAsk{{Key: host, Want: 9}}, at); err != nil || got[0] != 6 {
		t.Errorf("leased %v, %v; want the 6 that are left", got, err)
	}
	var owned, shared int
	b.must(b.owner().QueryRow(t.Context(), "SELECT count(*) FILTER (WHERE org_id = $1), count(*) FILTER (WHERE org_id IS NULL) FROM outbound_allowances", org).Scan(&owned, &shared))
	if owned != 1 || shared != 1 {
		t.Errorf("%d limits of the tenant and %d shared ones, want one each", owned, shared)
	}
}
