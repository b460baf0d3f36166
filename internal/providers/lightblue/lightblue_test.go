package lightblue

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/lightbluesim"
)

func wish(t testing.TB) provider.Write {
	t.Helper()
	zone, err := time.LoadLocation(providertest.Zone)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2027, time.June, 5, 13, 0, 0, 0, zone).UTC()
	return provider.Write{Key: "0193c000-0000-7000-8000-000000000001", BookingID: "0193b000-0000-7000-8000-000000000001", Category: domain.CategoryWedding,
		Status: domain.StatusConfirmed, When: domain.When{Span: domain.Span{Start: start, End: start.Add(9 * time.Hour)}, Zone: providertest.Zone, Kind: domain.TimeZoned},
		Details: domain.Details{Title: "Wedding", Location: "Mill"}}
}

func (b *bed) writer(t testing.TB) provider.Writer {
	t.Helper()
	w, ok := provider.As[provider.Writer](b.opened)
	if !ok {
		t.Fatalf("%T does not write", b.opened)
	}
	return w
}

func (b *bed) put(t testing.TB, w provider.Write) provider.Written {
	t.Helper()
	done, err := b.writer(t).Put(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestAMessageSaysInTheStudiosTimeWhatIsDocumented(t *testing.T) {
	t.Parallel()
	b := setup(t, domain.DirectionExport, `{"shoot_types":{"wedding":"Wedding"},"development":{"api":"SERVER"}}`, nil)
	b.put(t, wish(t))
	inbox := b.Inbox()
	if len(inbox) != 1 {
		t.Fatalf("%d messages", len(inbox))
	}
	for name, want := range map[string]string{"type": "contact form", "source": "WedSync", "sourceapiversion": "1", "dateformat": "yyyy/mm/dd", "shoottitle": "Wedding",
		"shootdate": "2027/06/05", "shoottimestart": "13:00", "shoottimeend": "22:00", "shootlocation": "Mill", "shoottype": "Wedding"} {
		if got := inbox[0][name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if m := inbox[0]["message"]; !strings.Contains(m, "2027-06-05 13:00 to 2027-06-05 22:00 (Europe/London)") || !strings.Contains(m, "Reference: 0193c000") {
		t.Errorf("the message is\n%s", m)
	}
}

func TestAChangeIsAFurtherMessageWithTheSameReference(t *testing.T) {
	t.Parallel()
	b := setup(t, domain.DirectionExport, "", nil)
	w := wish(t)
	first := b.put(t, w)
	w.ExternalID, w.Revision = first.ExternalID, first.Revision
	if same := b.put(t, w); same.Revision != first.Revision || len(b.Inbox()) != 1 {
		t.Fatalf("a write without news made %d messages", len(b.Inbox()))
	}
	moved := w
	moved.When.Span = domain.Span{Start: w.When.Start.Add(24 * time.Hour), End: w.When.End.Add(24 * time.Hour)}
	second := b.put(t, moved)
	if second.ExternalID != first.ExternalID || len(b.Inbox()) != 2 {
		t.Fatalf("a change is %q, and there are %d messages", second.ExternalID, len(b.Inbox()))
	}
	if m := b.Inbox()[1]["message"]; !strings.Contains(m, "CHANGED") || !strings.Contains(m, "2027-06-06 13:00") || !strings.Contains(m, "Reference: "+w.Key) {
		t.Errorf("the message of the change is\n%s", m)
	}
	// Back to what the first message said: a person who followed the second must hear of it.
	w.Revision = second.Revision
	b.put(t, w)
	if inbox := b.Inbox(); len(inbox) != 3 || !strings.Contains(inbox[2]["message"], "2027-06-05 13:00") {
		t.Errorf("after a change back there are %d messages", len(inbox))
	}
}

func TestALostAnswerOfAChangeCostsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, domain.DirectionExport, "", nil)
	w := wish(t)
	first := b.put(t, w)
	w.ExternalID, w.Revision, w.Status = first.ExternalID, first.Revision, domain.StatusTentative
	b.SetFaults(lightbluesim.Faults{LoseAnswer: true})
	if _, err := b.writer(t).Put(t.Context(), w); !domain.Retryable(err) {
		t.Fatalf("a lost answer: %v", err)
	}
	b.put(t, w)
	if n := len(b.Inbox()); n != 2 {
		t.Errorf("%d messages after a change whose answer was lost, want 2", n)
	}
}

func TestARemovalIsOneMessage(t *testing.T) {
	t.Parallel()
	b := setup(t, domain.DirectionExport, "", nil)
	w := wish(t)
	first := b.put(t, w)
	for range 2 {
		if err := b.writer(t).Remove(t.Context(), first.ExternalID, first.Revision); err != nil {
			t.Fatal(err)
		}
	}
	inbox := b.Inbox()
	if len(inbox) != 2 || !strings.Contains(inbox[1]["message"], "CANCELLED") || !strings.Contains(inbox[1]["message"], "Reference: "+w.Key) {
		t.Fatalf("%d messages after a removal and its repeat", len(inbox))
	}
	w.Key = "0193c000-0000-7000-8000-000000000002" // as a booking that comes back has
	b.put(t, w)
	if n := len(b.Inbox()); n != 3 {
		t.Errorf("%d messages after the booking came back", n)
	}
}

func TestStatusCodesHaveTheirKinds(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]domain.ErrorKind{-3: domain.KindPermanent, -20: domain.KindPermanent, -4: "", -77: domain.KindPermanent} {
		b := setup(t, domain.DirectionExport, "", nil)
		b.SetFaults(lightbluesim.Faults{Code: code})
		_, err := b.writer(t).Put(t.Context(), wish(t))
		if domain.KindOf(err) != want {
			t.Errorf("status code %d: %v, want %q", code, err, want)
		}
	}
	b := setup(t, domain.DirectionExport, "", nil)
	b.SetFaults(lightbluesim.Faults{BadKey: true})
	if _, err := b.writer(t).Put(t.Context(), wish(t)); domain.KindOf(err) != domain.KindUnauthenticated {
		t.Errorf("a refused key: %v", err)
	}
}

func TestStatusIsReadFromTheFirstLineWhateverEndsIt(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{"0": 0, "0\r": 0, "-4\rDuplicate\r": -4, "-20\r\nUse HTTPS": -20, " 0 \nfine": 0, "\ufeff0\r": 0} {
		if got, ok := readStatus([]byte(body)); !ok || got != want {
			t.Errorf("%q: %d, %v", body, got, ok)
		}
	}
	for _, body := range []string{"", "\r0", "OK", "<html>", "0x1", "000000000000001"} {
		if got, ok := readStatus([]byte(body)); ok {
			t.Errorf("%q is read as %d", body, got)
		}
	}
}

func FuzzReadStatus(f *testing.F) {
	f.Add([]byte("-4\rDuplicate request\r"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if code, ok := readStatus(body); !ok && code != 0 || code > 99_999_999 || code < -9_999_999 {
			t.Errorf("%q: %d, %v", body, code, ok)
		}
	})
}

func TestADirectionHasItsAbilitiesAndNoMore(t *testing.T) {
	t.Parallel()
	for d, want := range map[domain.Direction][2]bool{ // reads, writes
		domain.DirectionExport: {false, true}, domain.DirectionImport: {true, false}, domain.DirectionBidirectional: {true, true}} {
		b := setup(t, d, "", nil)
		_, pulls := provider.As[provider.Puller](b.opened)
		_, reads := provider.As[provider.Reader](b.opened)
		_, writes := provider.As[provider.Writer](b.opened)
		if pulls != want[0] || reads != want[0] || writes != want[1] {
			t.Errorf("%s: pulls %v, reads %v, writes %v", d, pulls, reads, writes)
		}
		probe, ok := provider.As[provider.Prober](b.opened)
		if !ok {
			t.Fatalf("%s: no probe", d)
		}
		if err := probe.Probe(t.Context()); err != nil {
			t.Errorf("%s: probe: %v", d, err)
		}
	}
}

func TestWhatLiesInTheInboxIsNeverAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t, domain.DirectionBidirectional, "", nil)
	done := b.put(t, wish(t))
	if _, ok := provider.ReaderOf(b.opened, done.ExternalID); ok {
		t.Error("there is a reader for a message")
	}
	if _, ok := provider.ReaderOf(b.opened, "shoot@lightblue.test"); !ok {
		t.Error("there is no reader for an event of the feed")
	}
}

func TestSettingsAndSecretsAreChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings string
		secrets  map[string]string
		want     string
	}{
		"nothing":           {`{}`, nil, ""},
		"a key":             {`{}`, apiSecrets, ""},
		"no key in it":      {`{}`, map[string]string{secretKey: "a b"}, "secrets.api_key"},
		"a feed":            {`{}`, map[string]string{secretFeedURL: "webcal://cal.example.com/a.ics", secretFeedUser: "u", secretFeedPassword: "p"}, ""},
		"no address":        {`{}`, map[string]string{secretFeedURL: "ftp://x"}, "secrets.feed_url"},
		"a colon":           {`{}`, map[string]string{secretFeedURL: "https://cal.example.com/a.ics", secretFeedUser: "u:v"}, "secrets.feed_user"},
		"no such category":  {`{"shoot_types":{"party":"x"}}`, nil, "settings.shoot_types"},
		"an empty type":     {`{"shoot_types":{"wedding":""}}`, nil, "settings.shoot_types.wedding"},
		"somebody's server": {`{"development":{"api":"https://example.com"}}`, nil, "settings.development.api"},
		"both ways to read": {`{"recipe":{}}`, map[string]string{secretFeedURL: "https://cal.example.com/a.ics"}, "settings.recipe"},
		"no recipe":         {`{"recipe":{"version":7}}`, nil, "settings.recipe.version"},
		"a stray length":    {`{"minutes":30}`, nil, "settings.minutes"},
		"a window":          {`{"window_past_days":-1}`, nil, "settings.window_past_days"},
	} {
		err := Registration.Validate(json.RawMessage(c.settings), c.secrets)
		if c.want == "" && err != nil || c.want != "" && (domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != c.want) {
			t.Errorf("%s: %v, want a fault of %q", name, err, c.want)
		}
	}
	client, err := httpx.New(httpx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for d, field := range map[domain.Direction]string{domain.DirectionExport: "secrets.api_key", domain.DirectionImport: "secrets.feed_url"} {
		_, err := Registration.Open(provider.Connection{Integration: domain.Integration{Direction: d, Settings: json.RawMessage(`{}`)}, HTTP: client})
		if domain.FieldOf(err) != field {
			t.Errorf("%s without secrets: %v", d, err)
		}
	}
}
