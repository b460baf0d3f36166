package worker

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/tracing"
)

// traces leads traces through workflows to their steps. Workflow code makes no spans: it is replayed, and an integration's
// workflow lives for years, so a span of it would never end. It only hands on what a signal brought, which is in its history
// and the same in every replay. A step makes a span when it was handed a trace, or is one of rooted.
//
// The contrib module of the SDK was not taken: it makes one span of a whole workflow and puts every step below it, so all that
// a connection ever does would be one trace.
type traces struct {
	interceptor.WorkerInterceptorBase
	tracer *tracing.Tracer
}

// rooted are the steps that begin a trace of their own when nobody handed them one: what a poll finds and writes has no webhook
// before it, and one message to people or to a subscriber tells of many changes. Steps that look after things at all times, such as
// probes, would be noise.
var rooted = map[string]bool{"PullPage": true, "PullNews": true, "PushBookings": true, "SendEvents": true, "SendNotifications": true}

// interceptors are those of workers; none while tracing is off.
func interceptors(t *tracing.Tracer) []interceptor.WorkerInterceptor {
	if t == nil {
		return nil
	}
	return []interceptor.WorkerInterceptor{&traces{tracer: t}}
}

func (t *traces) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &tracedActivity{interceptor.ActivityInboundInterceptorBase{Next: next}, t.tracer}
}

type tracedActivity struct {
	interceptor.ActivityInboundInterceptorBase
	tracer *tracing.Tracer
}

func (a *tracedActivity) Init(out interceptor.ActivityOutboundInterceptor) error {
	return a.Next.Init(&tracedLogs{interceptor.ActivityOutboundInterceptorBase{Next: out}})
}

func (a *tracedActivity) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	ctx = tracing.With(ctx, a.tracer) // for traces that are stored with rows
	info := activity.GetInfo(ctx)
	name := info.ActivityType.Name
	begin := tracing.Begin{Kind: tracing.Consumer, Parent: flow.TraceOf(interceptor.Header(ctx)[flow.TraceHeader(name)])}
	if begin.Parent.IsZero() && !rooted[name] {
		return a.Next.ExecuteActivity(ctx, in)
	}
	ctx, span := a.tracer.Start(ctx, name, begin)
	if span.On() {
		span.Set(tracing.Word(tracing.KeyActivity, name), tracing.WorkflowID(info.WorkflowExecution.ID),
			tracing.ID(tracing.KeyRun, info.WorkflowExecution.RunID), tracing.Count(tracing.KeyTry, int(info.Attempt)))
	}
	out, err := a.Next.ExecuteActivity(ctx, in)
	span.End(err)
	return out, err
}

// tracedLogs names the trace in the lines that a step logs.
type tracedLogs struct {
	interceptor.ActivityOutboundInterceptorBase
}

func (l *tracedLogs) GetLogger(ctx context.Context) log.Logger {
	to := l.Next.GetLogger(ctx)
	if t := tracing.Of(ctx); !t.IsZero() {
		return log.With(to, tracing.LogKey, t.TraceID())
	}
	return to
}

func (t *traces) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &tracedWorkflow{WorkflowInboundInterceptorBase: interceptor.WorkflowInboundInterceptorBase{Next: next}, brought: map[string]*commonpb.Payload{}}
}

// tracedWorkflow remembers what signals brought until a step takes it. Of several signals before a step the last one counts: the
// spans of the others' deliveries are made from their rows all the same.
type tracedWorkflow struct {
	interceptor.WorkflowInboundInterceptorBase
	brought map[string]*commonpb.Payload // by the header's name
}

func (w *tracedWorkflow) Init(out interceptor.WorkflowOutboundInterceptor) error {
	return w.Next.Init(&tracedSteps{interceptor.WorkflowOutboundInterceptorBase{Next: out}, w})
}

func (w *tracedWorkflow) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	w.take(ctx) // of a signal that started the workflow, or of the run before this one
	return w.Next.ExecuteWorkflow(ctx, in)
}

func (w *tracedWorkflow) HandleSignal(ctx workflow.Context, in *interceptor.HandleSignalInput) error {
	w.take(ctx)
	return w.Next.HandleSignal(ctx, in)
}

func (w *tracedWorkflow) take(ctx workflow.Context) {
	for name, p := range interceptor.WorkflowHeader(ctx) {
		if flow.TracedStep(name) != "" {
			w.brought[name] = p
		}
	}
}

// tracedSteps hands on what was brought, once: a later batch is the work of somebody else.
type tracedSteps struct {
	interceptor.WorkflowOutboundInterceptorBase
	w *tracedWorkflow
}

func (s *tracedSteps) hand(ctx workflow.Context, activity string) {
	name := flow.TraceHeader(activity)
	if p, ok := s.w.brought[name]; ok {
		interceptor.WorkflowHeader(ctx)[name] = p
		delete(s.w.brought, name)
	}
}

func (s *tracedSteps) ExecuteActivity(ctx workflow.Context, activity string, args ...any) workflow.Future {
	s.hand(ctx, activity)
	return s.Next.ExecuteActivity(ctx, activity, args...)
}

func (s *tracedSteps) ExecuteLocalActivity(ctx workflow.Context, activity string, args ...any) workflow.Future {
	s.hand(ctx, activity)
	return s.Next.ExecuteLocalActivity(ctx, activity, args...)
}

func (s *tracedSteps) NewContinueAsNewError(ctx workflow.Context, wfn any, args ...any) error {
	for name, p := range s.w.brought {
		interceptor.WorkflowHeader(ctx)[name] = p
	}
	return s.Next.NewContinueAsNewError(ctx, wfn, args...)
}
