package tave

import (
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

func TestCopyIsAnEventWithAMappingAndReadsBack(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{}, func(s *settings) { s.EventType = "block" })
	done := must[provider.Written](t)(b.conn.Put(t.Context(), write(0)))
	e := b.sim.Get("event", strings.TrimPrefix(done.ExternalID, eventPrefix))
	for name, want := range map[string]any{"name": "Wedding", "startDate": "2027-06-01", "startTime": "13:00:00", "endTime": "21:00:00", "confirmed": true,
		"descriptionHtml": "First line<br>Second &lt;line&gt; &amp; more", "typeId": b.sim.Named("event-type", "Block"), "jobId": nil} {
		if e[name] != want {
			t.Errorf("%s is %v, want %v", name, e[name], want)
		}
	}
	if got := done.ReadBack; got.Details != write(0).Details || got.Origin != write(0).BookingID || got.Category != domain.CategoryWedding {
		t.Errorf("read back %+v", got)
	}
	if n := len(b.sim.All("job")); n != 0 {
		t.Errorf("%d jobs were made", n)
	}
}

func TestCopyOfACategoryWithJobsIsAWholeJob(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{}, weddingsAsJobs)
	w := write(0)
	w.Status, w.Details.Contact = domain.StatusTentative, "Ada May Quillfeather"
	done := must[provider.Written](t)(b.conn.Put(t.Context(), w))
	if len(b.sim.All("job")) != 1 || len(b.sim.All("event")) != 1 || len(b.sim.All("address-book")) != 1 {
		t.Fatalf("jobs %v, events %v, contacts %v", b.sim.All("job"), b.sim.All("event"), b.sim.All("address-book"))
	}
	job := b.sim.All("job")[0]
	if j := b.sim.Get("job", job); j["stage"] != stageLead || j["jobTypeName"] != "Wedding" || j["eventDate"] != "2027-06-01" {
		t.Errorf("job %v", j)
	}
	if done.ReadBack.Status != domain.StatusTentative || done.ReadBack.Details.Contact != "Ada May Quillfeather" {
		t.Errorf("read back %+v", done.ReadBack)
	}
	w.ExternalID, w.Revision, w.Status = done.ExternalID, done.Revision, domain.StatusConfirmed
	done = must[provider.Written](t)(b.conn.Put(t.Context(), w))
	if j := b.sim.Get("job", job); j["stage"] != stageBooked || j["bookingDate"] != "2027-03-01" || done.ReadBack.Status != domain.StatusConfirmed {
		t.Errorf("job %v after confirming, read back %s", j, done.ReadBack.Status)
	}
	// The studio says that it is done: that is no reason to write, and no conflict.
	b.sim.Edit("job", job, tavesim.Object{"stage": stageFulfilled})
	w.Revision = done.Revision
	again := must[provider.Written](t)(b.conn.Put(t.Context(), w))
	if b.sim.Get("job", job)["stage"] != stageFulfilled {
		t.Error("the stage went back")
	}
	if err := b.conn.Remove(t.Context(), again.ExternalID, again.Revision); err != nil {
		t.Fatal(err)
	}
	if len(b.sim.All("job"))+len(b.sim.All("event")) != 0 {
		t.Errorf("jobs %v and events %v are left", b.sim.All("job"), b.sim.All("event"))
	}
}

func TestWorksheetThatIsRefusedLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{}, weddingsAsJobs, func(s *settings) { s.EventType = "01h35ccwymj5ctckp8px1azhg6" })
	_, err := b.conn.Put(t.Context(), write(0))
	wantKind(t, err, domain.KindPermanent)
	if !strings.Contains(err.Error(), "typeId") || strings.Contains(err.Error(), "Wedding") {
		t.Errorf("the error does not name the member, or names the couple: %v", err)
	}
	if len(b.sim.All("job"))+len(b.sim.All("event")) != 0 {
		t.Error("half of a job is left")
	}
}

func TestJobIntoWhichTheStudioPutMoreIsKept(t *testing.T) {
	t.Parallel()
	for name, add := range map[string]func(b *bundle, job string){
		"an order":      func(b *bundle, job string) { b.sim.Add("order", tavesim.Object{"jobId": job}) },
		"another event": func(b *bundle, job string) { b.sim.Add("event", session(b, job)) },
	} {
		b := setup(t, tavesim.Options{}, weddingsAsJobs)
		done := must[provider.Written](t)(b.conn.Put(t.Context(), write(0)))
		add(b, b.sim.All("job")[0])
		if err := b.conn.Remove(t.Context(), done.ExternalID, done.Revision); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if b.sim.Get("event", strings.TrimPrefix(done.ExternalID, eventPrefix)) != nil || len(b.sim.All("job")) != 1 {
			t.Errorf("%s: the copy is left, or its job is gone", name)
		}
	}
}

// A try whose answer was lost may come through after the next one looked for it. Both then make a copy.
func TestOfTwoCopiesTheLaterGoes(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	w := write(0)
	at := must[mapping](t)(marker{w.BookingID, w.Key, w.Category}.mapping())
	made := must[provider.Written](t)(b.conn.Put(t.Context(), w))
	late := b.sim.Add("event", tavesim.Object{"name": "Wedding", "startDate": "2027-06-01", "externalMappings": []mapping{at}})
	again := must[provider.Written](t)(b.conn.Put(t.Context(), w))
	if again.ExternalID != made.ExternalID || b.sim.Get("event", late) != nil || len(b.sim.All("event")) != 1 {
		t.Errorf("%s after %s, events %v", again.ExternalID, made.ExternalID, b.sim.All("event"))
	}
}

func TestChangeOfASourceEventKeepsEverythingElse(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]tavesim.Options{"PUT replaces": {}, "PUT merges": {Merge: true}} {
		b := setup(t, opt)
		job, e := newJob(b, stageBooked)
		b.sim.Edit("event", e, tavesim.Object{"name": "The day", "virtualUrl": "https://a.example/x", "descriptionHtml": "<b>Bring</b> it",
			"location": tavesim.Object{"address": tavesim.Object{"city": "York", "latitude": 53.9}}, "channel": "Virtual", "startUtc": "x"})
		before := b.sim.Get("event", e)
		there := must[domain.Change](t)(b.conn.Read(t.Context(), eventPrefix+e))
		w := write(0)
		w.ExternalID, w.Revision, w.Source, w.Details = there.ExternalID, there.Revision, true, domain.Details{}
		w.When = there.When
		w.When.Start, w.When.End = w.When.Start.Add(24*time.Hour), w.When.End.Add(25*time.Hour)
		done := must[provider.Written](t)(b.conn.Put(t.Context(), w))
		after := b.sim.Get("event", e)
		for _, member := range []string{"name", "virtualUrl", "descriptionHtml", "channel", "jobId", "typeId"} {
			if after[member] != before[member] {
				t.Errorf("%s: %s is %v, was %v", name, member, after[member], before[member])
			}
		}
		if after["startDate"] != "2027-06-06" || done.ReadBack.Details.Location != "York" || b.sim.Get("job", job)["stage"] != stageBooked {
			t.Errorf("%s: %v", name, after)
		}
	}
}

func TestStatusOfASourceEntryFlowsBack(t *testing.T) {
	t.Parallel()
	type state struct {
		stage  string
		closed bool
	}
	for name, v := range map[string]struct {
		from state
		mark bool // confirmed mark of the event
		want domain.BookingStatus
		to   state
		kind domain.ErrorKind
	}{
		"lead is booked":                {state{stageLead, false}, false, domain.StatusConfirmed, state{stageBooked, false}, ""},
		"lead is lost":                  {state{stageLead, false}, false, domain.StatusCancelled, state{stageLead, true}, ""},
		"booked is cancelled":           {state{stageBooked, false}, false, domain.StatusCancelled, state{stageBooked, true}, ""},
		"booked is open again":          {state{stageBooked, false}, true, domain.StatusTentative, state{stageLead, false}, ""},
		"closed one is taken up":        {state{stageLead, true}, false, domain.StatusConfirmed, state{stageBooked, false}, ""},
		"fulfilled cannot be tentative": {state{stageFulfilled, false}, false, domain.StatusTentative, state{stageFulfilled, false}, domain.KindPermanent},
		"completed cannot be cancelled": {state{stageCompleted, false}, false, domain.StatusCancelled, state{stageCompleted, false}, domain.KindPermanent},
		"nothing to say":                {state{stageFulfilled, false}, false, domain.StatusConfirmed, state{stageFulfilled, false}, ""},
	} {
		b := setup(t, tavesim.Options{})
		job, e := newJob(b, v.from.stage)
		b.sim.Edit("job", job, tavesim.Object{"closed": v.from.closed, "guestCount": 80, "leadNotes": "Prefers mail",
			"customFields": []tavesim.Object{{"id": job, "fieldId": job, "value": "7", "created": "2027-01-01T00:00:00Z", "hidden": false}}})
		b.sim.Edit("event", e, tavesim.Object{"confirmed": v.mark})
		there := must[domain.Change](t)(b.conn.Read(t.Context(), eventPrefix+e))
		w := write(0)
		w.ExternalID, w.Revision, w.Source, w.When, w.Status = there.ExternalID, there.Revision, true, there.When, v.want
		done, err := b.conn.Put(t.Context(), w)
		if domain.KindOf(err) != v.kind {
			t.Errorf("%s: %v", name, err)
		}
		j := b.sim.Get("job", job)
		if j["stage"] != v.to.stage || j["closed"] != v.to.closed || j["guestCount"] != 80.0 || j["leadNotes"] != "Prefers mail" {
			t.Errorf("%s: the job is %v, closed %v", name, j["stage"], j["closed"])
		}
		if err == nil && done.ReadBack.Status != v.want {
			t.Errorf("%s: reads back as %s", name, done.ReadBack.Status)
		}
	}
}

func TestEventWithAZoneOfItsOwnIsMovedToTheRightInstant(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	zone := b.sim.Add("timezone", tavesim.Object{"name": "America/New_York"})
	for name, own := range map[string]tavesim.Object{"by name": {"timezoneName": "America/New_York"}, "by id": {"timezoneId": zone, "timezoneName": nil}} {
		e := b.sim.Add("event", tavesim.Object{"startDate": "2027-06-05", "startTime": "12:00:00", "endTime": "13:00:00"})
		b.sim.Edit("event", e, own)
		there := must[domain.Change](t)(b.conn.Read(t.Context(), eventPrefix+e))
		w := write(0)
		w.ExternalID, w.Revision, w.Source, w.Status = there.ExternalID, there.Revision, true, there.Status
		done := must[provider.Written](t)(b.conn.Put(t.Context(), w))
		after := b.sim.Get("event", e)
		if !done.ReadBack.When.Start.Equal(w.When.Start) || after["timezoneId"] != nil || after["timezoneName"] != nil {
			t.Errorf("%s: %s, %v", name, done.ReadBack.When.Span, after)
		}
	}
}

func TestEventsThatAreNotTheJobsOnlyDateLeaveTheJobAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	job, first := newJob(b, stageLead)
	second := b.sim.Add("event", session(b, job))
	loose := b.sim.Add("event", tavesim.Object{"startDate": "2027-03-10"})
	for _, e := range []string{first, second, loose} {
		put := func(status domain.BookingStatus) error {
			there := must[domain.Change](t)(b.conn.Read(t.Context(), eventPrefix+e))
			w := write(0)
			w.ExternalID, w.Revision, w.Source, w.When, w.Status = there.ExternalID, there.Revision, true, there.When, status
			_, err := b.conn.Put(t.Context(), w)
			return err
		}
		if err := put(domain.StatusConfirmed); err != nil || b.sim.Get("event", e)["confirmed"] != true {
			t.Errorf("confirm: %v", err)
		}
		if err := put(domain.StatusTentative); err != nil || b.sim.Get("event", e)["confirmed"] != false {
			t.Errorf("make tentative: %v", err)
		}
		wantKind(t, put(domain.StatusCancelled), domain.KindPermanent)
	}
	if j := b.sim.Get("job", job); j["stage"] != stageLead || j["closed"] != false {
		t.Errorf("the job is %v, closed %v", j["stage"], j["closed"])
	}
}

func TestDateOfALeadIsMovedAndBooked(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	job := b.sim.Add("job", tavesim.Object{"eventDate": "2027-06-05"})
	there := must[domain.Change](t)(b.conn.Read(t.Context(), jobPrefix+job))
	w := write(0)
	w.ExternalID, w.Revision, w.Source, w.When = there.ExternalID, there.Revision, true, there.When
	w.When.Start, w.When.End = w.When.Start.AddDate(0, 0, 7), w.When.End.AddDate(0, 0, 7)
	done := must[provider.Written](t)(b.conn.Put(t.Context(), w))
	if j := b.sim.Get("job", job); j["eventDate"] != "2027-06-12" || j["stage"] != stageBooked || done.ReadBack.Status != domain.StatusConfirmed {
		t.Errorf("%v", j)
	}
	w.Revision, w.When = done.Revision, write(0).When
	_, err := b.conn.Put(t.Context(), w)
	wantKind(t, err, domain.KindPermanent) // eight hours are no whole day
	w.Revision, w.When = there.Revision, there.When
	_, err = b.conn.Put(t.Context(), w)
	wantKind(t, err, domain.KindConflict)
}

func TestSettingsMayKeepJobsAsTheyAre(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{}, func(s *settings) { s.JobStatus = keepJobs })
	job, e := newJob(b, stageLead)
	there := must[domain.Change](t)(b.conn.Read(t.Context(), eventPrefix+e))
	w := write(0)
	w.ExternalID, w.Revision, w.Source, w.When = there.ExternalID, there.Revision, true, there.When
	must[provider.Written](t)(b.conn.Put(t.Context(), w))
	if b.sim.Get("job", job)["stage"] != stageLead || b.sim.Get("event", e)["confirmed"] != true {
		t.Error("the job was moved, or the event not marked")
	}
}

func TestHoldsComeInAsLeadsWhereTheNewLeadAPIIsSetUp(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"answered": false, "answer lost": true} {
		b := setup(t, tavesim.Options{LeadStudio: "studio1", LateReads: 2}, weddingsAsJobs, func(s *settings) { s.LeadStudio = "studio1" })
		w := write(0)
		w.Status, w.Details.Contact = domain.StatusTentative, "Ada Quillfeather"
		if lost {
			b.sim.SetFaults(tavesim.Faults{LoseAnswers: 1})
			_, err := b.conn.Put(t.Context(), w)
			wantKind(t, err, domain.KindUnavailable)
		}
		done := must[provider.Written](t)(b.conn.Put(t.Context(), w))
		if len(b.sim.All("job")) != 1 || len(b.sim.All("event")) != 1 || b.sim.Requests()["POST /job/-/worksheet"] != 0 {
			t.Fatalf("%s: jobs %v, events %v, requests %v", name, b.sim.All("job"), b.sim.All("event"), b.sim.Requests())
		}
		if j := b.sim.Get("job", b.sim.All("job")[0]); j["webLead"] != true || j["stage"] != stageLead || !strings.HasPrefix(j["leadNotes"].(string), "First line") {
			t.Errorf("%s: job %v", name, j)
		}
		if done.ReadBack.Origin != w.BookingID || done.ReadBack.Status != domain.StatusTentative {
			t.Errorf("%s: read back %+v", name, done.ReadBack)
		}
		w.ExternalID, w.Revision, w.Status = done.ExternalID, done.Revision, domain.StatusConfirmed
		done = must[provider.Written](t)(b.conn.Put(t.Context(), w))
		if b.sim.Get("job", b.sim.All("job")[0])["stage"] != stageBooked || done.ReadBack.Status != domain.StatusConfirmed {
			t.Errorf("%s: the lead was not booked", name)
		}
	}
}

func TestNewLeadAPIThatRefusesIsFinal(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{LeadStudio: "studio2"}, weddingsAsJobs, func(s *settings) { s.LeadStudio = "studio1" })
	w := write(0)
	w.Status = domain.StatusTentative
	_, err := b.conn.Put(t.Context(), w)
	wantKind(t, err, domain.KindForbidden)
	if strings.Contains(err.Error(), leadKey) || len(b.sim.All("job")) != 0 {
		t.Errorf("%v, jobs %v", err, b.sim.All("job"))
	}
}

func TestStudioInReadOnlyModeIsTriedAgainLater(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	done := must[provider.Written](t)(b.conn.Put(t.Context(), write(0)))
	b.sim.SetReadonly(true)
	_, err := b.conn.Put(t.Context(), write(1))
	wantKind(t, err, domain.KindUnavailable)
	if domain.RetryAfter(err) != readonlyPause {
		t.Errorf("waits %s", domain.RetryAfter(err))
	}
	wantKind(t, b.conn.Remove(t.Context(), done.ExternalID, done.Revision), domain.KindUnavailable)
	wantKind(t, b.conn.Probe(t.Context()), domain.KindForbidden)
	_, err = b.conn.Onboard(t.Context())
	wantKind(t, err, domain.KindInvalid)
	reader := b.connect(t, b.conn.settings, domain.DirectionImport, b.key)
	if err := reader.Probe(t.Context()); err != nil {
		t.Errorf("a connection that only reads minds: %v", err)
	}
	pullAll(t, reader, "")
	b.sim.SetReadonly(false)
	must[provider.Written](t)(b.conn.Put(t.Context(), write(1)))
}

func TestReadOnlyEventsAreLeftAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	_, e := newJob(b, stageBooked)
	b.sim.Edit("event", e, tavesim.Object{"readOnly": true})
	there := must[domain.Change](t)(b.conn.Read(t.Context(), eventPrefix+e))
	w := write(0)
	w.ExternalID, w.Revision, w.Source = there.ExternalID, there.Revision, true
	_, err := b.conn.Put(t.Context(), w)
	wantKind(t, err, domain.KindPermanent)
}

func TestTimesAreWrittenAsTheStudioSeesThem(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	for n, v := range []struct{ start, end, date, clock, zone string }{
		{"2027-10-31T00:30:00Z", "2027-10-31T04:00:00Z", "2027-10-31", "00:30:00", "UTC"}, // the first half past one of that night
		{"2027-10-31T01:30:00Z", "2027-10-31T04:00:00Z", "2027-10-31", "01:30:00", "UTC"}, // the second
		{"2027-07-01T23:30:00Z", "2027-07-02T01:00:00Z", "2027-07-02", "00:30:00", ""},
	} {
		w := write(n)
		w.When.Start, w.When.End = instant(v.start), instant(v.end)
		done := must[provider.Written](t)(b.conn.Put(t.Context(), w))
		e := b.sim.Get("event", strings.TrimPrefix(done.ExternalID, eventPrefix))
		zone, _ := e["timezoneName"].(string)
		if e["startDate"] != v.date || e["startTime"] != v.clock || zone != v.zone || !done.ReadBack.When.Start.Equal(w.When.Start) || !done.ReadBack.When.End.Equal(w.When.End) {
			t.Errorf("%s: %v %v %v, read back %s", v.start, e["startDate"], e["startTime"], zone, done.ReadBack.When.Span)
		}
	}
	w := write(9)
	w.When.Start, w.When.End = w.When.Start.Add(30*time.Second), w.When.End.Add(30*time.Second)
	done := must[provider.Written](t)(b.conn.Put(t.Context(), w))
	if got := done.ReadBack.When; !got.Start.Equal(write(9).When.Start) || !got.End.Equal(write(9).When.End.Add(time.Minute)) {
		t.Errorf("seconds: %s", got.Span)
	}
	again := must[provider.Written](t)(b.conn.Put(t.Context(), w))
	if again.Revision != done.Revision || b.sim.Requests()["PUT /event/{id}"] != 0 {
		t.Error("what stands there already was written again")
	}
}
