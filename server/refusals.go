package server

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Bounds of the log of refused webhooks. Strangers decide how many there are, so what is written depends on time only:
// one batch every refusalsEvery with at most refusalRows rows, which is five rows a second over all integrations.
const (
	refusalsEvery     = 2 * time.Second
	refusalRows       = 10
	refusalsEach      = 2   // rows of one integration in a batch
	refusalsWaiting   = 256 // integrations with something to tell; beyond that only the metrics count
	refusalStoreLimit = 5 * time.Second
)

// refusalLog samples refused webhooks for operators. What it keeps of a request is the network of its sender.
type refusalLog struct {
	record func(ctx context.Context, batch []store.RefusedWebhook) error
	kept   *prometheus.CounterVec

	mu      sync.Mutex
	waiting map[domain.IntegrationID]*refusalSample
	rows    int // over all samples
}

type refusalSample struct {
	rows   []store.RefusedWebhook
	others int64 // refused and not among rows
}

func newRefusalLog(record func(ctx context.Context, batch []store.RefusedWebhook) error) *refusalLog {
	return &refusalLog{record: record, waiting: make(map[domain.IntegrationID]*refusalSample),
		kept: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wedsync_webhook_refusals_logged_total",
			Help: "Refused webhooks of known integrations, by what became of them in the log: stored, counted beside one that is, or lost."}, []string{"outcome"})}
}

// run stores what was noted until ctx ends.
func (l *refusalLog) run(ctx context.Context) {
	if l.record == nil {
		return
	}
	tick := time.NewTicker(refusalsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.flush(ctx)
		case <-ctx.Done():
			l.flush(context.WithoutCancel(ctx))
			return
		}
	}
}

// flush stores one batch. Rows that cannot be stored now are counted beside the next one.
func (l *refusalLog) flush(ctx context.Context) {
	l.mu.Lock()
	batch := make([]store.RefusedWebhook, 0, l.rows)
	for id, s := range l.waiting {
		if len(s.rows) == 0 {
			continue
		}
		s.rows[len(s.rows)-1].Others += s.others
		batch = append(batch, s.rows...)
		delete(l.waiting, id)
	}
	l.rows = 0
	l.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, refusalStoreLimit)
	defer cancel()
	if err := l.record(ctx, batch); err != nil {
		l.kept.WithLabelValues("lost").Add(float64(len(batch)))
		l.mu.Lock()
		for _, r := range batch {
			if s := l.sample(r.IntegrationID); s != nil {
				s.others += r.Others + 1
			}
		}
		l.mu.Unlock()
		return
	}
	l.kept.WithLabelValues("stored").Add(float64(len(batch)))
}

// sample returns what is noted of an integration, or nil when there is no room for another. It runs under the lock.
func (l *refusalLog) sample(id domain.IntegrationID) *refusalSample {
	s := l.waiting[id]
	if s == nil && len(l.waiting) < refusalsWaiting {
		s = &refusalSample{}
		l.waiting[id] = s
	}
	return s
}

func (l *refusalLog) note(e *intakeEntry, from netip.Addr, code, reason string, now time.Time) {
	if l.record == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sample(e.id)
	switch {
	case s == nil:
		l.kept.WithLabelValues("lost").Inc()
	case len(s.rows) >= refusalsEach || l.rows >= refusalRows:
		s.others++
		l.kept.WithLabelValues("counted").Inc()
	default:
		s.rows = append(s.rows, store.RefusedWebhook{OrgID: e.org, IntegrationID: e.id, At: now, Network: networkOf(from), Scheme: e.scheme,
			Code: code, Reason: reason, Others: s.others})
		s.others = 0
		l.rows++
	}
}

// noteRefusal puts a refused request into the log: those that the sender can be blamed for, of integrations that are known.
// Refused signatures are noted with their reason by noteSignature.
func (in *Intake) noteRefusal(v *visit, id string, err error) {
	status, code := statusOf(err)
	if status >= http.StatusInternalServerError || err == errSignature {
		return
	}
	if e := in.cache.peek(domain.IntegrationID(id)); e != nil {
		in.refusals.note(e, v.from.Addr, code, err.Error(), in.deps.Now())
	}
}

// noteSignature puts a refused signature into the log.
func (in *Intake) noteSignature(v *visit, e *intakeEntry, err error) {
	code, text := "other", err.Error()
	var reason *webhookauth.Reason
	if errors.As(err, &reason) {
		code, text = string(reason.Code), reason.Text
	}
	in.refusals.note(e, v.from.Addr, code, text, in.deps.Now())
}

// peek returns an integration that is ready, without reading anything.
func (c *intakeCache) peek(id domain.IntegrationID) *intakeEntry {
	s := c.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.ready[id]; e != nil && e.org != "" {
		return e
	}
	return nil
}

// networkOf is the sender's network: /24 of IPv4, /64 of IPv6, which names a provider's customer and no person.
// "" when the sender is not known.
func networkOf(addr netip.Addr) string {
	addr, bits := addr.Unmap().WithZone(""), 64
	if addr.Is4() {
		bits = 24
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return ""
	}
	return network.String()
}

type listRefusalsInput struct {
	IDParam
	PageParams
}

func (s *Server) listRefusals(ctx context.Context, in *listRefusalsInput) (*listOutput[store.RefusedWebhook], error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]store.RefusedWebhook, string, error) {
		if _, err := tx.Integration(ctx, id); err != nil {
			return nil, "", err
		}
		return tx.Refusals(ctx, id, in.page())
	})
}
