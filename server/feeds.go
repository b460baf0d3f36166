package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/clientaddr"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ratelimit"
	"github.com/wedsync/wedsync/internal/rules/icsfeed"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	feedPath = "/feeds/{file}"
	// feedTokenBytes is the randomness of a token. It is all that guards a feed.
	feedTokenBytes = 32
	// feedRefresh is how often subscribers are asked to come again.
	feedRefresh = 15 * time.Minute
	// strayFeedCost is what an address pays for asking for a feed that is not there, in requests.
	strayFeedCost = 10
	// feedsAtOnce bounds the feeds that are written at the same time; each holds some megabytes at most.
	feedsAtOnce = 16
)

type createFeedInput struct {
	IDParam
	Body struct {
		Label      string            `json:"label" minLength:"1" maxLength:"120" doc:"Name of the calendar as subscribers see it; no personal data"`
		Detail     domain.FeedDetail `json:"detail,omitempty" enum:"busy,titles" default:"busy" doc:"busy tells only that time is taken; titles adds titles and places of what is not private"`
		PastDays   *int              `json:"past_days,omitempty" minimum:"0" maximum:"366" default:"30"`
		FutureDays *int              `json:"future_days,omitempty" minimum:"1" maximum:"1100" default:"730"`
		Reason     string            `json:"reason,omitempty" maxLength:"500"`
	}
}

type feedView struct {
	domain.Feed
	URL   string `json:"url,omitempty" doc:"The address to subscribe to; only in the answer that made the feed. Whoever knows it can read the feed"`
	Token string `json:"token,omitempty" doc:"The secret part of the address; only in the answer that made the feed"`
}

type feedOutput struct{ Body feedView }

func (s *Server) createFeed(ctx context.Context, in *createFeedInput) (*feedOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.ResourceID]("resource", in.ID)
	if err != nil {
		return nil, err
	}
	var secret [feedTokenBytes]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, domain.E(domain.KindInternal, "read randomness for a feed: %w", err)
	}
	token := base64.RawURLEncoding.EncodeToString(secret[:])
	f := domain.Feed{ID: domain.NewID[domain.FeedID](s.now()), ResourceID: id, Label: b.Label, Detail: b.Detail, PastDays: 30, FutureDays: 730, CreatedBy: who.Subject}
	if f.Detail == "" {
		f.Detail = domain.FeedBusy
	}
	assign(&f.PastDays, b.PastDays)
	assign(&f.FutureDays, b.FutureDays)
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateFeed(ctx, f, sha256.Sum256([]byte(token))); err != nil {
			return atBody(err, "")
		}
		if f, err = tx.Feed(ctx, id, f.ID); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "feed.create", Reason: reason,
			Subject: "resource/" + string(id), After: feedFacts(f)})
	})
	if err != nil {
		return nil, err
	}
	return &feedOutput{Body: feedView{Feed: f, Token: token, URL: s.baseURL(ctx) + "/feeds/" + token + ".ics"}}, nil
}

func feedFacts(f domain.Feed) map[string]string {
	return map[string]string{"feed": string(f.ID), "detail": string(f.Detail), "past_days": strconv.Itoa(f.PastDays),
		"future_days": strconv.Itoa(f.FutureDays), "revoked": strconv.FormatBool(f.RevokedAt != nil)}
}

type listFeedsInput struct {
	IDParam
	PageParams
}

func (s *Server) listFeeds(ctx context.Context, in *listFeedsInput) (*listOutput[domain.Feed], error) {
	id, err := parseID[domain.ResourceID]("resource", in.ID)
	if err != nil {
		return nil, err
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Feed, string, error) {
		if _, err := tx.Resource(ctx, id); err != nil {
			return nil, "", err
		}
		return tx.Feeds(ctx, id, in.page())
	})
}

type revokeFeedInput struct {
	IDParam
	Feed   string `path:"feed" maxLength:"36" doc:"UUID in lower case"`
	Reason string `query:"reason" maxLength:"500" doc:"Why, for the audit trail"`
}

func (s *Server) revokeFeed(ctx context.Context, in *revokeFeedInput) (*struct{}, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	resource, err := parseID[domain.ResourceID]("resource", in.ID)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.FeedID]("feed", in.Feed)
	if err != nil {
		return nil, err
	}
	return nil, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Feed(ctx, resource, id)
		if err != nil || was.RevokedAt != nil {
			return err
		}
		f, err := tx.RevokeFeed(ctx, resource, id)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "feed.revoke", Reason: reason,
			Subject: "resource/" + string(resource), Before: feedFacts(was), After: feedFacts(f)})
	})
}

// feedGuard bounds what readers of feeds may take: anybody may ask, and most of those who ask again are programs.
type feedGuard struct {
	senders   *clientaddr.Resolver
	addresses *ratelimit.Limiter[ratelimit.Key] // nil = no limit
	slots     chan struct{}
}

func newFeedGuard(senders *clientaddr.Resolver, rate float64) (*feedGuard, error) {
	g := &feedGuard{senders: senders, slots: make(chan struct{}, feedsAtOnce)}
	if rate > 0 {
		g.addresses = ratelimit.New[ratelimit.Key](ratelimit.Options{Rate: rate, Burst: max(int(20*rate), strayFeedCost)})
	}
	if g.senders != nil {
		return g, nil
	}
	var err error
	g.senders, err = clientaddr.New(clientaddr.Options{})
	return g, err
}

// readFeed answers a subscriber. The address is the only secret, so nothing about it is logged and no cache that is
// shared may keep the answer.
func (s *Server) readFeed(c echo.Context) error {
	r := c.Request()
	from := s.feeds.senders.Resolve(r)
	key := from.Key()
	if s.feeds.addresses != nil {
		if d := s.feeds.addresses.Allow(key, 1, s.now()); !d.OK {
			return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "too many requests of this address"), max(d.RetryAfter, time.Second))
		}
	}
	select {
	case s.feeds.slots <- struct{}{}:
		defer func() { <-s.feeds.slots }()
	default:
		return errOverloaded
	}
	ref, err := s.findFeed(r.Context(), c.Param("file"))
	if domain.KindOf(err) == domain.KindNotFound && s.feeds.addresses != nil {
		s.feeds.addresses.Charge(key, strayFeedCost-1, s.now())
	}
	if err != nil {
		return err
	}
	if ref.Revoked {
		return withStatus(http.StatusGone, "gone", errors.New("this feed was revoked"))
	}
	body, tag, changed, err := s.openFeed(r.Context(), ref)
	if err != nil {
		return err
	}
	w := c.Response()
	h := w.Header()
	h.Set("Content-Type", icsfeed.ContentType)
	h.Set("Content-Disposition", `inline; filename="calendar.ics"`)
	h.Set("Cache-Control", "private, max-age=300, must-revalidate")
	h.Set("ETag", tag)
	// ServeContent answers the conditions of RFC 9110 section 13, and ranges.
	http.ServeContent(w, r, "", changed, bytes.NewReader(body))
	return nil
}

// findFeed finds the feed of a token. What cannot be a token is not looked up.
func (s *Server) findFeed(ctx context.Context, file string) (store.FeedRef, error) {
	unknown := domain.E(domain.KindNotFound, "no such feed")
	token, ok := strings.CutSuffix(file, ".ics")
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(token); !ok || err != nil || len(raw) != feedTokenBytes {
		return store.FeedRef{}, unknown
	}
	ref, err := s.deps.Store.FeedByToken(ctx, sha256.Sum256([]byte(token)))
	if domain.KindOf(err) == domain.KindNotFound {
		return ref, unknown
	}
	return ref, err
}

func (s *Server) openFeed(ctx context.Context, ref store.FeedRef) (body []byte, tag string, changed time.Time, err error) {
	var noted bool
	var sum [32]byte
	err = s.deps.Store.TenantRead(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) error {
		f, err := tx.OpenFeed(ctx, ref.ID, domain.MaxFeedEvents)
		if err != nil {
			return err
		}
		body = icsfeed.Write(icsfeed.Calendar{Name: f.Label, Detail: f.Detail, Refresh: feedRefresh, Cut: f.Cut}, f.Bookings)
		sum = sha256.Sum256(body)
		noted, changed = f.ReadIsNoted(sum[:], tx.Now), f.ChangedAt
		return nil
	})
	if err == nil && !noted {
		err = s.deps.Store.Tenant(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) error {
			changed, err = tx.NoteFeedRead(ctx, ref.ID, sum[:])
			return err
		})
	}
	return body, `"` + hex.EncodeToString(sum[:16]) + `"`, changed, err
}
