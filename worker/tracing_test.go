package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/codec"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/devstack/temporaltest"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/sim/otlpsim"
	"github.com/wedsync/wedsync/internal/tracing"
	"github.com/wedsync/wedsync/internal/vault"
)

// notedSteps note below which span they ran.
type notedSteps struct {
	mu    sync.Mutex
	below map[string][]domain.Trace
	with  bool // each was given the tracer

	applied chan struct{}
}

func (s *notedSteps) note(ctx context.Context, name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.below[name] = append(s.below[name], tracing.Of(ctx))
	s.with = s.with && tracing.From(ctx) != nil
	return len(s.below[name])
}

func (s *notedSteps) LoadIntegration(ctx context.Context) error {
	s.note(ctx, "LoadIntegration")
	return nil
}

func (s *notedSteps) ApplyDeliveries(ctx context.Context) error {
	s.note(ctx, "ApplyDeliveries")
	s.applied <- struct{}{}
	return nil
}

func (s *notedSteps) PushBookings(ctx context.Context) error {
	activity.GetLogger(ctx).Info("writing")
	if s.note(ctx, "PushBookings") == 1 {
		return errors.New("the first try fails")
	}
	return nil
}

// aLife is a workflow that gets its signal in one run and acts on it in the next.
func aLife(ctx workflow.Context, in contract.IntegrationInput) error {
	if in.Carried == nil {
		workflow.GetSignalChannel(ctx, contract.SignalDeliveries).Receive(ctx, nil)
		in.Carried = &contract.IntegrationCarried{}
		return workflow.NewContinueAsNewError(ctx, contract.IntegrationWorkflow, in)
	}
	local := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute})
	for _, step := range []string{"LoadIntegration", "ApplyDeliveries", "ApplyDeliveries"} {
		if err := workflow.ExecuteLocalActivity(local, step).Get(ctx, nil); err != nil {
			return err
		}
	}
	workflow.GetSignalChannel(ctx, contract.SignalPushes).Receive(ctx, nil)
	remote := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	return workflow.ExecuteActivity(remote, "PushBookings").Get(ctx, nil)
}

func TestATraceReachesItsStepThroughSignalsRetriesAndANewRun(t *testing.T) {
	t.Parallel()
	address := temporaltest.Server(t)
	r := otlpsim.New()
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	tracer, err := tracing.New(t.Context(), tracing.Options{Endpoint: srv.URL + "/v1/traces"})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := vault.ParseKeys(vault.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	var lines lineLog
	client, err := flow.New(flow.Options{Address: address, Ring: ring, Logger: slog.New(slog.NewTextHandler(&lines, nil)), Identity: "test", Traced: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	life, end := context.WithTimeout(t.Context(), 2*time.Minute)
	defer end()
	steps := &notedSteps{applied: make(chan struct{}, 8), below: map[string][]domain.Trace{}, with: true}
	w := sdkworker.New(client.Temporal(), contract.QueueCore, sdkworker.Options{Interceptors: interceptors(tracer)})
	w.RegisterWorkflowWithOptions(aLife, workflow.RegisterOptions{Name: contract.IntegrationWorkflow})
	w.RegisterActivity(steps)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)

	ref := flow.IntegrationRef{Org: domain.NewID[domain.OrgID](time.Now()), ID: domain.NewID[domain.IntegrationID](time.Now())}
	ctx, first := tracer.Start(t.Context(), "first", tracing.Begin{})
	if err := client.Deliveries(ctx, ref, contract.DeliveriesSignal{More: true}); err != nil { // starts it, too
		t.Fatal(err)
	}
	first.End(nil)
	ctx, second := tracer.Start(t.Context(), "second", tracing.Begin{})
	for range 2 { // the run that acts on the first signal has begun
		select {
		case <-steps.applied:
		case <-life.Done():
			t.Fatal("the step of the first signal did not run")
		}
	}
	if err := client.Pushes(ctx, ref, contract.PushesSignal{Count: 1}); err != nil {
		t.Fatal(err)
	}
	second.End(nil)
	run := client.Temporal().GetWorkflow(t.Context(), contract.IntegrationWorkflowID(ref.ID), "")
	if err := run.Get(life, nil); err != nil {
		t.Fatal(err)
	}

	if err := tracer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := map[string][]otlpsim.Span{}
	for _, s := range r.Spans() {
		spans[s.Name] = append(spans[s.Name], s)
	}
	steps.mu.Lock()
	defer steps.mu.Unlock()
	apply, push := spans["ApplyDeliveries"], spans["PushBookings"]
	if len(apply) != 1 || apply[0].TraceID != first.Trace().TraceID() || apply[0].ParentID != spans["first"][0].SpanID || apply[0].Kind != "consumer" {
		t.Errorf("the step of the first signal: %+v", apply)
	}
	if below := steps.below["ApplyDeliveries"]; len(below) != 2 || below[0].TraceID() != first.Trace().TraceID() || !below[1].IsZero() {
		t.Errorf("the steps ran below %v; want the first one in the trace and the second one in none", below)
	}
	if below := steps.below["LoadIntegration"]; len(below) != 1 || !below[0].IsZero() || len(spans["LoadIntegration"]) != 0 {
		t.Errorf("a step that nobody was told of ran below %v", below)
	}
	if len(push) != 2 || push[0].TraceID != second.Trace().TraceID() || push[1].TraceID != second.Trace().TraceID() || push[0].ParentID != spans["second"][0].SpanID ||
		!push[0].Failed || push[0].Message != "internal" || push[1].Failed || push[0].Attrs["wedsync.try"] != "1" || push[1].Attrs["wedsync.try"] != "2" {
		t.Errorf("the tries of the second step: %+v", push)
	}
	if got := push[0].Attrs["temporal.workflow.id"]; got != contract.IntegrationWorkflowID(ref.ID) {
		t.Errorf("workflow %q", got)
	}
	if !steps.with {
		t.Error("a step was not given the tracer")
	}
	if !lines.holds("trace_id=" + second.Trace().TraceID()) {
		t.Error("a step's log line does not name its trace")
	}
	// Both runs replay with tracing and without: workflows depend on nothing of it.
	for _, id := range []string{run.GetRunID(), ""} {
		history := historyOf(t, client, contract.IntegrationWorkflowID(ref.ID), id)
		for _, with := range [][]interceptor.WorkerInterceptor{nil, interceptors(tracer)} {
			replayer, err := sdkworker.NewWorkflowReplayerWithOptions(sdkworker.WorkflowReplayerOptions{DataConverter: codec.DataConverter(ring), Interceptors: with})
			if err != nil {
				t.Fatal(err)
			}
			replayer.RegisterWorkflowWithOptions(aLife, workflow.RegisterOptions{Name: contract.IntegrationWorkflow})
			if err := replayer.ReplayWorkflowHistory(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), history); err != nil {
				t.Errorf("run %q with %d interceptors: %v", id, len(with), err)
			}
		}
	}
}

func historyOf(t *testing.T, client *flow.Client, id, run string) *historypb.History {
	t.Helper()
	var h historypb.History
	events := client.Temporal().GetWorkflowHistory(t.Context(), id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	return &h
}

// lineLog keeps log lines for several goroutines.
type lineLog struct {
	mu   sync.Mutex
	text []byte
}

func (l *lineLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func (l *lineLog) holds(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text, []byte(text))
}

// TestTracesAreHandedToStepsThatExist holds the names in headers and rules against the steps.
func TestTracesAreHandedToStepsThatExist(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, steps := range []any{&activities.Deliveries{}, &activities.Pushes{}, &activities.Syncs{}, &activities.Subscriptions{}, &activities.Notifications{}} {
		for m := range reflect.TypeOf(steps).Methods() {
			known[m.Name] = true
		}
	}
	for name := range rooted {
		if !known[name] {
			t.Errorf("%s is no step", name)
		}
	}
	for _, signal := range []string{contract.SignalDeliveries, contract.SignalPushes} {
		if step := flow.StepOf(signal); !known[step] || flow.TracedStep(flow.TraceHeader(step)) != step {
			t.Errorf("signal %s tells of %q, which is no step", signal, step)
		}
	}
	if flow.StepOf(contract.SignalChanged) != "" || flow.TracedStep("other") != "" || flow.TracedStep(flow.TraceHeader("")) != "" {
		t.Error("a header of somebody else is taken")
	}
}

// outgoing notes below which span its steps ran.
type outgoing struct{ below map[string]domain.Trace }

func (o *outgoing) SendEvents(ctx context.Context) error {
	o.below["SendEvents"] = tracing.Of(ctx)
	return nil
}

func (o *outgoing) SendNotifications(ctx context.Context) error {
	o.below["SendNotifications"] = tracing.Of(ctx)
	return nil
}

func (o *outgoing) ProbeShard(ctx context.Context) error {
	o.below["ProbeShard"] = tracing.Of(ctx)
	return nil
}

func TestWhatGoesOutBeginsATraceOfItsOwnAndAProbeDoesNot(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(otlpsim.New())
	t.Cleanup(srv.Close)
	tracer, err := tracing.New(t.Context(), tracing.Options{Endpoint: srv.URL + "/v1/traces"})
	if err != nil {
		t.Fatal(err)
	}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(sdkworker.Options{Interceptors: interceptors(tracer)})
	steps := &outgoing{map[string]domain.Trace{}}
	env.RegisterActivity(steps)
	for name, traced := range map[string]bool{"SendEvents": true, "SendNotifications": true, "ProbeShard": false} {
		if _, err := env.ExecuteActivity(name); err != nil {
			t.Fatal(err)
		}
		if got := steps.below[name]; got.IsZero() == traced {
			t.Errorf("%s ran below %v", name, got)
		}
	}
}
