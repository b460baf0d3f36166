package stream

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
)

func someID(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }

// wants says the same as domain.EventFilter.Match in another way: it spells every topic out and looks at strings.
func wants(q url.Values, e domain.Event) bool {
	any := func(param string, hit func(string) bool) bool {
		all := strings.Split(strings.Join(q[param], ","), ",")
		if len(q[param]) == 0 {
			return true
		}
		for _, v := range all {
			if hit(v) {
				return true
			}
		}
		return false
	}
	parts := strings.Split(string(e.Topic), ".")
	return any("topics", func(v string) bool {
		if v == string(e.Topic) {
			return true
		}
		for n := 1; n < len(parts); n++ {
			if above := strings.Join(parts[:n], "."); v == above+".*" || v == above+"." {
				return true
			}
		}
		return false
	}) && any("wedding", func(v string) bool {
		return v == e.Refs["booking"] || v == e.Refs["other"] || slices.Contains(strings.Split(e.Refs["bookings"], ","), v)
	}) &&
		any("integration", func(v string) bool { return v == e.Refs["integration"] }) &&
		any("resource", func(v string) bool { return v == e.Refs["resource"] })
}

func TestFiltersTakeWhatTheReferenceTakes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		topics := []string{"delivery.dead", "delivery.applied", "conflict.opened", "deliveries.other", "sync.progress"}
		patterns := append([]string{"delivery.*", "conflict.", "sync.*", "d.*"}, topics...)
		id := rapid.IntRange(1, 4)
		q := url.Values{}
		for param, value := range map[string]*rapid.Generator[string]{"topics": rapid.SampledFrom(patterns),
			"wedding": rapid.Map(id, someID), "integration": rapid.Map(id, someID), "resource": rapid.Map(id, someID)} {
			for range rapid.IntRange(0, 2).Draw(t, param) {
				q.Add(param, strings.Join(rapid.SliceOfN(value, 1, 3).Draw(t, param), ","))
			}
		}
		e := domain.Event{Topic: domain.Topic(rapid.SampledFrom(topics).Draw(t, "topic")), Refs: map[string]string{}}
		for _, ref := range []string{"booking", "other", "integration", "resource"} {
			if rapid.Bool().Draw(t, ref) {
				e.Refs[ref] = someID(id.Draw(t, ref))
			}
		}
		if rapid.Bool().Draw(t, "several") {
			e.Refs["bookings"] = strings.Join(rapid.SliceOfN(rapid.Map(id, someID), 2, 3).Draw(t, "bookings"), ",")
		}
		f, err := ParseFilter(q)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := f.Match(e), wants(q, e); got != want {
			t.Errorf("filter %v and event %+v: %t, want %t", q, e, got, want)
		}
	})
}

func TestWrongFiltersNameTheParameter(t *testing.T) {
	t.Parallel()
	for query, field := range map[string]string{
		"topics=a,,b": "topics", "topics=A": "topics", "topics=.*": "topics", "topics=*": "topics", "topics=a..b": "topics", "topics=a%0a": "topics",
		"topics=" + strings.Repeat("a", domain.MaxTopicBytes+1): "topics", "topics=" + strings.Repeat("a,", domain.MaxFilterValues) + "a": "topics",
		"wedding=x": "wedding", "integration=" + someID(1) + ",": "integration", "resource=1": "resource",
		strings.Repeat("resource="+someID(1)+"&", domain.MaxFilterValues+1): "resource",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseFilter(q); domain.FieldOf(err) != field || domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("ParseFilter(%q): %v, want an error of field %s", query, err, field)
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	f.Add("topics=delivery.*&wedding=" + someID(1))
	f.Add("topics=a.&topics=b&integration=,&resource=%00")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		filter, err := ParseFilter(q)
		switch {
		case err != nil && domain.FieldOf(err) == "":
			t.Errorf("an error without a field: %v", err)
		case err == nil && filter.Check("") != nil:
			t.Errorf("a filter was taken that does not pass its own check: %v", filter.Check(""))
		}
	})
}

func TestResumedStreamShowsTheFilteredRestAndMovesOverTheOthers(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{Heartbeat: 20 * time.Millisecond})
	const all = 2*backlogPage + 50
	var want []string
	for n := range all {
		topic := domain.Topic("booking.changed")
		if n%100 == 7 {
			topic = "delivery.dead"
			if n >= 50 {
				want = append(want, strconv.Itoa(n+1))
			}
		}
		b.log.append(orgA, topic, false)
	}
	c := b.open(orgA, "50", "&topics=delivery.*")
	if d := cmp.Diff(want, c.ids(len(want))); d != "" {
		t.Fatal(d)
	}
	for f, ok := c.next(); f.id != strconv.Itoa(all); f, ok = c.next() {
		if !ok || f.event != "" {
			t.Fatalf("got %+v, want a sign of life", f)
		}
	}
	b.log.append(orgA, "booking.changed", true)
	b.log.append(orgA, "delivery.applied", true)
	if d := cmp.Diff([]string{strconv.Itoa(all + 2)}, c.ids(1)); d != "" {
		t.Error(d)
	}
}

func TestAQuietStreamMovesItsIDWithEverybodysEvents(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{Heartbeat: 10 * time.Millisecond})
	b.log.append(orgA, "booking.changed", true)
	c := b.open(orgA, "1", "")
	for range 5 {
		b.log.append(orgB, "booking.changed", true)
	}
	for f, ok := c.next(); f.id != "6"; f, ok = c.next() {
		if !ok || f.event != "" {
			t.Fatalf("got %+v, want a sign of life with the id 6", f)
		}
	}
}

func TestLimitsToldApart(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{PerOrg: 2, Total: 3})
	b.open(orgA, "", "").next()
	b.open(orgA, "", "").next()
	c := b.open(orgA, "", "")
	if text, _ := c.body.ReadString(0); c.status != http.StatusTeapot || !strings.HasPrefix(text, "rate_limited: ") {
		t.Errorf("one too many of an organisation: %d %s", c.status, text)
	}
	b.open(orgB, "", "").next()
	c = b.open(orgB, "", "")
	if text, _ := c.body.ReadString(0); !strings.HasPrefix(text, "unavailable: ") {
		t.Errorf("one too many of all: %s", text)
	}
}

func TestWatcherGetsEveryEventWithoutSubscribers(t *testing.T) {
	t.Parallel()
	got := make(chan domain.Event, 10)
	b := setup(t, Options{Watching: func() bool { return true }, Watch: func(all []domain.Event) {
		for _, e := range all {
			got <- e
		}
	}})
	await(t, func() bool {
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		return b.hub.position != ""
	})
	b.log.append(orgA, "booking.changed", true)
	b.log.append(orgB, "delivery.dead", false)
	for _, want := range []string{"1", "2"} {
		select {
		case e := <-got:
			if e.Cursor != want {
				t.Errorf("watched %s, want %s", e.Cursor, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was watched")
		}
	}
}
