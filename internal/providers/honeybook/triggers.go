package honeybook

import (
	"encoding/json"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
)

// The triggers of HoneyBook's app at Zapier, by the names that a relay step sends. There are no others.
const (
	ClientCreated    = "client_created"
	Inquiry          = "inquiry"
	ProjectBooked    = "project_booked"
	PaymentPaid      = "payment_paid"
	StageChanged     = "stage_changed"
	MeetingScheduled = "meeting_scheduled"
)

// trigger is one of them with what we make of it.
type trigger struct {
	name, title, doc string
	mapping          func(order string) custom.Mapping
	sample           string
}

// triggers in the order of a project's life.
var triggers = []trigger{
	{Inquiry, "New Inquiry", "A contact form was filled in. A date that was asked for is pencilled in; an enquiry without a date is left alone.", inquiry, `{
  "trigger": "inquiry",
  "form": "Website contact form",
  "project_id": "prj-1001",
  "project_name": "Wedding of a client",
  "project_type": "Wedding",
  "project_date": "06/05/2027",
  "client_full_name": "A client",
  "client_email": "client@example.com",
  "project_location": "The barn",
  "occurred_at": "2026-11-02T09:30:00Z"
}`},
	{ClientCreated, "Client Created", "Somebody became a client. That names a person and takes no time, so it is left alone.", clientCreated, `{
  "trigger": "client_created",
  "client_full_name": "A client",
  "client_email": "client@example.com",
  "occurred_at": "2026-11-02T09:30:00Z"
}`},
	{ProjectBooked, "New Project Booked", "The agreement was signed or the retainer was paid. The project's days are booked; without a date the delivery waits for a person.", projectBooked, `{
  "trigger": "project_booked",
  "project_id": "prj-1001",
  "project_name": "Wedding of a client",
  "project_type": "Wedding",
  "project_date": "2027-06-05",
  "project_end_date": "",
  "client_full_name": "A client",
  "client_email": "client@example.com",
  "project_location": "The barn",
  "project_details": "",
  "occurred_at": "2026-11-09T14:00:00Z"
}`},
	{PaymentPaid, "New Payment Paid", "A payment came in, also one that was entered by hand. With the project's name and date the project is booked, else the delivery is left alone.", paymentPaid, `{
  "trigger": "payment_paid",
  "project_id": "prj-1001",
  "project_name": "Wedding of a client",
  "project_type": "Wedding",
  "project_date": "2027-06-05",
  "client_full_name": "A client",
  "client_email": "client@example.com",
  "project_location": "The barn",
  "payment_amount": "1500.00",
  "occurred_at": "2026-11-10T08:15:00Z"
}`},
	{StageChanged, "Project Stage Changed", "The project moved in the pipeline. Stages have the names that the studio gave them, so the words in the mapping decide; one that they do not know is left alone.", stageChanged, `{
  "trigger": "stage_changed",
  "project_id": "prj-1001",
  "project_name": "Wedding of a client",
  "project_type": "Wedding",
  "project_date": "2027-06-05",
  "client_full_name": "A client",
  "client_email": "client@example.com",
  "project_location": "The barn",
  "stage": "Planning",
  "occurred_at": "2026-12-01T10:00:00Z"
}`},
	{MeetingScheduled, "Meeting Scheduled", "A meeting was scheduled or changed. It is a consultation of its own, an hour long if no end is sent.", meetingScheduled, `{
  "trigger": "meeting_scheduled",
  "meeting_id": "mtg-2001",
  "meeting_name": "Consultation",
  "meeting_start": "2026-11-20T15:00:00",
  "meeting_end": "",
  "meeting_zone": "",
  "project_id": "prj-1001",
  "client_full_name": "A client",
  "client_email": "client@example.com",
  "occurred_at": "2026-11-05T11:45:00Z"
}`},
}

// Expressions that several triggers share. The words of the fields are those of Zapier's action Create Project where it has
// them, and our own elsewhere: no source tells what the triggers send, so the relay step names the fields.
const (
	projectKey = `text(item.?project_id) != '' ? 'project/' + text(item.?project_id) : ` +
		`text(item.?project_name) != '' ? 'project/' + digest(text(item.?client_email).lowerAscii() + ' ' + text(item.?project_name).lowerAscii()) : ''`
	version = `text(item.?occurred_at).matches('^[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+([.][0-9]+)?(Z|[+-][0-9]+:[0-9]+)$') ? dyn(timestamp(text(item.?occurred_at))) : dyn(0)`
	kindOf  = `text(item.?project_type).lowerAscii().matches('engage') ? 'engagement' : text(item.?project_type).lowerAscii().matches('consult|meeting|call') ? 'consultation' : ` +
		`text(item.?project_type) == '' || text(item.?project_type).lowerAscii().matches('wedding|elope') ? 'wedding' : 'engagement'`
	hasDate = `(text(item.?project_date) != '' || text(item.?project_start) != '')`
	title   = `truncate(text(item.?project_name) != '' ? text(item.?project_name) : text(item.?client_full_name), 500)`
	contact = `truncate((text(item.?client_full_name) + ' ' + text(item.?client_email)).trim(), 500)`

	lost   = `text(item.?stage).lowerAscii().matches('cancel|archiv|lost|declin|not a fit')`
	booked = `text(item.?stage).lowerAscii().matches('book|sign|retainer|deposit|planning|complete|deliver')`
	early  = `text(item.?stage).lowerAscii().matches('inquir|enquir|lead|follow|consult|meeting|proposal|brochure|contacted|pencil')`
)

// project is a project's days, or its hours where the relay step sends them.
func project(order, status string) custom.Mapping {
	o := "'" + strings.ToUpper(order) + "'"
	return custom.Mapping{
		ExternalID: projectKey, RemoteVersion: version, Category: kindOf, Status: custom.Expr(status),
		Start: custom.Expr(`text(item.?project_start) != '' ? dyn(read_time(item.?project_start, ` + o + `)) : read_day(item.?project_date, ` + o + `)`),
		End: custom.Expr(`text(item.?project_end) != '' ? dyn(read_time(item.?project_end, ` + o + `)) : text(item.?project_start) != '' ? dyn(duration('8h')) : ` +
			`read_day(item.?project_end_date, ` + o + `, 1)`),
		AllDay: `text(item.?project_start) == ''`,
		Title:  title, Location: `truncate(text(item.?project_location), 500)`, Notes: `truncate(text(item.?project_details), 8000)`, Contact: contact,
	}
}

func inquiry(order string) custom.Mapping {
	m := project(order, `'tentative'`)
	m.Drop = `!` + hasDate
	return m
}

func clientCreated(order string) custom.Mapping {
	m := project(order, `'tentative'`)
	m.Drop = `true`
	return m
}

func projectBooked(order string) custom.Mapping { return project(order, `'confirmed'`) }

// A post stands for the whole entry, so one with less than the name and the date of a project must not replace what is known.
func paymentPaid(order string) custom.Mapping {
	m := project(order, `'confirmed'`)
	m.Drop = `text(item.?project_name) == '' || !` + hasDate
	return m
}

func stageChanged(order string) custom.Mapping {
	m := project(order, lost+` ? 'cancelled' : `+booked+` ? 'confirmed' : 'tentative'`)
	m.Drop = `!(` + lost + `) && (!(` + booked + ` || ` + early + `) || text(item.?project_name) == '' || !` + hasDate + `)`
	return m
}

func meetingScheduled(order string) custom.Mapping {
	o := "'" + strings.ToUpper(order) + "'"
	return custom.Mapping{
		ExternalID: `text(item.?meeting_id) != '' ? 'meeting/' + text(item.?meeting_id) : text(item.?meeting_name) != '' && text(item.?project_id) + text(item.?client_email) != '' ? ` +
			`'meeting/' + digest(text(item.?project_id) + ' ' + text(item.?client_email).lowerAscii() + ' ' + text(item.?meeting_name).lowerAscii()) : ''`,
		RemoteVersion: version, Category: `'consultation'`,
		Status: `text(item.?meeting_status).lowerAscii().matches('cancel') ? 'cancelled' : 'confirmed'`,
		Start:  custom.Expr(`read_time(item.?meeting_start, ` + o + `)`),
		End: custom.Expr(`text(item.?meeting_end) != '' ? dyn(read_time(item.?meeting_end, ` + o + `)) : ` +
			`read_time(item.?meeting_start, ` + o + `).size() > 10 ? dyn(duration('1h')) : dyn('')`),
		Zone:  `text(item.?meeting_zone)`,
		Title: `truncate(text(item.?meeting_name), 500)`, Location: `truncate(text(item.?meeting_location), 500)`, Contact: contact,
	}
}

// triggerOf finds a trigger by how a relay step may write it: its name, or its title at Zapier.
func triggerOf(said string) (trigger, error) {
	words := strings.FieldsFunc(strings.ToLower(said), func(r rune) bool { return r < 'a' || r > 'z' })
	if len(words) > 0 && (words[0] == "new" || words[0] == "project" && len(words) == 3) {
		words = words[1:] // New Project Booked, Project Stage Changed
	}
	name := strings.Join(words, "_")
	var all []string
	for _, t := range triggers {
		if t.name == name {
			return t, nil
		}
		all = append(all, t.name)
	}
	if said == "" {
		return trigger{}, domain.Invalid("trigger", "has no value: the relay step must name the trigger, one of %s", strings.Join(all, ", "))
	}
	return trigger{}, domain.Invalid("trigger", "must be one of %s", strings.Join(all, ", "))
}

func kinds() []provider.DeliveryKind {
	var out []provider.DeliveryKind
	for _, t := range triggers {
		out = append(out, provider.DeliveryKind{Name: t.name, Title: t.title, Doc: t.doc, ContentType: "application/json", Sample: json.RawMessage(t.sample)})
	}
	return out
}
