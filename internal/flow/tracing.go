package flow

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/tracing"
)

// Signals that tell of work carry the trace of whoever sends them, in a header of Temporal that is named after the step which
// does the work. The workflow hands the header on to the next step of that name and keeps nothing itself (package worker). The
// header holds two random ids, so it is not sealed.

// traceHeader begins the names of the headers.
const traceHeader = "wedsync-trace-"

// TraceHeader names the header that carries a trace to a step.
func TraceHeader(activity string) string { return traceHeader + activity }

// TracedStep is the step that a header is for; "" for a header of somebody else.
func TracedStep(header string) string {
	if len(header) <= len(traceHeader) || header[:len(traceHeader)] != traceHeader {
		return ""
	}
	return header[len(traceHeader):]
}

// toldOf says which step does the work that a signal tells of.
var toldOf = map[string]string{
	contract.SignalDeliveries: "ApplyDeliveries",
	contract.SignalPushes:     "PushBookings",
}

// StepOf is the step that does the work a signal tells of; "" for signals that carry no trace.
func StepOf(signal string) string { return toldOf[signal] }

// TracePayload puts a trace into a header.
func TracePayload(t domain.Trace) *commonpb.Payload {
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/plain")}, Data: t.Bytes()}
}

// TraceOf reads a header; the zero value when it holds no trace.
func TraceOf(p *commonpb.Payload) domain.Trace { return domain.TraceFrom(p.GetData()) }

// signalTraces puts the trace of a signal's sender beside it.
type signalTraces struct {
	interceptor.ClientInterceptorBase
}

func (*signalTraces) InterceptClient(next interceptor.ClientOutboundInterceptor) interceptor.ClientOutboundInterceptor {
	return &signalTracesOut{interceptor.ClientOutboundInterceptorBase{Next: next}}
}

type signalTracesOut struct {
	interceptor.ClientOutboundInterceptorBase
}

func (o *signalTracesOut) SignalWorkflow(ctx context.Context, in *interceptor.ClientSignalWorkflowInput) error {
	carry(ctx, in.SignalName)
	return o.Next.SignalWorkflow(ctx, in)
}

func (o *signalTracesOut) SignalWithStartWorkflow(ctx context.Context, in *interceptor.ClientSignalWithStartWorkflowInput) (client.WorkflowRun, error) {
	carry(ctx, in.SignalName)
	return o.Next.SignalWithStartWorkflow(ctx, in)
}

func carry(ctx context.Context, signal string) {
	step, t := StepOf(signal), tracing.Of(ctx)
	if header := interceptor.Header(ctx); step != "" && header != nil && !t.IsZero() {
		header[TraceHeader(step)] = TracePayload(t)
	}
}
