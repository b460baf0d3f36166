package app

import (
	"context"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/worker"
)

// probesEvery is how often a server looks that every shard of the probing runs. Starting one that runs costs Temporal a read.
const probesEvery = time.Minute

// keepProbes starts the workflows that probe connections, and starts them again should one have been ended, until ctx ends.
func (c *Core) keepProbes(ctx context.Context) {
	if c.Config.ProbeEvery == 0 {
		return
	}
	tick := time.NewTicker(probesEvery)
	defer tick.Stop()
	for {
		for shard := range domain.ProbeShards {
			if err := c.Flow.StartProbe(ctx, shard); err != nil {
				if ctx.Err() == nil {
					c.Log.Debug("probing was not started; trying again", "shard", shard, "error", err)
				}
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// probeClient is the way out for probes. It has connections of its own, so that neither probes wait for real work nor real work
// for probes.
func (c *Core) probeClient() (*httpx.Client, error) {
	policy := httpx.PublicOnly
	if c.Config.AllowPrivate {
		policy = httpx.AllowPrivate
	}
	return httpx.New(httpx.Options{Allow: policy, UserAgent: "WedSync/" + Version, MaxConnsPerHost: worker.ProbeConns})
}

// probeControl asks the addresses of the setting probe-control one after the other. One that answers, whatever it says, shows
// that our own connection works. nil = there are none.
func (c *Core) probeControl() func(ctx context.Context) error {
	if len(c.Config.ProbeControl) == 0 {
		return nil
	}
	return func(ctx context.Context) error {
		var last error
		for _, url := range c.Config.ProbeControl {
			req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
			if err != nil {
				return domain.Invalid("probe-control", "must be URLs")
			}
			res, err := c.HTTP.Do(req)
			if res != nil {
				return nil
			}
			last = err
		}
		return last
	}
}
