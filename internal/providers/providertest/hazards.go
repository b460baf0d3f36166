package providertest

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wedsync/wedsync/internal/provider"
)

// Hazard is a way in which the outside goes wrong that every connection must bear. Run ends with the case "every hazard is met
// or explained": it fails for a hazard that a provider's abilities expose it to, that no case met, and for which Harness.Lacks
// has no reason under "hazard/" and the hazard.
type Hazard string

// The hazards.
const (
	HazardRevoked     Hazard = "401 in the middle of a run"
	HazardRateLimit   Hazard = "429 with Retry-After"
	HazardRateMute    Hazard = "429 without Retry-After"
	HazardServerError Hazard = "5xx"
	HazardCutBody     Hazard = "cut-off body"
	HazardSlowPage    Hazard = "slow page"
	HazardRepeatPage  Hazard = "duplicate page"
	HazardMissingPage Hazard = "missing page"
	HazardLostHook    Hazard = "lost hook"
	HazardLateHook    Hazard = "late hook"
	HazardRepeatHook  Hazard = "duplicate hook"
	HazardHookOrder   Hazard = "hooks in another order"
	HazardLostAnswer  Hazard = "lost answer after the work was done"
	HazardSkew        Hazard = "clock minutes ahead or behind"
)

// Hazards lists them all.
func Hazards() []Hazard {
	return []Hazard{HazardRevoked, HazardRateLimit, HazardRateMute, HazardServerError, HazardCutBody, HazardSlowPage, HazardRepeatPage, HazardMissingPage,
		HazardLostHook, HazardLateHook, HazardRepeatHook, HazardHookOrder, HazardLostAnswer, HazardSkew}
}

// ofFault is the hazard that a fault is by itself. Some faults are one only at a certain moment; the case says so then.
var ofFault = map[Fault]Hazard{FaultRateLimit: HazardRateLimit, FaultRateLimitMute: HazardRateMute, FaultServerError: HazardServerError,
	FaultCutBody: HazardCutBody, FaultRepeatPage: HazardRepeatPage, FaultMissingPage: HazardMissingPage, FaultLoseAnswer: HazardLostAnswer}

// exposed reports whether abilities expose a connection to a hazard at all.
func (h Hazard) exposed(opened any) bool {
	can := provider.AbilitiesOf(opened)
	_, pulls := provider.As[provider.Puller](opened)
	_, writes := provider.As[provider.Writer](opened)
	_, hears := provider.As[provider.WebhookSource](opened)
	_, watches := provider.As[provider.Watcher](opened)
	switch h {
	case HazardSlowPage, HazardRepeatPage, HazardMissingPage:
		return pulls
	case HazardLostAnswer:
		return writes
	case HazardLostHook, HazardLateHook, HazardRepeatHook, HazardHookOrder:
		return hears || watches
	case HazardRevoked:
		return pulls || writes
	case HazardRateLimit, HazardRateMute, HazardServerError, HazardCutBody:
		return pulls || writes || watches || can[provider.CanRead] || can[provider.CanCheck]
	case HazardSkew:
	}
	return true
}

// record is what the cases of one Run met.
type record struct {
	mu       sync.Mutex
	met      map[Hazard]bool
	known    map[string]bool // names of cases, with their ability
	all, ran int
}

func (r *record) meet(h Hazard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.met[h] = true
}

func (r *record) listed(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[name] = true
	r.all++
}

func (r *record) begun() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ran++
}

// recorded is a world that notes which hazards it was asked for.
type recorded struct {
	World
	record *record
}

func (w recorded) Fault(t testing.TB, f Fault) bool {
	ok := w.World.Fault(t, f)
	if h, is := ofFault[f]; ok && is {
		w.record.meet(h)
	}
	return ok
}

// matrix is the last case of a Run.
func matrix(t *testing.T, h Harness, rec *record, opened any) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for name := range h.Lacks {
		hazard, is := strings.CutPrefix(name, "hazard/")
		if is && !slices.Contains(Hazards(), Hazard(hazard)) || !is && name != "origin" && !rec.known[name] {
			t.Errorf("Harness.Lacks names %q, which is no case and no hazard", name)
		}
	}
	if rec.ran < rec.all {
		t.Skipf("only %d of %d cases were chosen to run", rec.ran, rec.all)
	}
	for _, z := range Hazards() {
		why := h.Lacks["hazard/"+string(z)]
		switch exposed := z.exposed(opened); {
		case !exposed && why != "":
			t.Errorf("%s: there is a reason for lacking it, and nothing exposes the provider to it", z)
		case !exposed:
			t.Logf("%-40s no ability is exposed to it", z)
		case rec.met[z] && why != "":
			t.Errorf("%s: there is a reason for lacking it, and a case met it", z)
		case rec.met[z]:
			t.Logf("%-40s met", z)
		case len(why) < 20:
			t.Errorf("%s: no case met it, and Harness.Lacks has no reason under %q", z, "hazard/"+string(z))
		default:
			t.Logf("%-40s cannot happen here: %s", z, why)
		}
	}
}
