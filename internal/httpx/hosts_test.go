package httpx

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestHostRateRefusesLongQueuesAndSparesOtherHosts(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	count := func(http.ResponseWriter, *http.Request) { hits.Add(1) }
	a, b := serve(t, count), serve(t, count)
	c := newClient(t, Options{Allow: AllowPrivate, PerHost: Rate{PerSecond: 0.001, Burst: 2}})
	for range 2 {
		if _, err := c.Do(request(t, "GET", a.URL, "")); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Do(request(t, "GET", a.URL+"/mailbox", ""))
	if domain.KindOf(err) != domain.KindRateLimited || domain.RetryAfter(err) < time.Minute || StatusOf(err) != 0 {
		t.Errorf("third request: %v, wait %s", err, domain.RetryAfter(err))
	}
	noLeak(t, err)
	if _, err := c.Do(request(t, "GET", b.URL, "")); err != nil {
		t.Errorf("another host: %v", err)
	}
	if hits.Load() != 3 {
		t.Errorf("%d requests arrived", hits.Load())
	}
}

func TestWaitingForATurnEndsWithTheContext(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(http.ResponseWriter, *http.Request) {})
	c := newClient(t, Options{Allow: AllowPrivate, PerHost: Rate{PerSecond: 0.1}})
	if _, err := c.Do(request(t, "GET", srv.URL, "")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Do(request(t, "GET", srv.URL, "").WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Do(request(t, "GET", srv.URL, "").WithContext(short)); domain.KindOf(err) != domain.KindRateLimited {
		t.Errorf("a turn after the deadline: %v", err)
	}
}

func TestHostLimitersAreBounded(t *testing.T) {
	t.Parallel()
	h := newHosts(1, 1)
	busy := h.limiter("busy.example")
	busy.Allow()
	for i := range maxHosts + 100 {
		h.limiter(fmt.Sprint(i, ".example"))
	}
	if len(h.list) != maxHosts {
		t.Errorf("%d kept", len(h.list))
	}
	if h.limiter("A.example") != h.limiter("a.EXAMPLE") {
		t.Error("spelling evades the limit")
	}
}
