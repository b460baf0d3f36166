package honeybook

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/honeybooksim"
)

// nowhere is HoneyBook as the suite may act on it: there is nothing that a provider could read or write.
type nowhere struct{}

func (nowhere) Seed(t testing.TB, _ providertest.Entry) string {
	t.Fatal("HoneyBook has no entries that can be read")
	return ""
}
func (nowhere) Edit(t testing.TB, _ string, _ providertest.Entry) { t.Fatal("HoneyBook has no API") }
func (nowhere) Delete(t testing.TB, _ string)                     { t.Fatal("HoneyBook has no API") }
func (nowhere) Count(testing.TB) int                              { return 0 }
func (nowhere) Fault(testing.TB, providertest.Fault) bool         { return false }
func (nowhere) Heal(testing.TB)                                   {}

// Lives are those of a project that is booked and of one that is called off, told by steps that send when they ran.
func (nowhere) Lives(_ testing.TB, ahead time.Duration) (lives []providertest.Life) {
	now := providertest.Now.Add(ahead)
	studio := honeybooksim.New(honeybooksim.Options{Tool: honeybooksim.Zapier, Now: func() time.Time {
		now = now.Add(time.Minute)
		return now
	}})
	for _, stages := range [][]string{{"Proposal Sent", "Planning"}, {"Planning", "Cancelled"}} {
		id := studio.Enquire(honeybooksim.Project{Name: "Wedding of Marigold", Type: "Wedding", Date: "06/05/2027", Client: "Marigold", Email: "marigold@example.com"})
		studio.Move(id, stages[0])
		studio.Edit(id, func(p *honeybooksim.Project) { p.Date = "06/12/2027" })
		studio.Book(id)
		studio.Move(id, stages[1])
		life := providertest.Life{Name: stages[1]}
		for _, p := range studio.TakePosts() {
			life.Deliveries = append(life.Deliveries, post(p.ContentType, string(p.Body)))
		}
		lives = append(lives, life)
	}
	return lives
}

// posts are what the steps of a studio send, as Zapier sends it and as Make does.
func posts() (out []providertest.Delivery) {
	for _, o := range []honeybooksim.Options{{Tool: honeybooksim.Zapier}, {Tool: honeybooksim.Make}, {Tool: honeybooksim.Make, Form: true}} {
		o.Now = func() time.Time { return providertest.Now }
		studio := honeybooksim.New(o)
		studio.Client("Quillfeather", "quillfeather@example.com")
		id := studio.Enquire(honeybooksim.Project{Name: "Wedding of Marigold", Type: "Wedding", Date: "06/05/2027", Client: "Marigold", Email: "marigold@example.com",
			Location: "Oakbridge barn"})
		studio.Book(id)
		studio.Pay(id, "1500.00")
		studio.Move(id, "Planning")
		studio.Meet(honeybooksim.Meeting{Name: "Call with Marigold", Start: "2027-03-20T15:00:00", Project: id, Client: "Marigold"})
		for _, p := range studio.TakePosts() {
			changes := 1
			if p.Trigger == ClientCreated {
				changes = 0
			}
			out = append(out, providertest.Delivery{Name: string(o.Tool) + " " + p.Trigger, Changes: changes, Webhook: post(p.ContentType, string(p.Body))})
		}
	}
	return out
}

func harness(settings string) providertest.Harness {
	return providertest.Harness{
		Registration: Registration,
		Open:         func(t testing.TB) (any, providertest.World) { return mustOpen(t, settings), nowhere{} },
		Deliveries:   posts(),
		NotDeliveries: []provider.Webhook{jsonPost(`{}`), jsonPost(`[]`), jsonPost(`null`), jsonPost(`"Marigold"`), jsonPost(`{"trigger":"Marigold"}`),
			jsonPost(`{"trigger":"project_booked","project_name":"Marigold","project_date":"Oakbridge"}`)},
		Secrets: []string{key},
	}
}

func TestHoneyBookPassesTheSuite(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]string{"relay alone": `{}`, "with the lead form": leadSettings("")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, harness(settings))
		})
	}
}

func FuzzDecode(f *testing.F) { providertest.FuzzDecode(f, harness(`{}`)) }

// FuzzForm is FuzzDecode for posts that are forms.
func FuzzForm(f *testing.F) {
	h := harness(`{}`)
	var forms []providertest.Delivery
	for _, d := range h.Deliveries {
		if d.Webhook.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
			forms = append(forms, d)
		}
	}
	h.Deliveries = forms
	providertest.FuzzDecode(f, h)
}

// FuzzTrigger finds out that a trigger is one of six or refused, whatever a step writes.
func FuzzTrigger(f *testing.F) {
	for _, seed := range []string{"", "New Project Booked", "project_stage_changed", "PAYMENT PAID!", "new new inquiry", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said string) {
		got, err := triggerOf(said)
		if (err == nil) != (got.name != "") {
			t.Errorf("%q: trigger %q, error %v", said, got.name, err)
		}
	})
}
