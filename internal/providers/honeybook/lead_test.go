package honeybook

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/sim/honeybooksim"
)

const company = "5f0e1d2c3b4a59687766554a"

func leadSettings(url string) string {
	return `{"lead_form":{"enabled":true,"vendor_id":"v1","vendor_name":"Studio","company_id":"` + company + `","contact_form_id":"f1","per_day":3,"url":"` + url + `"}}`
}

func leadDesk(t *testing.T) (*honeybooksim.Studio, provider.LeadSender) {
	t.Helper()
	studio := honeybooksim.New(honeybooksim.Options{Company: company})
	srv := httptest.NewServer(studio.Forms())
	t.Cleanup(srv.Close)
	t.Cleanup(studio.Heal)
	sender, ok := provider.As[provider.LeadSender](mustOpen(t, leadSettings(srv.URL)))
	if !ok {
		t.Fatal("sends no leads although it is switched on")
	}
	return studio, sender
}

var enquiry = provider.Lead{FullName: "Marigold", Email: "marigold@example.com", EventType: "Wedding", EventDate: calendartime.Date{Year: 2027, Month: time.June, Day: 5},
	Guests: 80, Details: "Line one\nLine two"}

func TestLeadFillsTheFormAsASiteDoes(t *testing.T) {
	t.Parallel()
	studio, sender := leadDesk(t)
	if err := sender.SendLead(t.Context(), enquiry); err != nil {
		t.Fatal(err)
	}
	got := studio.Leads()
	if len(got) != 1 || studio.Trapped() != 0 {
		t.Fatalf("%d enquiries, %d in the trap", len(got), studio.Trapped())
	}
	for name, want := range map[string]string{"vendor_id": "v1", "company_id": company, "contact_form_id": "f1", "src_host": "widget.honeybook.com", "full_name": "Marigold",
		"email": "marigold@example.com", "event_date": "06/05/27", "event_guests": "80", "message": "", "event_details": "Line one\nLine two"} {
		if diff := cmp.Diff(want, got[0].Get(name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if sender.LeadsADay() != 3 {
		t.Errorf("%d a day", sender.LeadsADay())
	}
}

func TestLeadsAreOffUnlessSwitchedOn(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{`{}`, strings.Replace(leadSettings(""), `"enabled":true`, `"enabled":false`, 1)} {
		if _, ok := provider.As[provider.LeadSender](mustOpen(t, settings)); ok {
			t.Errorf("%s: sends leads", settings)
		}
	}
}

func TestFailureOfALeadSaysWhetherItMayHaveArrived(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault   honeybooksim.FormFaults
		kind    domain.ErrorKind
		arrived int
	}{
		"refused":      {honeybooksim.FormFaults{Status: 422}, domain.KindPermanent, 0},
		"forbidden":    {honeybooksim.FormFaults{Status: 403}, domain.KindForbidden, 0},
		"too many":     {honeybooksim.FormFaults{Status: 429, RetryAfter: 7 * time.Second}, domain.KindRateLimited, 0},
		"server error": {honeybooksim.FormFaults{Status: 503}, domain.KindUnavailable, 0},
		"lost answer":  {honeybooksim.FormFaults{LoseAnswer: true}, domain.KindUnavailable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			studio, sender := leadDesk(t)
			studio.SetFaults(c.fault)
			err := sender.SendLead(t.Context(), enquiry)
			if domain.KindOf(err) != c.kind || len(studio.Leads()) != c.arrived || strings.Contains(err.Error(), "arigold") {
				t.Errorf("error %v of kind %s, %d arrived; want %s and %d", err, domain.KindOf(err), len(studio.Leads()), c.kind, c.arrived)
			}
		})
	}
	studio, sender := leadDesk(t)
	studio.SetFaults(honeybooksim.FormFaults{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := sender.SendLead(ctx, enquiry); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("no answer: %v", err)
	}
}

func TestWrongLeadIsNotSent(t *testing.T) {
	t.Parallel()
	studio, sender := leadDesk(t)
	for field, change := range map[string]func(*provider.Lead){
		"full_name": func(l *provider.Lead) { l.FullName = " " }, "email": func(l *provider.Lead) { l.Email = "a, b@example.com" },
		"event_guests": func(l *provider.Lead) { l.Guests = -1 }, "event_details": func(l *provider.Lead) { l.Details = strings.Repeat("x", 2001) },
		"phone_number": func(l *provider.Lead) { l.Phone = "1\n2" },
	} {
		l := enquiry
		change(&l)
		if err := sender.SendLead(t.Context(), l); domain.FieldOf(err) != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if n := len(studio.Leads()); n != 0 {
		t.Errorf("%d wrong enquiries arrived", n)
	}
	if err := (leads{}).SendLead(t.Context(), enquiry); domain.KindOf(err) != domain.KindInternal || errors.Is(err, context.Canceled) {
		t.Errorf("without a client: %v", err)
	}
}
