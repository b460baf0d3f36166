package inbox

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/tracing"
)

// addTrace remembers which traces led to an errand, as many as a span keeps. What is not traced costs nothing.
func addTrace(list []domain.Trace, t domain.Trace) []domain.Trace {
	if t.IsZero() || len(list) > tracing.MaxLinks {
		return list
	}
	return append(list, t)
}

// addTraces is addTrace for what another errand brings.
func addTraces(list, more []domain.Trace) []domain.Trace {
	for _, t := range more {
		list = addTrace(list, t)
	}
	return list
}

// tell tells a workflow of work, below a span that belongs to the first of the traces that led there and is linked to the others:
// one signal tells of many deliveries. Without traces there is no span.
func (d *Dispatcher) tell(ctx context.Context, name string, to address, from []domain.Trace, send func(ctx context.Context) error) error {
	if d.o.Tracer == nil || len(from) == 0 {
		return send(ctx)
	}
	ctx, span := d.o.Tracer.Start(ctx, name, tracing.Begin{Kind: tracing.Producer, Parent: from[0], Links: from[1:]})
	span.Set(tracing.ID(tracing.KeyOrg, to.ref.Org), tracing.ID(tracing.KeyIntegration, to.ref.ID), tracing.Word(tracing.KeyProvider, to.ref.Provider))
	err := send(ctx)
	span.End(err)
	return err
}
