package resolution

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
)

var now = time.Date(2027, 5, 3, 9, 0, 0, 0, time.UTC)

const (
	crm      = domain.IntegrationID("01900000-0000-7000-8000-000000000001")
	calendar = domain.IntegrationID("01900000-0000-7000-8000-000000000002")
)

func party(id string, c domain.Category, edit ...func(*Party)) Party {
	start := now.Add(60 * 24 * time.Hour)
	p := Party{ID: domain.BookingID(id), Category: c, Status: domain.StatusConfirmed, Source: crm, BookedAt: now.Add(-time.Hour), ConfirmedAt: now.Add(-time.Hour),
		When: domain.Span{Start: start, End: start.Add(2 * time.Hour)}}
	for _, e := range edit {
		e(&p)
	}
	return p
}

func tentative(p *Party) { p.Status, p.ConfirmedAt = domain.StatusTentative, time.Time{} }
func older(p *Party)     { p.BookedAt, p.ConfirmedAt = now.Add(-48*time.Hour), now.Add(-48*time.Hour) }
func from(i domain.IntegrationID) func(*Party) {
	return func(p *Party) { p.Source = i }
}
func soon(p *Party) {
	p.When = domain.Span{Start: now.Add(47 * time.Hour), End: now.Add(55 * time.Hour)}
}
func on(p *Party) { p.When = domain.Span{Start: now.Add(-time.Hour), End: now.Add(time.Hour)} }
func over(p *Party) {
	p.When = domain.Span{Start: now.Add(-9 * time.Hour), End: now.Add(-time.Hour)}
}

func TestEachRuleNamesTheOneThatGivesWay(t *testing.T) {
	t.Parallel()
	const meet, wed = domain.CategoryConsultation, domain.CategoryWedding
	for name, tc := range map[string]struct {
		rule    domain.PolicyRule
		a, b    Party
		outcome domain.PolicyOutcome
		yields  domain.BookingID
	}{
		"manual leaves it to a person":             {domain.PolicyManual, party("a", meet), party("b", meet, older), domain.PolicyLeft, ""},
		"first confirmed stays":                    {domain.PolicyFirstConfirmed, party("a", meet), party("b", meet, older), domain.PolicyDecided, "a"},
		"a confirmed one stays beside a tentative": {domain.PolicyFirstConfirmed, party("a", meet, older, tentative), party("b", meet), domain.PolicyDecided, "a"},
		"two tentative ones have no first":         {domain.PolicyFirstConfirmed, party("a", meet, tentative), party("b", meet, tentative), domain.PolicyLeft, ""},
		"confirmed at once":                        {domain.PolicyFirstConfirmed, party("a", meet), party("b", meet), domain.PolicyLeft, ""},
		"newest stays":                             {domain.PolicyNewestWins, party("a", meet), party("b", meet, older), domain.PolicyDecided, "b"},
		"booked at once":                           {domain.PolicyNewestWins, party("a", meet), party("b", meet), domain.PolicyLeft, ""},
		"higher category stays":                    {domain.PolicyHigherCategory, party("a", meet), party("b", wed), domain.PolicyDecided, "a"},
		"first source stays":                       {domain.PolicySourcePriority, party("a", meet, from(calendar)), party("b", meet, from(crm)), domain.PolicyDecided, "a"},
		"a source that is not listed gives way":    {domain.PolicySourcePriority, party("a", meet, from("")), party("b", meet, from(crm)), domain.PolicyDecided, "a"},
		"one source for both":                      {domain.PolicySourcePriority, party("a", meet), party("b", meet), domain.PolicyLeft, ""},
		"two sources that are not listed":          {domain.PolicySourcePriority, party("a", meet, from("x")), party("b", meet, from("")), domain.PolicyLeft, ""},
		"keep both wants to be acknowledged":       {domain.PolicyKeepBoth, party("a", meet), party("b", meet), domain.PolicyAcknowledge, ""},
		"two confirmed weddings are never decided": {domain.PolicyFirstConfirmed, party("a", wed), party("b", wed, older), domain.PolicyProtected, ""},
		"nor kept":                                         {domain.PolicyKeepBoth, party("a", wed), party("b", wed), domain.PolicyProtected, ""},
		"a tentative wedding may give way":                 {domain.PolicyFirstConfirmed, party("a", wed, tentative), party("b", wed, older), domain.PolicyDecided, "a"},
		"a confirmed wedding never gives way":              {domain.PolicyNewestWins, party("a", meet), party("b", wed, older), domain.PolicyProtected, ""},
		"not within 48 hours of a wedding":                 {domain.PolicyHigherCategory, party("a", meet), party("b", wed, soon), domain.PolicyFrozen, ""},
		"not while a wedding is on":                        {domain.PolicyHigherCategory, party("a", meet), party("b", wed, on), domain.PolicyFrozen, ""},
		"not kept within 48 hours either":                  {domain.PolicyKeepBoth, party("a", meet), party("b", wed, soon), domain.PolicyFrozen, ""},
		"a wedding that is over freezes nothing":           {domain.PolicyHigherCategory, party("a", meet), party("b", wed, over), domain.PolicyDecided, "a"},
		"appointments are decided on short notice as well": {domain.PolicyNewestWins, party("a", meet, soon), party("b", meet, soon, older), domain.PolicyDecided, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := domain.ConflictPolicy{Rule: tc.rule, Sources: []domain.IntegrationID{crm, calendar}}
			got := Choose(p, tc.a, tc.b, now, 48*time.Hour)
			if got.Outcome != tc.outcome || got.Yields != tc.yields || got.Why == "" {
				t.Errorf("got %+v, want %s %q", got, tc.outcome, tc.yields)
			}
			if back := Choose(p, tc.b, tc.a, now, 48*time.Hour); back.Outcome != got.Outcome || back.Yields != got.Yields {
				t.Errorf("the other way round: %+v, want %+v", back, got)
			}
		})
	}
}

func TestAPolicyKeepsToTheFreezeOfTheOrganisation(t *testing.T) {
	t.Parallel()
	p := domain.ConflictPolicy{Rule: domain.PolicyHigherCategory}
	a, b := party("a", domain.CategoryConsultation), party("b", domain.CategoryWedding, soon)
	for freeze, want := range map[time.Duration]domain.PolicyOutcome{12 * time.Hour: domain.PolicyDecided, 47 * time.Hour: domain.PolicyDecided,
		48 * time.Hour: domain.PolicyFrozen, 168 * time.Hour: domain.PolicyFrozen} {
		if got := Choose(p, a, b, now, freeze); got.Outcome != want || want == domain.PolicyFrozen && !strings.Contains(got.Why, fmt.Sprint(int(freeze.Hours()), " hours")) {
			t.Errorf("47 hours before a wedding, frozen for %s: %+v, want %s", freeze, got, want)
		}
	}
}

func TestDeadlineByTheTable(t *testing.T) {
	t.Parallel()
	date := func(d time.Duration) string { return now.Add(d).Format(time.DateOnly) }
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		severity domain.Severity
		wedding  string
		want     time.Duration
	}{
		"low":                          {domain.SeverityLow, "", 7 * day},
		"medium":                       {domain.SeverityMedium, "", 2 * day},
		"high":                         {domain.SeverityHigh, "", 12 * time.Hour},
		"critical":                     {domain.SeverityCritical, "", 2 * time.Hour},
		"a far wedding":                {domain.SeverityHigh, date(90 * day), 12 * time.Hour},
		"a wedding within two weeks":   {domain.SeverityHigh, date(10 * day), 6 * time.Hour},
		"before people must decide":    {domain.SeverityLow, date(4 * day), 4*day - 9*time.Hour - 14*time.Hour - DecideBefore},
		"a wedding tomorrow":           {domain.SeverityLow, date(day), time.Hour},
		"a wedding today":              {domain.SeverityCritical, date(0), time.Hour},
		"a date that is not a date":    {domain.SeverityHigh, "soon", 12 * time.Hour},
		"a wedding that is long over":  {domain.SeverityCritical, date(-5 * day), 0},
		"a wedding that was yesterday": {domain.SeverityCritical, date(-day), time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Deadline(tc.severity, tc.wedding, now)
			if want := now.Add(tc.want); tc.want > 0 && !got.Equal(want) || tc.want == 0 && !got.IsZero() {
				t.Errorf("deadline %v, want %v after %v", got, tc.want, now)
			}
		})
	}
}

func TestACloserWeddingOrAWorseClashNeverHasALaterDeadline(t *testing.T) {
	t.Parallel()
	severities := []domain.Severity{domain.SeverityLow, domain.SeverityMedium, domain.SeverityHigh, domain.SeverityCritical}
	rapid.Check(t, func(t *rapid.T) {
		since := now.Add(time.Duration(rapid.IntRange(0, 24*60).Draw(t, "minutes")) * time.Minute)
		far := rapid.IntRange(0, 200).Draw(t, "far")
		near := rapid.IntRange(0, far).Draw(t, "near")
		mild := rapid.IntRange(0, 3).Draw(t, "mild")
		worse := rapid.IntRange(mild, 3).Draw(t, "worse")
		date := func(days int) string { return now.AddDate(0, 0, days).Format(time.DateOnly) }
		later := Deadline(severities[mild], date(far), since)
		if sooner := Deadline(severities[mild], date(near), since); sooner.After(later) {
			t.Fatalf("a wedding in %d days has until %v, one in %d until %v", near, sooner, far, later)
		}
		if sooner := Deadline(severities[worse], date(far), since); sooner.After(later) {
			t.Fatalf("%s has until %v, %s until %v", severities[worse], sooner, severities[mild], later)
		}
		if !later.After(since) {
			t.Fatalf("the deadline %v is not after %v", later, since)
		}
	})
}
