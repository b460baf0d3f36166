package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ratelimit"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/share"
	"github.com/wedsync/wedsync/internal/sharelink"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/stream"
	"github.com/wedsync/wedsync/internal/timelines"
)

// sharePolicy lets the page of a link load its style sheet and nothing else; there is no script.
const sharePolicy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// shareLook is how often an open stream of a link looks whether the link still works.
const shareLook = 5 * time.Second

var errShareGone = withStatus(http.StatusGone, "gone", errors.New("this link has ended"))

// enterShare bounds what strangers may ask, and reads the token of the address. What is no token of ours is not looked up, and
// guessing costs an address ten requests. The returned function must be called at the end.
func (s *Server) enterShare(c echo.Context) (claims sharelink.Claims, hash store.ShareHash, leave func(), err error) {
	h := c.Response().Header()
	h.Set("X-Robots-Tag", "noindex, nofollow, noarchive")
	h.Set("Content-Security-Policy", sharePolicy)
	if s.deps.Links == nil {
		return claims, hash, nil, domain.E(domain.KindNotFound, "no such link")
	}
	key := s.shares.senders.Resolve(c.Request()).Key()
	if s.shares.addresses != nil {
		if d := s.shares.addresses.Allow(key, 1, s.now()); !d.OK {
			return claims, hash, nil, domain.WithRetryAfter(domain.E(domain.KindRateLimited, "too many requests of this address"), max(d.RetryAfter, time.Second))
		}
	}
	token := c.Param("token")
	claims, err = s.deps.Links.Parse(token, s.now())
	switch {
	case errors.Is(err, sharelink.ErrExpired):
		return claims, hash, nil, errShareGone
	case err != nil:
		s.strayShare(key)
		return claims, hash, nil, err
	}
	select {
	case s.shares.slots <- struct{}{}:
		return claims, sharelink.Hash(token), func() { <-s.shares.slots }, nil
	default:
		return claims, hash, nil, errOverloaded
	}
}

func (s *Server) strayShare(key ratelimit.Key) {
	if s.shares.addresses != nil {
		s.shares.addresses.Charge(key, strayFeedCost-1, s.now())
	}
}

// usable finds the link of a token, in a transaction of its organisation.
func usable(ctx context.Context, tx *store.Tx, id domain.ShareID, hash store.ShareHash) (domain.Share, error) {
	link, err := tx.OpenShare(ctx, id, hash)
	if err != nil {
		return link, err
	}
	if !link.Usable(tx.Now) {
		return link, errShareGone
	}
	return link, nil
}

// wedding reads what a view may be made of.
func wedding(ctx context.Context, tx *store.Tx, id domain.BookingID) (share.Wedding, error) {
	w := share.Wedding{Spans: map[string]domain.Span{}, Vendors: map[domain.ResourceID]string{}}
	var err error
	if w.Booking, err = tx.Booking(ctx, id); err != nil {
		return w, err
	}
	if w.Changes, err = tx.BookingChanges(ctx, id, 0, share.MaxChanges); err != nil {
		return w, err
	}
	t, err := timelines.Read(ctx, tx, id)
	if domain.KindOf(err) == domain.KindNotFound {
		return w, nil
	}
	if err != nil {
		return w, err
	}
	w.Items, w.PlanChangedAt = t.Items, t.UpdatedAt
	for i, item := range t.Items {
		w.Spans[item.Key] = t.Times[i].Span
		if _, known := w.Vendors[item.ResourceID]; item.ResourceID != "" && !known {
			r, err := tx.Resource(ctx, item.ResourceID)
			if err != nil {
				return w, err
			}
			w.Vendors[item.ResourceID] = r.Name
		}
	}
	w.Confirmations, err = tx.Confirmations(ctx, id)
	return w, err
}

// openShare answers who has a link with the wedding as it is now: a page, or JSON where that is asked for.
func (s *Server) openShare(c echo.Context) error {
	claims, hash, leave, err := s.enterShare(c)
	if err != nil {
		return err
	}
	defer leave()
	var v share.View
	err = s.deps.Store.Tenant(c.Request().Context(), claims.Org, func(ctx context.Context, tx *store.Tx) error {
		link, err := usable(ctx, tx, claims.Share, hash)
		if err != nil {
			return err
		}
		w, err := wedding(ctx, tx, link.BookingID)
		if err != nil {
			return err
		}
		v = share.Build(w, link, tx.Now)
		return tx.CountShare(ctx, link.ID)
	})
	if err != nil {
		return err
	}
	if wantsJSON(c.Request()) {
		return c.JSON(http.StatusOK, v)
	}
	return s.showShare(c, http.StatusOK, v, "")
}

// wantsJSON reports whether a program asks. Browsers ask for text/html first.
func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html")
}

// sharePage is a view in words.
type sharePage struct {
	Heading, When, Status, Location, Zone, AsOf, Until, Action, Fault string
	Days                                                              []shareDay
	Changes                                                           []shareChange
	Vendor                                                            bool
}

type shareDay struct {
	Date  string
	Items []shareItem
}

type shareItem struct {
	share.Item
	From, To, Said string
}

type shareChange struct{ At, What string }

func (s *Server) showShare(c echo.Context, status int, v share.View, fault string) error {
	loc, err := calendartime.LoadZone(v.Zone)
	if err != nil {
		return err
	}
	const day, clock, moment = "Monday 2 January 2006", "15:04", "2 Jan 2006, 15:04"
	start, end := v.StartsAt.In(loc), v.EndsAt.In(loc)
	p := sharePage{Heading: v.Title, When: start.Format(day+", "+clock) + " to " + end.Format(clock), Location: v.Location, Zone: v.Zone, Fault: fault,
		AsOf: v.AsOf.In(loc).Format(moment), Until: v.Until.In(loc).Format(moment), Action: sharePath(c.Param("token")) + "/confirm",
		Vendor: v.Role == string(domain.ShareVendor)}
	if p.Heading == "" {
		p.Heading = "Wedding on " + start.Format("2 January 2006")
	}
	if start.Format(time.DateOnly) != end.Format(time.DateOnly) {
		p.When = start.Format(day+", "+clock) + " to " + end.Format(day+", "+clock)
	}
	switch domain.BookingStatus(v.Status) {
	case domain.StatusCancelled:
		p.Status = "This wedding is cancelled."
	case domain.StatusTentative:
		p.Status = "This wedding is not confirmed yet."
	case domain.StatusConfirmed:
	}
	for _, item := range v.Items {
		from, to := item.Start.In(loc), item.End.In(loc)
		one := shareItem{Item: item, From: from.Format(clock), To: to.Format(clock)}
		switch {
		case item.ConfirmedAt != nil && item.Outdated:
			one.Said = "confirmed " + item.ConfirmedAt.In(loc).Format(moment) + ", changed since"
		case item.ConfirmedAt != nil:
			one.Said = "confirmed " + item.ConfirmedAt.In(loc).Format(moment)
		}
		date := from.Format(day)
		if n := len(p.Days); n == 0 || p.Days[n-1].Date != date {
			p.Days = append(p.Days, shareDay{Date: date})
		}
		d := &p.Days[len(p.Days)-1]
		d.Items = append(d.Items, one)
	}
	for _, change := range v.Changes {
		p.Changes = append(p.Changes, shareChange{change.At.In(loc).Format(moment), firstUpper(change.What)})
	}
	var b bytes.Buffer
	if err := s.pages.share.Execute(&b, p); err != nil {
		return domain.E(domain.KindInternal, "render the page of a link")
	}
	return c.HTMLBlob(status, b.Bytes())
}

// itemBody names an item as it was seen.
type itemBody struct {
	Item     string `json:"item"`
	Revision string `json:"revision"`
}

func readConfirm(r *http.Request) (itemBody, error) {
	var in itemBody
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return in, malformed("body", "is no JSON with item and revision")
		}
	} else {
		if err := r.ParseForm(); err != nil {
			return in, malformed("body", "is no form")
		}
		in = itemBody{r.PostForm.Get("item"), r.PostForm.Get("revision")}
	}
	if in.Item == "" || len(in.Item) > domain.MaxTimelineKey || in.Revision == "" || len(in.Revision) > 64 {
		return in, domain.Invalid("body.item", "and body.revision are required, as the view shows them")
	}
	return in, nil
}

// confirmShare takes a vendor's word that an item suits, as it was shown.
func (s *Server) confirmShare(c echo.Context) error {
	r := c.Request()
	claims, hash, leave, err := s.enterShare(c)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.origin.Check(r); err != nil {
		return domain.E(domain.KindForbidden, "the form came from another site")
	}
	in, err := readConfirm(r)
	if err != nil {
		return err
	}
	var v share.View
	err = s.deps.Store.Tenant(r.Context(), claims.Org, func(ctx context.Context, tx *store.Tx) error {
		link, err := usable(ctx, tx, claims.Share, hash)
		if err != nil {
			return err
		}
		if link.Role != domain.ShareVendor {
			return domain.E(domain.KindForbidden, "only a vendor's link confirms items")
		}
		w, err := wedding(ctx, tx, link.BookingID)
		if err != nil {
			return err
		}
		v = share.Build(w, link, tx.Now)
		item, ok := itemOf(v, in.Item)
		switch {
		case !ok || item.Revision == "":
			// An item of somebody else is as unknown as one that is not there.
			return domain.E(domain.KindNotFound, "no such item")
		case item.Revision != in.Revision:
			return domain.E(domain.KindConflict, "the item changed since it was shown; look at it again")
		case !item.MayConfirm:
			return nil // confirmed already, as it is
		}
		if err := tx.Confirm(ctx, domain.Confirmation{BookingID: link.BookingID, ItemKey: in.Item, ShareID: link.ID, ResourceID: link.ResourceID, Revision: in.Revision}); err != nil {
			return err
		}
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: "share:" + string(link.ID), Action: "timeline.confirm", Reason: "confirmed by the vendor through a link",
			Subject: "booking/" + string(link.BookingID), After: map[string]string{"resource": string(link.ResourceID), "revision": in.Revision}}); err != nil {
			return err
		}
		if w.Confirmations, err = tx.Confirmations(ctx, link.BookingID); err != nil {
			return err
		}
		v = share.Build(w, link, tx.Now)
		return nil
	})
	switch {
	case domain.KindOf(err) == domain.KindConflict && !wantsJSON(r):
		return s.showShare(c, http.StatusConflict, v, plain(err))
	case err != nil:
		return err
	case wantsJSON(r):
		return c.JSON(http.StatusOK, v)
	}
	return c.Redirect(http.StatusSeeOther, sharePath(c.Param("token")))
}

func itemOf(v share.View, key string) (share.Item, bool) {
	for _, item := range v.Items {
		if item.Key == key {
			return item, true
		}
	}
	return share.Item{}, false
}

// followShare tells a program that the wedding changed, without saying what: it reads the view again. The stream ends with the
// link, at most a few seconds after it was revoked.
func (s *Server) followShare(c echo.Context) error {
	claims, hash, leave, err := s.enterShare(c)
	if err != nil {
		return err
	}
	r := c.Request()
	var link domain.Share
	look := func(ctx context.Context) error {
		return s.deps.Store.TenantRead(ctx, claims.Org, func(ctx context.Context, tx *store.Tx) (err error) {
			link, err = usable(ctx, tx, claims.Share, hash)
			return err
		})
	}
	err = look(r.Context())
	leave() // a stream is bounded by the hub
	if err != nil {
		return err
	}
	if s.draining.Load() {
		return domain.E(domain.KindUnavailable, "the server is stopping")
	}
	filter := domain.EventFilter{Weddings: []domain.BookingID{link.BookingID},
		Topics: []string{string(domain.TopicBookingChanged), string(domain.TopicTimelineChanged), string(domain.TopicShareConfirmed)}}
	until := link.ExpiresAt
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(shareLook)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				// A database that is away ends no stream; it says nothing new either.
				if err := look(ctx); err != nil && domain.KindOf(err) != domain.KindUnavailable {
					cancel()
					return
				}
			}
		}
	}()
	defer func() { cancel(); <-done }()
	return s.deps.Hub.Serve(c.Response(), r.WithContext(ctx), stream.Request{Org: claims.Org, Filter: filter, Until: until, Bare: true})
}
