package load

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

func TestMain(m *testing.M) {
	Child() // the generator is this program
	os.Exit(m.Run())
}

// receiver verifies and remembers what it is sent, and refuses every seventh.
type receiver struct {
	t       *testing.T
	targets map[string]Target
	silent  bool // 2xx without an id

	mu       sync.Mutex
	messages map[string]domain.DeliveryID
	bookings map[string]bool
	refused  int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Errorf("read body: %v", err)
	}
	target, ok := r.targets[strings.TrimPrefix(req.URL.Path, "/v1/webhooks/")]
	if !ok {
		r.t.Errorf("path %q is of no target", req.URL.Path)
	}
	secret := "whsec_" + base64.StdEncoding.EncodeToString(target.Secret)
	v, err := webhookauth.New(webhookauth.Config{Scheme: webhookauth.StandardWebhooks}, webhookauth.Plain(webhookauth.Secret(secret)), webhookauth.Options{})
	if err != nil {
		r.t.Errorf("make verifier: %v", err)
		return
	}
	got, err := v.Verify(req.Context(), webhookauth.Request{Header: req.Header, Body: body}, time.Now())
	if err != nil {
		r.t.Errorf("verify: %v", err)
	}
	var event struct {
		Data struct {
			ID    string
			Start time.Time
			End   time.Time
		}
	}
	if err := json.Unmarshal(body, &event); err != nil || len(body) != 1024 || event.Data.End.Sub(event.Data.Start) != 30*time.Minute {
		r.t.Errorf("body of %d bytes from %v to %v: %v; want 1024 bytes and half an hour", len(body), event.Data.Start, event.Data.End, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, twice := r.messages[got.MessageID]; twice {
		r.t.Errorf("message %s came twice", got.MessageID)
	}
	key := string(target.Integration) + event.Data.Start.String()
	if r.bookings[event.Data.ID] || r.bookings[key] {
		r.t.Errorf("booking %s at %v came twice", event.Data.ID, event.Data.Start)
	}
	r.bookings[event.Data.ID], r.bookings[key] = true, true
	r.messages[got.MessageID] = ""
	if len(r.messages)%7 == 0 {
		r.refused++
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	}
	if r.silent {
		fmt.Fprint(w, `{}`)
		return
	}
	id := domain.NewID[domain.DeliveryID](time.Now())
	r.messages[got.MessageID] = id
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, `{"id":"%s","status":"accepted"}`, id)
}

func newReceiver(t *testing.T, targets int) (*receiver, Config) {
	r := &receiver{t: t, targets: map[string]Target{}, messages: map[string]domain.DeliveryID{}, bookings: map[string]bool{}}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	cfg := Config{Addr: strings.TrimPrefix(s.URL, "http://"), Connections: 6, First: 100, Duration: time.Minute, Dir: t.TempDir()}
	for range targets {
		target := Target{Integration: domain.NewID[domain.IntegrationID](time.Now()), Secret: []byte("thirty-two bytes of a secret key")}
		target.Text = "whsec_" + base64.StdEncoding.EncodeToString(target.Secret)
		r.targets[string(target.Integration)] = target
		cfg.Targets = append(cfg.Targets, target)
	}
	return r, cfg
}

func TestEveryMessageIsGenuineAndTheLogHoldsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pace     float64
		prepared int
	}{"as fast as answered": {0, 0}, "at a rate": {2000, 0}, "prepared": {0, 600}, "prepared, at a rate": {2000, 600}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, cfg := newReceiver(t, 4)
			cfg.Count, cfg.Rate, cfg.Prepared, cfg.Auth.Scheme = 500, c.pace, c.prepared, webhookauth.StandardWebhooks
			sum, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatalf("run: %v", err)
			}
			acks, err := ReadLog(sum.Log)
			if err != nil {
				t.Fatalf("read log: %v", err)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.messages) != 500 || len(acks) != 500-r.refused || sum.Acked != len(acks) || sum.Refused != r.refused {
				t.Errorf("%d messages came, %d refused; the summary says %d acknowledged and %d refused, the log has %d",
					len(r.messages), r.refused, sum.Acked, sum.Refused, len(acks))
			}
			for _, a := range acks {
				if c.prepared > 0 && int(a.Target) != int(a.Message-cfg.First)%len(cfg.Targets) {
					t.Errorf("message %d: the log has target %d", a.Message, a.Target)
				}
				if want := r.messages[MessageID(a.Message)]; domain.FormatUUID(a.Delivery) != string(want) || !a.Measured {
					t.Errorf("message %d: the log has %s, measured %t; want %s", a.Message, domain.FormatUUID(a.Delivery), a.Measured, want)
				}
			}
			if diff := cmp.Diff(map[string]int{"202": 500 - r.refused, "503": r.refused}, sum.Statuses); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
			if sum.P50 <= 0 || sum.P99 < sum.P50 || sum.Max < sum.P99 {
				t.Errorf("p50 %v, p99 %v, longest %v; want them rising", sum.P50, sum.P99, sum.Max)
			}
		})
	}
}

func TestTheWarmUpIsLoggedButNotMeasured(t *testing.T) {
	t.Parallel()
	_, cfg := newReceiver(t, 1)
	cfg.Warmup, cfg.Duration, cfg.Count = time.Hour, time.Second, 50
	sum, err := generate(t.Context(), cfg)
	if err != nil {
		t.Fatalf("generate: %v", err)
	}
	acks, err := ReadLog(sum.Log)
	if err != nil || len(acks) != 43 || acks[0].Measured || sum.Acked != 0 {
		t.Errorf("%d acknowledgements logged, %d measured, %v; want 43 and 0", len(acks), sum.Acked, err)
	}
}

func TestPreparedMessagesThatRunOutFailTheRun(t *testing.T) {
	t.Parallel()
	_, cfg := newReceiver(t, 1)
	cfg.Prepared, cfg.Auth.Scheme = 20, webhookauth.StandardWebhooks
	if _, err := generate(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "the 20 prepared messages were used up") {
		t.Errorf("got %v; want prepared messages used up", err)
	}
}

func TestAnswersWithoutAnIDAreBrokenAndEndTheRun(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0, 1e6} {
		r, cfg := newReceiver(t, 1)
		r.silent, cfg.Rate = true, rate
		if _, err := generate(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "2xx answer without an id") {
			t.Errorf("got %v; want a 2xx answer without an id", err)
		}
	}
}

func TestNobodyListeningIsAnError(t *testing.T) {
	t.Parallel()
	_, cfg := newReceiver(t, 1)
	cfg.Addr = "127.0.0.1:1"
	if _, err := Run(context.Background(), cfg); err == nil {
		t.Error("no error")
	}
}

func TestAnswersAreTakenApartHoweverTheyArrive(t *testing.T) {
	t.Parallel()
	id := domain.NewID[domain.DeliveryID](time.Now())
	body := `{"id":"` + string(id) + `","status":"accepted"}`
	length := "Content-Length: " + strconv.Itoa(len(body))
	answer := "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n" + length + "\r\n\r\n" + body
	for n := range len(answer) {
		if whole, _, _, err := parseAnswer([]byte(answer[:n])); whole || err != nil {
			t.Fatalf("after %d bytes: whole %t, %v; want more", n, whole, err)
		}
	}
	whole, status, got, err := parseAnswer([]byte(answer))
	if !whole || status != 202 || domain.FormatUUID(got) != string(id) || err != nil {
		t.Errorf("got %t, %d, %x, %v; want 202 with %s", whole, status, got, err, id)
	}
	for _, bad := range []string{answer + "x", strings.Replace(answer, length, "Content-Length: no", 1),
		strings.Replace(answer, "\r\n"+length, "", 1), strings.Replace(answer, "202", "2x2", 1)} {
		if whole, _, _, err := parseAnswer([]byte(bad)); whole || err == nil {
			t.Errorf("%q is taken for an answer", bad)
		}
	}
}
