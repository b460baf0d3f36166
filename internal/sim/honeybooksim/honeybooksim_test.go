package honeybooksim

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/webhookauth"
)

// receiver notes what it is posted and answers with the statuses given, then with 202.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	bodies   []string
	header   http.Header
}

func newReceiver(t *testing.T, statuses ...int) *receiver {
	t.Helper()
	r := &receiver{statuses: statuses}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bodies, r.header = append(r.bodies, string(b)), req.Header
		status := http.StatusAccepted
		if len(r.statuses) > 0 {
			status, r.statuses = r.statuses[0], r.statuses[1:]
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func fixed() time.Time { return time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC) }

func TestToolsSendEmptyValuesDifferently(t *testing.T) {
	t.Parallel()
	for tool, empties := range map[Tool]bool{Zapier: false, Make: true} {
		s := New(Options{Tool: tool, Now: fixed})
		s.Enquire(Project{Name: "A project"})
		p := s.TakePosts()
		if len(p) != 1 || strings.Contains(string(p[0].Body), `"project_date":""`) != empties {
			t.Errorf("%s sends %s", tool, p[0].Body)
		}
	}
	if left := New(Options{}).TakePosts(); len(left) != 0 {
		t.Errorf("a new studio sends %v", left)
	}
}

func TestStepIsRunAgainUntilItIsTaken(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, 503, 429)
	s := New(Options{Now: fixed, Auth: webhookauth.Config{Scheme: webhookauth.APIKey, Header: "X-Key"}, Secret: webhookauth.Secret("key-0123456789abcdef")})
	s.Client("A client", "client@example.com")
	got, err := s.Deliver(t.Context(), r.Client(), r.URL)
	if err != nil || len(got) != 1 || got[0].Tries != 3 || got[0].Status != 202 || r.bodies[0] != r.bodies[2] || r.header.Get("X-Key") == "" {
		t.Errorf("%+v, %v; %d posts", got, err, len(r.bodies))
	}
	never := newReceiver(t, slices.Repeat([]int{500}, 20)...)
	s.Client("A client", "client@example.com")
	if got, err = s.Deliver(t.Context(), never.Client(), never.URL); err != nil || got[0].Tries != 6 || got[0].Status != 500 {
		t.Errorf("a step that always fails: %+v, %v", got, err)
	}
}

func TestRunsGoWrongAsAsked(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	s := New(Options{Tool: Make, Now: fixed})
	id := s.Enquire(Project{Name: "A project"})
	s.Break(RunLost, 1)
	if got, err := s.Deliver(t.Context(), r.Client(), r.URL); err != nil || got[0].Tries != 0 || len(r.bodies) != 0 {
		t.Errorf("lost: %+v, %v", got, err)
	}
	s.Break(RunLate, 1)
	s.Book(id)
	s.Pay(id, "1")
	if _, err := s.Deliver(t.Context(), r.Client(), r.URL); err != nil || len(r.bodies) != 2 || !strings.Contains(r.bodies[1], "project_booked") {
		t.Errorf("late: %v, %v", r.bodies, err)
	}
	s.Break(RunTwice, 1)
	s.Break(AnswerLost, 1)
	s.Move(id, "Booked")
	if got, err := s.Deliver(t.Context(), r.Client(), r.URL); err != nil || len(got) != 2 || got[0].Tries != 2 || len(r.bodies) != 5 {
		t.Errorf("twice, and an answer lost: %+v, %v, %d posts", got, err, len(r.bodies))
	}
}

func TestFormWantsItsHiddenFieldsAndHasATrap(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	srv := httptest.NewServer(s.Forms())
	t.Cleanup(srv.Close)
	good := url.Values{"vendor_id": {"v"}, "contact_form_id": {"f"}, "company_id": {"5f0e1d2c3b4a59687766554a"}, "src_host": {"widget.honeybook.com"}, "full_name": {"x"}, "email": {"x"}}
	send := func(v url.Values) int {
		res, err := srv.Client().PostForm(srv.URL+formPath, v)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	for name := range good {
		v := url.Values{}
		for k := range good {
			if k != name {
				v[k] = good[k]
			}
		}
		if got := send(v); got != 422 {
			t.Errorf("without %s: %d", name, got)
		}
	}
	if send(good) != 200 || len(s.Leads()) != 1 {
		t.Errorf("%d enquiries", len(s.Leads()))
	}
	good.Set("message", "buy")
	if send(good) != 200 || len(s.Leads()) != 1 || s.Trapped() != 1 {
		t.Errorf("%d enquiries, %d in the trap", len(s.Leads()), s.Trapped())
	}
}
