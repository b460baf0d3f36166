package suggest_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/suggest"
)

func tellExchanges(list []suggest.Exchange) []string {
	out := []string{}
	for _, e := range list {
		text := fmt.Sprintf("%d %s clears %d:", e.Score, e.Kind, e.Clears)
		for _, s := range e.Steps {
			text += fmt.Sprintf(" %s %s>%s", s.BookingID, s.From, s.To)
		}
		out = append(out, text+": "+strings.Join(e.Reasons, "; "))
	}
	return out
}

func TestExchangesReadLikeAPlannersAdvice(t *testing.T) {
	t.Parallel()
	anna, ben := photographer("anna", "portrait"), photographer("ben", "portrait")
	on := func(res domain.Resource, busy ...conflict.Candidate) suggest.Other {
		return suggest.Other{Resource: res, Loc: london, Busy: busy}
	}
	consultation := booked(ben, "c", domain.CategoryConsultation, between("2027-06-05 13:00", "2027-06-05 14:00"))
	away := booked(anna, "away", domain.CategoryMaintenance, between("2027-06-05 09:00", "2027-06-05 11:00"))
	talk := booked(anna, "talk", domain.CategoryConsultation, between("2027-06-05 12:00", "2027-06-05 12:30"))
	visit := booked(anna, "visit", domain.CategoryVendor, between("2027-06-05 16:00", "2027-06-05 17:00"))
	for _, c := range []struct {
		name    string
		now     string
		subject domain.Booking
		stored  bool
		busy    []conflict.Candidate
		other   suggest.Other
		want    []string
	}{
		{"a swap where a plain handing over would clash", "2027-05-01 09:00", booking(domain.CategoryEngagement, between("2027-06-05 10:30", "2027-06-05 14:30")), true,
			[]conflict.Candidate{away}, on(ben, consultation),
			[]string{"75 swap clears 1: subject anna>ben c ben>anna: all times stay: +85; a booking of another client changes hands: -10"}},
		{"no swap with what belongs to the other resource alone", "2027-05-01 09:00", booking(domain.CategoryEngagement, between("2027-06-05 10:30", "2027-06-05 14:30")), true,
			[]conflict.Candidate{away}, on(ben, booked(ben, "dentist", domain.CategoryPersonal, between("2027-06-05 13:00", "2027-06-05 14:00"))), []string{}},
		{"two appointments make room for a wedding at once", "2027-05-01 09:00", booking(domain.CategoryWedding, between("2027-06-05 12:00", "2027-06-05 18:00")), true,
			[]conflict.Candidate{talk, visit}, on(ben),
			[]string{"70 split clears 2: talk anna>ben visit anna>ben: all times stay: +85; 2 bookings of other clients change hands: -20; clears 2 clashes at once: +5"}},
		{"but not where one of them would clash there", "2027-05-01 09:00", booking(domain.CategoryWedding, between("2027-06-05 12:00", "2027-06-05 18:00")), true,
			[]conflict.Candidate{talk, visit}, on(ben, booked(ben, "d", domain.CategoryPersonal, between("2027-06-05 16:30", "2027-06-05 18:00"))), []string{}},
		{"nor with a resource that cannot do it", "2027-05-01 09:00", booking(domain.CategoryWedding, between("2027-06-05 12:00", "2027-06-05 18:00")), true,
			[]conflict.Candidate{talk, visit}, on(photographer("cleo")), []string{}},
		{"an asked booking may make one appointment go", "2027-05-01 09:00", booking(domain.CategoryWedding, between("2027-06-05 12:00", "2027-06-05 14:00")), false,
			[]conflict.Candidate{talk}, on(ben),
			[]string{"75 split clears 1: talk anna>ben: all times stay: +85; a booking of another client changes hands: -10"}},
		{"a wedding that is near is not handed over", "2027-06-03 13:00", booking(domain.CategoryWedding, between("2027-06-05 12:00", "2027-06-05 14:00")), false,
			[]conflict.Candidate{booked(anna, "w", domain.CategoryWedding, between("2027-06-05 12:00", "2027-06-05 18:00"))}, on(ben), []string{}},
		{"and what changes hands before it says so", "2027-06-03 19:00", booking(domain.CategoryEngagement, between("2027-06-04 12:00", "2027-06-04 14:00")), false,
			[]conflict.Candidate{booked(anna, "t", domain.CategoryConsultation, between("2027-06-04 12:00", "2027-06-04 12:30")),
				booked(anna, "w", domain.CategoryWedding, between("2027-06-05 12:00", "2027-06-05 18:00"))}, on(ben),
			[]string{"60 split clears 1: t anna>ben: all times stay: +85; a booking of another client changes hands: -10; within 48 h of a wedding of one of the resources: -15"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := suggest.Exchanges(suggest.Request{Subject: c.subject, Resource: anna, Loc: london, Busy: c.busy, Others: []suggest.Other{c.other}, Now: at(c.now)}, c.stored)
			if diff := cmp.Diff(c.want, tellExchanges(got)); diff != "" {
				t.Errorf("exchanges (-want +got):\n%s", diff)
			}
		})
	}
}

// diaries are the calendars after the steps of an exchange.
func diaries(r suggest.Request, e suggest.Exchange) map[domain.ResourceID][]conflict.Candidate {
	resources := map[domain.ResourceID]domain.Resource{r.Resource.ID: r.Resource}
	out := map[domain.ResourceID][]conflict.Candidate{r.Resource.ID: slices.Clone(r.Busy)}
	for _, o := range r.Others {
		resources[o.Resource.ID], out[o.Resource.ID] = o.Resource, slices.Clone(o.Busy)
	}
	all := map[domain.BookingID]conflict.Candidate{}
	for _, list := range out {
		for _, c := range list {
			all[c.BookingID] = c
		}
	}
	subject := conflict.Candidate{BookingID: r.Subject.ID, Category: r.Subject.Category, Status: r.Subject.Status, Event: r.Subject.When.Span, Place: r.Place, CreatedAt: r.Subject.CreatedAt}
	all[subject.BookingID] = subject
	at := r.Resource.ID
	for _, s := range e.Steps {
		if s.BookingID == subject.BookingID {
			at = s.To
			continue
		}
		out[s.From] = slices.DeleteFunc(out[s.From], func(c conflict.Candidate) bool { return c.BookingID == s.BookingID })
		c := all[s.BookingID]
		c.Busy = conflict.Busy(resources[s.To], c.Event, c.Category)
		out[s.To] = append(out[s.To], c)
	}
	subject.Busy = conflict.Busy(resources[at], subject.Event, subject.Category)
	out[at] = append(out[at], subject)
	return out
}

func TestExchangesKeepTheirPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRequest(t)
		// Crowded around the subject, or exchanges would be rare.
		for n := range rapid.IntRange(1, 4).Draw(t, "crowd") {
			from := r.Subject.When.Start.Add(time.Duration(rapid.IntRange(-8, 8).Draw(t, fmt.Sprint("crowd from ", n))) * 30 * time.Minute)
			event := domain.Span{Start: from, End: from.Add(time.Duration(rapid.IntRange(1, 6).Draw(t, fmt.Sprint("crowd length ", n))) * 30 * time.Minute)}
			category := rapid.SampledFrom(domain.Categories()).Draw(t, fmt.Sprint("crowd category ", n))
			if i := rapid.IntRange(-1, len(r.Others)-1).Draw(t, fmt.Sprint("crowd on ", n)); i >= 0 {
				r.Others[i].Busy = append(r.Others[i].Busy, booked(r.Others[i].Resource, fmt.Sprint("crowd", n), category, event))
			} else {
				r.Busy = append(r.Busy, booked(r.Resource, fmt.Sprint("crowd", n), category, event))
			}
		}
		stored := rapid.Bool().Draw(t, "stored")
		got := suggest.Exchanges(r, stored)
		if diff := cmp.Diff(got, suggest.Exchanges(r, stored)); diff != "" {
			t.Fatalf("asked again (-first +second):\n%s", diff)
		}
		resources := map[domain.ResourceID]domain.Resource{r.Resource.ID: r.Resource}
		for _, o := range r.Others {
			resources[o.Resource.ID] = o.Resource
		}
		for i, e := range got {
			told := tellExchanges(got[i : i+1])
			after := diaries(r, e)
			touched := []domain.BookingID{r.Subject.ID}
			for _, s := range e.Steps {
				touched = append(touched, s.BookingID)
				if s.When.Start.Before(r.Now.Add(max(lead(r, s.From), lead(r, s.To)))) {
					t.Fatalf("%v moves what begins at %s, at %s", told, s.When.Start, r.Now)
				}
			}
			for id, list := range after {
				for _, c := range list {
					if !slices.Contains(touched, c.BookingID) {
						continue
					}
					if found := conflict.Detect(r.Now, resources[id], london, c, list); len(found) > 0 {
						t.Fatalf("%v leaves a clash on %s: %+v", told, id, found)
					}
				}
			}
			for _, s := range e.Steps {
				for _, o := range append(slices.Clone(r.Others), suggest.Other{Resource: r.Resource, Busy: r.Busy}) {
					for _, c := range o.Busy {
						if c.BookingID == s.BookingID && c.Category == domain.CategoryWedding && c.Event.Start.Sub(r.Now) <= suggest.Freeze {
							t.Fatalf("%v hands over a wedding that begins at %s, at %s", told, c.Event.Start, r.Now)
						}
					}
				}
			}
			sum := 0
			for _, reason := range e.Reasons {
				n, err := strconv.Atoi(reason[strings.LastIndex(reason, ": ")+2:])
				if err != nil {
					t.Fatalf("reason %q has no number", reason)
				}
				sum += n
			}
			if sum != e.Score || e.Score < 0 || e.Score > 100 || i > 0 && e.Score > got[i-1].Score {
				t.Fatalf("scores are out of range or order, or not the sum of their reasons: %v", tellExchanges(got))
			}
		}
	})
}
