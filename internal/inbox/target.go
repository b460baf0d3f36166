package inbox

import (
	"container/list"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
)

// errand is what one workflow must be told. Errands of the same workflow add up, which is what makes one signal out of
// many deliveries.
type errand struct {
	deliveries bool
	ids        []domain.DeliveryID
	more       bool // there are deliveries beyond ids
	pushes     int
	changed    bool
	version    int64
	start      *contract.ConflictInput
	replay     *contract.ReplayInput
	timeline   *contract.TimelineInput
	hold       *contract.HoldInput
	onboarding *contract.OnboardInput
	notify     domain.OrgID // whose people may have to be told of something
	alerts     domain.OrgID // whose connections changed
	upkeep     *contract.MaintenanceInput
	wedding    *contract.WeddingInput
	recheck    []domain.BookingID
	rows       []int64         // outbox rows to delete once all of the above is told
	priority   domain.Priority // of the most urgent delivery; 0 = nothing said

	traces     []domain.Trace // of the deliveries, and of pushes
	pushTraces []domain.Trace
}

// maxRowsPerErrand bounds the outbox rows remembered per workflow. Rows beyond it are claimed again later.
const maxRowsPerErrand = 1000

// maxRechecks bounds the bookings named to one conflict; it has two, and a recheck reads them from storage anyway.
const maxRechecks = 8

func (e *errand) empty() bool {
	return !e.deliveries && e.pushes == 0 && !e.changed && e.start == nil && e.replay == nil && e.timeline == nil && e.hold == nil && e.onboarding == nil && e.notify == "" && e.alerts == "" && e.upkeep == nil && e.wedding == nil &&
		len(e.recheck) == 0 && len(e.rows) == 0
}

// addID names a delivery. It reports whether the id was kept: beyond the bound of a signal only more is.
func (e *errand) addID(id domain.DeliveryID, p domain.Priority, room bool) bool {
	e.deliveries = true
	e.atLeast(p)
	if !room || len(e.ids) >= contract.MaxIDsPerSignal {
		e.more = true
		return false
	}
	e.ids = append(e.ids, id)
	return true
}

// atLeast makes an errand as urgent as p. An errand without deliveries is a normal one.
func (e *errand) atLeast(p domain.Priority) {
	if p = p.OrNormal(); e.priority == 0 || p < e.priority {
		e.priority = p
	}
}

// merge adds o to e. It returns how many of o's ids were kept.
func (e *errand) merge(o errand, room int) (kept int) {
	if o.priority != 0 || o.pushes > 0 || o.changed || o.start != nil || len(o.recheck) > 0 {
		e.atLeast(o.priority)
	}
	if o.deliveries {
		e.deliveries = true
		e.more = e.more || o.more
		if len(e.ids) == 0 && len(o.ids) <= room {
			e.ids, kept = o.ids, len(o.ids)
		} else {
			for _, id := range o.ids {
				if e.addID(id, e.priority, kept < room) {
					kept++
				}
			}
		}
	}
	e.pushes = max(e.pushes, o.pushes)
	e.traces, e.pushTraces = addTraces(e.traces, o.traces), addTraces(e.pushTraces, o.pushTraces)
	if o.changed {
		e.changed = true
		e.version = max(e.version, o.version)
	}
	if o.start != nil {
		e.start = o.start
	}
	if o.replay != nil {
		e.replay = o.replay
	}
	if o.timeline != nil {
		e.timeline = o.timeline
	}
	if o.hold != nil {
		e.hold = o.hold
	}
	if o.onboarding != nil {
		e.onboarding = o.onboarding
	}
	if o.notify != "" {
		e.notify = o.notify
	}
	if o.wedding != nil {
		e.wedding = o.wedding
	}
	if o.alerts != "" {
		e.alerts = o.alerts
	}
	if o.upkeep != nil {
		e.upkeep = o.upkeep
	}
	for _, b := range o.recheck {
		if len(e.recheck) < maxRechecks && !slices.Contains(e.recheck, b) {
			e.recheck = append(e.recheck, b)
		}
	}
	for _, row := range o.rows {
		if len(e.rows) < maxRowsPerErrand && !slices.Contains(e.rows, row) {
			e.rows = append(e.rows, row)
		}
	}
	return kept
}

// target is one workflow with its errand. It stays known for the spacing after its last signal.
type target struct {
	key      string // workflow id
	org      domain.OrgID
	ref      flow.IntegrationRef
	conflict domain.ConflictID
	errand   errand
	since    time.Time // when the errand began
	due      time.Time // earliest time of the next signal
	inFlight bool
	failures int // in a row, for this workflow only
	index    int // in the heap; -1 when not there

	// Its place in line, nil when it is not there, with the priority of the line and the order of coming into it.
	place *list.Element
	line  domain.Priority
	order uint64
}

// targetHeap orders targets by due time.
type targetHeap []*target

func (h targetHeap) Len() int           { return len(h) }
func (h targetHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h targetHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *targetHeap) Push(x any) {
	t := x.(*target)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *targetHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
