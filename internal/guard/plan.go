package guard

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// PlanAction says what would happen to an entry.
type PlanAction string

// The actions of a plan.
const (
	PlanCreate    PlanAction = "create"    // a booking would be made
	PlanChange    PlanAction = "change"    // its booking would change
	PlanLink      PlanAction = "link"      // it is known from another system already
	PlanRemove    PlanAction = "remove"    // it is gone, and its booking would be cancelled unless another system has it
	PlanHold      PlanAction = "hold"      // its removal would wait for a person
	PlanPush      PlanAction = "push"      // a copy waits to be written or removed there
	PlanReject    PlanAction = "reject"    // it cannot be understood
	PlanSkip      PlanAction = "skip"      // it would be left alone, for the reason told
	PlanUnchanged PlanAction = "unchanged" // known as it is; counted and not listed
)

// PlanEntry is one entry of a plan.
type PlanEntry struct {
	Action     PlanAction           `json:"action"`
	ExternalID string               `json:"external_id,omitempty"`
	BookingID  domain.BookingID     `json:"booking_id,omitempty"` // of one that exists
	Category   domain.Category      `json:"category,omitempty"`
	Status     domain.BookingStatus `json:"status,omitempty"`
	When       domain.When          `json:"when,omitzero"`
	Title      string               `json:"title,omitempty"` // "Private" for private entries
	Fields     []string             `json:"fields,omitempty"`
	Reason     string               `json:"reason"`
	// Writes are the other systems that would be written to because of it.
	Writes []PlanWrite `json:"writes,omitempty"`
}

// PlanWrite is a write to another system.
type PlanWrite struct {
	IntegrationID domain.IntegrationID `json:"integration_id"`
	Op            domain.PushOp        `json:"op"`
}

// PlanLimits bound a plan.
type PlanLimits struct {
	Entries int           `json:"entries"` // read from the system at most
	Listed  int           `json:"listed"`  // told at most; all are counted
	Reads   int           `json:"reads"`   // missing entries asked for at most
	Time    time.Duration `json:"-"`
	Seconds int           `json:"seconds"`
}

// DefaultPlanLimits fit into an answer to a person who waits.
var DefaultPlanLimits = PlanLimits{Entries: 10_000, Listed: 1000, Reads: 50, Time: 20 * time.Second, Seconds: 20}

// Plan tells what a full reading of a system would do now.
type Plan struct {
	Entries  []PlanEntry        `json:"entries"`
	Counts   map[PlanAction]int `json:"counts"`
	Writes   int                `json:"writes"` // to other systems
	Read     int                `json:"read"`
	Pages    int                `json:"pages"`
	Complete bool               `json:"complete"`          // the whole system was read, so that missing entries are known
	Stopped  string             `json:"stopped,omitempty"` // the limit that ended it early, in words
	Unlisted int                `json:"unlisted"`          // entries that would be told if there were room
	Limits   PlanLimits         `json:"limits"`
	Note     string             `json:"note"`
}

const planNote = "Each page was decided on by itself and nothing was stored: an entry that is on two pages is told twice."

// errPlan ends a transaction that must leave nothing behind.
var errPlan = errors.New("only a plan")

// planner is one plan while it is made.
type planner struct {
	*Plan
	g    *Guard
	c    connection
	end  time.Time
	seen map[string]bool
	// asked is how many entries were asked for by themselves, going how many would be removed or held so far.
	asked, going int
}

// mayAsk uses up one of the questions that a plan may put about single entries.
func (p *planner) mayAsk() bool {
	if p.asked >= p.Limits.Reads || !time.Now().Before(p.end) {
		return false
	}
	p.asked++
	return true
}

// Plan reads a system from its beginning and tells what that would do. It uses the code that applies, in transactions
// that are rolled back, so nothing is stored or told to anybody. Errors are those of reading; KindInvalid for a system
// that cannot be listed.
func (g *Guard) Plan(ctx context.Context, org domain.OrgID, id domain.IntegrationID, l PlanLimits) (Plan, error) {
	p := planner{Plan: &Plan{Entries: []PlanEntry{}, Counts: map[PlanAction]int{}, Limits: l, Note: planNote}, g: g, end: time.Now().Add(l.Time), seen: map[string]bool{}}
	err := g.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
		p.c, err = g.open(ctx, tx, id)
		return err
	})
	if err != nil {
		return *p.Plan, err
	}
	puller, ok := provider.As[provider.Puller](p.c.opened)
	if !ok {
		return *p.Plan, domain.Invalid("integration", "its system cannot be listed, so there is nothing to plan")
	}
	cursor := ""
	for {
		if p.over() {
			break
		}
		page, err := puller.Pull(ctx, cursor)
		if err != nil {
			return *p.Plan, err
		}
		if page.Changes, err = p.look(ctx, page); err != nil {
			return *p.Plan, err
		}
		if err := p.page(ctx, page); err != nil {
			return *p.Plan, err
		}
		if !page.More {
			p.Complete = page.Complete
			break
		}
		cursor = page.Next
	}
	if p.Complete && p.Stopped == "" {
		if err := p.absent(ctx); err != nil {
			return *p.Plan, err
		}
	}
	err = p.waiting(ctx)
	return *p.Plan, err
}

// over notes the limit that ends the plan early.
func (p *planner) over() bool {
	switch {
	case p.Read >= p.Limits.Entries:
		p.Stopped = "as many entries were read as a plan may"
	case !time.Now().Before(p.end):
		p.Stopped = "the time of a plan is over"
	}
	return p.Stopped != ""
}

func (p *planner) tell(e PlanEntry) {
	p.Counts[e.Action]++
	p.Writes += len(e.Writes)
	switch {
	case e.Action == PlanUnchanged:
	case len(p.Entries) < p.Limits.Listed:
		p.Entries = append(p.Entries, e)
	default:
		p.Unlisted++
	}
}

// look returns the changes of a page with those of the known entries that it wants looked at, as a sync run does.
func (p *planner) look(ctx context.Context, page provider.Page) ([]domain.Change, error) {
	reader, ok := provider.As[provider.Reader](p.c.opened)
	if !ok {
		return page.Changes, nil
	}
	doubted, err := Doubted(ctx, p.g.Store, p.c.OrgID, p.c.ID, page)
	if err != nil {
		return nil, err
	}
	changes := page.Changes
	for _, l := range doubted {
		p.seen[l.ExternalID] = true // whatever becomes of it is told here
		if !p.mayAsk() {
			p.tell(PlanEntry{Action: PlanSkip, ExternalID: l.ExternalID, BookingID: l.BookingID, Reason: "the system doubts it; a run would ask for it by itself, and a plan asks for so many only"})
			continue
		}
		read, err := reader.Read(ctx, l.ExternalID)
		change, news, err := Answered(l.ExternalID, read, err)
		if err != nil {
			return nil, err
		}
		if news {
			changes = append(changes, change)
		}
	}
	return changes, nil
}

func entryOf(c domain.Change) PlanEntry {
	e := PlanEntry{ExternalID: c.ExternalID, Category: c.Category, Status: c.Status, When: c.When, Title: c.Details.Title}
	if c.Private {
		e.Title = "Private"
	}
	return e
}

func (p *planner) page(ctx context.Context, page provider.Page) error {
	p.Pages++
	p.Read += len(page.Changes) + len(page.Problems)
	for _, x := range page.Problems {
		p.seen[x.ExternalID] = true
		p.tell(PlanEntry{Action: PlanReject, ExternalID: x.ExternalID, Reason: "it cannot be understood"})
	}
	for chunk := range slices.Chunk(page.Changes, apply.MaxBatch) {
		var told []PlanEntry
		var going int
		err := p.g.Store.Tenant(ctx, p.c.OrgID, func(ctx context.Context, tx *store.Tx) (err error) {
			if told, going, err = p.rehearse(ctx, tx, chunk); err != nil {
				return err
			}
			return errPlan
		})
		if !errors.Is(err, errPlan) {
			return err
		}
		p.going += going
		for _, e := range told {
			p.tell(e)
		}
		for _, c := range chunk {
			p.seen[c.ExternalID] = true // one that the system removed is not missing besides
		}
	}
	return nil
}

// rehearse decides a piece of a page in a transaction that the caller rolls back. going is how many more entries would go.
func (p *planner) rehearse(ctx context.Context, tx *store.Tx, chunk []domain.Change) (told []PlanEntry, going int, err error) {
	held, going, err := sift(ctx, tx, p.c.Integration, Since(tx.Now, time.Time{}), p.going, chunk, func(int) domain.Cause { return domain.Cause{} })
	if err != nil {
		return nil, 0, err
	}
	passed := make([]domain.Change, 0, len(chunk))
	for n, c := range chunk {
		if !held[n] {
			passed = append(passed, c)
			continue
		}
		e := entryOf(c)
		e.Action, e.Reason = PlanHold, "removals that are many at once, or come while a wedding is near or on, wait for a person"
		told = append(told, e)
	}
	r, err := apply.Changes(ctx, tx, p.c.Integration, passed)
	if err != nil {
		return nil, 0, err
	}
	writes := map[domain.BookingID][]PlanWrite{}
	for _, x := range r.Pushes {
		writes[x.BookingID] = append(writes[x.BookingID], PlanWrite{IntegrationID: x.IntegrationID, Op: x.Op})
	}
	for n, o := range r.Outcomes {
		e := entryOf(passed[n])
		e.BookingID, e.Reason = o.BookingID, o.Reason
		e.Writes = writes[o.BookingID]
		delete(writes, o.BookingID)
		switch o.Effect {
		case reconcile.EffectCreated:
			e.Action, e.BookingID = PlanCreate, "" // its id would be another one
			if e.Reason == "" {
				e.Reason = "it is not known here"
			}
		case reconcile.EffectUpdated:
			e.Action = PlanChange
			last, err := tx.BookingChanges(ctx, o.BookingID, 0, 1)
			if err != nil {
				return nil, 0, err
			}
			for _, c := range last {
				e.Fields = c.Fields
			}
			if e.Reason == "" {
				e.Reason = "it was changed there"
			}
		case reconcile.EffectLinked:
			e.Action = PlanLink
		case reconcile.EffectRemoved:
			e.Action = PlanRemove
			if e.Reason == "" {
				e.Reason = "the system says that it is gone"
			}
		case reconcile.EffectUnchanged:
			e.Action = PlanUnchanged
		case reconcile.EffectEcho:
			e.Action = PlanUnchanged
			if len(e.Writes) > 0 {
				e.Action = PlanSkip
			}
		case reconcile.EffectRejected:
			e.Action = PlanReject
		default:
			e.Action = PlanSkip
		}
		told = append(told, e)
	}
	return told, going, nil
}

// absent tells of entries that the listing did not contain.
func (p *planner) absent(ctx context.Context) error {
	var unseen, prove []domain.Link
	reader, askable := provider.As[provider.Reader](p.c.opened)
	bookings := map[domain.BookingID]domain.Booking{}
	err := p.g.Store.Tenant(ctx, p.c.OrgID, func(ctx context.Context, tx *store.Tx) error {
		unseen, prove = nil, nil
		var ids []domain.BookingID
		for _, mirrors := range []bool{false, true} {
			links, err := tx.OwnLinks(ctx, p.c.ID, mirrors)
			if err != nil {
				return err
			}
			for _, l := range links {
				if unlister, ok := provider.As[provider.Unlister](p.c.opened); ok && unlister.Unlisted(l.ExternalID) {
					continue
				}
				if !p.seen[l.ExternalID] && !p.seen[store.Entry(l.ExternalID)] {
					unseen, ids = append(unseen, l), append(ids, l.BookingID)
				}
			}
		}
		var err error
		if bookings, err = tx.BookingsByID(ctx, ids); err != nil {
			return err
		}
		if prove, _, err = siftAbsent(ctx, tx, p.c.Integration, domain.SyncRun{StartedAt: tx.Now}, p.going, unseen, askable); err != nil {
			return err
		}
		return errPlan
	})
	if !errors.Is(err, errPlan) {
		return err
	}
	proved := make(map[domain.LinkID]bool, len(prove))
	for _, l := range prove {
		proved[l.ID] = true
	}
	for _, l := range unseen {
		b := bookings[l.BookingID]
		e := PlanEntry{Action: PlanHold, ExternalID: l.ExternalID, BookingID: b.ID, Category: b.Category, Status: b.Status, When: b.When, Title: b.Details.Title,
			Reason: "it is missing there, and its removal would wait for a person: too many at once, the system cannot be asked, or a wedding is near or on"}
		if b.Private {
			e.Title = "Private"
		}
		if proved[l.ID] {
			e.Action, e.Reason = PlanRemove, "it is missing there; it would be asked for by itself first"
			if p.mayAsk() {
				_, err := reader.Read(ctx, l.ExternalID)
				switch {
				case domain.KindOf(err) == domain.KindNotFound:
					e.Reason = "the system says that it is gone"
				case err != nil:
					return err
				default:
					e.Action, e.Reason = PlanSkip, "the listing did not contain it, but the system has it"
				}
			}
			if e.Action == PlanRemove && l.Mirror {
				e.Action, e.Reason = PlanPush, "our copy was deleted there and would be written again"
			}
		}
		p.tell(e)
	}
	return nil
}

// waiting tells of the copies that are to be written there or removed.
func (p *planner) waiting(ctx context.Context) error {
	return p.g.Store.TenantRead(ctx, p.c.OrgID, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.WaitingPushes(ctx, p.c.ID, p.Limits.Listed)
		if err != nil {
			return err
		}
		for _, x := range list {
			reason := "a copy waits to be written there"
			if x.Op == domain.PushRemove {
				reason = "a copy waits to be removed there"
			}
			p.tell(PlanEntry{Action: PlanPush, BookingID: x.BookingID, Reason: reason})
		}
		return nil
	})
}
