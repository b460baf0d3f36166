package activities

import (
	"context"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/notify"
	"github.com/wedsync/wedsync/internal/store"
)

// Notifications tells people of what concerns them.
type Notifications struct {
	Store   *store.Store
	Senders notify.Senders
	// Link is the public address of the dashboard, "" = messages hold none.
	Link string
}

const (
	// notifyAtOnce is how many notifications one turn claims, and notifyLines how many messages it sends at the same time.
	notifyAtOnce = 50
	notifyLines  = 4
	// notifyLease is how long a claimed notification stays with its turn. It is longer than the activity may run, so that only
	// what a lost worker left comes back.
	notifyLease = 6 * time.Minute
	// notifyTurn is how long one activity begins new messages.
	notifyTurn = 45 * time.Second
)

// PlanNotificationsInput names an organisation. Look asks for connections that have become stale.
type PlanNotificationsInput struct {
	Org  domain.OrgID `json:"org"`
	Look bool         `json:"look,omitempty"`
}

// PlanNotificationsResult tells what there is to do.
type PlanNotificationsResult struct {
	Facts  int       `json:"facts,omitempty"`
	Added  int       `json:"added,omitempty"`
	More   bool      `json:"more,omitempty"`   // facts wait still
	DueAt  time.Time `json:"due_at,omitzero"`  // the next message is to be sent then
	LookAt time.Time `json:"look_at,omitzero"` // when to look for stale connections
}

// PlanNotifications turns what happened into notifications, in one transaction. Running it again finds nothing to do.
func (a *Notifications) PlanNotifications(ctx context.Context, in PlanNotificationsInput) (PlanNotificationsResult, error) {
	var out PlanNotificationsResult
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		p, err := notify.Plan(ctx, tx, in.Look)
		if err != nil {
			return err
		}
		out = PlanNotificationsResult{Facts: p.Facts, Added: p.Added, More: p.More, LookAt: p.LookAt}
		out.DueAt, err = tx.NextNotification(ctx)
		return err
	})
	return out, fail(err)
}

// SendNotificationsInput names an organisation.
type SendNotificationsInput struct {
	Org domain.OrgID `json:"org"`
}

// SendNotificationsResult tells how far it came.
type SendNotificationsResult struct {
	Sent       int       `json:"sent,omitempty"` // messages
	Failed     int       `json:"failed,omitempty"`
	Suppressed int       `json:"suppressed,omitempty"`
	DueAt      time.Time `json:"due_at,omitzero"` // the next message is to be sent then
}

// SendNotifications sends what is due, a few messages at a time, until its turn is over.
//
// It is safe to run twice: a message is claimed before it is sent, and its id is stored with the claim, so what a run before
// sent without noting it is sent again under the same id when the claim is over. Rendering happens here, so histories hold
// nothing of what is said.
func (a *Notifications) SendNotifications(ctx context.Context, in SendNotificationsInput) (SendNotificationsResult, error) {
	var out SendNotificationsResult
	err := beating(ctx, func(ctx context.Context) (err error) {
		out, err = a.send(ctx, in.Org)
		return err
	})
	return out, fail(err)
}

func (a *Notifications) send(ctx context.Context, org domain.OrgID) (out SendNotificationsResult, err error) {
	turn := time.Now().Add(notifyTurn)
	for {
		var due []store.Outgoing
		if err := a.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
			if due, err = tx.ClaimNotifications(ctx, notifyAtOnce, notifyLease); err != nil || len(due) > 0 {
				return err
			}
			out.DueAt, err = tx.NextNotification(ctx)
			return err
		}); err != nil {
			return out, err
		}
		if len(due) == 0 {
			return out, nil
		}
		if err := a.all(ctx, org, due, &out); err != nil {
			return out, err
		}
		if time.Now().After(turn) {
			out.DueAt = a.Store.Now()
			return out, nil
		}
	}
}

// all sends messages, some at the same time, and stores what came of each.
func (a *Notifications) all(ctx context.Context, org domain.OrgID, due []store.Outgoing, out *SendNotificationsResult) error {
	var mu sync.Mutex
	var first error
	var lines sync.WaitGroup
	next := make(chan store.Outgoing)
	for range min(notifyLines, len(due)) {
		lines.Go(func() {
			for o := range next {
				state, err := a.one(ctx, org, o)
				mu.Lock()
				switch {
				case err != nil && first == nil:
					first = err
				case state == domain.NotificationSent:
					out.Sent++
				case state == domain.NotificationSuppressed:
					out.Suppressed++
				default:
					out.Failed++
				}
				mu.Unlock()
			}
		})
	}
	for _, o := range due {
		next <- o
	}
	close(next)
	lines.Wait()
	return first
}

// one sends a message. The error is ours: what the other side did is in the state.
func (a *Notifications) one(ctx context.Context, org domain.OrgID, o store.Outgoing) (domain.NotificationState, error) {
	m, over, err := a.load(ctx, org, o)
	if err != nil {
		return "", err
	}
	for why, ids := range over {
		if err := a.finish(ctx, org, o.MessageID, ids, store.SendOutcome{State: domain.NotificationSuppressed, Reason: why}); err != nil {
			return "", err
		}
	}
	if len(m.All) == 0 {
		return domain.NotificationSuppressed, nil
	}
	cause := a.Senders.Send(ctx, m)
	if cause != nil && ctx.Err() != nil {
		// Given up by us, not by the other side. The claim brings it back.
		return "", domain.E(domain.KindUnavailable, "send notifications: %w", ctx.Err())
	}
	text := ""
	if cause != nil {
		text = textOf(cause)
	}
	outcome := notify.Outcome(cause, text, o, m, a.Store.Now())
	ids := make([]domain.NotificationID, len(m.All))
	for i, n := range m.All {
		ids[i] = n.ID
	}
	return outcome.State, a.finish(ctx, org, o.MessageID, ids, outcome)
}

// load finds out what a message says, and which of its notifications need no saying, by the reason.
func (a *Notifications) load(ctx context.Context, org domain.OrgID, o store.Outgoing) (m notify.Message, over map[string][]domain.NotificationID, err error) {
	err = a.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		m, over = notify.Message{ID: o.MessageID, Channel: o.Channel, At: tx.Now}, map[string][]domain.NotificationID{}
		if m.To, m.Secret, err = tx.RecipientSecret(ctx, o.Recipient); err != nil {
			return err
		}
		var views []notify.View
		for _, n := range o.All {
			why := ""
			var v notify.View
			switch {
			case m.To.State != domain.RecipientActive:
				why = "the person is " + string(m.To.State)
			case !m.To.Addresses.Has(o.Channel):
				why = "the person has no address for " + string(o.Channel) + " any more"
			default:
				n.MessageID = o.MessageID
				if v, why, err = notify.Load(ctx, tx, m.To, n, a.Link); err != nil {
					return err
				}
			}
			if why != "" {
				over[why] = append(over[why], n.ID)
				continue
			}
			m.All, views = append(m.All, n), append(views, v)
		}
		switch len(views) {
		case 0:
		case 1:
			m.View = views[0]
		default:
			m.View = notify.View{Person: m.To.Name, Link: a.Link, Reference: o.MessageID, Items: views}
		}
		return nil
	})
	return m, over, err
}

func (a *Notifications) finish(ctx context.Context, org domain.OrgID, message string, ids []domain.NotificationID, o store.SendOutcome) error {
	return a.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		return tx.FinishNotifications(ctx, message, ids, o)
	})
}
