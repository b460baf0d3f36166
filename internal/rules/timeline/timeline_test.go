package timeline_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/timeline"
)

var noon = time.Date(2027, 6, 12, 12, 0, 0, 0, time.UTC)

const (
	band    = domain.ResourceID("0190a5c0-0000-7000-8000-00000000000a")
	florist = domain.ResourceID("0190a5c0-0000-7000-8000-00000000000b")
)

func item(key, after string, edge domain.Edge, offset, minutes int) domain.TimelineItem {
	return domain.TimelineItem{Key: key, Kind: domain.TimelineOther, Title: key, After: after, Edge: edge, OffsetMinutes: offset, DurationMinutes: minutes}
}

func at(from, to int) domain.Span {
	return domain.Span{Start: noon.Add(time.Duration(from) * time.Minute), End: noon.Add(time.Duration(to) * time.Minute)}
}

func TestItemsFollowWhatTheyHangOn(t *testing.T) {
	t.Parallel()
	got, err := timeline.Resolve([]domain.TimelineItem{
		item("dinner", "reception", domain.EdgeEnd, 15, 120),
		item("ceremony", "", "", 0, 45),
		item("reception", "ceremony", "", 30, 60),
		item("flowers", "ceremony", domain.EdgeStart, -180, 60),
		item("quartet", "flowers", domain.EdgeStart, 0, 30),
	}, noon, "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]domain.Span{"ceremony": at(0, 45), "reception": at(75, 135), "dinner": at(150, 270), "flowers": at(-180, -120), "quartet": at(-180, -150)}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTiesThatLeadNowhereNameTheirItem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		items []domain.TimelineItem
		field string
		text  string
	}{
		"unknown":  {[]domain.TimelineItem{item("a", "", "", 0, 1), item("b", "x", "", 0, 1)}, "body.items[1].after", `no item "x"`},
		"itself":   {[]domain.TimelineItem{item("a", "a", "", 0, 1)}, "body.items[0].after", "a after a"},
		"a circle": {[]domain.TimelineItem{item("z", "a", "", 0, 1), item("a", "b", "", 0, 1), item("b", "c", "", 0, 1), item("c", "a", "", 0, 1)}, "body.items[1].after", "a after b after c after a"},
		"too far": {[]domain.TimelineItem{item("a", "", "", domain.MaxTimelineOffset, domain.MaxTimelineDuration), item("b", "a", "", domain.MaxTimelineOffset, 1)},
			"body.items[1].offset_minutes", "14 days"},
	} {
		_, err := timeline.Resolve(c.items, noon, "body.")
		if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != c.field || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want field %s and %q", name, err, c.field, c.text)
		}
	}
}

// plans draws plans whose items hang on earlier ones, so that they always resolve.
func plans(t *rapid.T) domain.TimelinePlan {
	places := []string{"", "The Barn", "the  barn", "Chapel", "Hotel"}
	p := domain.TimelinePlan{TravelMinutes: rapid.IntRange(0, 60).Draw(t, "travel")}
	for range rapid.IntRange(0, 3).Draw(t, "journeys") {
		p.Journeys = append(p.Journeys, domain.Journey{From: rapid.SampledFrom(places[1:]).Draw(t, "from"), To: rapid.SampledFrom(places[1:]).Draw(t, "to"),
			Minutes: rapid.IntRange(0, 90).Draw(t, "minutes")})
	}
	for i := range rapid.IntRange(0, 12).Draw(t, "items") {
		x := item(fmt.Sprintf("i%d", i), "", "", rapid.IntRange(-300, 300).Draw(t, "offset"), rapid.IntRange(1, 200).Draw(t, "duration"))
		if i > 0 && rapid.Bool().Draw(t, "hangs") {
			x.After = fmt.Sprintf("i%d", rapid.IntRange(0, i-1).Draw(t, "on"))
			x.Edge = rapid.SampledFrom([]domain.Edge{"", domain.EdgeStart, domain.EdgeEnd}).Draw(t, "edge")
		}
		x.Place = rapid.SampledFrom(places).Draw(t, "place")
		x.ResourceID = rapid.SampledFrom([]domain.ResourceID{"", band, florist}).Draw(t, "vendor")
		p.Items = append(p.Items, x)
	}
	return p
}

func TestEverythingShiftsWithTheWeddingAndOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := plans(t)
		if err := p.Validate(""); err != nil {
			t.Fatal(err)
		}
		by := time.Duration(rapid.IntRange(-100_000, 100_000).Draw(t, "by")) * time.Minute
		before, err := timeline.Resolve(p.Items, noon, "")
		if err != nil {
			t.Fatal(err)
		}
		shuffled := p
		shuffled.Items = append([]domain.TimelineItem(nil), p.Items...)
		rand.Shuffle(len(shuffled.Items), func(i, j int) { shuffled.Items[i], shuffled.Items[j] = shuffled.Items[j], shuffled.Items[i] })
		after, err := timeline.Resolve(shuffled.Items, noon.Add(by), "")
		if err != nil {
			t.Fatal(err)
		}
		for key, s := range before {
			if want := (domain.Span{Start: s.Start.Add(by), End: s.End.Add(by)}); after[key] != want {
				t.Errorf("%s is at %v, want %v", key, after[key], want)
			}
		}
		if d := cmp.Diff(timeline.Clashes(p, before, nil), timeline.Clashes(shuffled, after, nil)); d != "" {
			t.Errorf("clashes differ after a shift: %s", d)
		}
	})
}

// TestClashesAreExactlyThePairsWithoutRoom compares with the definition: a vendor who starts the second item at the time
// when it would be reached must have no clash, and one minute less must be one.
func TestClashesAreExactlyThePairsWithoutRoom(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := plans(t)
		spans, err := timeline.Resolve(p.Items, noon, "")
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]timeline.Clash{}
		for _, c := range timeline.Clashes(p, spans, nil) {
			if spans[c.Second].Start.Before(spans[c.First].Start) {
				t.Errorf("%s comes before %s", c.Second, c.First)
			}
			found[c.First+" "+c.Second] = c
		}
		for i, a := range p.Items {
			for _, b := range p.Items[i+1:] {
				c, hit := found[a.Key+" "+b.Key]
				if !hit {
					c, hit = found[b.Key+" "+a.Key]
				}
				if a.ResourceID == "" || a.ResourceID != b.ResourceID {
					if hit {
						t.Errorf("%s and %s are of different vendors: %+v", a.Key, b.Key, c)
					}
					continue
				}
				sa, sb := spans[a.Key], spans[b.Key]
				way := way(p, a.Place, b.Place)
				room := max(sb.Start.Sub(sa.End), sa.Start.Sub(sb.End))
				if want := room < 0 || room < way; hit != want {
					t.Errorf("%v and %v with a way of %v: clash %t, want %t", sa, sb, way, hit, want)
				}
			}
		}
	})
}

// way says the same as the rule in a plain way: the last journey listed counts.
func way(p domain.TimelinePlan, a, b string) time.Duration {
	plain := func(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
	if a, b = plain(a), plain(b); a == "" || b == "" || a == b {
		return 0
	}
	minutes := p.TravelMinutes
	for _, j := range p.Journeys {
		if from, to := plain(j.From), plain(j.To); from == a && to == b || from == b && to == a {
			minutes = j.Minutes
		}
	}
	return time.Duration(minutes) * time.Minute
}

func TestClashesSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	placed := func(key, place string, offset, minutes int) domain.TimelineItem {
		x := item(key, "", "", offset, minutes)
		x.Place, x.ResourceID = place, band
		return x
	}
	for name, c := range map[string]struct {
		plan domain.TimelinePlan
		want []timeline.Clash
	}{
		"two places at once": {domain.TimelinePlan{Items: []domain.TimelineItem{placed("a", "Chapel", 0, 60), placed("b", "Barn", 30, 60)}},
			[]timeline.Clash{{Kind: timeline.TwoPlaces, ResourceID: band, First: "a", Second: "b", MissingMinutes: 30}}},
		"two things at once in one place": {domain.TimelinePlan{TravelMinutes: 20, Items: []domain.TimelineItem{placed("a", "Barn", 0, 60), placed("b", " barn", 30, 60)}},
			[]timeline.Clash{{Kind: timeline.AtOnce, ResourceID: band, First: "a", Second: "b", MissingMinutes: 30}}},
		"a way that takes longer than the gap": {domain.TimelinePlan{TravelMinutes: 5, Journeys: []domain.Journey{{From: "Barn", To: "Chapel", Minutes: 25}},
			Items: []domain.TimelineItem{placed("a", "Chapel", 0, 60), placed("b", "Barn", 75, 60)}},
			[]timeline.Clash{{Kind: timeline.TooFar, ResourceID: band, First: "a", Second: "b", MissingMinutes: 10}}},
		"just in time": {domain.TimelinePlan{TravelMinutes: 15, Items: []domain.TimelineItem{placed("a", "Chapel", 0, 60), placed("b", "Barn", 75, 60)}}, []timeline.Clash{}},
	} {
		spans, err := timeline.Resolve(c.plan.Items, noon, "")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, timeline.Clashes(c.plan, spans, nil)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestWrongFieldsAreNamed(t *testing.T) {
	t.Parallel()
	good := item("a", "", "", 0, 1)
	change := func(fn func(*domain.TimelineItem)) domain.TimelinePlan {
		x := good
		fn(&x)
		return domain.TimelinePlan{Items: []domain.TimelineItem{x}}
	}
	for field, p := range map[string]domain.TimelinePlan{
		"body.travel_minutes":            {TravelMinutes: -1},
		"body.journeys[0].from":          {Journeys: []domain.Journey{{To: "x"}}},
		"body.journeys[0].minutes":       {Journeys: []domain.Journey{{From: "y", To: "x", Minutes: 1441}}},
		"body.items":                     {Items: make([]domain.TimelineItem, domain.MaxTimelineItems+1)},
		"body.items[0].key":              change(func(x *domain.TimelineItem) { x.Key = "A b" }),
		"body.items[1].key":              {Items: []domain.TimelineItem{good, good}},
		"body.items[0].kind":             change(func(x *domain.TimelineItem) { x.Kind = "party" }),
		"body.items[0].title":            change(func(x *domain.TimelineItem) { x.Title = " " }),
		"body.items[0].place":            change(func(x *domain.TimelineItem) { x.Place = strings.Repeat("x", 201) }),
		"body.items[0].edge":             change(func(x *domain.TimelineItem) { x.Edge = domain.EdgeStart }),
		"body.items[0].offset_minutes":   change(func(x *domain.TimelineItem) { x.OffsetMinutes = -10081 }),
		"body.items[0].duration_minutes": change(func(x *domain.TimelineItem) { x.DurationMinutes = 0 }),
		"body.items[0].export":           change(func(x *domain.TimelineItem) { x.Export = true }),
		"body.items[0].resource_id":      change(func(x *domain.TimelineItem) { x.ResourceID = "x" }),
	} {
		if err := p.Validate("body."); domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != field {
			t.Errorf("%v, want an error of %s", err, field)
		}
	}
}
