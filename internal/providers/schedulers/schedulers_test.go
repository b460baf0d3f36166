package schedulers

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/schedulersim"
)

var now = providertest.Now

// bed is a scheduler and a connection to it, whose clock can be moved.
type bed struct {
	*schedulersim.Sim
	registration provider.Registration
	conn         *connection
	url          string
	ahead        atomic.Int64
	skew         atomic.Int64 // of the scheduler's clock alone
	told         []string     // appointments of which nothing was posted yet
}

var secrets = map[schedulersim.Face]map[string]string{
	schedulersim.Calendly: {"token": schedulersim.Token},
	schedulersim.Acuity:   {"user_id": schedulersim.UserID, "api_key": schedulersim.APIKey},
	schedulersim.CalCom:   {"api_key": schedulersim.APIKey},
}

var registrations = map[schedulersim.Face]provider.Registration{
	schedulersim.Calendly: Calendly, schedulersim.Acuity: Acuity, schedulersim.CalCom: CalCom,
}

func setup(t testing.TB, face schedulersim.Face) *bed {
	t.Helper()
	b := &bed{registration: registrations[face]}
	clock := func() time.Time { return now.Add(time.Duration(b.ahead.Load())) }
	theirs := func() time.Time { return clock().Add(time.Duration(b.skew.Load())) }
	b.Sim = schedulersim.New(face, theirs)
	server := httptest.NewServer(providertest.Dated(theirs, b.Handler()))
	t.Cleanup(func() { b.Sim.Heal(); server.Close() })
	b.url = server.URL
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	zone, err := time.LoadLocation(providertest.Zone)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := b.registration.Open(provider.Connection{
		Integration: domain.Integration{Provider: b.registration.Name, Direction: domain.DirectionImport, Settings: json.RawMessage(`{"development":{"api":"` + server.URL + `"}}`)},
		Secrets:     secrets[face], Zone: zone, HTTP: client, Now: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.conn = opened.(*connection)
	return b
}

func each(t *testing.T, test func(t *testing.T, b *bed)) {
	t.Helper()
	t.Parallel()
	for face := range registrations {
		t.Run(string(face), func(t *testing.T) {
			t.Parallel()
			test(t, setup(t, face))
		})
	}
}

// world is a bed as the suite's world.
type world struct {
	*bed
	face schedulersim.Face
}

func booked(e providertest.Entry) schedulersim.Appointment {
	return schedulersim.Appointment{Title: e.Title, Start: e.When.Start, End: e.When.End, Client: "Marigold Oakbridge"}
}

func (w world) Seed(_ testing.TB, e providertest.Entry) string { return w.changed(w.Book(booked(e))) }
func (w world) Edit(_ testing.TB, id string, e providertest.Entry) {
	w.Change(id, func(a *schedulersim.Appointment) { a.Title, a.Start, a.End = e.Title, e.When.Start, e.When.End })
	w.changed(id)
}
func (w world) Delete(_ testing.TB, id string)         { w.Cancel(w.changed(id)) }
func (w world) Skew(_ testing.TB, ahead time.Duration) { w.skew.Store(int64(ahead)) }

func (w world) changed(id string) string {
	w.told = append(w.told, id)
	return id
}

func (w world) Tell(t testing.TB) {
	for _, id := range w.told {
		if _, err := w.Sim.Tell(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	w.told = nil
}
func (w world) Count(testing.TB) int { return w.Sim.Count() }
func (w world) Heal(testing.TB)      { w.Sim.Heal() }

func (w world) Fault(_ testing.TB, f providertest.Fault) bool {
	faults, ok := map[providertest.Fault]schedulersim.Faults{
		providertest.FaultServerError:   {Status: http.StatusServiceUnavailable, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimit:     {Status: http.StatusTooManyRequests, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimitMute: {Status: http.StatusTooManyRequests},
		providertest.FaultUnauthorized:  {Status: http.StatusUnauthorized},
		providertest.FaultCutBody:       {CutBody: true},
		providertest.FaultGarbage:       {HTML: true},
		providertest.FaultEmptyAnswer:   {Nothing: true},
		providertest.FaultHang:          {Hang: true},
		providertest.FaultLoseAnswer:    {LoseAnswer: true},
		providertest.FaultShortListing:  {Short: true},
		providertest.FaultRepeatPage:    {RepeatPage: true},
		providertest.FaultMissingPage:   {SkipPage: true},
	}[f]
	if f == providertest.FaultShortListing && w.face != schedulersim.CalCom {
		return false // only Cal.com says how many there are
	}
	if ok {
		w.SetFaults(faults)
	}
	return ok
}

func TestSuite(t *testing.T) {
	t.Parallel()
	many := map[schedulersim.Face]int{schedulersim.Calendly: 205, schedulersim.Acuity: 1100, schedulersim.CalCom: 205}
	for face, r := range registrations {
		t.Run(string(face), func(t *testing.T) {
			t.Parallel()
			lacks := map[string]string{"puller/forgotten cursor is a gone token and a full listing helps": "schedulers know of no cursor that they could forget; TestAForgottenPageIsAGoneToken covers pages"}
			if face == schedulersim.Calendly {
				lacks["puller/missing page is noticed"] = "Calendly leads from page to page by tokens and tells no total; the full listing after a week brings what one left out"
			}
			providertest.Run(t, providertest.Harness{
				Registration: r, Many: many[face], Secrets: []string{schedulersim.Token, schedulersim.APIKey},
				Lacks: lacks,
				Open: func(t testing.TB) (any, providertest.World) {
					b := setup(t, face)
					return b.conn, world{b, face}
				},
			})
		})
	}
}

func (b *bed) pull(t *testing.T, cursor string) (changes []domain.Change, next string, complete bool) {
	t.Helper()
	for {
		page, err := b.conn.Pull(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Problems) > 0 {
			t.Fatalf("problems: %v", page.Problems)
		}
		changes, cursor = append(changes, page.Changes...), page.Next
		if !page.More {
			return changes, cursor, page.Complete
		}
	}
}

func consultation(days int) schedulersim.Appointment {
	start := now.AddDate(0, 0, days).Truncate(time.Hour)
	return schedulersim.Appointment{Title: "Consultation", Start: start, End: start.Add(time.Hour), Client: "A Client"}
}

func TestAPullAfterACursorBringsWhatChangedSince(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		for n := range 5 {
			b.Book(consultation(n + 1))
		}
		b.ahead.Store(int64(time.Hour))
		b.Book(consultation(8))
		first, cursor, complete := b.pull(t, "")
		if len(first) != 6 || !complete {
			t.Fatalf("%d changes, complete %v", len(first), complete)
		}
		b.ahead.Store(int64(2 * time.Hour))
		id := b.Book(consultation(9))
		got, cursor, complete := b.pull(t, cursor)
		want := 2 // the newest of before is told again
		if b.registration.Name == "acuity" {
			want = 7 // it does not say when an appointment was changed
		}
		if len(got) != want || got[len(got)-1].ExternalID != id || complete {
			t.Errorf("%d changes after the cursor, complete %v; want %d", len(got), complete, want)
		}
		b.ahead.Store(int64(3 * time.Hour))
		b.Cancel(id)
		got, _, _ = b.pull(t, cursor)
		if last := got[len(got)-1]; last.Op != domain.OpRemove || last.ExternalID != id {
			t.Errorf("after a cancellation: %s of %s", last.Op, last.ExternalID)
		}
	})
}

func TestARescheduledAppointmentIsThereOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		id := b.Book(consultation(3))
		_, cursor, _ := b.pull(t, "")
		b.ahead.Store(int64(time.Hour))
		start := now.AddDate(0, 0, 6)
		moved := b.Reschedule(id, start, start.Add(time.Hour))
		got, _, _ := b.pull(t, cursor)
		standing := map[string]time.Time{}
		for _, ch := range got {
			if ch.Op == domain.OpRemove {
				delete(standing, ch.ExternalID)
			} else {
				standing[ch.ExternalID] = ch.When.Start
			}
		}
		if len(standing) != 1 || !standing[moved].Equal(start) {
			t.Errorf("standing after a reschedule: %v, want %s at %s", standing, moved, start)
		}
		if moved != id && !slices.ContainsFunc(got, func(ch domain.Change) bool { return ch.ExternalID == id && ch.Op == domain.OpRemove }) {
			t.Error("the old appointment is not told as removed")
		}
	})
}

func TestAppointmentsAreReadInOurWords(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		a := consultation(2)
		a.Title, a.Tentative = "Wedding tasting", true
		b.conn.settings.CategoryRules = []provider.CategoryRule{{Category: domain.CategoryWedding, Contains: []string{"WEDDING"}}}
		b.Book(a)
		a.Title = strings.Repeat("ü", 400)
		b.Book(a)
		a.End = a.Start
		b.Book(a)
		got, _, _ := b.pull(t, "")
		if len(got) != 3 {
			t.Fatalf("%d changes", len(got))
		}
		one, long, short := got[0], got[1], got[2]
		tentative := b.registration.Name == "calcom"
		if one.Category != domain.CategoryWedding || (one.Status == domain.StatusTentative) != tentative || one.When.Zone != providertest.Zone || one.Details.Location != "Studio" {
			t.Errorf("%+v", one)
		}
		if b.registration.Name != "calendly" && one.Details.Contact != "A Client" {
			t.Errorf("contact %q", one.Details.Contact)
		}
		if long.Category != domain.CategoryConsultation || long.Details.Title != strings.Repeat("ü", 250) {
			t.Errorf("a long title has %d bytes, category %s", len(long.Details.Title), long.Category)
		}
		if !short.Free || short.When.Duration() != time.Minute {
			t.Errorf("an appointment without length: free %v, %s", short.Free, short.When.Duration())
		}
	})
}

func TestAWebhookIsMadeLookedAtAndMadeAnewWhenItWasDisabled(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		ctx := t.Context()
		secret := strings.Repeat("s3cret-", 6) + "x"
		w, err := b.conn.Watch(ctx, provider.WatchRequest{ID: "w-1", URL: "https://sync.example.test/v1/notify/w-1", Secret: secret, Until: now.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		hooks := b.Hooks()
		if len(hooks) != 1 || hooks[0].ID != w.RemoteID || !w.ExpiresAt.Equal(now.Add(24*time.Hour)) || len(hooks[0].Events) == 0 {
			t.Fatalf("webhooks %+v, watch %+v", hooks, w)
		}
		if b.registration.Name == "acuity" != strings.Contains(hooks[0].URL, secret) {
			t.Errorf("address %s", hooks[0].URL)
		}
		b.ahead.Store(int64(20 * time.Hour))
		renewed, err := b.conn.Renew(ctx, w, now.Add(7*24*time.Hour))
		if err != nil || !renewed.ExpiresAt.Equal(now.Add(44*time.Hour)) {
			t.Errorf("renewed %+v, %v", renewed, err)
		}
		b.Disable(w.RemoteID)
		if _, err := b.conn.Renew(ctx, w, now); domain.KindOf(err) != domain.KindNotFound {
			t.Errorf("a disabled webhook: %v", err)
		}
		if err := b.conn.Unwatch(ctx, w); err != nil || len(b.Hooks()) != 0 {
			t.Errorf("unwatch: %v, %d webhooks left", err, len(b.Hooks()))
		}
		if err := b.conn.Unwatch(ctx, w); err != nil {
			t.Errorf("unwatch what is gone: %v", err)
		}
		b.SetFaults(schedulersim.Faults{NoHooks: true})
		if _, err := b.conn.Watch(ctx, provider.WatchRequest{ID: "w-2", URL: "https://sync.example.test/v1/notify/w-2", Secret: secret}); domain.KindOf(err) != domain.KindForbidden {
			t.Errorf("a plan without webhooks: %v", err)
		}
		if _, err := b.conn.Watch(ctx, provider.WatchRequest{ID: "w-3"}); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("a request without address: %v", err)
		}
	})
}

func TestAWebhookWhoseMakingWasNotAnsweredIsTakenOver(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		ctx := t.Context()
		// Webhooks of somebody else, more than a page of Calendly.
		for _, id := range []string{"a", "b", "c", "w-1"} {
			if _, err := b.conn.Watch(ctx, wish("https://other.example.test", id)); err != nil {
				t.Fatal(err)
			}
		}
		ours := wish("https://sync.example.test", "w-1")
		b.SetFaults(schedulersim.Faults{LoseAnswer: true})
		if _, err := b.conn.Watch(ctx, ours); domain.KindOf(err) != domain.KindUnavailable || len(b.Hooks()) != 5 {
			t.Fatalf("a lost answer: %v, %d webhooks", err, len(b.Hooks()))
		}
		w, err := b.conn.Watch(ctx, ours)
		if hooks := b.Hooks(); err != nil || len(hooks) != 5 || hooks[4].ID != w.RemoteID {
			t.Fatalf("watch %+v, %v, webhooks %+v", w, err, hooks)
		}
		// One that the scheduler disabled is of no use.
		b.Disable(w.RemoteID)
		again, err := b.conn.Watch(ctx, ours)
		if hooks := b.Hooks(); err != nil || len(hooks) != 5 || hooks[4].ID != again.RemoteID || hooks[4].Disabled || again.RemoteID == w.RemoteID {
			t.Errorf("watch %+v, %v, webhooks %+v", again, err, hooks)
		}
	})
}

func TestAWebhookThatNobodyLooksAfterIsRemoved(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		ctx := t.Context()
		if _, err := b.conn.Watch(ctx, wish("https://other.example.test", "w-1")); err != nil {
			t.Fatal(err)
		}
		lost, next := wish("https://sync.example.test", "w-1"), wish("https://sync.example.test", "w-2")
		b.SetFaults(schedulersim.Faults{LoseAnswer: true})
		if _, err := b.conn.Watch(ctx, lost); domain.KindOf(err) != domain.KindUnavailable {
			t.Fatalf("a lost answer: %v", err)
		}
		next.Over = []string{lost.URL}
		w, err := b.conn.Watch(ctx, next)
		if hooks := b.Hooks(); err != nil || len(hooks) != 2 || hooks[1].ID != w.RemoteID {
			t.Fatalf("watch %+v, %v, webhooks %+v", w, err, hooks)
		}
		for range 2 {
			if err := b.conn.Sweep(ctx, []string{next.URL}); err != nil {
				t.Fatal(err)
			}
			if hooks := b.Hooks(); len(hooks) != 1 || !strings.HasPrefix(hooks[0].URL, "https://other.example.test/") {
				t.Errorf("webhooks %+v, want the one of somebody else", hooks)
			}
		}
	})
}

func wish(server, id string) provider.WatchRequest {
	return provider.WatchRequest{ID: id, URL: server + provider.NotifyPath + id, Secret: strings.Repeat("s3cret-", 6) + "x", Until: now.Add(time.Hour)}
}

func TestMessagesAreHintsThatProveTheirSecret(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		id := b.Book(consultation(1))
		const secret = "0123456789abcdefghijABCDEFGHIJ0123456789abc"
		if _, err := b.conn.Watch(t.Context(), provider.WatchRequest{ID: "w-1", URL: "https://sync.example.test/v1/notify/w-1", Secret: secret}); err != nil {
			t.Fatal(err)
		}
		address, header, body := b.Message(b.Hooks()[0], id)
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		genuine := provider.NoticeRequest{Secret: secret, Header: header, Query: u.Query(), Body: body, At: now}
		if n, err := b.registration.Notice(genuine); err != nil || !n.Changed || n.Removed || n.Echo != nil {
			t.Errorf("a genuine message: %+v, %v", n, err)
		}
		for name, spoil := range map[string]func(*provider.NoticeRequest){
			"another secret": func(r *provider.NoticeRequest) { r.Secret = strings.Repeat("x", 43) },
			"no secret":      func(r *provider.NoticeRequest) { r.Secret = "" },
			"nothing proved": func(r *provider.NoticeRequest) { r.Header, r.Query = http.Header{}, nil },
		} {
			r := genuine
			spoil(&r)
			n, err := b.registration.Notice(r)
			if k := domain.KindOf(err); k != domain.KindUnauthenticated && !(name == "no secret" && k == domain.KindInternal) || n.Changed {
				t.Errorf("%s: %+v, %v", name, n, err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error holds the secret", name)
			}
		}
		if b.registration.Name == "calendly" {
			late := genuine
			late.At = now.Add(40 * time.Minute)
			if n, err := b.registration.Notice(late); err != nil || !n.Changed {
				t.Errorf("a message of forty minutes ago: %+v, %v", n, err)
			}
			late.At = now.Add(61 * time.Minute)
			if _, err := b.registration.Notice(late); domain.KindOf(err) != domain.KindUnauthenticated {
				t.Errorf("a message of an hour ago: %v", err)
			}
		}
		if b.registration.Name != "acuity" {
			forged := genuine
			forged.Body = append(slices.Clone(body), ' ')
			if _, err := b.registration.Notice(forged); domain.KindOf(err) != domain.KindUnauthenticated {
				t.Errorf("another body: %v", err)
			}
		}
	})
}

func TestAForgottenPageIsAGoneToken(t *testing.T) {
	t.Parallel()
	b := setup(t, schedulersim.Calendly)
	for n := range 120 {
		b.Book(consultation(n%60 + 1))
	}
	page, err := b.conn.Pull(t.Context(), "")
	if err != nil || !page.More {
		t.Fatalf("more %v, %v", page.More, err)
	}
	b.SetFaults(schedulersim.Faults{ForgetPages: true})
	if _, err := b.conn.Pull(t.Context(), page.Next); domain.KindOf(err) != domain.KindGoneToken {
		t.Errorf("a forgotten page: %v", err)
	}
	if got, _, complete := b.pull(t, ""); len(got) != 120 || !complete {
		t.Errorf("%d changes, complete %v", len(got), complete)
	}
}

func TestMoreAppointmentsOnADayThanAcuityListsAreAnError(t *testing.T) {
	t.Parallel()
	b := setup(t, schedulersim.Acuity)
	for range acuityPage + 1 {
		b.Book(consultation(1))
	}
	var err error
	for cursor, n := "", 0; err == nil && n < 5; n++ {
		var page provider.Page
		if page, err = b.conn.Pull(t.Context(), cursor); err == nil && !page.More {
			t.Fatalf("the listing ends, complete %v", page.Complete)
		}
		cursor = page.Next
	}
	if domain.KindOf(err) != domain.KindPermanent {
		t.Errorf("error %v", err)
	}
}

func TestAppointmentsThatVanishBetweenPagesAreNoticedAtCalCom(t *testing.T) {
	t.Parallel()
	b := setup(t, schedulersim.CalCom)
	for n := range 150 {
		b.Book(consultation(n%60 + 1))
	}
	page, err := b.conn.Pull(t.Context(), "")
	if err != nil || page.Total != 150 {
		t.Fatalf("total %d, %v", page.Total, err)
	}
	b.SetFaults(schedulersim.Faults{Short: true})
	if page, err := b.conn.Pull(t.Context(), page.Next); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("a short last page: complete %v, %v", page.Complete, err)
	}
}

func TestOnboardingNamesTheAccountAndStaysWithIt(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		raw, err := b.conn.Onboard(t.Context())
		if err != nil || !strings.Contains(string(raw), schedulersim.Account) {
			t.Fatalf("%s, %v", raw, err)
		}
		if err := b.registration.Validate(raw, secrets[schedulersim.Face(b.registration.Name)]); err != nil {
			t.Error(err)
		}
		b.conn.settings.Account = "somebody else"
		if _, err := b.conn.Onboard(t.Context()); domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != "settings.account" {
			t.Errorf("another account: %v", err)
		}
	})
}

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		of    provider.Registration
		raw   string
		field string
	}{
		{Calendly, `{}`, ""},
		{CalCom, `{"api":"https://cal.example.test/api/v2/"}`, ""},
		{Calendly, `{"api":"https://cal.example.test/api/v2"}`, "settings.api"},
		{CalCom, `{"api":"http://cal.example.test/api/v2"}`, "settings.api"},
		{CalCom, `{"api":"https://u:p@cal.example.test/"}`, "settings.api"},
		{Acuity, `{"development":{"api":"https://acuityscheduling.com"}}`, "settings.development.api"},
		{Acuity, `{"window_past_days":-1}`, "settings.window_past_days"},
		{Acuity, `{"window_future_days":1001}`, "settings.window_future_days"},
		{Acuity, `{"category_default":"party"}`, "settings.category_default"},
		{Calendly, `{"account":"` + strings.Repeat("a", maxAccount+1) + `"}`, "settings.account"},
	} {
		err := v.of.Validate(json.RawMessage(v.raw), nil)
		if v.field == "" && err != nil || v.field != "" && domain.FieldOf(err) != v.field {
			t.Errorf("%s %.60s: %v, want field %q", v.of.Name, v.raw, err, v.field)
		}
	}
	if err := Acuity.Validate(json.RawMessage(`{}`), map[string]string{"user_id": "1", "api_key": "a b"}); domain.FieldOf(err) != "secrets.api_key" {
		t.Errorf("a secret with a space: %v", err)
	}
}

func TestNoRequestLeavesForAnIDThatIsAPath(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		before := len(b.Requests())
		for _, id := range []string{"", "..", "a/b", "a?b", "a#b", "%2e"} {
			if _, err := b.conn.Read(t.Context(), id); domain.KindOf(err) != domain.KindNotFound {
				t.Errorf("%q: %v", id, err)
			}
		}
		if got := len(b.Requests()); got != before {
			t.Errorf("%d requests left", got-before)
		}
	})
}

// FuzzAnswers feeds the readers of appointments with whatever a scheduler may answer.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{`{"uri":"https://api.calendly.com/scheduled_events/A","status":"active","start_time":"2027-06-05T10:00:00Z","end_time":"2027-06-05T11:00:00Z"}`,
		`{"id":1,"datetime":"2027-06-05T10:00:00-0700","duration":"60","firstName":"A"}`, `{"uid":"A","status":"pending","start":"2027-06-05T10:00:00Z","attendees":[{}]}`, `{`, `null`} {
		f.Add([]byte(seed))
	}
	conn := setup(f, schedulersim.CalCom).conn
	f.Fuzz(func(t *testing.T, body []byte) {
		var (
			calendly calendlyEvent
			acuity   acuityAppointment
			calcom   calcomBooking
			read     []appointment
		)
		if json.Unmarshal(body, &calendly) == nil {
			read = append(read, calendly.appointment())
		}
		if json.Unmarshal(body, &acuity) == nil {
			read = append(read, acuity.appointment())
		}
		if json.Unmarshal(body, &calcom) == nil {
			read = append(read, calcom.appointment())
		}
		for _, a := range read {
			if ch, err := conn.change(a); err == nil && a.id != "" && len(a.id) <= domain.MaxExternalID && ch.Validate() != nil {
				t.Errorf("an invalid change: %v", ch.Validate())
			}
		}
	})
}
