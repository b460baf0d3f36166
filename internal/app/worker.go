package app

import (
	"context"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/worker"
)

// RunWorker serves task queues until ctx ends, and then lets running activities finish within the stop timeout. While
// Temporal cannot be reached at the start it waits.
func RunWorker(ctx context.Context, c *Core) error {
	out, err := c.broadcastClient()
	if err != nil {
		return err
	}
	defer out.Close()
	mail, err := c.Config.mailer()
	if err != nil {
		return err
	}
	probes, err := c.probeClient()
	if err != nil {
		return err
	}
	defer probes.Close()
	w, err := worker.New(worker.Deps{ProbeOpener: c.openerOver(probes),
		Tracer: c.Tracer, Interceptors: c.Config.between, Temporal: c.Flow.Temporal(), Store: c.Store, Opener: c.Opener, Log: c.Log, Broadcast: out,
		FailOver: c.pollAtOnce, NotifyURL: c.Config.notifyURL(), Mail: mail, Link: strings.TrimSuffix(c.Config.PublicURL, "/"), ProbeControl: c.probeControl(), PagerDuty: c.Config.PagerDutyURL, Failover: c.Config.Failover}, c.Config.worker())
	if err != nil {
		return err
	}
	if err := c.serveMetrics(ctx); err != nil {
		return err
	}
	if err := c.awaitTemporal(ctx); err != nil {
		return nil // stopped while waiting
	}
	if err := w.Start(); err != nil {
		return err
	}
	c.Log.Info("worker serves", "queues", c.Config.Queues)
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Config.StopTimeout+5*time.Second)
		defer cancel()
		w.Stop(end)
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-w.Fatal():
		return domain.E(domain.KindUnavailable, "worker: %w", err)
	}
}

// notifyURL is the address to which outside systems post when something changed there, "" if they cannot: they insist on
// https. In development, where private addresses may be called, simulators take any.
func (c Config) notifyURL() string {
	if strings.HasPrefix(c.PublicURL, "https://") || c.AllowPrivate && c.PublicURL != "" {
		return strings.TrimSuffix(c.PublicURL, "/")
	}
	return ""
}

// broadcastClient posts to subscribers. They answer within 15 s, and hardly anything that they say is read.
func (c *Core) broadcastClient() (*httpx.Client, error) {
	policy := httpx.PublicOnly
	if c.Config.AllowPrivate {
		policy = httpx.AllowPrivate
	}
	return httpx.New(httpx.Options{Allow: policy, UserAgent: "WedSync/" + Version, MaxBody: 64 << 10,
		Timeouts: httpx.Timeouts{Header: 15 * time.Second, Total: 15 * time.Second}})
}

// awaitTemporal returns when Temporal answers, or with the context's error.
func (c *Core) awaitTemporal(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		ask, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := c.Flow.Ping(ask)
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if wait > time.Second {
			c.Log.Warn("Temporal does not answer yet; waiting", "address", c.Config.TemporalAddress)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
