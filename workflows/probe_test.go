package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/workflows"
)

// watcher stands in for the activity that probes.
type watcher struct {
	*script
	probe func(n int, in activities.ProbeShardInput) (activities.ProbeShardResult, error)
}

func (w *watcher) ProbeShard(_ context.Context, in activities.ProbeShardInput) (activities.ProbeShardResult, error) {
	return answer(w.script, "ProbeShard", func(n int) (activities.ProbeShardResult, error) { return w.probe(n, in) })
}

func probeStage(t *testing.T, probe func(n int, in activities.ProbeShardInput) (activities.ProbeShardResult, error)) *stage {
	t.Helper()
	s := newStage(t, contract.ProbeWorkflowID(3))
	s.RegisterActivity((&watcher{script: s.script, probe: probe}).ProbeShard)
	return s
}

func moved(n int) contract.HealthSignal {
	out := contract.HealthSignal{More: 1}
	for range n {
		out.Moves = append(out.Moves, contract.HealthMoved{OrgID: org, IntegrationID: integration, From: domain.HealthUp, To: domain.HealthDown,
			Reason: domain.HealthNoAnswer, At: start})
	}
	return out
}

func TestOneProbingFollowsTheOtherAndGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	var last []int64
	s := probeStage(t, func(n int, in activities.ProbeShardInput) (activities.ProbeShardResult, error) {
		if in.Shard != 3 {
			t.Errorf("shard %d", in.Shard)
		}
		probes := int64(0)
		if in.Last != nil {
			probes = in.Last.Probes
		}
		last = append(last, probes)
		return activities.ProbeShardResult{Beat: contract.ProbeBeat{Probes: int64(n) * 100}, Off: n == 4}, nil
	})
	s.ExecuteWorkflow(workflows.Probe, contract.ProbeInput{Shard: 3})
	s.ended(nil)
	if len(last) != 4 || last[0] != 0 || last[1] != 100 || last[3] != 300 {
		t.Errorf("began at %v", last)
	}
	if got := ask[contract.ProbeStatus](s, contract.QueryStatus); got.Running || got.Beat == nil || got.Beat.Probes != 300 || got.Runs != 1 {
		t.Errorf("%+v", got)
	}
}

func TestMovesAreCountedAndTheNewestAreShown(t *testing.T) {
	t.Parallel()
	var s *stage
	s = probeStage(t, func(n int, _ activities.ProbeShardInput) (activities.ProbeShardResult, error) {
		s.SignalWorkflow(contract.SignalHealth, moved(15))
		return activities.ProbeShardResult{Off: n == 3}, nil
	})
	s.ExecuteWorkflow(workflows.Probe, contract.ProbeInput{Shard: 3})
	s.ended(nil)
	if got := ask[contract.ProbeStatus](s, contract.QueryStatus); got.Moves != 48 || len(got.Recent) != 20 {
		t.Errorf("%d moves, %d shown", got.Moves, len(got.Recent))
	}
}

func TestProbingThatFailsForGoodIsTriedAgainWithBackOff(t *testing.T) {
	t.Parallel()
	s := probeStage(t, func(n int, _ activities.ProbeShardInput) (activities.ProbeShardResult, error) {
		if n <= 3 {
			return activities.ProbeShardResult{}, refusedAs(domain.KindInvalid, "no such shard")
		}
		return activities.ProbeShardResult{Off: true}, nil
	})
	s.ExecuteWorkflow(workflows.Probe, contract.ProbeInput{Shard: 3})
	s.ended(nil)
	if got := s.after("ProbeShard", 4); got != 7*time.Second { // 1, 2 and 4 s
		t.Errorf("the fourth came after %s", got)
	}
}

func TestProbingThatStopsForAMomentGoesOnAtOnce(t *testing.T) {
	t.Parallel()
	s := probeStage(t, func(n int, _ activities.ProbeShardInput) (activities.ProbeShardResult, error) {
		if n <= 5 {
			return activities.ProbeShardResult{}, errDown
		}
		return activities.ProbeShardResult{Off: true}, nil
	})
	s.ExecuteWorkflow(workflows.Probe, contract.ProbeInput{Shard: 3})
	s.ended(nil)
	if got := ask[contract.ProbeStatus](s, contract.QueryStatus); got.Failures != 0 || s.count("ProbeShard") != 6 {
		t.Errorf("%d tries, %+v", s.count("ProbeShard"), got)
	}
}

func TestANewRunTakesEverythingAlong(t *testing.T) {
	t.Parallel()
	var s *stage
	s = probeStage(t, func(int, activities.ProbeShardInput) (activities.ProbeShardResult, error) {
		s.SetContinueAsNewSuggested(true)
		s.SignalWorkflow(contract.SignalHealth, moved(1))
		return activities.ProbeShardResult{Beat: contract.ProbeBeat{Probes: 7}}, nil
	})
	s.ExecuteWorkflow(workflows.Probe, contract.ProbeInput{Shard: 3, Carried: &contract.ProbeCarried{Runs: 4, Moves: 5}})
	in := carried[contract.ProbeInput](s)
	if in.Shard != 3 || in.Carried == nil || in.Carried.Runs != 5 || in.Carried.Moves != 7 || in.Carried.Beat == nil || in.Carried.Beat.Probes != 7 || len(in.Carried.Recent) != 1 {
		t.Errorf("%+v", in.Carried)
	}
}
