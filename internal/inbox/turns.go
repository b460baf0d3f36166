package inbox

import (
	"container/heap"
	"container/list"

	"github.com/wedsync/wedsync/internal/domain"
)

// turns decides which of the workflows that are due is told next, in three steps:
//
//   - three picks in four go to the most urgent priority that waits; every fourth goes to all alike, so that no
//     organisation can shut others out by calling its own work urgent.
//   - among organisations each pick goes to the one that has had the fewest turns (start-time fair queueing), so that one
//     with a thousand connections gets as much as one with a single connection. One that comes anew begins with the one
//     that is furthest behind: it has no claim from before.
//   - inside an organisation the most urgent workflow goes first, then the one that has waited longest; every eighth turn
//     of the organisation goes to its longest waiting one whatever the priority.
//
// So a workflow of an organisation waits for at most a known number of turns of each other organisation, whatever
// arrives. It is not safe for concurrent use.
type turns struct {
	lanes [domain.PriorityBulk + 1]lane // by priority; lane 0 holds everybody
	orgs  map[domain.OrgID]*orgTurns
	n     int // targets in line
	picks uint64
	order uint64
}

const (
	// fairEvery is how often a pick does not ask for priority; longestEvery the same inside an organisation.
	fairEvery    = 4
	longestEvery = 8
	// maxIdleOrgs bounds the organisations whose turns are remembered though they have nothing in line.
	maxIdleOrgs = 10_000
	everybody   = 0
)

// orgTurns is an organisation with what it has in line.
type orgTurns struct {
	id     domain.OrgID
	n      int
	turns  uint64
	lines  [domain.PriorityBulk + 1]list.List // by priority, of *target, in order of arrival
	tag    [domain.PriorityBulk + 1]uint64    // turns had, by lane, counted from where it came in
	index  [domain.PriorityBulk + 1]int       // in the lane's heap; -1 when not there
	active [domain.PriorityBulk + 1]uint64    // order of coming into the lane
}

// lane is a heap of organisations, the one with the fewest turns first.
type lane struct {
	number int
	orgs   []*orgTurns
	passed uint64 // where those that come anew begin when the lane is empty
}

func (l *lane) Len() int { return len(l.orgs) }
func (l *lane) Less(i, j int) bool {
	a, b := l.orgs[i], l.orgs[j]
	if a.tag[l.number] != b.tag[l.number] {
		return a.tag[l.number] < b.tag[l.number]
	}
	return a.active[l.number] < b.active[l.number]
}
func (l *lane) Swap(i, j int) {
	l.orgs[i], l.orgs[j] = l.orgs[j], l.orgs[i]
	l.orgs[i].index[l.number], l.orgs[j].index[l.number] = i, j
}
func (l *lane) Push(x any) {
	o := x.(*orgTurns)
	o.index[l.number] = len(l.orgs)
	l.orgs = append(l.orgs, o)
}
func (l *lane) Pop() any {
	o := l.orgs[len(l.orgs)-1]
	l.orgs[len(l.orgs)-1] = nil
	l.orgs = l.orgs[:len(l.orgs)-1]
	o.index[l.number] = -1
	return o
}

func newTurns() turns {
	t := turns{orgs: make(map[domain.OrgID]*orgTurns)}
	for n := range t.lanes {
		t.lanes[n].number = n
	}
	return t
}

// add puts a target in line behind those of its organisation and priority.
func (ts *turns) add(t *target) {
	o := ts.orgs[t.org]
	if o == nil {
		ts.forgetIdle()
		o = &orgTurns{id: t.org}
		for n := range o.index {
			o.index[n] = -1
		}
		ts.orgs[t.org] = o
	}
	p := t.errand.priority.OrNormal()
	ts.order++
	t.line, t.order = p, ts.order
	t.place = o.lines[p].PushBack(t)
	ts.n++
	o.n++
	ts.enter(o, everybody)
	ts.enter(o, int(p))
}

// waiting returns how many targets of an organisation are in line.
func (ts *turns) waiting(org domain.OrgID) int {
	if o := ts.orgs[org]; o != nil {
		return o.n
	}
	return 0
}

// enter puts an organisation into a lane unless it is there.
func (ts *turns) enter(o *orgTurns, number int) {
	if o.index[number] >= 0 {
		return
	}
	l := &ts.lanes[number]
	if len(l.orgs) > 0 {
		l.passed = max(l.passed, l.orgs[0].tag[number])
	}
	o.tag[number] = max(o.tag[number], l.passed)
	ts.order++
	o.active[number] = ts.order
	heap.Push(l, o)
}

// raise moves a target that is in line to its errand's priority if that is more urgent now.
func (ts *turns) raise(t *target) {
	p := t.errand.priority.OrNormal()
	if t.place == nil || p >= t.line {
		return
	}
	o := ts.orgs[t.org]
	ts.leave(o, t)
	t.line = p
	t.place = o.lines[p].PushBack(t)
	ts.n++
	o.n++
	ts.enter(o, everybody)
	ts.enter(o, int(p))
}

// leave takes a target out of its line, and its organisation out of lanes in which it has nothing any more.
func (ts *turns) leave(o *orgTurns, t *target) {
	o.lines[t.line].Remove(t.place)
	t.place = nil
	ts.n--
	o.n--
	if o.lines[t.line].Len() == 0 {
		ts.exit(o, int(t.line))
	}
	if o.n == 0 {
		ts.exit(o, everybody)
	}
}

func (ts *turns) exit(o *orgTurns, number int) {
	l := &ts.lanes[number]
	l.passed = max(l.passed, l.orgs[0].tag[number])
	heap.Remove(l, o.index[number])
}

// pick takes the next target out of the line; nil when nobody is in it.
func (ts *turns) pick() *target {
	if ts.n == 0 {
		return nil
	}
	ts.picks++
	number := everybody
	if ts.picks%fairEvery != 0 {
		for number = 1; len(ts.lanes[number].orgs) == 0; number++ {
		}
	}
	o := ts.lanes[number].orgs[0]
	t := o.choose(number)
	// The turn counts before the organisation may leave, so that coming back at once does not undo it.
	for _, charged := range []int{everybody, int(t.line)} {
		l := &ts.lanes[charged]
		o.tag[charged]++
		heap.Fix(l, o.index[charged])
	}
	ts.leave(o, t)
	return t
}

// choose says which target an organisation spends its turn on.
func (o *orgTurns) choose(number int) *target {
	o.turns++
	var longest, urgent *target
	for p := domain.PriorityUrgent; p <= domain.PriorityBulk; p++ {
		e := o.lines[p].Front()
		if e == nil {
			continue
		}
		t := e.Value.(*target)
		if urgent == nil {
			urgent = t
		}
		if longest == nil || t.order < longest.order {
			longest = t
		}
	}
	if o.turns%longestEvery == 0 {
		return longest
	}
	if number == everybody {
		return urgent
	}
	return o.lines[number].Front().Value.(*target)
}

// forgetIdle drops organisations with nothing in line when there are many. Those with turns to make up for are few.
func (ts *turns) forgetIdle() {
	if len(ts.orgs) < maxIdleOrgs || len(ts.orgs) < 2*len(ts.lanes[everybody].orgs) {
		return
	}
	for id, o := range ts.orgs {
		if o.n == 0 {
			delete(ts.orgs, id)
		}
	}
}
