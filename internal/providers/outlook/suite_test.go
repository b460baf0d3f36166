package outlook

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/graphsim"
)

// simWorld is the simulator as the suite's world.
type simWorld struct{ *bundle }

func outside(e providertest.Entry) graphsim.Event {
	return graphsim.Event{Subject: e.Title, Start: e.When.Start, End: e.When.End, Cancelled: e.Status == domain.StatusCancelled,
		ShowAs: map[domain.BookingStatus]string{domain.StatusTentative: "tentative"}[e.Status]}
}

func (w simWorld) Seed(_ testing.TB, e providertest.Entry) string {
	return w.sim.Add("Calendar", outside(e))
}

func (w simWorld) Edit(_ testing.TB, id string, e providertest.Entry) { w.sim.Edit(id, outside(e)) }
func (w simWorld) Delete(_ testing.TB, id string)                     { w.sim.Delete(id) }
func (w simWorld) Count(testing.TB) int                               { return w.sim.Count() }
func (w simWorld) Heal(testing.TB)                                    { w.sim.Heal() }

func (w simWorld) Skew(_ testing.TB, ahead time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.skew = ahead
}

func (w simWorld) Tell(t testing.TB) { w.sim.Deliver(t.Context()) }

func (w simWorld) Fault(_ testing.TB, f providertest.Fault) bool {
	if f == providertest.FaultForgetTokens {
		w.sim.ExpireTokens()
		return true
	}
	faults, ok := map[providertest.Fault]graphsim.Faults{
		providertest.FaultServerError:   {Status: 503, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimit:     {Status: 429, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimitMute: {Status: 429},
		providertest.FaultUnauthorized:  {Status: 401},
		providertest.FaultCutBody:       {CutBody: true},
		providertest.FaultGarbage:       {Garbage: true},
		providertest.FaultEmptyAnswer:   {EmptyAnswer: true},
		providertest.FaultHang:          {Hang: true},
		providertest.FaultLoseAnswer:    {LoseAnswers: 1},
		providertest.FaultRepeatPage:    {RepeatPage: true},
		providertest.FaultMissingPage:   {SkipPage: true},
	}[f]
	if ok {
		w.sim.SetFaults(faults)
	}
	return ok
}

func TestSuite(t *testing.T) {
	t.Parallel()
	const replayed = "tokens lost by 404, replays"
	for name, opt := range map[string]graphsim.Options{
		"tokens lost by 410":               {},
		"tokens lost by syncStateNotFound": {ResetBy: graphsim.ResetSyncState, MaxPage: 50},
		replayed:                           {ResetBy: graphsim.ResetNotFound, Replays: true},
		"repeated creations refused":       {RefuseRepeats: true},
		"transaction ids kept for ever":    {KeepTransactions: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lacks := map[string]string{"puller/missing page is noticed": "Microsoft Graph leads from page to page by links and tells no total"}
			if name == replayed {
				lacks["puller/clock that is put right in between loses nothing"] = "the newest of several states is told by the time of its change, and by nothing else"
			}
			providertest.Run(t, providertest.Harness{
				Registration: Registration, Many: 2*pageSize + 10, Secrets: []string{secretToken},
				Lacks: lacks,
				Open: func(t testing.TB) (any, providertest.World) {
					b := setup(t, opt)
					return b.conn, simWorld{b}
				},
			})
		})
	}
}
