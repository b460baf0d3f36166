package server

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// recorder is storage for a refusalLog.
type recorder struct {
	mu      sync.Mutex
	fail    error
	batches [][]store.RefusedWebhook
}

func (r *recorder) record(_ context.Context, batch []store.RefusedWebhook) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	r.batches = append(r.batches, batch)
	return nil
}

func someEntry() *intakeEntry {
	now := time.Now()
	return &intakeEntry{id: domain.NewID[domain.IntegrationID](now), org: domain.NewID[domain.OrgID](now), scheme: "standard-webhooks"}
}

// from is the address of a sender; one that cannot be read is unknown.
func from(address string) netip.Addr {
	at, _ := netip.ParseAddrPort(address)
	return at.Addr()
}

func TestAFloodOfRefusalsIsWrittenAtABoundedRateAndCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		l := newRefusalLog(r.record)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { l.run(ctx) })
		loud, quiet := someEntry(), someEntry()
		const seconds, each = 10, 1000
		for range seconds {
			for range each {
				l.note(loud, from("192.0.2.77:4711"), "wrong_signature", "no match", time.Now())
			}
			timer := time.NewTimer(time.Second)
			<-timer.C
		}
		l.note(quiet, from("[2001:db8:1:2:3::9]:4711"), "rate_limited", "too many", time.Now())
		cancel()
		running.Wait()
		rows, all := 0, int64(0)
		for _, b := range r.batches {
			for _, row := range b {
				if row.IntegrationID == quiet.id {
					want := store.RefusedWebhook{OrgID: quiet.org, IntegrationID: quiet.id, At: row.At, Network: "2001:db8:1:2::/64",
						Scheme: "standard-webhooks", Code: "rate_limited", Reason: "too many"}
					if diff := cmp.Diff(want, row); diff != "" {
						t.Errorf("row of the quiet one (-want +got):\n%s", diff)
					}
					continue
				}
				rows++
				all += row.Others + 1
				if row.Network != "192.0.2.0/24" {
					t.Errorf("network %q", row.Network)
				}
			}
		}
		if rows == 0 || rows > refusalsEach*(seconds/int(refusalsEvery/time.Second)+1) {
			t.Errorf("%d rows in %d seconds", rows, seconds)
		}
		if all != seconds*each {
			t.Errorf("rows account for %d refusals; want %d", all, seconds*each)
		}
		if len(r.batches) > 6 {
			t.Errorf("%d batches", len(r.batches))
		}
	})
}

func TestRefusalsOfManyIntegrationsStayBoundedAndFailuresAreMadeUpFor(t *testing.T) {
	t.Parallel()
	r := &recorder{fail: errors.New("storage is down")}
	l := newRefusalLog(r.record)
	first := someEntry()
	for range 3 {
		l.note(first, from("192.0.2.1:1"), "c", "r", time.Now())
	}
	l.flush(t.Context())
	r.fail = nil
	l.note(first, from("192.0.2.1:1"), "c", "r", time.Now())
	for range 2 * refusalsWaiting {
		l.note(someEntry(), from("nowhere"), "c", "r", time.Now())
	}
	if len(l.waiting) != refusalsWaiting {
		t.Errorf("%d integrations wait; want %d", len(l.waiting), refusalsWaiting)
	}
	l.flush(t.Context())
	if len(r.batches) != 1 || len(r.batches[0]) != refusalRows {
		t.Fatalf("batches %v; want one of %d rows", r.batches, refusalRows)
	}
	for _, row := range r.batches[0] {
		if row.IntegrationID == first.id && row.Others != 3 {
			t.Errorf("the row after the failure counts %d others; want 3", row.Others)
		}
	}
}

func TestOperatorsReadWhyWebhooksWereRefusedAndStrangersLeaveOnlyCounters(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	rig := newIntakeRig(t, IntakeLimits{})
	rig.refusals.record = r.record
	id := rig.add(nil)
	forged := rig.hook(t, id, "msg_1", `{"secret":"in the body"}`)
	forged.Header.Set("Webhook-Signature", "v1,"+strings.Repeat("A", 43)+"=")
	if got := post(t, forged); got.Status != http.StatusUnauthorized {
		t.Fatalf("status %d", got.Status)
	}
	wrong := rig.hook(t, id, "msg_2", "{}")
	wrong.Header.Set("Content-Type", "image/x-private")
	if got := post(t, wrong); got.Status != http.StatusUnsupportedMediaType {
		t.Fatalf("status %d", got.Status)
	}
	if got := post(t, rig.hook(t, domain.NewID[domain.IntegrationID](time.Now()), "msg_3", "{}")); got.Status != http.StatusNotFound {
		t.Fatalf("status %d", got.Status)
	}
	rig.refusals.flush(t.Context())
	if len(r.batches) != 1 || len(r.batches[0]) != 2 {
		t.Fatalf("batches %+v; want one of two rows", r.batches)
	}
	codes := map[string]store.RefusedWebhook{}
	for _, row := range r.batches[0] {
		codes[row.Code] = row
		if row.IntegrationID != id || row.Network != "127.0.0.0/24" || row.Scheme == "" || row.Reason == "" {
			t.Errorf("row %+v", row)
		}
		if strings.Contains(row.Reason, "private") || strings.Contains(row.Reason, "in the body") || strings.Contains(row.Reason, "AAAA") {
			t.Errorf("reason %q tells what the request held", row.Reason)
		}
	}
	if _, ok := codes["unsupported_media_type"]; !ok {
		t.Errorf("codes %v", codes)
	}
}

func TestRefusalsAreListedForOperators(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.must(b.store.RecordRefusals(t.Context(), []store.RefusedWebhook{{OrgID: b.a.org, IntegrationID: b.a.integration, At: time.Now(),
		Network: "192.0.2.0/24", Scheme: "hmac-sha256", Code: "too_old", Reason: "older than 5m0s", Others: 4}}))
	var got listBody[store.RefusedWebhook]
	path := "/v1/integrations/" + string(b.a.integration) + "/refusals"
	b.do("GET", path, b.token(b.a.org, domain.RoleOperator), "").into(t, &got)
	if len(got.Items) != 1 || got.Items[0].Code != "too_old" || got.Items[0].Others != 4 {
		t.Errorf("items %+v", got.Items)
	}
	b.do("GET", path, b.token(b.b.org, domain.RoleOperator), "").problem(t, http.StatusNotFound, "not_found")
}
