package activities

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// routeTargets says which integrations deliveries of from may be handed to. A target that is missing is a fault of the
// settings, so the delivery waits until it is mended and nothing of it is lost.
func routeTargets(tx *store.Tx, from domain.IntegrationID) func(context.Context, domain.IntegrationID) error {
	known := map[domain.IntegrationID]error{}
	return func(ctx context.Context, to domain.IntegrationID) error {
		if fault, seen := known[to]; seen {
			return fault
		}
		fault := error(nil)
		switch i, err := tx.Integration(ctx, to); {
		case to == from:
			fault = domain.E(domain.KindPermanent, "a rule routes to its own integration")
		case domain.KindOf(err) == domain.KindNotFound, err == nil && i.State == domain.IntegrationDeleted:
			fault = domain.E(domain.KindPermanent, "a rule routes to integration %s, which does not exist", to)
		case err != nil:
			return err
		}
		known[to] = fault
		return fault
	}
}

// checkRoute refuses routes that cannot be followed. A delivery that was routed here stays here, whatever the rules say:
// that is what ends every circle.
func (b *batch) checkRoute(ctx context.Context, d domain.RawDelivery, got *provider.Decoded) error {
	if len(got.Route) > 0 && d.RoutedFrom != "" {
		got.Route = nil
		if got.Ignore != "" {
			got.Ignore += "; not routed on, because it was routed here"
		}
		return nil
	}
	for _, to := range got.Route {
		if err := b.target(ctx, to); err != nil {
			return err
		}
	}
	return nil
}

// route stores what is to be handed over, in the transaction that settles the deliveries it comes from.
func (b *batch) route(ctx context.Context, tx *store.Tx) (int, error) {
	var routes []store.Routing
	for n, got := range b.decoded {
		for _, to := range got.Route {
			d := b.waiting[n]
			routes = append(routes, store.Routing{From: d, To: to})
			if err := tx.Emit(ctx, domain.TopicDeliveryRouted, map[string]string{"delivery": string(d.ID),
				"integration": string(d.IntegrationID), "to": string(to)}); err != nil {
				return 0, err
			}
		}
	}
	return tx.RouteDeliveries(ctx, routes)
}
