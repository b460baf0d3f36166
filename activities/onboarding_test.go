package activities_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
	"github.com/wedsync/wedsync/internal/sim/googlesim"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
	"github.com/wedsync/wedsync/internal/store"
)

// joinable is a system in memory that completes settings and names its account.
type joinable struct {
	*watched
	account string
	during  func() // while it is asked
}

func (j *joinable) Onboard(context.Context) (json.RawMessage, error) {
	end, err := j.begin("onboard")
	if err != nil {
		return nil, err
	}
	out, err := []byte(`{"account":"`+j.account+`"}`), end(nil)
	if j.during != nil {
		j.during()
	}
	return out, err
}

func (j *joinable) Probe(context.Context) error {
	end, err := j.begin("probe")
	if err != nil {
		return err
	}
	return end(nil)
}

func (j *joinable) Identity() string { return provider.IdentityOf("outside", j.account) }

func (d *desk) onboardings() *activities.Onboardings {
	return &activities.Onboardings{Store: d.Store, Opener: d.opener, NotifyURL: notifyURL}
}

// join connects a system that is to be onboarded.
func (d *desk) join(system any) (domain.Integration, activities.OnboardRef) {
	d.t.Helper()
	i := d.connect("new", domain.DirectionBidirectional, system)
	d.setState(i.ID, domain.IntegrationPaused)
	return i, d.beginOnboarding(i)
}

func (d *desk) beginOnboarding(i domain.Integration) activities.OnboardRef {
	d.t.Helper()
	var o domain.Onboarding
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		o, _, err = tx.BeginOnboarding(ctx, domain.Onboarding{ID: domain.NewID[domain.OnboardingID](tx.Now), IntegrationID: i.ID, RequestedBy: "alex"}, domain.IntegrationPaused)
		return err
	})
	return activities.OnboardRef{Org: d.org, Integration: i.ID, Onboarding: o.ID, Attempt: o.Attempt}
}

func (d *desk) onboarding(i domain.IntegrationID) (o domain.Onboarding) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		o, err = tx.Onboarding(ctx, i)
		return err
	})
	return o
}

func newJoinable(d *desk, account string) *joinable {
	return &joinable{watched: &watched{outside: newOutside(), clock: d.clock, standing: map[string]provider.Watched{}}, account: account}
}

func TestOnboardingOfASystemEndsWithARunningIntegration(t *testing.T) {
	t.Parallel()
	d := setup(t)
	at := newJoinable(d, "studio")
	i, ref := d.join(at)
	if d.state(i.ID) != domain.IntegrationConnecting {
		t.Fatalf("the integration is %s", d.state(i.ID))
	}
	a := d.onboardings()
	move := func(step domain.OnboardStep, to domain.OnboardStepState) activities.OnboardView {
		return run(d, a.MoveOnboarding, activities.MoveOnboardingInput{OnboardRef: ref, Step: step, To: to})
	}
	load := activities.LoadOnboardingInput{Org: d.org, Integration: i.ID}
	if v := run(d, a.LoadOnboarding, load); v.State != domain.OnboardingRunning || !v.CanPull || !v.CanWatch || !v.Public || v.Polled || v.Provider != "outside" {
		t.Errorf("view %+v", v)
	}
	move(domain.OnboardCredentials, domain.OnboardStepRunning)
	for range 2 { // also after a lost answer
		if r := run(d, a.CheckConnection, ref); r != (activities.OnboardStepResult{}) {
			t.Errorf("checked: %+v", r)
		}
	}
	var stored domain.Integration
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		stored, err = tx.Integration(ctx, i.ID)
		return err
	})
	if !strings.Contains(string(stored.Settings), "studio") {
		t.Errorf("the settings are %s", stored.Settings)
	}
	move(domain.OnboardCredentials, domain.OnboardStepDone)
	if r := run(d, a.FindDuplicate, ref); r != (activities.OnboardStepResult{}) {
		t.Errorf("looked for a duplicate: %+v", r)
	}
	// The integration's own workflow leaves watches alone meanwhile.
	if cfg := d.config(i); !cfg.WatchesDue.IsZero() || cfg.State != domain.IntegrationConnecting {
		t.Errorf("its workflow is told %+v", cfg)
	}
	run(d, d.keeper().KeepWatches, activities.KeepWatchesInput{Org: d.org, Integration: i.ID})
	if len(at.asked) != 0 {
		t.Fatal("a watch was made by nobody's wish")
	}
	wish := activities.KeepWatchesInput{Org: d.org, Integration: i.ID, For: activities.WatchesMake}
	for range 2 {
		if r := run(d, d.keeper().KeepWatches, wish); !r.Stands || len(at.standing) != 1 {
			t.Errorf("watches: %+v, %d stand", r, len(at.standing))
		}
	}
	run(d, d.keeper().KeepWatches, activities.KeepWatchesInput{Org: d.org, Integration: i.ID})
	if cfg := d.config(i); len(at.standing) != 1 || !cfg.WatchesDue.IsZero() {
		t.Errorf("%d watches stand; its workflow is to look at %s", len(at.standing), cfg.WatchesDue)
	}
	first := move(domain.OnboardFirstSync, domain.OnboardStepRunning)
	if again := move(domain.OnboardFirstSync, domain.OnboardStepRunning); first.RunID == "" || again.RunID != first.RunID {
		t.Errorf("runs %q and %q", first.RunID, again.RunID)
	}
	if r := run(d, a.ProbeConnection, ref); r != (activities.OnboardStepResult{}) || at.count("probe") != 1 {
		t.Errorf("probed: %+v", r)
	}
	for range 2 {
		if v := run(d, a.ActivateIntegration, ref); v.State != domain.OnboardingDone || d.state(i.ID) != domain.IntegrationActive {
			t.Errorf("activated: %+v, the integration is %s", v, d.state(i.ID))
		}
	}
	if cfg := d.config(i); cfg.WatchesDue.IsZero() || len(at.standing) != 1 {
		t.Error("its workflow does not look after the watch")
	}
	d.unchanged(func() { move(domain.OnboardProbe, domain.OnboardStepFailed) })
	var states int
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		all, _, err := tx.AuditEntries(ctx, store.Page{Limit: store.MaxPage})
		states = 0
		for _, e := range all {
			if e.Action == "integration.state" && e.After["state"] == "active" && e.Actor == "alex" && e.After["onboarding"] == string(ref.Onboarding) {
				states++
			}
		}
		return err
	})
	if states != 1 {
		t.Errorf("%d lines in the trail say that it is active", states)
	}
}

func TestRefusedCredentialsAreToldInWordsInTheRowOnly(t *testing.T) {
	t.Parallel()
	d := setup(t)
	at := newJoinable(d, "studio")
	i, ref := d.join(at)
	a := d.onboardings()
	at.faults["onboard"] = []error{domain.E(domain.KindUnauthenticated, "the password is wrong"), domain.E(domain.KindUnauthenticated, "the password is wrong"),
		domain.E(domain.KindUnavailable, "no answer")}
	run(d, a.MoveOnboarding, activities.MoveOnboardingInput{OnboardRef: ref, Step: domain.OnboardCredentials, To: domain.OnboardStepRunning})
	for range 2 {
		r := run(d, a.CheckConnection, ref)
		if text, _ := json.Marshal(r); r.Refused != domain.KindUnauthenticated || strings.Contains(string(text), "password") {
			t.Errorf("the result is %s", text)
		}
	}
	if _, err := call(d, a.CheckConnection, ref); err == nil {
		t.Error("a fault that may pass is a result")
	} else {
		d.wantKind(err, domain.KindUnavailable)
	}
	later := d.clock().Add(time.Hour)
	v := run(d, a.MoveOnboarding, activities.MoveOnboardingInput{OnboardRef: ref, Step: domain.OnboardCredentials, To: domain.OnboardStepFailed, Kind: domain.KindUnauthenticated,
		Retry: later, Undone: []domain.OnboardStep{domain.OnboardWebhooks}})
	o := d.onboarding(i.ID)
	if v.State != domain.OnboardingWaiting || v.Step != domain.OnboardCredentials || !v.RetryAt.Equal(later) || o.Fault != "the password is wrong" || o.WaitingSince == nil ||
		o.Steps[2].State != domain.OnboardStepUndone || d.state(i.ID) != domain.IntegrationConnecting {
		t.Errorf("view %+v, row %+v", v, o)
	}
	since := *o.WaitingSince
	d.advance(time.Hour)
	load := activities.LoadOnboardingInput{Org: d.org, Integration: i.ID}
	auto := run(d, a.AgainOnboarding, activities.AgainOnboardingInput{LoadOnboardingInput: load, Auto: true})
	if auto.Attempt != 2 || auto.State != domain.OnboardingRunning || !auto.WaitingSince.Equal(since) {
		t.Errorf("tried again by itself: %+v", auto)
	}
	d.unchanged(func() { // of the attempt before
		run(d, a.MoveOnboarding, activities.MoveOnboardingInput{OnboardRef: ref, Step: domain.OnboardProbe, To: domain.OnboardStepFailed, Kind: domain.KindInternal})
		run(d, a.ActivateIntegration, ref)
	})
	ref.Attempt = 2
	run(d, a.MoveOnboarding, activities.MoveOnboardingInput{OnboardRef: ref, Step: domain.OnboardProbe, To: domain.OnboardStepFailed, Kind: domain.KindRateLimited})
	if o = d.onboarding(i.ID); o.Fault != "the system asked us to slow down for too long" || !o.WaitingSince.Equal(since) {
		t.Errorf("row %+v", o)
	}
	asked := run(d, a.AgainOnboarding, activities.AgainOnboardingInput{LoadOnboardingInput: load, AllowDuplicate: true})
	if asked.Attempt != 3 || !asked.WaitingSince.IsZero() || !d.onboarding(i.ID).AllowDuplicate {
		t.Errorf("asked to go on: %+v", asked)
	}
}

func TestSettingsThatChangeWhileTheSystemIsAskedAreAskedAbout(t *testing.T) {
	t.Parallel()
	d := setup(t)
	at := newJoinable(d, "first")
	i, ref := d.join(at)
	at.during = func() {
		at.during, at.account = nil, "second"
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			now, err := tx.Integration(ctx, i.ID)
			if err != nil {
				return err
			}
			now.Settings = []byte(`{"wish":1}`)
			return tx.UpdateIntegration(ctx, now, nil, now.Version)
		})
	}
	if r := run(d, d.onboardings().CheckConnection, ref); r.Refused != "" || at.count("onboard") != 2 {
		t.Errorf("%+v after %d questions", r, at.count("onboard"))
	}
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.Integration(ctx, i.ID)
		if !strings.Contains(string(now.Settings), "second") {
			t.Errorf("the settings are %s", now.Settings)
		}
		return err
	})
}

func TestASecondConnectionToTheSamePlaceIsNoticed(t *testing.T) {
	t.Parallel()
	d := setup(t)
	old := d.connect("old", domain.DirectionBidirectional, newJoinable(d, "studio@example.com")) // before identities were kept
	other := d.connect("other", domain.DirectionBidirectional, newJoinable(d, "elsewhere@example.com"))
	at := newJoinable(d, "studio@example.com")
	i, ref := d.join(at)
	a := d.onboardings()
	for range 2 {
		if r := run(d, a.FindDuplicate, ref); r.Refused != domain.KindConflict {
			t.Errorf("%+v", r)
		}
	}
	if o := d.onboarding(i.ID); o.Duplicate != old.ID || !strings.Contains(o.Fault, string(old.ID)) {
		t.Errorf("row %+v", o)
	}
	hashes := map[domain.IntegrationID][]byte{}
	look := func() {
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			for _, id := range []domain.IntegrationID{old.ID, other.ID, i.ID} {
				var h []byte
				if err := tx.QueryRow(ctx, "SELECT identity FROM integrations WHERE id = $1", id).Scan(&h); err != nil {
					return err
				}
				hashes[id] = h
			}
			return nil
		})
	}
	look()
	if len(hashes[old.ID]) == 0 || len(hashes[other.ID]) == 0 || bytes.Equal(hashes[old.ID], hashes[other.ID]) || hashes[i.ID] != nil || strings.Contains(d.dump(), "studio@") {
		t.Error("places are kept otherwise than by hashes that tell them apart")
	}
	run(d, a.MoveOnboarding, activities.MoveOnboardingInput{OnboardRef: ref, Step: domain.OnboardDuplicate, To: domain.OnboardStepFailed, Kind: domain.KindConflict})
	v := run(d, a.AgainOnboarding, activities.AgainOnboardingInput{LoadOnboardingInput: activities.LoadOnboardingInput{Org: d.org, Integration: i.ID}, AllowDuplicate: true})
	ref.Attempt = v.Attempt
	if r := run(d, a.FindDuplicate, ref); r.Refused != "" || d.onboarding(i.ID).Duplicate != old.ID {
		t.Errorf("with both wanted: %+v", r)
	}
	if look(); !bytes.Equal(hashes[i.ID], hashes[old.ID]) {
		t.Error("both lead to one place, and have two hashes")
	}
	// New settings may lead elsewhere.
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.Integration(ctx, i.ID)
		if err != nil {
			return err
		}
		now.Settings = []byte(`{"calendar":"another"}`)
		return tx.UpdateIntegration(ctx, now, nil, now.Version)
	})
	if look(); hashes[i.ID] != nil {
		t.Error("new settings keep the place of the old ones")
	}
}

func TestACancelledOnboardingPutsTheIntegrationBack(t *testing.T) {
	t.Parallel()
	d := setup(t)
	at := newJoinable(d, "studio")
	i, ref := d.join(at)
	a := d.onboardings()
	load := activities.LoadOnboardingInput{Org: d.org, Integration: i.ID}
	run(d, d.keeper().KeepWatches, activities.KeepWatchesInput{Org: d.org, Integration: i.ID, For: activities.WatchesMake})
	run(d, a.MoveOnboarding, activities.MoveOnboardingInput{OnboardRef: ref, Step: domain.OnboardWebhooks, To: domain.OnboardStepRunning})
	run(d, a.MoveOnboarding, activities.MoveOnboardingInput{OnboardRef: ref, Step: domain.OnboardWebhooks, To: domain.OnboardStepDone})
	if v := run(d, a.CancelOnboarding, load); v.State != domain.OnboardingCancelling {
		t.Errorf("cancelled: %+v", v)
	}
	d.unchanged(func() { run(d, a.ActivateIntegration, ref) })
	at.faults["unwatch"] = []error{domain.E(domain.KindUnavailable, "no answer")}
	run(d, d.keeper().KeepWatches, activities.KeepWatchesInput{Org: d.org, Integration: i.ID, For: activities.WatchesEnd})
	for range 2 {
		v := run(d, a.EndOnboarding, activities.EndOnboardingInput{LoadOnboardingInput: load, State: domain.OnboardingCancelled})
		if v.State != domain.OnboardingCancelled || d.state(i.ID) != domain.IntegrationPaused || d.onboarding(i.ID).Steps[2].State != domain.OnboardStepUndone {
			t.Errorf("ended: %+v, the integration is %s", v, d.state(i.ID))
		}
	}
	// The system did not answer; the integration's own workflow goes on.
	if cfg := d.config(i); cfg.WatchesDue.IsZero() {
		t.Error("nobody looks after the watch that still stands")
	}
	d.advance(2 * time.Minute)
	run(d, d.keeper().KeepWatches, activities.KeepWatchesInput{Org: d.org, Integration: i.ID})
	if len(at.standing) != 0 {
		t.Errorf("%d watches are left", len(at.standing))
	}
	// It may be begun anew, also one that is deleted meanwhile.
	again := d.beginOnboarding(i)
	if again.Onboarding == ref.Onboarding || d.state(i.ID) != domain.IntegrationConnecting {
		t.Error("it was not begun anew")
	}
	d.setState(i.ID, domain.IntegrationDeleted)
	if v := run(d, a.LoadOnboarding, load); v.State != domain.OnboardingCancelled {
		t.Errorf("deleted: %+v", v)
	}
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.BeginOnboarding(ctx, domain.Onboarding{ID: domain.NewID[domain.OnboardingID](tx.Now), IntegrationID: i.ID, RequestedBy: "alex"}, domain.IntegrationPaused)
		if domain.KindOf(err) != domain.KindConflict {
			t.Errorf("a deleted one is begun: %v", err)
		}
		return nil
	})
	if v := run(d, a.LoadOnboarding, activities.LoadOnboardingInput{Org: d.org, Integration: d.cal.ID}); v.State != domain.OnboardingCancelled || v.Onboarding != "" {
		t.Errorf("without an onboarding: %+v", v)
	}
}

func TestPeopleAndOnboardingsDoNotTakeAnIntegrationFromEachOther(t *testing.T) {
	t.Parallel()
	d := setup(t)
	i, _ := d.join(newJoinable(d, "studio"))
	_, err := call(d, d.integrations().SetIntegrationState, activities.SetIntegrationStateInput{Org: d.org, Integration: i.ID, State: domain.IntegrationActive, By: "alex"})
	d.wantKind(err, domain.KindConflict)
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		o, begun, err := tx.BeginOnboarding(ctx, domain.Onboarding{ID: domain.NewID[domain.OnboardingID](tx.Now), IntegrationID: i.ID, RequestedBy: "kim"}, domain.IntegrationPaused)
		if begun || o.RequestedBy != "alex" {
			t.Errorf("begun twice: %+v", o)
		}
		return err
	})
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.BeginOnboarding(ctx, domain.Onboarding{ID: domain.NewID[domain.OnboardingID](tx.Now), IntegrationID: d.cal.ID, RequestedBy: "alex"}, domain.IntegrationPaused)
		if domain.KindOf(err) != domain.KindConflict {
			t.Errorf("a running one is begun: %v", err)
		}
		return nil
	})
}

// oneToken is a consent that does not end.
type oneToken string

func (o oneToken) Token(context.Context) (string, error) { return string(o), nil }
func (oneToken) Refused(string)                          {}

// TestRealProvidersAreCheckedAndRecognised connects each system twice, in different words, to its simulator.
func TestRealProvidersAreCheckedAndRecognised(t *testing.T) {
	t.Parallel()
	tave := httptest.NewServer(tavesim.New(tavesim.Options{Key: "key"}).Handler())
	dav := httptest.NewServer(caldavsim.New(caldavsim.Options{Username: "studio", Password: "secret", Calendars: []caldavsim.Calendar{{Name: "bookings"}}}).Handler())
	google := httptest.NewServer(googlesim.New(googlesim.Options{Token: "token", PlainHTTP: true, Calendars: []googlesim.Calendar{{ID: "studio@example.test"}}}).Handler())
	for _, s := range []*httptest.Server{tave, dav, google} {
		t.Cleanup(s.Close)
	}
	ends := `{"api":"` + google.URL + `/calendar/v3/","auth":"` + google.URL + `/a","token":"` + google.URL + `/t","revoke":"` + google.URL + `/r"}`
	for name, c := range map[string]struct {
		first, second  string
		secrets, wrong map[string]string
	}{
		"tave": {first: `{"api_url":"` + tave.URL + tavesim.Base + `","requests_per_second":1000}`, second: `{"api_url":"` + tave.URL + tavesim.Base + `","requests_per_second":900}`,
			secrets: map[string]string{"api_key": "key"}, wrong: map[string]string{"api_key": "another"}},
		"caldav": {first: `{"url":"` + dav.URL + `","username":"studio"}`, second: `{"url":"` + dav.URL + `/","username":"studio","category_default":"vendor"}`,
			secrets: map[string]string{"password": "secret"}, wrong: map[string]string{"password": "wrong"}},
		"google": {first: `{"development":` + ends + `}`, second: `{"calendar":"studio@example.test","development":` + ends + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			reg, err := providers.Get(name)
			d.must(err)
			open := reg.Open
			reg.Open = func(c provider.Connection) (any, error) {
				c.Tokens = oneToken("token")
				if c.Integration.Name == "stale" {
					c.Tokens = oneToken("gone")
				}
				return open(c)
			}
			out, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
			d.must(err)
			t.Cleanup(out.Close)
			d.opener = connect.New(func(string) (provider.Registration, bool) { return reg, true }, out, d.clock, 0)
			a := d.onboardings()
			make := func(label, settings string, secrets map[string]string) activities.OnboardRef {
				i := domain.Integration{ID: domain.NewID[domain.IntegrationID](d.clock()), Name: label, Provider: name, Direction: domain.DirectionBidirectional,
					ResourceID: d.person.ID, Settings: []byte(settings), State: domain.IntegrationPaused}
				d.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.CreateIntegration(ctx, i, secrets) })
				d.advance(time.Second)
				return d.beginOnboarding(i)
			}
			good := make("good", c.first, c.secrets)
			if r := run(d, a.CheckConnection, good); r != (activities.OnboardStepResult{}) {
				t.Fatalf("checked: %+v %+v", r, d.onboarding(good.Integration))
			}
			if r := run(d, a.FindDuplicate, good); r != (activities.OnboardStepResult{}) {
				t.Errorf("the first is a duplicate: %+v", r)
			}
			if r := run(d, a.ProbeConnection, good); r != (activities.OnboardStepResult{}) {
				t.Errorf("probed: %+v", r)
			}
			twin := make("twin", c.second, c.secrets)
			if r := run(d, a.FindDuplicate, twin); !r.Skipped {
				t.Errorf("before it was asked, its place is known: %+v", r)
			}
			run(d, a.CheckConnection, twin)
			if r := run(d, a.FindDuplicate, twin); r.Refused != domain.KindConflict || d.onboarding(twin.Integration).Duplicate != good.Integration {
				t.Errorf("the second is no duplicate: %+v", r)
			}
			bad := make("stale", c.first, c.wrong)
			r := run(d, a.CheckConnection, bad)
			o := d.onboarding(bad.Integration)
			if r.Refused != domain.KindUnauthenticated || o.Fault == "" {
				t.Errorf("wrong credentials: %+v %+v", r, o)
			}
			for _, secret := range []string{"another", "wrong", "gone", "secret"} {
				if strings.Contains(o.Fault, `"`+secret+`"`) {
					t.Errorf("the words repeat a secret: %s", o.Fault)
				}
			}
			if diff := cmp.Diff(domain.OnboardStepPending, o.Steps[0].State); diff != "" {
				t.Error(diff)
			}
		})
	}
}
