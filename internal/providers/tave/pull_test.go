package tave

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

func TestJobsLeadsAndOrdersDecideTheStatus(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	want := map[string]domain.BookingStatus{}
	for stage, status := range map[string]domain.BookingStatus{stageLead: domain.StatusTentative, stageBooked: domain.StatusConfirmed,
		stageFulfilled: domain.StatusConfirmed, stageCompleted: domain.StatusConfirmed} {
		_, e := newJob(b, stage)
		want[e] = status
		closed, e := newJob(b, stage)
		b.sim.Edit("job", closed, tavesim.Object{"closed": true})
		if want[e] = domain.StatusCancelled; stage == stageCompleted {
			want[e] = domain.StatusConfirmed
		}
	}
	_, marked := newJob(b, stageLead)
	b.sim.Edit("event", marked, tavesim.Object{"confirmed": true})
	want[marked] = domain.StatusConfirmed
	for order, status := range map[string]domain.BookingStatus{"draft": domain.StatusTentative, "voided": domain.StatusTentative, "open": domain.StatusConfirmed,
		"paid-in-full": domain.StatusConfirmed} {
		lead, e := newJob(b, stageLead)
		b.sim.Add("order", tavesim.Object{"jobId": lead, "status": order, "bookedOn": "2027-02-01"})
		want[e] = status
	}
	_, hidden := newJob(b, stageBooked)
	b.sim.Edit("event", hidden, tavesim.Object{"hidden": true})
	want[hidden] = domain.StatusCancelled

	page := pullAll(t, b.conn, "")
	if len(page.Changes) != len(want)+1 || !page.Complete { // the hidden event leaves its job's own date
		t.Errorf("%d changes of %d events, complete %t", len(page.Changes), len(want), page.Complete)
	}
	for id, status := range want {
		if got := byID(t, page, eventPrefix+id); got.Status != status {
			t.Errorf("%s: %s, want %s (%v)", id, got.Status, status, got.Labels)
		} else if read, err := b.conn.Read(t.Context(), eventPrefix+id); err != nil || read.Hash() != got.Hash() || read.Revision != got.Revision {
			t.Errorf("%s: read differs from the listing: %v", id, err)
		}
	}
}

func TestEventsOfJobsAreMappedWhole(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	_, e := newJob(b, stageBooked)
	b.sim.Edit("event", e, tavesim.Object{"descriptionHtml": "<p>Bring <b>flowers</b> &amp; rings</p>second<br/>third",
		"location": tavesim.Object{"address": tavesim.Object{"streetAddress": "1 Mill Lane", "city": "York", "country": "GB"}}})
	got := byID(t, pullAll(t, b.conn, ""), eventPrefix+e)
	want := domain.Details{Title: "Marigold & Oakbridge Wedding", Location: "1 Mill Lane, York, GB", Notes: "Bring flowers & rings\nsecond\nthird", Contact: "A. Marigold, A. Oakbridge"}
	if got.Details != want || got.Category != domain.CategoryWedding || !slices.Equal(got.Labels, []string{"Wedding", "Wedding", "booked"}) {
		t.Errorf("%+v", got)
	}
	if got.When.Kind != domain.TimeZoned || got.When.Zone != "Europe/London" || got.When.String() != "2027-06-05T11:00:00Z/2027-06-05T19:00:00Z" {
		t.Errorf("%#v", got.When)
	}
	if got.ChangedAt == nil || !got.ChangedAt.Equal(b.clock()) {
		t.Errorf("changed at %v", got.ChangedAt)
	}
}

func TestLeadWithADateIsAnEntryUntilItHasAnEvent(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	job := b.sim.Add("job", tavesim.Object{"eventDate": "2027-03-28", "name": "Marigold"})
	sample := b.sim.Add("job", tavesim.Object{"eventDate": "2027-03-28", "name": "Sample"})
	b.sim.Edit("job", sample, tavesim.Object{"sample": true})
	first := pullAll(t, b.conn, "")
	got := byID(t, first, jobPrefix+job)
	if len(first.Changes) != 1 || got.When.Kind != domain.TimeAllDay || got.When.Duration() != 23*time.Hour || got.Status != domain.StatusTentative {
		t.Errorf("%d changes, %#v %s", len(first.Changes), got.When, got.Status)
	}
	b.pass(time.Minute)
	e := b.sim.Add("event", session(b, job))
	news := pullAll(t, b.conn, first.Next)
	byID(t, news, eventPrefix+e)
	if !slices.Contains(news.Look, jobPrefix+job) {
		t.Errorf("the job's own date is not looked at: %v", news.Look)
	}
	_, err := b.conn.Read(t.Context(), jobPrefix+job)
	wantKind(t, err, domain.KindNotFound)
	_, err = b.conn.Read(t.Context(), jobPrefix+sample)
	wantKind(t, err, domain.KindNotFound)
	b.sim.Edit("event", e, tavesim.Object{"startDate": nil})
	if news = pullAll(t, b.conn, first.Next); !slices.Contains(news.Look, eventPrefix+e) {
		t.Errorf("an event that lost its date is not looked at: %v", news.Look)
	}
	byID(t, news, jobPrefix+job)
}

func TestTimesAreReadAsTheStudioMeansThem(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	for name, v := range map[string]struct {
		event tavesim.Object
		want  string // "" = a problem
		kind  domain.TimeKind
	}{
		"all day, last day counts": {tavesim.Object{"allDay": true, "startDate": "2027-03-27", "endDate": "2027-03-28"}, "2027-03-27T00:00:00Z/2027-03-28T23:00:00Z", domain.TimeAllDay},
		"no clock":                 {tavesim.Object{"startDate": "2027-03-01"}, "2027-03-01T00:00:00Z/2027-03-02T00:00:00Z", domain.TimeAllDay},
		"own zone":                 {tavesim.Object{"startDate": "2027-07-01", "startTime": "10:00:00", "endTime": "11:00:00", "timezoneName": "America/New_York"}, "2027-07-01T14:00:00Z/2027-07-01T15:00:00Z", domain.TimeZoned},
		"no end":                   {tavesim.Object{"startDate": "2027-03-01", "startTime": "10:00:00"}, "2027-03-01T10:00:00Z/2027-03-01T11:00:00Z", domain.TimeZoned},
		"length of its type":       {tavesim.Object{"startDate": "2027-03-01", "startTime": "10:00:00", "typeId": "Block"}, "2027-03-01T10:00:00Z/2027-03-01T12:30:00Z", domain.TimeZoned},
		"past midnight":            {tavesim.Object{"startDate": "2027-03-01", "startTime": "20:00:00", "endTime": "01:00:00"}, "2027-03-01T20:00:00Z/2027-03-02T01:00:00Z", domain.TimeZoned},
		"ends before it begins":    {tavesim.Object{"startDate": "2027-03-02", "startTime": "20:00:00", "endDate": "2027-03-01", "endTime": "21:00:00"}, "", ""},
		"a zone that is none":      {tavesim.Object{"startDate": "2027-03-02", "startTime": "20:00:00", "timezoneName": "Mars/Olympus"}, "", ""},
		"seconds do not count":     {tavesim.Object{"startDate": "2027-03-01", "startTime": "10:00:59", "endTime": "11:00:59"}, "2027-03-01T10:00:00Z/2027-03-01T11:00:00Z", domain.TimeZoned},
		"the hour that is skipped": {tavesim.Object{"startDate": "2027-03-28", "startTime": "01:30:00", "endTime": "03:00:00"}, "2027-03-28T01:30:00Z/2027-03-28T02:00:00Z", domain.TimeZoned},
	} {
		if v.event["typeId"] != nil {
			id := b.sim.Named("event-type", "Block")
			b.sim.Edit("event-type", id, tavesim.Object{"defaultDuration": 150})
			v.event["typeId"] = id
		}
		id := b.sim.Add("event", v.event)
		page := pullAll(t, b.conn, "")
		if v.want == "" {
			if len(page.Problems) != 1 || page.Problems[0].ExternalID != eventPrefix+id {
				t.Errorf("%s: problems %v", name, page.Problems)
			}
		} else if got := byID(t, page, eventPrefix+id); got.When.String() != v.want || got.When.Kind != v.kind {
			t.Errorf("%s: %#v, want %s", name, got.When, v.want)
		}
		b.sim.Delete("event", id)
	}
}

func TestNewsOfAJobReachItsEvents(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b *bundle, job string){
		"stage": func(b *bundle, job string) { b.sim.Edit("job", job, tavesim.Object{"stage": stageBooked}) },
		"order": func(b *bundle, job string) { b.sim.Book(b.sim.Add("order", tavesim.Object{"jobId": job})) },
		"order, no job": func(b *bundle, job string) {
			b.sim.Add("order", tavesim.Object{"jobId": job, "status": "open", "bookedOn": "2027-03-01"})
		},
		"closed": func(b *bundle, job string) { b.sim.Edit("job", job, tavesim.Object{"closed": true}) },
		"client": func(b *bundle, _ string) {
			b.sim.Edit("address-book", b.sim.All("address-book")[0], tavesim.Object{"lastName": "Quillfeather"})
		},
		"another client": func(b *bundle, job string) {
			p := b.sim.Add("address-book", tavesim.Object{"kind": "person", "firstName": "B.", "lastName": "Quillfeather"})
			b.sim.Add("job-contact", tavesim.Object{"jobId": job, "contactId": p, "client": true})
		},
		"event": func(b *bundle, _ string) {
			b.sim.Edit("event", b.sim.All("event")[0], tavesim.Object{"startTime": "13:00:00"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, tavesim.Options{})
			job, e := newJob(b, stageLead)
			first := pullAll(t, b.conn, "")
			b.pass(time.Hour)
			change(b, job)
			if got := byID(t, pullAll(t, b.conn, first.Next), eventPrefix+e); got.Hash() == byID(t, first, eventPrefix+e).Hash() {
				t.Error("the entry did not change")
			}
		})
	}
}

func TestQuietStudioCostsOneRequestForEachList(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	for range 30 {
		newJob(b, stageBooked)
	}
	cursor := pullAll(t, b.conn, "").Next
	for range 3 { // the marks become final
		b.pass(4 * time.Minute)
		cursor = pullAll(t, b.conn, cursor).Next
	}
	before := b.sim.Requests()
	page := pullAll(t, b.conn, cursor)
	if len(page.Changes) != 0 {
		t.Errorf("%d changes in a quiet studio", len(page.Changes))
	}
	total := 0
	for op, n := range b.sim.Requests() {
		total += n - before[op]
	}
	if total != len(resources) {
		t.Errorf("%d requests, want %d", total, len(resources))
	}
}

func TestSecondChangeWithinTheSameSecondIsRead(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	_, e := newJob(b, stageBooked)
	b.pass(time.Hour)
	cursor := pullAll(t, b.conn, "").Next
	b.sim.Edit("event", e, tavesim.Object{"name": "first"})
	cursor = pullAll(t, b.conn, cursor).Next
	b.sim.Edit("event", e, tavesim.Object{"name": "second"})
	if got := byID(t, pullAll(t, b.conn, cursor), eventPrefix+e); got.Details.Title != "second" {
		t.Errorf("title %q", got.Details.Title)
	}
}

func TestServersWhoseClockIsWrongHideNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	_, e := newJob(b, stageBooked)
	for _, skew := range []time.Duration{-72 * time.Hour, 72 * time.Hour} {
		b.sim.Skew(skew)
		cursor := pullAll(t, b.conn, "").Next
		for n := range 4 {
			b.pass(7 * time.Minute)
			title := fmt.Sprint("title ", skew, n)
			b.sim.Edit("event", e, tavesim.Object{"name": title})
			page := pullAll(t, b.conn, cursor)
			if got := byID(t, page, eventPrefix+e); got.Details.Title != title {
				t.Errorf("title %q, want %q", got.Details.Title, title)
			}
			cursor = page.Next
		}
	}
}

func TestEntryDatedInTheFutureHidesNoLaterOnes(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	_, far := newJob(b, stageBooked)
	_, e := newJob(b, stageBooked)
	cursor := pullAll(t, b.conn, "").Next
	b.sim.Skew(48 * time.Hour)
	b.sim.Edit("event", far, tavesim.Object{"name": "from the future"})
	b.sim.Skew(0)
	for n := range 4 {
		b.pass(8 * time.Minute)
		title := fmt.Sprint("title ", n)
		b.sim.Edit("event", e, tavesim.Object{"name": title})
		page := pullAll(t, b.conn, cursor)
		if got := byID(t, page, eventPrefix+e); got.Details.Title != title {
			t.Errorf("title %q, want %q", got.Details.Title, title)
		}
		cursor = page.Next
	}
}

// Somebody removes, adds and edits between any two pages: a complete listing still names all that was there throughout, and
// the pulls after it all that changed.
func TestListingsMissNothingWhileTheStudioChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		b := setupWith(t, nil, tavesim.Options{})
		var ids []string
		add := func() { ids = append(ids, b.sim.Add("event", tavesim.Object{"name": "x", "startDate": "2027-03-10"})) }
		for range rapid.IntRange(0, 120).Draw(rt, "loose") {
			add()
		}
		var jobs []string
		for range rapid.IntRange(0, 25).Draw(rt, "jobs") {
			jobs = append(jobs, b.sim.Add("job", tavesim.Object{"name": "x", "eventDate": "2027-03-10"}))
		}
		throughout := map[string]bool{}
		for _, id := range ids {
			throughout[eventPrefix+id] = true
		}
		for _, id := range jobs {
			throughout[jobPrefix+id] = true
		}
		titles := map[string]string{}
		seen := map[string]string{}
		disturb := func() {
			for range rapid.IntRange(0, 3).Draw(rt, "disturbances") {
				b.pass(time.Duration(rapid.IntRange(0, 40).Draw(rt, "seconds")) * time.Second)
				kind, list, prefix := "event", &ids, eventPrefix
				if rapid.Bool().Draw(rt, "job") {
					kind, list, prefix = "job", &jobs, jobPrefix
				}
				if len(*list) == 0 {
					add()
					continue
				}
				i := rapid.IntRange(0, len(*list)-1).Draw(rt, "which")
				id := (*list)[i]
				switch rapid.IntRange(0, 2).Draw(rt, "how") {
				case 0:
					b.sim.Delete(kind, id)
					*list = slices.Delete(*list, i, i+1)
					delete(throughout, prefix+id)
					delete(titles, prefix+id)
				case 1:
					title := fmt.Sprint("title ", len(titles), b.clock().Unix())
					b.sim.Edit(kind, id, tavesim.Object{"name": title})
					titles[prefix+id] = title
				default:
					add()
				}
			}
		}
		cursor, complete := "", false
		for n := 0; !complete; n++ {
			page, err := b.conn.Pull(context.Background(), cursor)
			if err != nil {
				rt.Fatal(err)
			}
			for _, c := range page.Changes {
				seen[c.ExternalID] = c.Details.Title
			}
			cursor, complete = page.Next, page.Complete
			if !complete {
				disturb()
			}
		}
		for id := range throughout {
			if _, there := seen[id]; !there {
				rt.Fatalf("%s was there throughout and is not listed", id)
			}
		}
		for range 6 {
			page, err := b.conn.Pull(context.Background(), cursor)
			if err != nil {
				rt.Fatal(err)
			}
			for _, c := range page.Changes {
				seen[c.ExternalID] = c.Details.Title
			}
			if cursor = page.Next; page.More {
				disturb()
			}
		}
		for range 2 { // the rest of a walk, and one more over what it had passed already
			last := pullAll(t, b.conn, cursor)
			for _, c := range last.Changes {
				seen[c.ExternalID] = c.Details.Title
			}
			cursor = last.Next
		}
		for id, title := range titles {
			if seen[id] != title {
				rt.Fatalf("%s is %q, last seen as %q", id, title, seen[id])
			}
		}
	})
}

func TestPagesThatAreNotWhatWasAskedForAreErrors(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	for range 40 {
		b.sim.Add("event", tavesim.Object{"name": "x", "startDate": "2027-03-10"})
		b.sim.Add("job", tavesim.Object{"name": "x"})
	}
	for name, f := range map[string]tavesim.Faults{"first page for every page": {RepeatPages: true}, "an item is missing": {ShortPages: true}} {
		b.sim.SetFaults(f)
		cursor, err := "", error(nil)
		for n := 0; err == nil && n < 20; n++ {
			page, pullErr := b.conn.Pull(t.Context(), cursor)
			cursor, err = page.Next, pullErr
			if page.Complete {
				t.Errorf("%s: the listing counts as complete", name)
				break
			}
		}
		wantKind(t, err, domain.KindUnavailable)
		b.sim.Heal()
	}
}

func TestCredentialsThatEndMidRunStopTheListing(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	newJob(b, stageBooked)
	for after := range 8 {
		b.sim.SetFaults(tavesim.Faults{Status: 401, After: after})
		cursor, err := "", error(nil)
		for err == nil {
			page, pullErr := b.conn.Pull(t.Context(), cursor)
			if cursor, err = page.Next, pullErr; page.Complete {
				t.Fatalf("a listing with 401 after %d requests counts as complete", after)
			}
		}
		wantKind(t, err, domain.KindUnauthenticated)
	}
}

func TestDeletionNeedsAStudioThatAnswers(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{}, func(s *settings) { s.Studio = "01h35ccwymj5ctckp8px1azhg6" })
	e := b.sim.Add("event", tavesim.Object{"startDate": "2027-03-10"})
	b.sim.Delete("event", e)
	_, err := b.conn.Read(t.Context(), eventPrefix+e)
	wantKind(t, err, domain.KindInvalid) // the key is of another studio
	if !strings.Contains(err.Error(), "another studio") {
		t.Error(err)
	}
}

func TestRedirectsAreRefusedAndCarryNoKey(t *testing.T) {
	t.Parallel()
	b, other := setup(t, tavesim.Options{}), setup(t, tavesim.Options{})
	b.sim.SetFaults(tavesim.Faults{Redirect: other.url + tavesim.Base + "/event"})
	_, err := b.conn.Pull(t.Context(), "")
	wantKind(t, err, domain.KindPermanent)
	_, err = b.conn.Put(t.Context(), write(0))
	wantKind(t, err, domain.KindPermanent)
	if len(other.sim.Requests()) != 0 {
		t.Error("a redirect was followed")
	}
}

func TestWindowsOverlapAndHoldWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		low, high := leastJobs, mostJobs
		if rapid.Bool().Draw(t, "events") {
			low, high = leastEvents, mostEvents
		}
		at := rapid.IntRange(0, 100_000).Draw(t, "at")
		page, size := window(at, low, high)
		start := (page - 1) * size
		if size < low || size > high || start > at || start+size-at < 2 {
			t.Fatalf("at %d: page %d of %d", at, page, size)
		}
	})
}

// asked counts the requests since the last call.
func asked(b *bundle, before map[string]int) (n int, now map[string]int) {
	now = b.sim.Requests()
	for path, many := range now {
		n += many - before[path]
	}
	return n, now
}

func TestNewsOfAStudioAreOnePageAndAJobIsReadOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	_, old := newJob(b, stageBooked)
	start := pullAll(t, b.conn, "")
	for range 2 { // until what is there needs no second look
		b.pass(10 * time.Minute)
		start = pullAll(t, b.conn, start.Next)
	}
	b.pass(time.Hour)
	if _, err := b.conn.typeOf(t.Context(), b.sim.Named("event-type", "Wedding")); err != nil {
		t.Fatal(err)
	}
	_, fresh := newJob(b, stageBooked)
	b.pass(2 * time.Second)
	_, before := asked(b, nil)
	page, err := b.conn.Pull(t.Context(), start.Next)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := asked(b, before)
	byID(t, page, eventPrefix+fresh)
	// Five lists, the worksheet of the job, and for each of its two new clients the jobs they belong to.
	if page.More || n != 8 {
		t.Errorf("%d requests, more %t; want one page of 8", n, page.More)
	}
	for _, c := range page.Changes {
		if c.ExternalID == eventPrefix+old {
			t.Error("a job without news was read")
		}
	}
	seen := map[string]int{}
	for _, c := range page.Changes {
		if seen[c.ExternalID]++; seen[c.ExternalID] > 1 {
			t.Errorf("%s is told twice", c.ExternalID)
		}
	}
}

func TestWhatWasReadBeforeAFaultIsAPageOfItsOwn(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	start := pullAll(t, b.conn, "")
	b.pass(time.Hour)
	_, e := newJob(b, stageBooked)
	b.sim.SetFaults(tavesim.Faults{Status: 503, After: 3})
	page, err := b.conn.Pull(t.Context(), start.Next)
	if err != nil || !page.More || page.Next == start.Next {
		t.Fatalf("more %t, %v", page.More, err)
	}
	if _, err := b.conn.Pull(t.Context(), page.Next); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("while it does not answer: %v", err)
	}
	b.sim.Heal()
	rest := pullAll(t, b.conn, page.Next)
	rest.Changes = append(page.Changes, rest.Changes...)
	byID(t, rest, eventPrefix+e)
}

func TestAJobThatChangedAfterItWasReadIsReadAnew(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	start := pullAll(t, b.conn, "")
	b.pass(time.Hour)
	job, e := newJob(b, stageBooked)
	b.sim.Add("order", tavesim.Object{"jobId": job, "status": "open", "bookedOn": "2027-02-01"})
	b.pass(time.Minute)
	var cur cursor
	cur, err := b.conn.parseCursor(start.Next)
	if err != nil {
		t.Fatal(err)
	}
	cur.Next, cur.Began = cur.Marks, b.clock().Unix()
	cur.turn(phaseNews, ofOrders)
	p := &pulled{connection: b.conn, cur: cur, families: map[string]*family{}}
	if err := p.news(t.Context()); err != nil { // the order leads to the job
		t.Fatal(err)
	}
	if p.families[job] == nil {
		t.Fatal("the order did not lead to its job")
	}
	b.sim.Edit("event", e, tavesim.Object{"startTime": "15:00:00"})
	for !p.full && p.page.More {
		if err := p.news(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !p.full {
		t.Error("the page goes on although a job in it is outdated")
	}
	rest := pullAll(t, b.conn, p.cur.String())
	if got := byID(t, rest, eventPrefix+e); got.When.Start.UTC().Hour() != 14 {
		t.Errorf("the event begins at %s", got.When.Start)
	}
}
