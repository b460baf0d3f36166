package inbox

import (
	"context"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/failpoint"
	"github.com/wedsync/wedsync/internal/flow"
)

// This file holds what the dispatcher does with an errand: the signals it sends, in their order, and what is left when one fails.

// address is where an errand goes: an integration or a conflict.
type address struct {
	ref      flow.IntegrationRef
	conflict domain.ConflictID
}

// send tells a workflow everything in the errand. On an error it returns what is still to be told.
func (d *Dispatcher) send(to address, e errand) (left errand, err error) {
	ctx, cancel := context.WithTimeout(d.calls, d.o.CallTimeout)
	defer cancel()
	if e.changed {
		if err := d.count("changed", d.signals.Changed(ctx, to.ref, contract.ChangedSignal{Version: e.version})); err != nil {
			return e, err
		}
		e.changed = false
	}
	if e.deliveries {
		s := contract.DeliveriesSignal{IDs: e.ids, More: e.more}
		failpoint.Hit(failpoint.BeforeCall)
		err := d.tell(ctx, "tell of deliveries", to, e.traces, func(ctx context.Context) error { return d.signals.Deliveries(ctx, to.ref, s) })
		if err := d.count("deliveries", err); err != nil {
			return e, err
		}
		failpoint.Hit(failpoint.AfterCall)
		e.deliveries, e.ids, e.more, e.traces = false, nil, false, nil
	}
	if e.pushes > 0 {
		s := contract.PushesSignal{Count: e.pushes}
		err := d.tell(ctx, "tell of copies", to, e.pushTraces, func(ctx context.Context) error { return d.signals.Pushes(ctx, to.ref, s) })
		if err := d.count("pushes", err); err != nil {
			return e, err
		}
		e.pushes, e.pushTraces = 0, nil
	}
	if e.start != nil {
		if err := d.count("conflict_start", d.signals.StartConflict(ctx, *e.start)); err != nil {
			return e, err
		}
		e.start = nil
	}
	if e.replay != nil {
		if err := d.count("replay_start", d.signals.StartReplay(ctx, *e.replay)); err != nil {
			return e, err
		}
		e.replay = nil
	}
	if e.timeline != nil {
		if err := d.count("timeline", d.signals.FollowTimeline(ctx, *e.timeline)); err != nil {
			return e, err
		}
		e.timeline = nil
	}
	if e.hold != nil {
		if err := d.count("hold", d.signals.TellHold(ctx, *e.hold)); err != nil {
			return e, err
		}
		e.hold = nil
	}
	if e.onboarding != nil {
		if err := d.count("onboarding", d.signals.TellOnboarding(ctx, *e.onboarding)); err != nil {
			return e, err
		}
		e.onboarding = nil
	}
	if e.notify != "" {
		if err := d.count("notify", d.signals.WakeNotify(ctx, e.notify)); err != nil {
			return e, err
		}
		e.notify = ""
	}
	if e.alerts != "" {
		if err := d.count("alerts", d.signals.WakeAlerts(ctx, e.alerts)); err != nil {
			return e, err
		}
		e.alerts = ""
	}
	if e.upkeep != nil {
		if err := d.count("maintenance", d.signals.WakeMaintenance(ctx, *e.upkeep)); err != nil {
			return e, err
		}
		e.upkeep = nil
	}
	if e.wedding != nil {
		if err := d.count("wedding", d.signals.TellWedding(ctx, *e.wedding)); err != nil {
			return e, err
		}
		e.wedding = nil
	}
	for len(e.recheck) > 0 {
		s := contract.RecheckSignal{BookingID: e.recheck[0]}
		if err := d.count("conflict_recheck", d.signals.RecheckConflict(ctx, to.conflict, s)); err != nil {
			return e, err
		}
		e.recheck = e.recheck[1:]
	}
	return e, nil
}

func (d *Dispatcher) count(kind string, err error) error {
	outcome := "ok"
	if err != nil {
		outcome = string(domain.KindOf(err))
	}
	d.m.signals.WithLabelValues(kind, outcome).Inc()
	return err
}
