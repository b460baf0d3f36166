package privacy_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/privacy"
)

func TestProjectTellsOnlyWhatTheCoupleWouldExpect(t *testing.T) {
	t.Parallel()
	all := domain.Details{Title: "Site visit", Location: "The barn", Notes: "gate code 1234", Contact: "couple@example.org"}
	for _, c := range []struct {
		name    string
		private bool
		have    domain.Details
		want    domain.Details
	}{
		{"an open booking shows what and where", false, all, domain.Details{Title: "Site visit", Location: "The barn"}},
		{"a private booking shows that the time is taken", true, all, domain.Details{Title: "Busy"}},
		{"an open booking without texts stays without", false, domain.Details{Contact: "couple@example.org"}, domain.Details{}},
		{"a private booking without texts is busy too", true, domain.Details{}, domain.Details{Title: "Busy"}},
	} {
		got := privacy.Project(domain.Booking{Private: c.private, Details: c.have})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestProjectNeverDependsOnWhatMustStay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := domain.Booking{Private: rapid.Bool().Draw(t, "private"), Details: domain.Details{
			Title: rapid.String().Draw(t, "title"), Location: rapid.String().Draw(t, "location"), Notes: rapid.String().Draw(t, "notes"), Contact: rapid.String().Draw(t, "contact")}}
		bare := b
		bare.Details.Notes, bare.Details.Contact = "", ""
		if b.Private {
			bare.Details = domain.Details{}
		}
		if diff := cmp.Diff(privacy.Project(bare), privacy.Project(b)); diff != "" {
			t.Fatalf("a text that must stay shows:\n%s", diff)
		}
	})
}

func TestCopyIsTitledAsThePolicySaysAndPrivateStaysBusy(t *testing.T) {
	t.Parallel()
	policy := domain.SyncPolicy{MirrorTitle: "[Studio] {title} ({category})"}
	b := domain.Booking{Category: domain.CategoryVendor, Details: domain.Details{Title: "Site visit", Notes: "gate code"}}
	if got, want := privacy.Copy(b, policy), (domain.Details{Title: "[Studio] Site visit (vendor)"}); got != want {
		t.Errorf("copy shows %+v", got)
	}
	b.Private = true
	if got, want := privacy.Copy(b, policy), (domain.Details{Title: privacy.BusyTitle}); got != want {
		t.Errorf("copy of a private booking shows %+v", got)
	}
	b.Private, b.Details.Title = false, strings.Repeat("é", domain.MaxTitle/2)
	if got := privacy.Copy(b, policy).Title; len(got) > domain.MaxTitle || !utf8.ValidString(got) {
		t.Errorf("title has %d bytes, valid: %v", len(got), utf8.ValidString(got))
	}
}
