package notify

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestNoTextBecomesMarkupAndSlackHearsNoTitles(t *testing.T) {
	t.Parallel()
	v := Sample(domain.NotifyConflictOpened, domain.Recipient{Name: "<b>Ann</b>", Zone: "Europe/London"}, time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC), "https://sync.example.com")
	v.Resource, v.Bookings = "<script>Studio & Co</script>", []BookingView{{Title: "<i>Ada</i>", When: "noon"}, {When: "one"}}
	c, err := Render(v)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(c.HTML, "<script>") || strings.Contains(c.HTML, "<b>Ann") || strings.Contains(c.HTML, "<i>") || !strings.Contains(c.HTML, "&lt;script&gt;Studio &amp; Co") {
		t.Errorf("HTML: %s", c.HTML)
	}
	if !strings.Contains(c.Text, "* <i>Ada</i>: noon") || !strings.Contains(c.Text, "* a private booking: one") || strings.Contains(c.Subject, "\n") {
		t.Errorf("text: %s %s", c.Subject, c.Text)
	}
	var slack struct {
		Text   string
		Blocks []struct{ Text struct{ Text string } }
	}
	if err := json.Unmarshal(c.Slack, &slack); err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{slack.Text, slack.Blocks[0].Text.Text} {
		if strings.Contains(said, "<script>") || strings.Contains(said, "Ada") || !strings.Contains(said, "&lt;script&gt;Studio &amp; Co") {
			t.Errorf("Slack: %s", said)
		}
	}
}

func TestEveryKindHasAHeadlineABodyAndASubject(t *testing.T) {
	t.Parallel()
	for _, k := range domain.NotifyKinds() {
		w, err := word(Sample(k, domain.Recipient{Name: "Ann", Zone: "UTC"}, time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC), ""))
		if err != nil || w.Headline == "" || w.Body == "" || strings.Contains(w.Headline+w.Body, "<no value>") || SubjectOf(k) == "" {
			t.Errorf("%s: %q %q %v", k, w.Headline, w.Body, err)
		}
	}
}
