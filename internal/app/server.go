package app

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/broadcast"
	"github.com/wedsync/wedsync/internal/codec"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/holds"
	"github.com/wedsync/wedsync/internal/inbox"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers"
	"github.com/wedsync/wedsync/internal/ratelimit"
	"github.com/wedsync/wedsync/internal/retention"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/sharelink"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/stream"
	"github.com/wedsync/wedsync/server"
)

// RunServer serves HTTP on l until ctx ends, and then drains: requests in flight finish, what was acknowledged is
// stored, what waits for Temporal is sent or left to the next sweep.
func RunServer(ctx context.Context, c *Core, l net.Listener) error {
	inbox.TuneGC(c.Config.MemoryLimit != "")
	s, err := NewServer(c, l.Addr().String())
	if err != nil {
		return err
	}
	return s.Run(ctx, l)
}

// Server is a wired server with its background parts.
type Server struct {
	core  *Core
	http  *server.Server
	Inbox *inbox.Inbox
	in    *server.Intake
	hub   *stream.Hub
	waker *broadcast.Waker
	tell  *broadcast.Announcer

	retain *retention.Job
	keep   *guard.Keeper
}

// NewServer wires a server. addr is where it will listen, for its default public URL.
func NewServer(c *Core, addr string) (*Server, error) {
	verifier, err := c.Config.verifier()
	if err != nil {
		return nil, err
	}
	s := &Server{core: c, waker: broadcast.NewWaker(c.Store, c.Flow, broadcast.WakerOptions{Logger: c.Log}),
		tell: broadcast.NewAnnouncer(c.Store.AnnounceAccepted, broadcast.AnnouncerOptions{Logger: c.Log})}
	lost := prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "wedsync_stream_unannounced_total",
		Help: "Webhooks that were stored and not announced on the live stream, because announcing did not keep up."},
		func() float64 { return float64(s.tell.Lost()) })
	if err := c.Metrics.Register(lost); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	s.Inbox, err = inbox.New(inbox.Deps{Store: c.Store, Signals: c.Flow, Log: c.Log, Metrics: c.Metrics, Accepted: s.tell.Accepted,
		Writer:     inbox.WriterOptions{Committers: c.Config.Committers},
		Dispatcher: inbox.DispatcherOptions{Provider: c.providerName, Tracer: c.Tracer},
		Relay:      inbox.RelayOptions{Conflict: inbox.ConflictReader(c.Store)}})
	if err != nil {
		return nil, err
	}
	senders, err := c.Config.senders()
	if err != nil {
		return nil, err
	}
	keys, err := c.keySets()
	if err != nil {
		return nil, err
	}
	callers, err := c.Config.Traces.callers()
	if err != nil {
		return nil, err
	}
	s.in, err = server.NewIntake(server.IntakeDeps{Record: c.Store.IntakeRecord, Versions: c.Store.IntegrationVersions, Provider: findProvider,
		Connect: func(conn *provider.Connection) { conn.HTTP = c.HTTP }, Seal: c.Store.SealDelivery, Put: s.Inbox.Writer.Put, Refused: c.Store.RecordRefusals, Log: c.Log,
		Tracer: c.Tracer, TraceCallers: callers, KeySets: keys, CredentialUses: c.Store.NoteCredentialUses, Metrics: c.Metrics, Senders: senders, Lease: c.leaseTokens, Full: s.Inbox.Writer.Full, Waiting: c.Store.WaitingDeliveryCount, Piles: c.Store.WaitingPiles,
		Now: c.Config.now, Limits: server.IntakeLimits{MaxBody: c.Config.MaxBody, Rate: c.Config.IntegrationRate, Burst: int(2 * c.Config.IntegrationRate),
			AddressRate: c.Config.AddressRate, OrgRate: c.Config.OrganizationRate, OrgShare: c.Config.ServerShare, MaxWaiting: c.Config.MaxWaiting}})
	if err != nil {
		return nil, err
	}
	if err := c.Metrics.Register(server.NewLagCollector(c.Store.LagTotals, c.Config.clock(), c.Log)); err != nil {
		return nil, domain.E(domain.KindInternal, "register metric of lags: %w", err)
	}
	if err := c.Metrics.Register(server.NewPushLagCollector(c.Store.PushLagTotals, c.Config.clock(), c.Log)); err != nil {
		return nil, domain.E(domain.KindInternal, "register metric of lags of copies: %w", err)
	}
	if err := c.Metrics.Register(server.NewHealthCollector(c.Store.HealthTotals, c.Config.clock(), c.Log)); err != nil {
		return nil, domain.E(domain.KindInternal, "register metrics of health: %w", err)
	}
	if err := c.Metrics.Register(server.NewWeddingCollector(c.Store.CareTotals, c.Config.clock(), c.Log)); err != nil {
		return nil, domain.E(domain.KindInternal, "register metrics of weddings: %w", err)
	}
	notices, err := server.NewNotices(server.NoticeDeps{Record: c.Store.WatchRecord, Note: c.noteNotice, Provider: findProvider, Senders: senders,
		Log: c.Log, Metrics: c.Metrics, Now: c.Config.now, Limits: server.IntakeLimits{AddressRate: c.Config.AddressRate}})
	if err != nil {
		return nil, err
	}
	if s.retain, err = retention.New(c.Store, c.Config.Retention(), c.Metrics, c.Log); err != nil {
		return nil, err
	}
	s.keep = &guard.Keeper{Guard: &guard.Guard{Store: c.Store, Opener: c.Opener}, Log: c.Log}
	c.checkFiles()
	s.hub = stream.New(c.Store, stream.Options{Logger: c.Log, Total: c.Config.Streams, PerOrg: c.Config.StreamsPerOrg,
		Watch: s.waker.Watch, Watching: s.waker.Watching, Now: c.Config.now})
	handler, err := c.codecHandler()
	if err != nil {
		return nil, err
	}
	public := c.Config.PublicURL
	if public == "" {
		public = "http://" + addr
	}
	s.http, err = server.New(server.Deps{Now: c.Config.now, Store: c.Store, Flow: c.Flow, Hub: s.hub, Tokens: verifier, Providers: providers.All(),
		ApplyManual: c.applyManual, Holds: c.holdsDesk(), Guard: s.keep.Guard, Onboard: c.onboard, Probe: c.probe, Outward: c.HTTP, Grants: c.Grants, Intake: s.in, Notices: notices, Codec: handler, Senders: senders, Links: sharelink.New(c.Ring), Metrics: c.Metrics, Logger: c.Log,
		Options: server.Options{PublicURL: public, CallbackURL: c.Config.callbackURL(addr), Version: Version, TemporalUI: c.Config.TemporalUI, MetricsToken: c.Config.MetricsToken,
			DrainTimeout: c.Config.DrainTimeout, DrainDelay: c.Config.DrainDelay,
			AllowPrivate: c.Config.AllowPrivate, DeliveriesKept: c.Config.KeepDeliveries}})
	return s, err
}

// Run serves on l until ctx ends and drains.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	// The background parts outlive the listener: a webhook that is still being answered needs the writer.
	back, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var parts sync.WaitGroup
	parts.Go(func() { s.in.Run(back) })
	parts.Go(func() { s.retain.Run(back) })
	parts.Go(func() { s.keep.Run(back) })
	parts.Go(func() { s.core.keepProbes(back) })
	parts.Go(func() { s.core.keepWeddings(back) })
	parts.Go(func() { s.core.keepDrills(back) })
	parts.Go(func() { s.core.keepMaintenance(back) })
	parts.Go(func() {
		if err := s.waker.Run(back); err != nil {
			s.core.Log.Error("waking of subscriptions stopped", "error", err)
		}
	})
	parts.Go(func() {
		if err := s.tell.Run(back); err != nil {
			s.core.Log.Error("announcing of accepted webhooks stopped", "error", err)
		}
	})
	parts.Go(func() {
		if err := s.Inbox.Run(back); err != nil {
			s.core.Log.Error("inbox stopped", "error", err)
		}
	})
	hub, stopHub := context.WithCancel(ctx)
	defer stopHub()
	parts.Go(func() {
		if err := s.hub.Run(hub); err != nil && hub.Err() == nil {
			s.core.Log.Error("live stream stopped", "error", err)
		}
	})
	err := s.http.Run(ctx, l)
	stopHub()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.core.Config.DrainTimeout)
	defer cancel()
	err = errors.Join(err, s.in.Drain(end))
	stop()
	parts.Wait()
	return errors.Join(err, s.Inbox.Drain(end))
}

// holdsDesk keeps holds; systems are read by their workflows.
func (c *Core) holdsDesk() *holds.Desk {
	return &holds.Desk{Store: c.Store, Opener: c.Opener, Read: func(ctx context.Context, i domain.Integration, run domain.SyncRunID, by string) error {
		_, err := c.Flow.Resync(ctx, flow.IntegrationRef{Org: i.OrgID, ID: i.ID, Provider: i.Provider}, contract.ResyncRequest{RunID: run, By: by})
		return err
	}}
}

// noteNotice stores what a message to a watch means, with the line that tells the integration's workflow.
func (c *Core) noteNotice(ctx context.Context, org domain.OrgID, id domain.WatchID, n store.WatchNotice) (stood bool, err error) {
	err = c.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		stood, err = tx.NoteNotice(ctx, id, n)
		return err
	})
	return stood, err
}

// leaseTokens takes tokens for organisations' webhooks, by the clock of the database.
func (c *Core) leaseTokens(ctx context.Context, asks []ratelimit.Ask) ([]int, error) {
	own := make([]store.AllowanceAsk, len(asks))
	for i, a := range asks {
		own[i] = store.AllowanceAsk{Org: domain.OrgID(domain.FormatUUID(a.Key)), Want: a.Want, Used: a.Used}
	}
	l := store.AllowanceLimit{Rate: c.Config.OrganizationRate, Burst: int(2 * c.Config.OrganizationRate)}
	return c.Store.LeaseAllowances(ctx, l, own, time.Time{})
}

func (c *Core) providerName(ctx context.Context, org domain.OrgID, id domain.IntegrationID) (string, error) {
	var name string
	err := c.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, id)
		name = i.Provider
		return err
	})
	return name, err
}

// codecHandler decodes payloads for Temporal UI. A browser of the UI's origin on this machine is let in during
// development, where the UI can send no token; elsewhere the codec token is required.
func (c *Core) codecHandler() (http.Handler, error) {
	if c.Config.TemporalUI == "" {
		return nil, nil
	}
	origin, err := url.Parse(c.Config.TemporalUI)
	if err != nil {
		return nil, domain.Invalid("temporal-ui", "must be a URL")
	}
	return codec.NewHandler(codec.New(c.Ring), codec.HandlerOptions{UIOrigin: origin.Scheme + "://" + origin.Host, Authorize: func(r *http.Request) error {
		if want := c.Config.CodecToken; want != "" {
			got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if ok && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1 {
				return nil
			}
			return domain.E(domain.KindUnauthenticated, "the codec token is required")
		}
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err == nil && c.Config.AllowPrivate && net.ParseIP(host).IsLoopback() && r.Header.Get("Origin") == origin.Scheme+"://"+origin.Host {
			return nil
		}
		return domain.E(domain.KindForbidden, "decoding is not set up: give a codec token")
	}})
}

// onboardTimeout bounds the questions asked of an outside system while an admin waits.
const onboardTimeout = 20 * time.Second

// onboard completes an integration's settings by asking the system, with the tokens of a consent that is not stored yet if
// they are given.
func (c *Core) onboard(ctx context.Context, i domain.Integration, secrets map[string]string, zone string, tokens provider.TokenSource) (json.RawMessage, error) {
	registration, err := providers.Get(i.Provider)
	if err != nil {
		return nil, err
	}
	loc, err := calendartime.LoadZone(zone)
	if err != nil {
		return nil, err
	}
	conn := provider.Connection{Integration: i, Secrets: secrets, Zone: loc, HTTP: c.HTTP, Now: c.Config.clock()}
	conn.HTTP = c.HTTP.Through(c.Outbound.For(i, registration, conn))
	connected := true
	switch {
	case !registration.Consents(i.Settings):
	case tokens != nil:
		conn.Tokens = tokens
	default:
		if conn.Tokens, err = c.Grants.Source(i); err != nil {
			return nil, err
		}
		if connected, err = c.Grants.Connected(ctx, i); err != nil {
			return nil, err
		}
	}
	opened, err := registration.Open(conn)
	if err != nil {
		return nil, err
	}
	if err := connect.Fits(i.Direction, opened); err != nil {
		return nil, err
	}
	onboarder, ok := provider.As[provider.Onboarder](opened)
	if !ok || !connected { // a system cannot be asked before a person has consented
		return i.Settings, nil
	}
	ctx, cancel := context.WithTimeout(ctx, onboardTimeout)
	defer cancel()
	return onboarder.Onboard(ctx)
}

// probe makes the cheapest authenticated call of an integration's system, where it has one.
func (c *Core) probe(ctx context.Context, org domain.OrgID, id domain.IntegrationID) error {
	var opened any
	err := c.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, id)
		if err != nil {
			return err
		}
		r, err := tx.Resource(ctx, i.ResourceID)
		if err != nil {
			return err
		}
		opened, err = c.Opener.Open(i, r.Zone, func() (map[string]string, error) { return tx.IntegrationSecrets(ctx, id) })
		return err
	})
	if err != nil {
		return err
	}
	if prober, ok := provider.As[provider.Prober](opened); ok {
		return prober.Probe(ctx)
	}
	return nil
}

// applyManual makes or changes a booking by hand.
func (c *Core) applyManual(ctx context.Context, org domain.OrgID, actor string, m server.ManualChange) (domain.Booking, []domain.Conflict, error) {
	var (
		booking   domain.Booking
		conflicts []domain.Conflict
	)
	err := c.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		booking = domain.Booking{ID: m.ID, OrgID: org}
		if m.ExpectVersion > 0 {
			was, err := tx.Booking(ctx, m.ID)
			if err != nil {
				return err
			}
			if was.Version != m.ExpectVersion {
				return domain.E(domain.KindConflict, "the booking has version %d now, not %d; read it again", was.Version, m.ExpectVersion)
			}
			booking = was
		} else if _, err := tx.Booking(ctx, m.ID); domain.KindOf(err) != domain.KindNotFound {
			if err != nil {
				return err
			}
			return domain.E(domain.KindConflict, "a booking of this id exists")
		}
		booking.ResourceID, booking.Category, booking.Status, booking.When = m.ResourceID, m.Category, m.Status, m.When
		booking.Details, booking.Private, booking.Free = m.Details, m.Private, m.Free
		reason := m.Reason
		if reason == "" {
			reason = "entered by hand"
		}
		result, err := apply.Manual(ctx, tx, booking, actor, reason)
		if err != nil {
			return err
		}
		conflicts = result.Conflicts()
		if result.Outcomes[0].Effect != reconcile.EffectUnchanged {
			booking.Version++
			booking.UpdatedAt = tx.Now
			if booking.CreatedAt.IsZero() {
				booking.CreatedAt = tx.Now
			}
		}
		return nil
	})
	return booking, conflicts, err
}
