package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/store"
)

type subscriptionOutput struct {
	ETag string `header:"ETag"`
	Body subscriptionView
}

type subscriptionView struct {
	domain.Subscription
	Secret string `json:"secret,omitempty" doc:"The new signing secret of Standard Webhooks; shown this once only"`
}

func subscriptionAnswer(s domain.Subscription, secret string) *subscriptionOutput {
	return &subscriptionOutput{ETag: etag(s.Version), Body: subscriptionView{Subscription: s, Secret: secret}}
}

type createSubscriptionInput struct {
	KeyHeader
	Body struct {
		URL         string             `json:"url" minLength:"1" maxLength:"2048" example:"https://receiver.example.com/wedsync" doc:"Where to post: https, and no private address"`
		Description string             `json:"description,omitempty" maxLength:"200" doc:"Label for people; no personal data"`
		Filter      domain.EventFilter `json:"filter,omitempty" doc:"Which events; all without one"`
		Reason      string             `json:"reason,omitempty" maxLength:"500"`
	}
}

// newSecret makes a signing secret in the form of Standard Webhooks.
func newSecret(now time.Time) store.SubscriptionKey {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return store.SubscriptionKey{Secret: "whsec_" + base64.StdEncoding.EncodeToString(b[:]),
		SubscriptionSecret: domain.SubscriptionSecret{ID: string(domain.NewID[domain.AttemptID](now)), CreatedAt: now.UTC().Truncate(time.Microsecond)}}
}

// checkSubscription refuses what could never be sent.
func (s *Server) checkSubscription(v domain.Subscription) error {
	if len(v.URL) > domain.MaxSubscriptionURL {
		return domain.Invalid("body.url", "at most %d bytes, has %d", domain.MaxSubscriptionURL, len(v.URL))
	}
	u, err := url.Parse(v.URL)
	if err != nil || !u.IsAbs() || u.Opaque != "" || strings.ContainsFunc(v.URL, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return domain.Invalid("body.url", "must be an absolute URL such as https://receiver.example.com/wedsync")
	}
	if u.Fragment != "" {
		return domain.Invalid("body.url", "must have no fragment: it is not sent")
	}
	policy := httpx.PublicOnly
	if s.o.AllowPrivate {
		policy = httpx.AllowPrivate
	}
	if err := httpx.CheckURL(u, policy); err != nil {
		return domain.Invalid("body.url", "%s", strings.TrimPrefix(err.Error(), "url: "))
	}
	if len(v.Description) > 200 || strings.ContainsFunc(v.Description, isControl) || !utf8.ValidString(v.Description) {
		return domain.Invalid("body.description", "must be printable text of at most 200 bytes")
	}
	return v.Filter.Check("body.filter.")
}

func (s *Server) createSubscription(ctx context.Context, in *createSubscriptionInput) (*subscriptionOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, repeatable := newOrRepeated[domain.SubscriptionID](in.Key, who, "subscription", s.now())
	v := domain.Subscription{ID: id, OrgID: who.Org, URL: b.URL, Description: b.Description, Filter: b.Filter, CreatedBy: who.Subject}
	if err := s.checkSubscription(v); err != nil {
		return nil, err
	}
	key := newSecret(s.now())
	fresh := true
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if repeatable {
			had, err := presentSubscription(ctx, tx, id)
			if err == nil {
				v, fresh = had, false
				return nil
			}
			if domain.KindOf(err) != domain.KindNotFound {
				return err
			}
		}
		if err := tx.CreateSubscription(ctx, v, []store.SubscriptionKey{key}); err != nil {
			return err
		}
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "subscription.create", Reason: reason,
			Subject: "subscription/" + string(id), After: subscriptionFacts(v)}); err != nil {
			return err
		}
		v, err = tx.Subscription(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !fresh {
		key.Secret = "" // whoever lost it adds another one
	}
	return subscriptionAnswer(v, key.Secret), nil
}

// subscriptionFacts is what the trail keeps: neither URL nor secrets, since a URL may hold a token.
func subscriptionFacts(v domain.Subscription) map[string]string {
	facts := map[string]string{"topics": strings.Join(v.Filter.Topics, ",")}
	if u, err := url.Parse(v.URL); err == nil {
		facts["host"] = u.Host
	}
	if v.State != "" {
		facts["state"] = string(v.State)
	}
	return facts
}

// presentSubscription reads one; a deleted one is gone for the API.
func presentSubscription(ctx context.Context, tx *store.Tx, id domain.SubscriptionID) (domain.Subscription, error) {
	v, err := tx.Subscription(ctx, id)
	if err == nil && v.State == domain.SubscriptionDeleted {
		return domain.Subscription{}, domain.E(domain.KindNotFound, "no such subscription")
	}
	return v, err
}

func (s *Server) readSubscription(ctx context.Context, text string) (v domain.Subscription, err error) {
	id, err := parseID[domain.SubscriptionID]("subscription", text)
	if err != nil {
		return v, err
	}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		v, err = presentSubscription(ctx, tx, id)
		return err
	})
	return v, err
}

func (s *Server) listSubscriptions(ctx context.Context, in *PageParams) (*listOutput[domain.Subscription], error) {
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Subscription, string, error) {
		return tx.Subscriptions(ctx, in.page())
	})
}

func (s *Server) getSubscription(ctx context.Context, in *IDParam) (*subscriptionOutput, error) {
	v, err := s.readSubscription(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return subscriptionAnswer(v, ""), nil
}

type updateSubscriptionInput struct {
	IDParam
	VersionHeader
	Body struct {
		Version     int64               `json:"version,omitempty" minimum:"1" doc:"The version that the change was made from, unless If-Match says it"`
		URL         *string             `json:"url,omitempty" minLength:"1" maxLength:"2048"`
		Description *string             `json:"description,omitempty" maxLength:"200"`
		Filter      *domain.EventFilter `json:"filter,omitempty" doc:"Replaces the whole filter"`
		Reason      string              `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) updateSubscription(ctx context.Context, in *updateSubscriptionInput) (*subscriptionOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	was, err := s.readSubscription(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	expect, err := in.expect(b.Version, was.Version)
	if err != nil {
		return nil, err
	}
	now := was
	if b.URL != nil {
		now.URL = *b.URL
	}
	if b.Description != nil {
		now.Description = *b.Description
	}
	if b.Filter != nil {
		now.Filter = *b.Filter
	}
	if err := s.checkSubscription(now); err != nil {
		return nil, err
	}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.UpdateSubscription(ctx, now, expect); err != nil {
			return err
		}
		stored, err := tx.Subscription(ctx, was.ID)
		if err != nil {
			return err
		}
		now = stored
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "subscription.update", Reason: reason,
			Subject: "subscription/" + string(was.ID), Before: subscriptionFacts(was), After: subscriptionFacts(now)})
	})
	if err != nil {
		return nil, err
	}
	s.wake(ctx, now)
	return subscriptionAnswer(now, ""), nil
}

// wake tells the workflow of a change. Without Temporal a sweep does so later.
func (s *Server) wake(ctx context.Context, v domain.Subscription) {
	tell, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := s.deps.Flow.WakeSubscription(tell, flow.SubscriptionRef{Org: v.OrgID, ID: v.ID}, contract.WakeSignal{Changed: true}); err != nil {
		s.log.Warn("a changed subscription waits for the sweep", "request_id", requestID(ctx), "subscription", v.ID, "error", err)
	}
}

func (s *Server) deleteSubscription(ctx context.Context, in *deleteIntegrationInput) (*struct{}, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	was, err := s.readSubscription(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.SetSubscriptionState(ctx, was.ID, domain.SubscriptionDeleted, "deleted by an admin", false); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "subscription.delete", Reason: reason,
			Subject: "subscription/" + string(was.ID), Before: subscriptionFacts(was), After: map[string]string{"state": string(domain.SubscriptionDeleted)}})
	})
	if err != nil {
		return nil, err
	}
	s.wake(ctx, was)
	return nil, nil
}

// noteReason keeps the words of an admin out of workflow histories: they go to the trail before the workflow is asked.
func (s *Server) noteReason(ctx context.Context, v domain.Subscription, action, text string) error {
	if text == "" {
		return nil
	}
	reason, err := checkReason(text)
	if err != nil {
		return err
	}
	return s.deps.Store.Tenant(ctx, v.OrgID, func(ctx context.Context, tx *store.Tx) error {
		return tx.Audit(ctx, domain.AuditEntry{Actor: callerOf(ctx).Subject, Action: action, Reason: reason, Subject: "subscription/" + string(v.ID)})
	})
}

func (s *Server) pauseSubscription(ctx context.Context, in *actionInput) (*subscriptionOutput, error) {
	v, err := s.readSubscription(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := s.noteReason(ctx, v, "subscription.pause", in.reason()); err != nil {
		return nil, err
	}
	if _, err := s.deps.Flow.PauseSubscription(ctx, flow.SubscriptionRef{Org: v.OrgID, ID: v.ID}, contract.PauseRequest{By: callerOf(ctx).Subject}); err != nil {
		return nil, err
	}
	return s.getSubscription(ctx, &in.IDParam)
}

type resumeSubscriptionInput struct {
	IDParam
	Body *struct {
		From   string `json:"from,omitempty" enum:"cursor,now" default:"cursor" doc:"cursor: send what was missed; now: leave it out"`
		Reason string `json:"reason,omitempty" maxLength:"500"`
	} `json:",omitempty"`
}

func (s *Server) resumeSubscription(ctx context.Context, in *resumeSubscriptionInput) (*subscriptionOutput, error) {
	v, err := s.readSubscription(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	ask := contract.SubscriptionResumeRequest{By: callerOf(ctx).Subject}
	if in.Body != nil {
		ask.FromNow = in.Body.From == "now"
		if err := s.noteReason(ctx, v, "subscription.resume", in.Body.Reason); err != nil {
			return nil, err
		}
	}
	if _, err := s.deps.Flow.ResumeSubscription(ctx, flow.SubscriptionRef{Org: v.OrgID, ID: v.ID}, ask); err != nil {
		return nil, err
	}
	return s.getSubscription(ctx, &in.IDParam)
}

type testOutput struct{ Body contract.TestResult }

func (s *Server) testSubscription(ctx context.Context, in *IDParam) (*testOutput, error) {
	v, err := s.readSubscription(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out, err := s.deps.Flow.TestSubscription(ctx, flow.SubscriptionRef{Org: v.OrgID, ID: v.ID},
		contract.TestRequest{ID: domain.NewID[domain.AttemptID](s.now()), By: callerOf(ctx).Subject})
	if err != nil {
		return nil, err
	}
	return &testOutput{Body: out}, nil
}

// Overlap of secrets while one replaces the other.
const (
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 30 * 24 * time.Hour
)

type rotateSubscriptionInput struct {
	IDParam
	Body *struct {
		Overlap *int64 `json:"overlap_seconds,omitempty" minimum:"0" maximum:"2592000" doc:"How long the secrets of before still sign beside the new one; 86400 if absent"`
		Reason  string `json:"reason,omitempty" maxLength:"500"`
	} `json:",omitempty"`
}

func (s *Server) rotateSubscription(ctx context.Context, in *rotateSubscriptionInput) (*subscriptionOutput, error) {
	who := callerOf(ctx)
	v, err := s.readSubscription(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	reason, overlap := "", defaultOverlap
	if in.Body != nil {
		reason = in.Body.Reason
		if in.Body.Overlap != nil {
			overlap = min(time.Duration(*in.Body.Overlap)*time.Second, maxOverlap)
		}
	}
	if reason, err = checkReason(reason); err != nil {
		return nil, err
	}
	key := newSecret(s.now())
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		var err error
		if v, err = tx.RotateSubscription(ctx, v.ID, key, tx.Now.Add(overlap)); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "subscription.rotate", Reason: reason,
			Subject: "subscription/" + string(v.ID), After: map[string]string{"secret": key.ID, "overlap": overlap.String()}})
	})
	if err != nil {
		return nil, err
	}
	return subscriptionAnswer(v, key.Secret), nil
}

type attemptsInput struct {
	IDParam
	PageParams
}

func (s *Server) listAttempts(ctx context.Context, in *attemptsInput) (*listOutput[domain.SubscriptionAttempt], error) {
	v, err := s.readSubscription(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	var out []domain.SubscriptionAttempt
	var next string
	err = s.deps.Store.TenantRead(ctx, v.OrgID, func(ctx context.Context, tx *store.Tx) (err error) {
		out, next, err = tx.SubscriptionAttempts(ctx, v.ID, in.page())
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(out, next), nil
}
