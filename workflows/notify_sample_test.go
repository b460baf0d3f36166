package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/notify"
	"github.com/wedsync/wedsync/internal/sim/pagerdutysim"
	"github.com/wedsync/wedsync/internal/sim/slacksim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// hookDoor takes signed webhooks on loopback; each request is answered by the next status, 204 when there is none.
type hookDoor struct {
	mu       sync.Mutex
	statuses []int
	ids      []string
	wrong    []error
}

func (r *hookDoor) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	v, wrong := webhookauth.New(webhookauth.Config{Scheme: webhookauth.StandardWebhooks}, webhookauth.Plain(webhookauth.Secret(hookSecret)), webhookauth.Options{})
	// It is signed by the clock of the workflow, which skips.
	at, late := strconv.ParseInt(req.Header.Get("Webhook-Timestamp"), 10, 64)
	if err = errors.Join(err, wrong, late); err == nil {
		_, err = v.Verify(req.Context(), webhookauth.Request{Header: req.Header, Body: body}, time.Unix(at, 0))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.wrong = append(r.wrong, err)
	}
	r.ids = append(r.ids, req.Header.Get("Webhook-Id"))
	status := http.StatusNoContent
	if len(r.statuses) > 0 {
		status, r.statuses = r.statuses[0], r.statuses[1:]
	}
	w.WriteHeader(status)
}

// TestASampleGoesEveryWayThroughFaultsAndLeavesNothingOpen sends a sample to a person who wants to hear of nothing, at night.
func TestASampleGoesEveryWayThroughFaultsAndLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: []domain.NotifyRule{{}}, Quiet: &domain.QuietHours{From: 0, To: 23*60 + 59}})
	o.pages()
	hooks := &hookDoor{statuses: []int{503, 500}}
	srv := httptest.NewServer(hooks)
	t.Cleanup(srv.Close)
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		who, err := tx.Recipient(ctx, o.ann.ID)
		if err != nil {
			return err
		}
		who.Addresses.Webhook = srv.URL + "/in"
		return tx.UpdateRecipient(ctx, who, "", who.Version)
	})
	o.slack.Fail(slacksim.Limited, slacksim.Down)
	o.pager.Fail(pagerdutysim.None, pagerdutysim.Down, pagerdutysim.LostAnswer) // taken, its end is not, and then the answer is lost
	sample := func(by ...domain.NotifyChannel) (all []domain.Notification, err error) {
		err = o.db.Tenant(t.Context(), o.org, func(ctx context.Context, tx *store.Tx) error {
			who, err := tx.Recipient(ctx, o.ann.ID)
			if err != nil {
				return err
			}
			all, err = notify.SendSample(ctx, tx, who, by, "")
			return err
		})
		return all, err
	}
	all, err := sample()
	if err != nil || len(all) != 5 {
		t.Fatalf("%d ways: %v", len(all), err)
	}
	o.run()
	o.ended(nil)
	list := o.list()
	slices.Sort(list)
	for n, way := range []string{"email", "live", "pagerduty", "slack", "webhook"} {
		if n >= len(list) || !strings.HasPrefix(list[n], "test by "+way+": sent after ") {
			t.Errorf("%s: %v", way, list)
		}
	}
	o.onlyMail("Subject: A sample message")
	if m := o.slack.Messages(); len(m) != 1 || !strings.Contains(m[0].Text, "sample message") {
		t.Errorf("Slack: %+v", m)
	}
	for _, i := range o.pager.Incidents() {
		if i.Status != "resolved" || i.Severity != "info" || i.DedupKey != "wedsync/recipient/"+string(o.ann.ID) {
			t.Errorf("PagerDuty: %+v", i)
		}
	}
	hooks.mu.Lock()
	defer hooks.mu.Unlock()
	if len(hooks.ids) != 3 || hooks.ids[0] == "" || hooks.ids[0] != hooks.ids[1] || hooks.ids[1] != hooks.ids[2] {
		t.Errorf("webhooks came as %v", hooks.ids)
	}
	for _, err := range hooks.wrong {
		t.Errorf("a webhook is not signed as it should be: %v", err)
	}
	for n := len(all); n < notify.MaxSamples; n++ {
		if _, err := sample(domain.ChannelLive); err != nil {
			t.Fatalf("sample %d: %v", n, err)
		}
	}
	if _, err := sample(domain.ChannelLive); domain.KindOf(err) != domain.KindRateLimited || !strings.Contains(err.Error(), fmt.Sprint(notify.MaxSamples)) {
		t.Errorf("one too many: %v", err)
	}
}

// TestASampleThatIsRefusedIsShownAsFailed has an address that the receiver does not know any more.
func TestASampleThatIsRefusedIsShownAsFailed(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: []domain.NotifyRule{{}}})
	o.slack.Fail(slacksim.Gone)
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		who, err := tx.Recipient(ctx, o.ann.ID)
		if err != nil {
			return err
		}
		if _, err := notify.SendSample(ctx, tx, who, []domain.NotifyChannel{domain.ChannelWebhook}, "body."); domain.FieldOf(err) != "body.channels[0]" {
			t.Errorf("a way without an address: %v", err)
		}
		_, err = notify.SendSample(ctx, tx, who, []domain.NotifyChannel{domain.ChannelSlack}, "")
		return err
	})
	o.run()
	o.ended(nil)
	if list := o.list(); len(list) != 1 || !strings.HasPrefix(list[0], "test by slack: failed, ") {
		t.Errorf("%v", list)
	}
}
