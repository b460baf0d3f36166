package google

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/googlesim"
)

const team = "team@example.org"

// busyOnly is a connection to a calendar that shows only when it is busy.
func busyOnly(t *testing.T) *bundle {
	return setup(t, change{direction: domain.DirectionImport,
		sim:      func(o *googlesim.Options) { o.Calendars = []googlesim.Calendar{{ID: team, AccessRole: accessBusy}} },
		settings: func(s *settings) { s.Calendar, s.Access = team, accessBusy }})
}

func TestCalendarThatShowsOnlyWhenItIsBusyIsReadAsBusySpans(t *testing.T) {
	t.Parallel()
	b := busyOnly(t)
	secretEvent := b.sim.Put(team, timed("Quillfeather", soon(1), time.Hour))
	b.sim.Put(team, timed("Quillfeather", soon(1).Add(time.Hour), time.Hour))
	b.sim.Put(team, timed("Far", soon(400), time.Hour))
	b.sim.Put(team, timed("Over a border of two questions", soon(-30+60-1).Truncate(day), 3*day)) // starts a day before, ends two after
	full := pullAll(t, b.conn, "")
	if len(full.Changes) != 3 || !full.Complete {
		t.Fatalf("%v", summary(full))
	}
	for _, c := range full.Changes {
		if err := c.Validate(); err != nil || c.Details.Title != "Busy" || !c.Private || c.Free || c.Origin != "" {
			t.Errorf("%+v, %v", c, err)
		}
		got, err := b.conn.Read(t.Context(), c.ExternalID)
		if err != nil || !cmp.Equal(got, c) {
			t.Errorf("%s reads otherwise: %v", c.ExternalID, err)
		}
	}
	if quiet := pullAll(t, b.conn, full.Next); len(quiet.Changes) != 0 || quiet.Complete {
		t.Errorf("a quiet calendar tells %v", summary(quiet))
	}
	b.sim.Delete(team, secretEvent)
	_, err := b.conn.Pull(t.Context(), full.Next)
	wantKind(t, err, domain.KindGoneToken)
	gone := full.Changes[slices.IndexFunc(full.Changes, func(c domain.Change) bool { return c.When.Start.Equal(soon(1)) })]
	_, err = b.conn.Read(t.Context(), gone.ExternalID)
	wantKind(t, err, domain.KindNotFound)
	if again := pullAll(t, b.conn, ""); len(again.Changes) != 3 || !again.Complete {
		t.Errorf("%v", summary(again))
	}
	if err := b.conn.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	_, err = b.conn.Put(t.Context(), write(0))
	wantKind(t, err, domain.KindForbidden)
	b.sim.SetAccess(team, "")
	_, err = b.conn.Pull(t.Context(), full.Next)
	wantKind(t, err, domain.KindNotFound)
	_, err = b.conn.Read(t.Context(), gone.ExternalID)
	wantKind(t, err, domain.KindPermanent)
	_, err = b.conn.Read(t.Context(), "busy:never/ever")
	wantKind(t, err, domain.KindInvalid)
}

func TestOnboardingFindsTheCalendarAndWhatMayBeDoneInIt(t *testing.T) {
	t.Parallel()
	calendars := []googlesim.Calendar{{ID: studio, Primary: true}, {ID: team, AccessRole: accessReader}, {ID: "busy@example.org", AccessRole: accessBusy}}
	for name, c := range map[string]struct {
		calendar  string
		list      []googlesim.Calendar
		direction domain.Direction
		want      string
		access    string
		field     string
	}{
		"primary by its real id":        {calendar: "primary", list: calendars, direction: domain.DirectionBidirectional, want: studio, access: accessOwner},
		"the only one that fits":        {list: calendars, direction: domain.DirectionExport, want: studio, access: accessOwner},
		"several fit":                   {list: calendars, direction: domain.DirectionImport, field: "settings.calendar"},
		"none fits":                     {list: calendars[1:], direction: domain.DirectionExport, field: "settings.calendar"},
		"reading one that is read-only": {calendar: team, list: calendars, direction: domain.DirectionImport, want: team, access: accessReader},
		"writing one that is read-only": {calendar: team, list: calendars, direction: domain.DirectionBidirectional, field: "settings.calendar"},
		"free/busy only":                {calendar: "busy@example.org", list: calendars, direction: domain.DirectionImport, want: "busy@example.org", access: accessBusy},
		"writing free/busy only":        {calendar: "busy@example.org", list: calendars, direction: domain.DirectionExport, field: "settings.calendar"},
		"unknown":                       {calendar: "nobody@example.org", list: calendars, direction: domain.DirectionImport, field: "settings.calendar"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, change{direction: c.direction, sim: func(o *googlesim.Options) { o.Calendars, o.PageSize = c.list, 1 },
				settings: func(s *settings) { s.Calendar, s.Access = c.calendar, "" }})
			raw, err := b.conn.Onboard(t.Context())
			if c.field != "" {
				if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != c.field || strings.Contains(err.Error(), "@") {
					t.Errorf("%v", err)
				}
				return
			}
			var s settings
			if err != nil || json.Unmarshal(raw, &s) != nil || s.Calendar != c.want || s.Access != c.access || validate(raw, nil) != nil {
				t.Errorf("%s, %v", raw, err)
			}
		})
	}
}

func TestScopesAreTheLeastThatEveryCallAccepts(t *testing.T) {
	t.Parallel()
	doc, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	read := []string{"calendar.calendarList.get", "calendar.calendarList.list", "calendar.events.list", "calendar.events.get", "calendar.events.watch", "calendar.channels.stop"}
	busy := []string{"calendar.calendarList.get", "calendar.calendarList.list", "calendar.freebusy.query"}
	writes := append([]string{"calendar.events.insert", "calendar.events.update", "calendar.events.patch", "calendar.events.delete"}, read...)
	for name, c := range map[string]struct {
		settings string
		writes   bool
		calls    []string
		scopes   int
	}{
		"reading what is not known yet": {`{}`, false, append(busy, read...), 3},
		"reading":                       {`{"access":"reader"}`, false, read, 2},
		"free/busy":                     {`{"access":"freeBusyReader"}`, false, busy, 2},
		"writing":                       {`{"access":"owner"}`, true, writes, 2},
	} {
		o, err := oauth(json.RawMessage(c.settings), c.writes)
		if err != nil || len(o.Scopes) != c.scopes {
			t.Errorf("%s: scopes %v, %v", name, o.Scopes, err)
		}
		for _, call := range c.calls {
			if !slices.ContainsFunc(doc.Scopes(call), func(s string) bool { return slices.Contains(o.Scopes, s) }) {
				t.Errorf("%s: %v do not allow %s", name, o.Scopes, call)
			}
		}
		if !c.writes && slices.Contains(o.Scopes, scopeEvents) {
			t.Errorf("%s asks to write", name)
		}
		if o.Params["access_type"] != "offline" || o.Params["prompt"] != "consent" || !strings.HasPrefix(o.TokenURL, "https://oauth2.googleapis.com/") {
			t.Errorf("%+v", o)
		}
	}
	o, err := oauth(json.RawMessage(`{"development":{"auth":"http://127.0.0.1:4720/auth","token":"http://[::1]:4720/token","revoke":"http://localhost/revoke"}}`), false)
	if err != nil || o.AuthURL != "http://127.0.0.1:4720/auth" || o.TokenURL != "http://[::1]:4720/token" || o.RevokeURL != "http://localhost/revoke" {
		t.Errorf("%+v, %v", o, err)
	}
	_, err = oauth(json.RawMessage(`[]`), false)
	wantKind(t, err, domain.KindInvalid)
}

func TestSettingsNameTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	for raw, field := range map[string]string{
		`{"calendar":"a b"}`:                                         "settings.calendar",
		`{"calendar":"` + strings.Repeat("a", 300) + `"}`:            "settings.calendar",
		`{"access":"god"}`:                                           "settings.access",
		`{"category_default":"party"}`:                               "settings.category_default",
		`{"category_rules":[{"category":"wedding","contains":[]}]}`:  "settings.category_rules[0].contains",
		`{"category_rules":[{"category":"party","contains":["a"]}]}`: "settings.category_rules[0].category",
		`{"window_past_days":-1}`:                                    "settings.window_past_days",
		`{"window_future_days":0}`:                                   "settings.window_future_days",
		`{"window_future_days":"many"}`:                              "settings.window_future_days",
		`{"development":{"api":"https://calendar.example.org/"}}`:    "settings.development.api",
		`{"development":{"token":"http://10.0.0.1/token"}}`:          "settings.development.token",
		`{"development":{"auth":"http://user@127.0.0.1/"}}`:          "settings.development.auth",
		`{"development":{"revoke":"ftp://127.0.0.1/"}}`:              "settings.development.revoke",
		`{} {}`:          "settings",
		`{"surprise":1}`: "settings",
	} {
		if err := validate(json.RawMessage(raw), nil); domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != field {
			t.Errorf("%s: %v, want a fault of %s", raw, err, field)
		}
	}
	if err := validate(json.RawMessage(`{"calendar":"primary","category_rules":[{"category":"wedding","contains":["Trauung"]}],"window_past_days":0}`), nil); err != nil {
		t.Error(err)
	}
	b := setup(t, change{settings: func(s *settings) { s.Calendar = "" }})
	_, err := b.conn.Pull(t.Context(), "")
	wantKind(t, err, domain.KindInvalid)
	wantKind(t, b.conn.Probe(t.Context()), domain.KindInvalid)
	if b.conn.settings.past() != defaultPast || b.conn.window().Start.After(providertest.Now) {
		t.Error("the window does not begin in the past")
	}
}
