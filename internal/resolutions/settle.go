package resolutions

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// Reading is what a system answered when it was asked what it shows.
type Reading struct {
	Right  bool
	Reason string // why not, in words, without personal data
	Later  bool   // it could not be asked now
}

// Progress is what Settle came to.
type Progress struct {
	Step  string // in words
	Again bool   // there is more to be done at once: look again
}

const (
	// maxWrong is how often a system may show something else than it took before that counts as a refusal.
	maxWrong = 8
	// held is how long a wish waits for its turn at the most, should nobody release it.
	held = 15 * time.Minute
	// actor is who carries decisions out.
	actor = "system:resolution"
)

// stuckWait is the wait before a system that is stuck is asked to take the change back once more.
func stuckWait(tries int) time.Duration { return min(time.Minute<<min(tries, 10), 6*time.Hour) }

// Settle takes a step of a decision in one transaction: seen is what Look said, and answers what the systems said that it
// asked for. What has changed since Look is not judged by it. It may run any number of times.
func Settle(ctx context.Context, tx *store.Tx, seen Outlook, answers map[domain.IntegrationID]Reading) (Progress, error) {
	c, err := locked(ctx, tx, seen.Conflict.ID, "")
	if err != nil {
		return Progress{}, err
	}
	if !c.State.Carrying() {
		return Progress{Step: "closed"}, nil
	}
	if c.Version != seen.Conflict.Version {
		return Progress{Step: "it changed while it was looked at", Again: true}, nil
	}
	o, err := look(ctx, tx, c)
	if err != nil {
		return Progress{}, err
	}
	if o.Booking.Version != seen.Booking.Version {
		answers = nil
	}
	if o.overtaken {
		return Progress{Step: "the booking was changed by somebody else meanwhile"}, judgeAnew(ctx, tx, c, "the booking was changed by somebody else while the decision was carried out")
	}
	if c.State == domain.ConflictResolving {
		return o.settleForward(ctx, tx, answers)
	}
	return o.settleBack(ctx, tx, answers)
}

func (o *Outlook) settleForward(ctx context.Context, tx *store.Tx, answers map[domain.IntegrationID]Reading) (Progress, error) {
	waiting, concerned, read := 0, 0, 0
	var reason string
	for n := range o.Systems {
		s := &o.Systems[n]
		if a, ok := answers[s.Integration.ID]; ok && s.Ask {
			switch {
			case a.Right:
				s.step(domain.StepVerified, a.Reason, tx.Now)
			case a.Later:
				s.Step.Reason = a.Reason
			default:
				s.Step.Tries, s.Step.Reason = s.Step.Tries+1, a.Reason
				if s.Step.Tries >= maxWrong {
					s.step(domain.StepRefused, a.Reason, tx.Now)
				}
			}
		}
		switch s.Step.State {
		case domain.StepRefused:
			entry := domain.AuditEntry{Actor: actor, Action: "conflict.undo", Reason: s.Step.Reason}
			if err := o.turnRound(ctx, tx, s.Integration.ID, entry); err != nil {
				return Progress{}, err
			}
			return Progress{Step: "a system refused, so the decision is taken back: " + entry.Reason, Again: true},
				emit(ctx, tx, domain.TopicConflictRefused, o.Conflict, map[string]string{"integration": string(s.Integration.ID), "by": o.Conflict.Resolution.By})
		case domain.StepWaiting:
			waiting, concerned = waiting+1, concerned+1
		case domain.StepWritten:
			concerned, reason = concerned+1, s.Step.Reason
		case domain.StepVerified:
			concerned, read = concerned+1, read+1
		case domain.StepByHand, domain.StepToUndo, domain.StepUndoing, domain.StepUndone, domain.StepStuck:
		}
	}
	switch {
	case waiting > 0:
		return Progress{Step: fmt.Sprintf("waiting for %d of %d systems to take the change", waiting, concerned)}, o.save(ctx, tx)
	case read < concerned && reason != "":
		return Progress{Step: reason}, o.save(ctx, tx)
	case read < concerned:
		return Progress{Step: "the systems are read back", Again: true}, o.save(ctx, tx)
	}
	return Progress{Step: fmt.Sprintf("resolved; %d systems read back", read)}, o.close(ctx, tx, read)
}

// close ends a decision that every system shows, if the two really do not clash any more.
func (o *Outlook) close(ctx context.Context, tx *store.Tx, read int) error {
	c := o.Conflict
	c.Resolution.Steps = o.steps()
	found, still, err := apply.ClashOf(ctx, tx, c)
	if err != nil {
		return err
	}
	tentative := c.Resolution.Action == domain.ActionTentative
	if still && !(tentative && found.Tentative) {
		return judgeAnew(ctx, tx, c, "they clash again, by a change that came while the decision was carried out")
	}
	c.State, c.ClosedAt = domain.ConflictResolved, &tx.Now
	if still {
		c.State = domain.ConflictDismissed
		if err := tx.AcceptWhileTentative(ctx, c.ID, reconcile.AcceptedWhileTentative(found)); err != nil {
			return err
		}
	}
	return record(ctx, tx, c, domain.AuditEntry{Actor: actor, Action: "conflict.verify", Reason: fmt.Sprintf("resolved; %d systems read back", read),
		Subject: "conflict/" + string(c.ID), After: map[string]string{"state": string(c.State), "by": c.Resolution.By}}, domain.TopicConflictClosed)
}

// turnRound puts the booking back here and begins to take the decision back in the systems: the one that refused first, if
// one did, then those that have not been written, then the others, the last written first. why says who turns it round, and
// the reason.
func (o *Outlook) turnRound(ctx context.Context, tx *store.Tx, by domain.IntegrationID, why domain.AuditEntry) error {
	c := o.Conflict
	steps := o.steps()
	slices.SortStableFunc(steps, func(a, b domain.ResolutionStep) int {
		rank := func(s domain.ResolutionStep) time.Time {
			switch {
			case s.IntegrationID == by:
				return tx.Now.Add(2 * time.Hour)
			case s.WrittenAt == nil:
				return tx.Now.Add(time.Hour)
			}
			return *s.WrittenAt
		}
		return rank(b).Compare(rank(a))
	})
	for n := range steps {
		if st := &steps[n]; st.State != domain.StepByHand {
			st.State, st.At, st.Tries = domain.StepToUndo, tx.Now, 0
			if st.IntegrationID == by {
				st.Reason = "it refused: " + why.Reason
			} else {
				st.Reason = ""
			}
		} else {
			st.State, st.Reason = domain.StepUndone, ""
		}
	}
	booking, before := o.Booking, c.Resolution.Before
	booking.ResourceID, booking.Status, booking.When = before.ResourceID, before.Status, before.When
	c.State, c.Resolution.Error, c.Resolution.Steps = domain.ConflictUndoing, why.Reason, steps
	why.Subject = "conflict/" + string(c.ID)
	why.Before = map[string]string{"by": c.Resolution.By, "action": string(c.Resolution.Action)}
	why.After = map[string]string{"state": string(c.State), "booking": string(booking.ID)}
	if by != "" {
		why.After["integration"] = string(by)
	}
	if err := record(ctx, tx, c, why, ""); err != nil {
		return err
	}
	if _, err := apply.Manual(ctx, tx, booking, why.Actor, "a decision is taken back", domain.Cause{Kind: domain.CauseResolution, ID: string(c.ID)}); err != nil {
		return err
	}
	if err := tx.HoldPushes(ctx, booking.ID, tx.Now.Add(held), "waits for its turn while a decision is taken back"); err != nil {
		return err
	}
	return emit(ctx, tx, domain.TopicConflictUpdated, c, nil)
}

func (o *Outlook) settleBack(ctx context.Context, tx *store.Tx, answers map[domain.IntegrationID]Reading) (Progress, error) {
	left, stuck, again := 0, 0, false
	total := 0
	for n := range o.Systems {
		s := &o.Systems[n]
		if s.Step.State == domain.StepByHand {
			s.step(domain.StepUndone, "", tx.Now)
		}
		total++
		if s.turn && s.Step.State != domain.StepUndone {
			a, asked := answers[s.Integration.ID]
			if err := s.takeBack(ctx, tx, o.Booking.ID, a, asked && s.Ask, &again); err != nil {
				return Progress{}, err
			}
		}
		switch s.Step.State {
		case domain.StepUndone:
		case domain.StepStuck:
			left, stuck = left+1, stuck+1
		case domain.StepWaiting, domain.StepWritten, domain.StepVerified, domain.StepRefused, domain.StepByHand, domain.StepToUndo, domain.StepUndoing:
			left++
		}
	}
	c := &o.Conflict
	if left == 0 {
		c.Resolution.Steps = o.steps()
		return Progress{Step: "the decision was taken back everywhere: " + c.Resolution.Error}, judgeAnew(ctx, tx, *c, c.Resolution.Error)
	}
	out := Progress{Step: fmt.Sprintf("taking the decision back: %d of %d systems are as before; %s", total-left, total, c.Resolution.Error), Again: again}
	was := c.State
	if c.State = domain.ConflictUndoing; stuck > 0 {
		c.State = domain.ConflictStuck
		out.Step = fmt.Sprintf("%d of %d systems do not take the decision back; they are tried again", stuck, total)
	}
	if c.State == was {
		return out, o.save(ctx, tx)
	}
	c.Resolution.Steps = o.steps()
	topic := domain.TopicConflictUpdated
	entry := domain.AuditEntry{Actor: actor, Action: "conflict.unstick", Reason: "the systems take it back after all", Subject: "conflict/" + string(c.ID),
		Before: map[string]string{"state": string(was)}, After: map[string]string{"state": string(c.State)}}
	if c.State == domain.ConflictStuck {
		topic, entry.Action, entry.Reason = domain.TopicConflictStuck, "conflict.stuck", "a system does not take a decision back"
		c.WaitingSince = tx.Now
		var systems []string
		for _, s := range o.Systems {
			if s.Step.State == domain.StepStuck {
				systems = append(systems, string(s.Integration.ID))
			}
		}
		entry.After["integrations"] = strings.Join(systems, ",")
	}
	return out, record(ctx, tx, *c, entry, topic)
}

// takeBack moves one system whose turn it is.
func (s *System) takeBack(ctx context.Context, tx *store.Tx, booking domain.BookingID, a Reading, asked bool, again *bool) error {
	waits := s.push != nil && (s.push.State == domain.PushPending || s.push.State == domain.PushRetrying)
	if asked && a.Right {
		s.step(domain.StepUndone, "", tx.Now)
		*again = true
		if s.push == nil || s.push.State == domain.PushDone {
			return nil
		}
		// It shows what it should, so its wish has come true.
		_, err := tx.FinishPush(ctx, s.push.ID, s.push.WantVersion, store.PushOutcome{State: domain.PushDone})
		return err
	}
	switch s.Step.State {
	case domain.StepToUndo:
		if !asked {
			*again = true
			return nil
		}
		if s.push == nil || !s.Integration.Direction.Exports() {
			s.step(domain.StepStuck, "this connection does not write; change it there by hand", tx.Now)
			return nil
		}
		s.step(domain.StepUndoing, "", tx.Now)
		return tx.ReleasePush(ctx, s.Integration.ID, booking)
	case domain.StepUndoing:
		switch {
		case waits && tx.Now.Sub(s.Step.At) >= longest:
			s.step(domain.StepStuck, "it has not taken the change back yet: "+s.Step.Reason, tx.Now)
		case waits:
		case s.push != nil && s.push.State == domain.PushFailed:
			s.step(domain.StepStuck, s.push.Reason, tx.Now)
		case asked && a.Later:
			s.Step.Reason = a.Reason
		case asked:
			if s.Step.Tries, s.Step.Reason = s.Step.Tries+1, a.Reason; s.Step.Tries >= maxWrong {
				s.step(domain.StepStuck, a.Reason, tx.Now)
			}
		}
	case domain.StepStuck:
		if waits || !asked || tx.Now.Before(s.Step.At.Add(stuckWait(s.Step.Tries))) {
			return nil
		}
		s.Step.Tries, s.Step.At = s.Step.Tries+1, tx.Now
		if s.push != nil {
			if s.push.State == domain.PushFailed {
				s.Step.Reason = s.push.Reason
			}
			return tx.ReleasePush(ctx, s.Integration.ID, booking)
		}
	case domain.StepWaiting, domain.StepWritten, domain.StepVerified, domain.StepRefused, domain.StepByHand, domain.StepUndone:
	}
	return nil
}

func (o *Outlook) steps() []domain.ResolutionStep {
	out := []domain.ResolutionStep{}
	for _, s := range o.Systems {
		out = append(out, s.Step)
	}
	return out
}

// save stores the steps where they changed.
func (o *Outlook) save(ctx context.Context, tx *store.Tx) error {
	c := o.Conflict
	now := o.steps()
	if sameSteps(c.Resolution.Steps, now) {
		return nil
	}
	r := *c.Resolution
	r.Steps = now
	c.Resolution = &r
	if err := tx.UpdateConflict(ctx, c, c.Version); err != nil {
		return err
	}
	return emit(ctx, tx, domain.TopicConflictUpdated, c, nil)
}

func sameSteps(a, b []domain.ResolutionStep) bool {
	if len(a) != len(b) {
		return false
	}
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

// judgeAnew opens a conflict again with ways out as things stand now, or clears it when the two do not clash any more.
func judgeAnew(ctx context.Context, tx *store.Tx, c domain.Conflict, why string) error {
	found, still, err := apply.ClashOf(ctx, tx, c)
	if err != nil {
		return err
	}
	before := map[string]string{"state": string(c.State)}
	if c.Resolution != nil {
		before["by"], before["action"] = c.Resolution.By, string(c.Resolution.Action)
		if c.Resolution.Error == "" && c.State.Carrying() {
			c.Resolution.Error = why
		}
	}
	c.EscalatedAt, c.PolicyAsked = nil, false
	if !still {
		c.State, c.ClosedAt = domain.ConflictCleared, &tx.Now
		return record(ctx, tx, c, domain.AuditEntry{Actor: actor, Action: "conflict.clear", Reason: "the clash disappeared: " + why, Subject: "conflict/" + string(c.ID),
			Before: before, After: map[string]string{"state": string(c.State)}}, domain.TopicConflictClosed)
	}
	c.State, c.Severity, c.Explanation, c.WaitingSince = domain.ConflictOpen, found.Severity, found.Explanation, tx.Now
	if c.Alternatives, err = apply.Propose(ctx, tx, c); err != nil {
		return err
	}
	if r := c.Resolution; r != nil && r.Error != "" {
		// What was refused is not proposed again.
		c.Alternatives = slices.DeleteFunc(c.Alternatives, func(a domain.Alternative) bool {
			return a.Action == r.Action && a.BookingID == r.BookingID && (r.When != nil && a.When.Equal(*r.When) || r.When == nil && a.ResourceID == r.ResourceID)
		})
	}
	return record(ctx, tx, c, domain.AuditEntry{Actor: actor, Action: "conflict.reopen", Reason: why, Subject: "conflict/" + string(c.ID),
		Before: before, After: map[string]string{"state": string(c.State)}}, domain.TopicConflictUpdated)
}
