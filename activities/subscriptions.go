package activities

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Subscriptions sends outgoing webhooks.
type Subscriptions struct {
	Store *store.Store
	// HTTP posts to receivers; it must follow no redirects and bound addresses, time and answers.
	HTTP *httpx.Client
	// Wait is the schedule of retries; nil = [BroadcastWait].
	Wait func(failures int) time.Duration
}

const (
	// broadcastPage is how many events of the stream are read at once.
	broadcastPage = 500
	// broadcastSave is after how many messages, and how much time, progress is stored: what a lost worker sends again.
	broadcastSave      = 20
	broadcastSaveEvery = 2 * time.Second
	// broadcastTurn is how long one activity goes on before it reports.
	broadcastTurn = 45 * time.Second

	// GiveUpAfter is how long a receiver may fail without a success before its subscription is disabled, provided that
	// at least GiveUpTries attempts were made.
	GiveUpAfter = 5 * 24 * time.Hour
	GiveUpTries = 10
)

// BroadcastWait is the published schedule after the n-th failure in a row: 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 2 h,
// and then every 4 h, each with up to a fifth more by chance.
func BroadcastWait(failures int) time.Duration {
	schedule := []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour}
	d := schedule[min(max(failures, 1), len(schedule))-1]
	return d + rand.N(d/5)
}

// SubscriptionStep names the subscription to work on.
type SubscriptionStep struct {
	Org          domain.OrgID          `json:"org"`
	Subscription domain.SubscriptionID `json:"subscription"`
}

// SendEventsResult tells how far it came.
type SendEventsResult struct {
	// State is the subscription's; one that does not exist is told as deleted, so that its workflow ends.
	State   domain.SubscriptionState `json:"state"`
	Sent    int                      `json:"sent,omitempty"`
	Failed  int                      `json:"failed,omitempty"`
	More    bool                     `json:"more,omitempty"`    // there is something to send now
	RetryAt time.Time                `json:"retry_at,omitzero"` // the first waiting message is tried again then
}

// SendEvents sends what waits for a subscription, in the order of the stream, until nothing waits, a message fails, or
// its turn is over.
//
// It is safe to run twice: messages that a run before sent without noting it are sent again under the same webhook-id.
// The schedule of retries is kept in the row, so a run that comes too early sends nothing.
func (a *Subscriptions) SendEvents(ctx context.Context, in SubscriptionStep) (SendEventsResult, error) {
	var out SendEventsResult
	err := beating(ctx, func(ctx context.Context) (err error) {
		out, err = a.send(ctx, in)
		return err
	})
	return out, fail(err)
}

// sending is one turn of a subscription.
type sending struct {
	a     *Subscriptions
	work  store.SubscriptionWork
	out   SendEventsResult
	prog  store.SubscriptionProgress
	dirty int       // messages since the last save
	saved time.Time // when that was
}

func (a *Subscriptions) send(ctx context.Context, in SubscriptionStep) (SendEventsResult, error) {
	work, now, err := a.read(ctx, in)
	if err != nil {
		return SendEventsResult{}, err
	}
	s := &sending{a: a, work: work, out: SendEventsResult{State: work.State}, saved: now}
	switch {
	case work.State != domain.SubscriptionActive:
		return s.out, nil
	case work.NextAttemptAt != nil && work.NextAttemptAt.After(now):
		s.out.RetryAt = *work.NextAttemptAt
		return s.out, nil
	}
	s.prog = store.SubscriptionProgress{Cursor: work.Cursor, Failures: work.Failures, FailingSince: work.FailingSince}
	return s.out, s.run(ctx, now)
}

// read loads the row, and ends one that is deleted.
func (a *Subscriptions) read(ctx context.Context, in SubscriptionStep) (work store.SubscriptionWork, now time.Time, err error) {
	err = a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		now = tx.Now
		work, err = tx.SubscriptionWork(ctx, in.Subscription)
		if err == nil && work.State == domain.SubscriptionDeleted {
			return tx.CloseSubscription(ctx, in.Subscription)
		}
		return err
	})
	if domain.KindOf(err) == domain.KindNotFound {
		work.State, err = domain.SubscriptionDeleted, nil
	}
	return work, now, err
}

// run goes through the stream. s.out is complete when it returns.
func (s *sending) run(ctx context.Context, began time.Time) error {
	turn := time.Now().Add(broadcastTurn)
	org := s.work.OrgID
	for {
		events, next, err := s.a.Store.StreamAfter(ctx, s.prog.Cursor, org, broadcastPage)
		if domain.KindOf(err) == domain.KindGoneToken {
			// Told first, in its place; what is still kept follows.
			gap := domain.Event{Cursor: next, OrgID: org, Topic: domain.TopicStreamGap, At: began, Refs: map[string]string{"subscription": string(s.work.ID)}}
			if goOn, err := s.one(ctx, gap); err != nil || !goOn {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range events {
			if !s.work.Filter.Match(e) {
				s.prog.Cursor = e.Cursor
				continue
			}
			if goOn, err := s.one(ctx, e); err != nil || !goOn {
				return err
			}
			if time.Now().After(turn) {
				break
			}
		}
		if len(events) < broadcastPage && s.prog.Cursor == next {
			return s.save(ctx, true)
		}
		if err := s.save(ctx, false); err != nil || s.stopped() {
			return err
		}
		if time.Now().After(turn) {
			s.out.More = true
			return nil
		}
	}
}

// stopped reports that the subscription is not to be served further by this turn.
func (s *sending) stopped() bool { return s.out.State != domain.SubscriptionActive || s.out.More }

// one sends one message and notes what came of it. It is false when the turn ends here.
func (s *sending) one(ctx context.Context, e domain.Event) (goOn bool, err error) {
	m := messageOf(s.work.ID, e)
	attempt, cause := s.a.post(ctx, s.work, m, s.prog.Failures+1)
	if ctx.Err() != nil {
		// Given up by us, not by the receiver. What was sent before is noted if that still works.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.save(end, true)
		return false, domain.E(domain.KindUnavailable, "send webhooks: %w", ctx.Err())
	}
	s.prog.Attempts = append(s.prog.Attempts, attempt)
	s.dirty++
	now := attempt.At.Add(time.Duration(attempt.Took) * time.Millisecond)
	if cause == nil {
		s.out.Sent++
		s.prog.Cursor, s.prog.Failures, s.prog.FailingSince, s.prog.LastSuccessAt = e.Cursor, 0, nil, &now
		return s.mayGoOn(ctx)
	}
	s.out.Failed++
	s.prog.Failures++
	if s.prog.FailingSince == nil {
		s.prog.FailingSince = &attempt.At
	}
	if reason := s.giveUp(attempt, now); reason != "" {
		return false, s.disable(ctx, reason)
	}
	wait := s.a.Wait
	if wait == nil {
		wait = BroadcastWait
	}
	at := now.Add(max(wait(s.prog.Failures), domain.RetryAfter(cause)))
	s.prog.NextAttemptAt, s.out.RetryAt = &at, at
	return false, s.save(ctx, true)
}

// mayGoOn saves now and then and looks whether a person stopped the subscription meanwhile.
func (s *sending) mayGoOn(ctx context.Context) (bool, error) {
	if s.dirty < broadcastSave && time.Since(s.saved) < broadcastSaveEvery {
		return true, nil
	}
	err := s.save(ctx, false)
	return err == nil && !s.stopped(), err
}

// giveUp says why there is no further attempt, "" when there is one.
func (s *sending) giveUp(a domain.SubscriptionAttempt, now time.Time) string {
	switch {
	case a.Status == http.StatusGone:
		return "the receiver answered 410 Gone"
	case s.prog.Failures >= GiveUpTries && now.Sub(*s.prog.FailingSince) >= GiveUpAfter:
		return "the receiver failed " + strconv.Itoa(s.prog.Failures) + " times in a row over five days"
	}
	return ""
}

// save stores the progress. last says that the turn ends with it.
func (s *sending) save(ctx context.Context, last bool) error {
	if s.dirty == 0 && s.prog.Cursor == s.work.Cursor {
		return nil
	}
	err := s.a.Store.Tenant(ctx, s.work.OrgID, func(ctx context.Context, tx *store.Tx) error {
		return s.saveIn(ctx, tx)
	})
	if err != nil {
		return err
	}
	s.dirty, s.saved, s.work.Cursor, s.prog.Attempts, s.prog.LastSuccessAt = 0, time.Now(), s.prog.Cursor, nil, nil
	if last && s.out.State != domain.SubscriptionActive {
		s.out.RetryAt = time.Time{}
	}
	return nil
}

func (s *sending) saveIn(ctx context.Context, tx *store.Tx) error {
	state, err := tx.SaveSubscription(ctx, s.work.ID, s.work.Epoch, s.prog)
	if err != nil {
		return err
	}
	if state == "" {
		// Changed or deleted meanwhile: look anew, with the new values.
		s.out.More, s.out.RetryAt = true, time.Time{}
		return nil
	}
	s.out.State = state
	return nil
}

func (s *sending) disable(ctx context.Context, reason string) error {
	return s.a.Store.Tenant(ctx, s.work.OrgID, func(ctx context.Context, tx *store.Tx) error {
		if err := s.saveIn(ctx, tx); err != nil || s.stopped() {
			return err
		}
		now, err := tx.SetSubscriptionState(ctx, s.work.ID, domain.SubscriptionDisabled, reason, false)
		if err != nil {
			return err
		}
		s.out.State = now.State
		return tx.Audit(ctx, domain.AuditEntry{Actor: "system:broadcast", Action: "subscription.disable", Reason: reason,
			Subject: "subscription/" + string(s.work.ID), Before: map[string]string{"state": string(s.work.State)}, After: map[string]string{"state": string(now.State)}})
	})
}

// SetSubscriptionStateInput is the wish that a subscription reach a state.
type SetSubscriptionStateInput struct {
	SubscriptionStep
	State   domain.SubscriptionState `json:"state"`
	By      string                   `json:"by"`
	FromNow bool                     `json:"from_now,omitempty"`
}

// SetSubscriptionState stores a pause or resume. Running it again finds the state reached; a resume from now moves the
// position once more, over what nobody was to be told of anyway.
func (a *Subscriptions) SetSubscriptionState(ctx context.Context, in SetSubscriptionStateInput) (domain.SubscriptionState, error) {
	var state domain.SubscriptionState
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Subscription(ctx, in.Subscription)
		if err != nil {
			return err
		}
		reason := string(in.State) + " by " + in.By
		now, err := tx.SetSubscriptionState(ctx, in.Subscription, in.State, reason, in.FromNow)
		if err != nil {
			return err
		}
		state = now.State
		if was.State == now.State && !in.FromNow {
			return nil
		}
		after := map[string]string{"state": string(now.State)}
		if in.FromNow {
			after["from"] = "now"
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: in.By, Action: "subscription.state", Reason: reason, Subject: "subscription/" + string(in.Subscription),
			Before: map[string]string{"state": string(was.State)}, After: after})
	})
	return state, fail(err)
}

// SendTestInput names the subscription and the test.
type SendTestInput struct {
	SubscriptionStep
	Test contract.TestRequest `json:"test"`
}

// SendTest sends one message of topic subscription.test, whatever the state and the filter. That the receiver refuses it
// is a result and no error, and does not count as a failure of the subscription.
func (a *Subscriptions) SendTest(ctx context.Context, in SendTestInput) (contract.TestResult, error) {
	work, now, err := a.read(ctx, in.SubscriptionStep)
	if err == nil && work.State == domain.SubscriptionDeleted {
		err = domain.E(domain.KindNotFound, "no such subscription")
	}
	if err != nil {
		return contract.TestResult{}, fail(err)
	}
	m := messageOf(work.ID, domain.Event{Cursor: "test " + string(in.Test.ID), Topic: domain.TopicSubscriptionTest, At: now,
		Refs: map[string]string{"subscription": string(work.ID)}})
	attempt, cause := a.post(ctx, work, m, 1)
	if cause != nil && ctx.Err() != nil {
		return contract.TestResult{}, fail(domain.E(domain.KindUnavailable, "send test: %w", ctx.Err()))
	}
	err = a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		return tx.SaveAttempt(ctx, in.Subscription, attempt)
	})
	return contract.TestResult{Delivered: cause == nil, Status: attempt.Status, Error: attempt.Error, TookMillis: attempt.Took, MessageID: m.id}, fail(err)
}

// message is a webhook before it is signed. It is the same for every attempt.
type message struct {
	id    string
	topic domain.Topic
	body  []byte
}

func messageOf(to domain.SubscriptionID, e domain.Event) message {
	// The time is part of the id, because after a restore the stream hands out the same cursors again. A gap has none of
	// its own.
	at := e.At
	if e.Topic == domain.TopicStreamGap || e.Topic == domain.TopicSubscriptionTest {
		at = time.Time{}
	}
	sum := sha256.Sum256([]byte(string(to) + "\n" + string(e.Topic) + "\n" + e.Cursor + "\n" + at.UTC().Format(time.RFC3339Nano)))
	m := message{id: "msg_" + hex.EncodeToString(sum[:16]), topic: e.Topic}
	refs := e.Refs
	if refs == nil {
		refs = map[string]string{}
	}
	body, err := json.Marshal(struct {
		ID    string            `json:"id"`
		Topic domain.Topic      `json:"topic"`
		At    time.Time         `json:"at"`
		Refs  map[string]string `json:"refs"`
	}{m.id, e.Topic, e.At, refs})
	if err != nil {
		panic("marshal texts and a time: " + err.Error())
	}
	m.body = body
	return m
}

// post makes one attempt. The error is why it counts as failed, nil for a 2xx answer.
func (a *Subscriptions) post(ctx context.Context, work store.SubscriptionWork, m message, number int) (domain.SubscriptionAttempt, error) {
	at := a.Store.Now()
	attempt := domain.SubscriptionAttempt{ID: domain.NewID[domain.AttemptID](at), MessageID: m.id, Topic: m.topic, Number: number, At: at}
	header, err := sign(work.Keys, m, at)
	if err == nil {
		var req *http.Request
		if req, err = http.NewRequestWithContext(ctx, http.MethodPost, work.URL, bytes.NewReader(m.body)); err != nil {
			err = domain.E(domain.KindInvalid, "the address is no URL")
		} else {
			header.Set("Content-Type", "application/json")
			req.Header = header
			began := time.Now()
			var res *httpx.Response
			res, err = a.HTTP.Do(req)
			attempt.Took = time.Since(began).Milliseconds()
			if res != nil {
				attempt.Status = res.Status
				if res.Status >= 200 && res.Status < 300 {
					err = nil // whatever else it said, it took the message
				}
			}
		}
	}
	if err != nil {
		attempt.Error = textOf(err)
	}
	return attempt, err
}

// sign makes the headers of Standard Webhooks with one signature for each secret that is valid, so that a receiver may
// know either while one replaces the other.
func sign(keys []store.SubscriptionKey, m message, at time.Time) (http.Header, error) {
	var all http.Header
	var signatures []string
	for _, k := range keys {
		if k.NotAfter != nil && !k.NotAfter.After(at) {
			continue
		}
		h, err := webhookauth.Sign(webhookauth.Config{Scheme: webhookauth.StandardWebhooks}, webhookauth.Secret(k.Secret), m.id, at, m.body)
		if err != nil {
			return nil, err
		}
		all = h
		signatures = append(signatures, h.Get("Webhook-Signature"))
	}
	if all == nil {
		return nil, domain.E(domain.KindPermanent, "the subscription has no valid secret")
	}
	all.Set("Webhook-Signature", strings.Join(signatures, " "))
	return all, nil
}
