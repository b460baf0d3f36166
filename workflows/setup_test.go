package workflows_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/workflows"
)

var start = time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)

const (
	org         = domain.OrgID("01900000-0000-7000-8000-000000000001")
	integration = domain.IntegrationID("01900000-0000-7000-8000-000000000002")
	run1        = domain.SyncRunID("01900000-0000-7000-8000-000000000011")
	run2        = domain.SyncRunID("01900000-0000-7000-8000-000000000012")
	clash       = domain.ConflictID("01900000-0000-7000-8000-000000000021")
)

var errDown = temporal.NewApplicationErrorWithOptions("connection to the database", string(domain.KindUnavailable), temporal.ApplicationErrorOptions{})

func refusedAs(kind domain.ErrorKind, text string) error {
	return temporal.NewApplicationErrorWithOptions(text, string(kind), temporal.ApplicationErrorOptions{NonRetryable: true})
}

// script stands in for every activity under its real name. Each field is what the step answers; nil answers nothing.
type script struct {
	mu    sync.Mutex
	calls map[string]int
	times map[string][]time.Time
	clock func() time.Time

	load   func(n int) (contract.IntegrationConfig, error)
	set    func(in activities.SetIntegrationStateInput) (contract.IntegrationConfig, error)
	apply  func(n int) (activities.ApplyDeliveriesResult, error)
	push   func(n int) (activities.PushBookingsResult, error)
	begin  func(n int) (activities.ConflictView, error)
	look   func(n int) (activities.ConflictView, error)
	verify func(n int) (activities.VerifyResolutionResult, error)
	remind func(n int) (activities.ConflictView, error)
	policy func(n int) (activities.ConflictView, error)
	late   func(in activities.EscalateConflictInput) (activities.ConflictView, error)
	wake   func(in activities.WakeConflictInput) (activities.ConflictView, error)
	start  func(n int) error
	page   func(n int) (activities.PullPageResult, error)
	news   func(n int, in activities.PullNewsInput) (activities.PullNewsResult, error)
	prove  func(n int) (activities.ConfirmRemovalsResult, error)
	end    func(n int, in activities.EndSyncRunInput) error
	keep   func(n int) (activities.KeepWatchesResult, error)
	judge  func(n int) (contract.IntegrationConfig, error)
	send   func(in activities.SetFailoverInput) (activities.SetFailoverResult, error)
	wish   func(n int, in activities.KeepWatchesInput) (activities.KeepWatchesResult, error) // in place of keep
}

func (s *script) called(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[name]++
	s.times[name] = append(s.times[name], s.clock())
	return s.calls[name]
}

func (s *script) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[name]
}

func (s *script) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		n += c
	}
	return n
}

// after returns when the n-th call of a step (1 is the first) came, counted from the start.
func (s *script) after(name string, n int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.times[name]) < n {
		return -1
	}
	return s.times[name][n-1].Sub(start)
}

func answer[R any](s *script, name string, fn func(int) (R, error)) (R, error) {
	n := s.called(name)
	if fn == nil {
		var zero R
		return zero, nil
	}
	return fn(n)
}

func (s *script) LoadIntegration(context.Context, activities.LoadIntegrationInput) (contract.IntegrationConfig, error) {
	return answer(s, "LoadIntegration", s.load)
}

func (s *script) SetIntegrationState(_ context.Context, in activities.SetIntegrationStateInput) (contract.IntegrationConfig, error) {
	return answer(s, "SetIntegrationState", func(int) (contract.IntegrationConfig, error) { return s.set(in) })
}

func (s *script) ApplyDeliveries(context.Context, activities.ApplyDeliveriesInput) (activities.ApplyDeliveriesResult, error) {
	return answer(s, "ApplyDeliveries", s.apply)
}

func (s *script) PushBookings(context.Context, activities.PushBookingsInput) (activities.PushBookingsResult, error) {
	return answer(s, "PushBookings", s.push)
}

func (s *script) BeginResolution(context.Context, activities.BeginResolutionInput) (activities.ConflictView, error) {
	return answer(s, "BeginResolution", s.begin)
}

func (s *script) LoadConflict(context.Context, activities.ConflictRef) (activities.ConflictView, error) {
	return answer(s, "LoadConflict", s.look)
}

func (s *script) VerifyResolution(context.Context, activities.ConflictRef) (activities.VerifyResolutionResult, error) {
	return answer(s, "VerifyResolution", s.verify)
}

func (s *script) RemindConflict(context.Context, activities.RemindConflictInput) (activities.ConflictView, error) {
	return answer(s, "RemindConflict", s.remind)
}

func (s *script) ApplyConflictPolicy(context.Context, activities.ConflictRef) (activities.ConflictView, error) {
	return answer(s, "ApplyConflictPolicy", s.policy)
}

func (s *script) EscalateConflict(_ context.Context, in activities.EscalateConflictInput) (activities.ConflictView, error) {
	return answer(s, "EscalateConflict", func(int) (activities.ConflictView, error) { return s.late(in) })
}

func (s *script) WakeConflict(_ context.Context, in activities.WakeConflictInput) (activities.ConflictView, error) {
	return answer(s, "WakeConflict", func(int) (activities.ConflictView, error) { return s.wake(in) })
}

func (s *script) StartSyncRun(context.Context, activities.StartSyncRunInput) error {
	n := s.called("StartSyncRun")
	if s.start == nil {
		return nil
	}
	return s.start(n)
}

func (s *script) PullNews(_ context.Context, in activities.PullNewsInput) (activities.PullNewsResult, error) {
	return answer(s, "PullNews", func(n int) (activities.PullNewsResult, error) { return s.news(n, in) })
}

func (s *script) PullPage(context.Context, activities.PullPageInput) (activities.PullPageResult, error) {
	return answer(s, "PullPage", s.page)
}

func (s *script) ConfirmRemovals(context.Context, activities.ConfirmRemovalsInput) (activities.ConfirmRemovalsResult, error) {
	return answer(s, "ConfirmRemovals", s.prove)
}

func (s *script) KeepWatches(_ context.Context, in activities.KeepWatchesInput) (activities.KeepWatchesResult, error) {
	if s.wish != nil {
		return s.wish(s.called("KeepWatches"), in)
	}
	return answer(s, "KeepWatches", s.keep)
}

func (s *script) KeepFailover(context.Context, activities.KeepFailoverInput) (contract.IntegrationConfig, error) {
	return answer(s, "KeepFailover", s.judge)
}

func (s *script) SetFailover(_ context.Context, in activities.SetFailoverInput) (activities.SetFailoverResult, error) {
	return answer(s, "SetFailover", func(int) (activities.SetFailoverResult, error) { return s.send(in) })
}

func (s *script) EndSyncRun(_ context.Context, in activities.EndSyncRunInput) error {
	n := s.called("EndSyncRun")
	if s.end == nil {
		return nil
	}
	return s.end(n, in)
}

// stage is one workflow in the time-skipping environment.
type stage struct {
	*testsuite.TestWorkflowEnvironment
	*script
	t *testing.T
}

func newStage(t *testing.T, id string) *stage {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	s := &stage{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t}
	s.script = &script{calls: map[string]int{}, times: map[string][]time.Time{}, clock: func() time.Time { return s.Now().UTC() }}
	s.SetStartTime(start)
	s.SetTestTimeout(time.Minute)
	s.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id, TaskQueue: contract.QueueCore})
	s.RegisterActivity(s.script)
	s.RegisterWorkflowWithOptions(workflows.Integration, workflow.RegisterOptions{Name: contract.IntegrationWorkflow})
	s.RegisterWorkflowWithOptions(workflows.Conflict, workflow.RegisterOptions{Name: contract.ConflictWorkflow})
	return s
}

// at does something at a time after the start.
func (s *stage) at(after time.Duration, fn func()) { s.RegisterDelayedCallback(fn, after) }

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Error(err)
	}
}

// updated is the outcome of an update.
type updated[R any] struct {
	refused  error // by the validator
	accepted bool
	done     bool
	result   R
	err      error
}

func update[R any](s *stage, name, id string, arg any) *updated[R] {
	u := &updated[R]{}
	s.UpdateWorkflow(name, id, &testsuite.TestUpdateCallback{
		OnAccept: func() { u.accepted = true },
		OnReject: func(err error) { u.refused = err },
		OnComplete: func(v any, err error) {
			u.done, u.err = true, err
			if r, ok := v.(R); ok {
				u.result = r
			}
		},
	}, arg)
	return u
}

func ask[R any](s *stage, name string) R {
	s.t.Helper()
	var out R
	v, err := s.QueryWorkflow(name)
	if err == nil {
		err = v.Get(&out)
	}
	s.must(err)
	return out
}

// carried returns the input of the run that the workflow asked for.
func carried[I any](s *stage) I {
	s.t.Helper()
	var again *workflow.ContinueAsNewError
	if err := s.GetWorkflowError(); !errors.As(err, &again) {
		s.t.Fatalf("the workflow ended with %v, want a new run", err)
	}
	var in I
	s.must(converter.GetDefaultDataConverter().FromPayloads(again.Input, &in))
	return in
}

func (s *stage) ended(want error) {
	s.t.Helper()
	if !s.IsWorkflowCompleted() {
		s.t.Fatal("the workflow did not end")
	}
	if err := s.GetWorkflowError(); (err == nil) != (want == nil) {
		s.t.Fatalf("the workflow ended with %v, want %v", err, want)
	}
}
