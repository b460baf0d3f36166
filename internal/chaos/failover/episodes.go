package failover

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/chaos/rig"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
)

// awayLimit bounds how long it may take that a connection is not used any more, or used again.
const awayLimit = 2 * time.Minute

// episodes does harm as often as asked for, each kind about as often, in an order drawn from the seed.
func (b *bed) episodes(ctx context.Context, draw *rand.Rand, r *Result) error {
	var plan []Kind
	for len(plan) < b.o.Episodes {
		round := slices.Clone(b.o.Kinds)
		draw.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		plan = append(plan, round...)
	}
	for n, kind := range plan[:b.o.Episodes] {
		s := b.systems[draw.IntN(len(b.systems))]
		if kind == HookDisabled {
			s = b.systems[b.o.Studios+draw.IntN(b.o.Schedulers)]
		}
		began := time.Now()
		if err := rig.Pause(ctx, span(draw, 500*time.Millisecond, 2*time.Second)); err != nil {
			return err
		}
		if err := b.harm(ctx, draw, kind, s); err != nil {
			return fmt.Errorf("episode %d, %s of %s: %w", n+1, kind, s.name, err)
		}
		if err := b.Alive(); err != nil {
			return err
		}
		r.Episodes++
		b.o.Say(fmt.Sprintf("episode %d: %s of %s in %v", r.Episodes, kind, s.name, time.Since(began).Round(100*time.Millisecond)))
	}
	return nil
}

func span(draw *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(draw.Int64N(int64(most-least)))
}

// harm does one kind of harm to a system, for a time, and takes it back.
func (b *bed) harm(ctx context.Context, draw *rand.Rand, kind Kind, s *system) error {
	switch kind {
	case HooksLost, HooksLate:
		s.mute(kind == HooksLate)
		err := rig.Pause(ctx, span(draw, 6*time.Second, 20*time.Second))
		s.unmute(ctx, draw)
		return err
	case HookDisabled:
		for _, h := range s.plan.Hooks() {
			s.plan.Disable(h.ID)
		}
		return rig.Pause(ctx, span(draw, 6*time.Second, 20*time.Second))
	case Down:
		s.mute(true)
		s.down()
		err := rig.Pause(ctx, span(draw, 4*time.Second, 15*time.Second))
		s.up()
		s.unmute(ctx, draw)
		return err
	case Revoked:
		s.revoke()
		err := b.Until(ctx, awayLimit, "credentials that are not accepted are noticed", func() bool { return b.state(ctx, s) == domain.IntegrationNeedsReconnect })
		s.up()
		if err != nil {
			return err
		}
		return b.db.Tenant(ctx, s.org, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.SetIntegrationState(ctx, s.integration, domain.IntegrationActive, "credentials were given again")
			return err
		})
	case Ordered:
		for _, to := range []string{contract.FailoverToPolling, contract.FailoverToWebhooks} {
			ask, cancel := context.WithTimeout(ctx, awayLimit)
			_, err := b.flow.Failover(ask, flow.IntegrationRef{Org: s.org, ID: s.integration}, contract.FailoverRequest{To: to, Cause: domain.OverByPerson, By: "system:chaos",
				Hold: to == contract.FailoverToPolling})
			cancel()
			if err != nil {
				return err
			}
			if err := rig.Pause(ctx, span(draw, 3*time.Second, 8*time.Second)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bed) state(ctx context.Context, s *system) (state domain.IntegrationState) {
	err := b.db.TenantRead(ctx, s.org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, s.integration)
		state = i.State
		return err
	})
	if err != nil {
		return ""
	}
	return state
}
