package workflows_test

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

func TestQuickPollsBeginAtOnceAndEachIsJudged(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.PollSeconds = 3600
	s.syncing(time.Second, false)
	s.judge = func(int) (contract.IntegrationConfig, error) { return s.config, nil }
	s.at(10*time.Minute, func() {
		s.config.PollSeconds, s.config.PullWanted = 15, s.Now()
		s.config.Failover = &contract.FailoverConfig{Mode: domain.FailoverBegun}
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 2})
	})
	s.at(10*time.Minute+200*time.Millisecond, s.began)
	var quick int
	s.at(20*time.Minute, func() {
		quick = len(s.syncs)
		s.config.PollSeconds, s.config.Failover = 3600, nil
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 3})
	})
	s.run(50 * time.Minute)
	if quick < 35 || quick > 42 {
		t.Errorf("%d polls in ten minutes, want one every 15 s", quick)
	}
	if n := s.count("KeepFailover"); n < quick-1 || n > quick+1 {
		t.Errorf("judged %d times for %d polls", n, quick)
	}
	if after := len(s.syncs) - quick; after > 2 {
		t.Errorf("%d polls in half an hour after it was over", after)
	}
}

func TestConnectionsThatAreAsUsualAreNotJudged(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.PollSeconds = 600
	s.syncing(time.Second, false)
	s.run(24 * time.Hour)
	if n := s.count("KeepFailover"); n != 0 {
		t.Errorf("judged %d times", n)
	}
}

func TestAJudgementComesAtItsTimeAndAFailedOneAgain(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.Failover = &contract.FailoverConfig{Mode: domain.FailoverUsual, Due: start.Add(10 * time.Minute)}
	s.judge = func(n int) (contract.IntegrationConfig, error) {
		if n <= 3 { // one judgement with its quick tries
			return contract.IntegrationConfig{}, errDown
		}
		s.config.Failover = nil
		return s.config, nil
	}
	s.run(time.Hour)
	if first := s.after("KeepFailover", 1); first != 10*time.Minute {
		t.Errorf("judged after %s", first)
	}
	if again := s.after("KeepFailover", 4); again < 10*time.Minute+30*time.Second || s.count("KeepFailover") != 4 {
		t.Errorf("judged again after %s, %d times", again, s.count("KeepFailover"))
	}
}

func TestDeliveriesLieDuringADrillAndAreAppliedWhenItIsOver(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.Failover = &contract.FailoverConfig{Mode: domain.FailoverUsual, MutedUntil: start.Add(15 * time.Minute)}
	s.apply = func(int) (activities.ApplyDeliveriesResult, error) {
		return activities.ApplyDeliveriesResult{Applied: 1}, nil
	}
	for n := range 5 {
		s.at(time.Duration(n+1)*time.Minute, s.deliver)
	}
	s.run(time.Hour)
	if at := s.after("ApplyDeliveries", 1); at < 15*time.Minute || at > 15*time.Minute+time.Second || s.count("ApplyDeliveries") != 1 {
		t.Errorf("applied after %s, %d times", at, s.count("ApplyDeliveries"))
	}
}

func TestAWishToFailOverIsCarriedOutOrRefused(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.syncing(time.Second, false)
	s.judge = func(int) (contract.IntegrationConfig, error) { return s.config, nil }
	s.send = func(in activities.SetFailoverInput) (activities.SetFailoverResult, error) {
		if in.Request.Hold {
			return activities.SetFailoverResult{Refused: "this system posts nothing here"}, nil
		}
		s.config.PollSeconds, s.config.PullWanted = 15, s.Now()
		s.config.Failover = &contract.FailoverConfig{Mode: domain.FailoverBegun}
		return activities.SetFailoverResult{Config: s.config, Result: contract.FailoverResult{Mode: domain.FailoverBegun, Moved: true}}, nil
	}
	var done, refused, nobody, nowhere *updated[contract.FailoverResult]
	s.at(time.Minute, func() {
		done = update[contract.FailoverResult](s.stage, contract.UpdateFailover, "1", contract.FailoverRequest{To: contract.FailoverToPolling, By: "alex"})
		refused = update[contract.FailoverResult](s.stage, contract.UpdateFailover, "2", contract.FailoverRequest{To: contract.FailoverToPolling, By: "alex", Hold: true})
		nobody = update[contract.FailoverResult](s.stage, contract.UpdateFailover, "3", contract.FailoverRequest{To: contract.FailoverToPolling})
		nowhere = update[contract.FailoverResult](s.stage, contract.UpdateFailover, "4", contract.FailoverRequest{To: "mars", By: "alex"})
	})
	var soon int
	s.at(time.Minute+time.Second, func() { soon = len(s.syncs); s.began() })
	s.run(2 * time.Minute)
	if !done.done || done.err != nil || !done.result.Moved || done.result.Mode != domain.FailoverBegun {
		t.Errorf("%+v", done)
	}
	if !refused.done || refused.err == nil || nobody.refused == nil || nowhere.refused == nil {
		t.Errorf("%+v, %+v, %+v", refused, nobody, nowhere)
	}
	if soon != 1 {
		t.Errorf("%d polls at once", soon)
	}
}
