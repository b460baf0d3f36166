package server

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/tracing"
)

// webhookRoute is the route as it is shown in traces, whichever of its forms was called.
const webhookRoute = "/v1/webhooks/{integration}"

// putTraced stores a genuine webhook below a span of its own, which names the trace of all that follows. It begins when the
// request came. Whoever is refused before makes no span, so a flood of strangers fills nothing.
//
// A caller's own trace is continued when its address, that of the connection, is one of TraceCallers. Of anybody else it is only
// linked: a vendor decides neither how our traces hang together nor which are kept.
func (in *Intake) putTraced(r *http.Request, from *intakeEntry, d store.NewDelivery, began time.Time) (stored store.InsertedDelivery, err error) {
	begin := tracing.Begin{Kind: tracing.Server, At: began}
	if lines := r.Header["Traceparent"]; len(lines) == 1 {
		if caller, recorded, ok := tracing.ParseParent(lines[0]); ok && in.tracesOf(r.RemoteAddr) {
			begin.Parent, begin.Unrecorded = caller, !recorded
		} else if ok {
			begin.Links = append(begin.Links, caller)
		}
	}
	ctx, span := in.deps.Tracer.Start(r.Context(), "POST "+webhookRoute, begin)
	d.Trace = span.Trace()
	_, commit := tracing.Child(ctx, "store delivery")
	// The writer is given the plain context: it keeps what it needs of the trace with the delivery.
	stored, err = in.deps.Put(r.Context(), d, from.provider)
	commit.End(err)
	if span.On() {
		status := http.StatusAccepted
		switch {
		case err != nil:
			status = http.StatusServiceUnavailable
		case stored.Duplicate:
			status = http.StatusOK
		}
		span.Set(tracing.Word(tracing.KeyMethod, http.MethodPost), tracing.Route(webhookRoute), tracing.Count(tracing.KeyStatus, status),
			tracing.ID(tracing.KeyOrg, d.OrgID), tracing.ID(tracing.KeyIntegration, from.id), tracing.Word(tracing.KeyProvider, from.provider),
			tracing.ID(tracing.KeyDelivery, stored.ID), tracing.Flag(tracing.KeyDuplicate, stored.Duplicate),
			tracing.Count(tracing.KeyBytes, d.Size), tracing.Count(tracing.KeyPriority, int(d.Priority.OrNormal())))
	}
	span.End(err)
	return stored, err
}

// tracesOf reports whether the traces of a caller are continued.
func (in *Intake) tracesOf(remote string) bool {
	if len(in.deps.TraceCallers) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	for _, network := range in.deps.TraceCallers {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}
