package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/inbox"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
)

// withWebhook adds members to the webhook part of an integration's settings.
func withWebhook(members string) func(*store.IntakeRecord) {
	return func(r *store.IntakeRecord) { r.Integration.Settings = webhookSettings(members) }
}

func webhookSettings(members string) json.RawMessage {
	return json.RawMessage(strings.Replace(string(crmsim.MinimalWebhookSettings()), `"verify"`, members+`,"verify"`, 1))
}

func TestRepeatsAreKnownByHeaderPathOrHashWithinTheIntegration(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{})
	path := rig.add(withWebhook(`"dedupe":{"body_path":"/event/id","days":30}`))
	hash := rig.add(withWebhook(`"dedupe":{"hash":true}`))
	header := rig.add(withWebhook(`"dedupe":{"header":"X-Delivery"}`))
	other := rig.add(withWebhook(`"dedupe":{"body_path":"/event/id"}`))
	n := 0
	send := func(id domain.IntegrationID, delivery, body string) receipt {
		t.Helper()
		n++ // so that the ids of the scheme differ
		req := rig.hook(t, id, fmt.Sprint("msg_", n), body)
		if delivery != "" {
			req.Header.Set("X-Delivery", delivery)
		}
		return post(t, req)
	}
	for name, c := range map[string]struct {
		id     domain.IntegrationID
		first  [2]string // header and body
		second [2]string
		same   bool
	}{
		"path, other body":        {path, [2]string{"", `{"event":{"id":"a"},"try":1}`}, [2]string{"", `{"event":{"id":"a"},"try":2}`}, true},
		"path, number and text":   {path, [2]string{"", `{"event":{"id":7}}`}, [2]string{"", `{"event":{"id":"7"}}`}, false},
		"path absent, same body":  {path, [2]string{"", `{"x":1}`}, [2]string{"", `{"x":1}`}, true},
		"path absent, other body": {path, [2]string{"", `{"x":2}`}, [2]string{"", `{"x":3}`}, false},
		"hash, same body":         {hash, [2]string{"", `{"x":1}`}, [2]string{"", `{"x":1}`}, true},
		"hash, other body":        {hash, [2]string{"", `{"x":2}`}, [2]string{"", `{"x":3}`}, false},
		"header":                  {header, [2]string{"d1", `{}`}, [2]string{"d1", `{}`}, true},
		"another header":          {header, [2]string{"d2", `{}`}, [2]string{"d3", `{}`}, false},
	} {
		first, second := send(c.id, c.first[0], c.first[1]), send(c.id, c.second[0], c.second[1])
		if first.Status != http.StatusAccepted || (second.ID == first.ID) != c.same || (second.Status == http.StatusOK) != c.same {
			t.Errorf("%s: %+v, then %+v; want the same: %t", name, first, second, c.same)
		}
	}
	if r := send(other, "", `{"event":{"id":"a"}}`); r.Status != http.StatusAccepted {
		t.Errorf("the same id of another integration: %+v; want 202", r)
	}
	since := func(id domain.IntegrationID) (out time.Time) {
		rig.set(func() {
			for k, d := range rig.rows {
				if k.integration == id {
					out = d.RepeatsSince
				}
			}
		})
		return out
	}
	if got, want := since(path), rig.now.Load().Add(-30*24*time.Hour); !got.Equal(want) || !since(hash).IsZero() {
		t.Errorf("repeats are known since %s and %s; want %s, and ever", got, since(hash), want)
	}
}

func TestRepeatsAreNotPromisedForLongerThanDeliveriesAreKept(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for dedupe, want := range map[string]string{`"dedupe":{"days":90}`: "", `"dedupe":{"hash":true}`: "", `"dedupe":{"days":91}`: "at most 90 days", `"dedupe":{"body_path":"/id","days":3650}`: "not for 3650"} {
		c := provider.Connection{Secrets: map[string]string{"webhook_secret": intakeSecret}, Zone: time.UTC, Now: time.Now,
			Integration: domain.Integration{Provider: custom.Registration.Name, Settings: webhookSettings(dedupe)}}
		err := checkRepeats(custom.Registration, c, 90*day)
		if want == "" && err != nil || want != "" && (domain.FieldOf(err) != "body.settings" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", dedupe, err, want)
		}
		if err := checkRepeats(custom.Registration, c, 0); err != nil {
			t.Errorf("%s where it is not known how long they are kept: %v", dedupe, err)
		}
	}
}

// TestAHintThatComesAgainIsAFurtherChange is about webhooks that say no more than which entry changed: two changes of it send the
// same bytes, and the second must be read as well.
func TestAHintThatComesAgainIsAFurtherChange(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{})
	hints := func(members string) domain.IntegrationID {
		return rig.add(func(r *store.IntakeRecord) {
			r.Integration.Settings = json.RawMessage(`{"base_url":"https://desk.example/v1","auth":{"kind":"none"},
				"mapping":{"external_id":"item.id","category":"'vendor'","start":"item.start","end":"item.end"},
				"read":{"path":"/entries/${entry.external_id}"},
				"webhook":{"verify":{"scheme":"bearer"},"mapping":{"external_id":"item.id"}` + members + `}}`)
		})
	}
	send := func(id domain.IntegrationID, body string) receipt {
		t.Helper()
		req := rig.hook(t, id, "ignored", body)
		req.Header.Set("Authorization", "Bearer "+intakeSecret)
		return post(t, req)
	}
	const changed = `{"event":"changed","id":"job-1"}`
	for name, c := range map[string]struct {
		members, body string
		repeat        bool
	}{
		"read back, no id":                  {`,"fetch_back":true`, changed, false},
		"read back, no id where it is said": {`,"fetch_back":true,"dedupe":{"body_path":"/message"}`, changed, false},
		"read back, with an id":             {`,"fetch_back":true,"dedupe":{"body_path":"/message"}`, `{"message":"m1","id":"job-1"}`, true},
		"read back, by hash as it was said": {`,"fetch_back":true,"dedupe":{"hash":true}`, changed, true},
		"believed, no id":                   {``, changed, true},
	} {
		id := hints(c.members)
		first, again := send(id, c.body), send(id, c.body)
		if first.Status != http.StatusAccepted || (again.Status == http.StatusOK) != c.repeat || (again.ID == first.ID) != c.repeat {
			t.Errorf("%s: %+v, then %+v; want a repeat: %t", name, first, again, c.repeat)
		}
	}
}

func TestACompressedBodyIsVerifiedAndStoredAsItCame(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{})
	id := rig.add(withWebhook(`"content_encoding":"gzip","dedupe":{"body_path":"/id"}`))
	pack := func(text string, level int) string {
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, level)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	send := func(to domain.IntegrationID, message, body, coding string) receipt {
		req := rig.hook(t, to, message, body)
		req.Header.Set("Content-Encoding", coding)
		return post(t, req)
	}
	body := pack(`{"id":"a","x":1}`, gzip.BestSpeed)
	first := send(id, "m1", body, "gzip")
	if first.Status != http.StatusAccepted {
		t.Fatalf("got %+v; want 202", first)
	}
	for _, d := range rig.rows {
		headers, raw, _ := strings.Cut(string(d.Content), "\n")
		if raw != body || d.Size != len(body) || !strings.Contains(headers, `"content-encoding":"gzip"`) {
			t.Errorf("stored %q with %s; want the bytes as they came, and their coding", raw, headers)
		}
	}
	if again := send(id, "m2", pack(`{"id":"a","x":2}`, gzip.BestCompression), "gzip"); again.ID != first.ID {
		t.Errorf("the same id, packed in another way: %+v; want a repeat", again)
	}
	if r := send(id, "m3", pack(`{"id":"bomb","x":"`+strings.Repeat("x", 900_000)+`"}`, gzip.BestCompression), "gzip"); r.Status != http.StatusAccepted {
		t.Errorf("a bomb with a good signature: %+v; want it taken unread", r)
	}
	if r := send(id, "m4", `{"id":"plain"}`, "identity"); r.Status != http.StatusAccepted {
		t.Errorf("not compressed: %+v; want 202", r)
	}
	twice := rig.hook(t, id, "m7", body)
	twice.Header["Content-Encoding"] = []string{"gzip", "gzip"}
	for name, r := range map[string]receipt{"another coding": send(id, "m5", body, "br"), "not declared": send(rig.id, "m6", body, "gzip"),
		"packed twice": send(id, "m8", body, "gzip, gzip"), "said twice": post(t, twice)} {
		if r.Status != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %+v; want 415", name, r)
		}
	}
}

// TestCopiesThroughTwoServersAreOneDeliveryAlsoWhenTheFirstTryFails sends copies of messages to two intakes on one Postgres.
func TestCopiesThroughTwoServersAreOneDeliveryAlsoWhenTheFirstTryFails(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.Options{})
	now := time.Now()
	org := domain.Organization{ID: domain.NewID[domain.OrgID](now), Name: "Studio", Zone: "UTC", CreatedAt: now}
	resource := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Photographer", Kind: domain.ResourcePerson, Zone: "UTC",
		Capacity: 1, CreatedAt: now, UpdatedAt: now, Version: 1}
	id := domain.NewID[domain.IntegrationID](now)
	if err := db.CreateOrganization(t.Context(), org, "system:test"); err != nil {
		t.Fatal(err)
	}
	err := db.Tenant(t.Context(), org.ID, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.CreateResource(ctx, resource), tx.CreateIntegration(ctx, domain.Integration{ID: id, Name: "CRM", Provider: "custom",
			Direction: domain.DirectionImport, ResourceID: resource.ID, Settings: webhookSettings(`"dedupe":{"body_path":"/id","days":30}`)},
			map[string]string{"webhook_secret": intakeSecret}))
	})
	if err != nil {
		t.Fatal(err)
	}
	type fault int
	const (
		before fault = iota + 1 // nothing is stored
		after                   // it is stored, and the answer is lost
	)
	var mu sync.Mutex
	faults := map[string]fault{}
	serve := func() string {
		box, err := inbox.New(inbox.Deps{Store: db, Signals: &downSignals{}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		broken := domain.WithRetryAfter(domain.E(domain.KindUnavailable, "a fault of the test"), time.Second)
		in, err := NewIntake(IntakeDeps{Record: db.IntakeRecord, Provider: intakeProvider, Log: slog.New(slog.DiscardHandler),
			Limits: IntakeLimits{InFlight: 2000, AddressInFlight: 2000}, Full: box.Writer.Full,
			Seal: func(org domain.OrgID, id domain.DeliveryID, headers map[string]string, body []byte) []byte {
				return append([]byte(headers["webhook-id"]+"\n"), db.SealDelivery(org, id, headers, body)...)
			},
			Put: func(ctx context.Context, d store.NewDelivery, provider string) (store.InsertedDelivery, error) {
				message, sealed, _ := bytes.Cut(d.Content, []byte("\n"))
				d.Content = sealed
				mu.Lock()
				f := faults[string(message)]
				delete(faults, string(message))
				mu.Unlock()
				if f == before {
					return store.InsertedDelivery{}, broken
				}
				out, err := box.Writer.Put(ctx, d, provider)
				if f == after {
					return store.InsertedDelivery{}, errors.Join(broken, err)
				}
				return out, err
			}})
		if err != nil {
			t.Fatal(err)
		}
		e := echo.New()
		e.POST("/v1/webhooks/:integration", in.Handle)
		s := httptest.NewServer(e)
		t.Cleanup(func() {
			s.Close()
			if err := errors.Join(in.Drain(context.Background()), box.Drain(context.Background())); err != nil {
				t.Errorf("drain: %v", err)
			}
		})
		return s.URL + "/v1/webhooks/" + string(id)
	}
	servers := [2]string{serve(), serve()}
	const copies = 1000
	got := make([]receipt, copies)
	var all sync.WaitGroup
	turn := make(chan struct{}, 200) // connections at once
	for i := range copies {
		req := signedHook(t, servers[i%2], fmt.Sprint("copy_", i), fmt.Sprintf(`{"id":"same","try":%d}`, i), now)
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			var err error
			if got[i], err = tryPost(req); err != nil {
				t.Errorf("copy %d: %v", i, err)
			}
		})
	}
	all.Wait()
	accepted := 0
	for i, r := range got {
		if r.ID == "" || r.ID != got[0].ID {
			t.Errorf("copy %d: %+v; want id %s", i, r, got[0].ID)
		}
		if r.Status == http.StatusAccepted {
			accepted++
		}
	}
	if accepted != 1 {
		t.Errorf("%d copies were accepted as new; want one", accepted)
	}
	for name, f := range map[string]fault{"before": before, "after": after} {
		mu.Lock()
		faults["first_"+name] = f
		mu.Unlock()
		body := `{"id":"` + name + `"}`
		if r := post(t, signedHook(t, servers[0], "first_"+name, body, now)); r.Status != http.StatusServiceUnavailable || r.ID != "" || r.RetryAfter == "" {
			t.Errorf("fault %s the commit: %+v; want 503 without an id", name, r)
		}
		second := post(t, signedHook(t, servers[1], "second_"+name, body, now))
		if want := map[fault]int{before: http.StatusAccepted, after: http.StatusOK}[f]; second.Status != want || second.ID == "" {
			t.Errorf("second try after a fault %s the commit: %+v; want %d with an id", name, second, want)
		}
	}
	var waiting []domain.RawDelivery
	err = db.Tenant(t.Context(), org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		waiting, err = tx.WaitingDeliveries(ctx, id, 10)
		return err
	})
	if err != nil || len(waiting) != 3 {
		t.Errorf("%d rows, %v; want the copies' one and those of two second tries", len(waiting), err)
	}
}
