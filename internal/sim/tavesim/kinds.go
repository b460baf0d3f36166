package tavesim

import (
	"net/url"
	"regexp"
	"slices"
	"time"
)

// kind describes a kind of entity.
type kind struct {
	collection string // type of its lists
	fields     map[string]field
	required   []string
	refers     map[string]string // members that name an entity of another kind
	closed     bool              // unknown members are refused
	hideable   bool
	linkless   bool
	order      string   // of lists, unless they ask for another
	filters    []string // query parameters besides page, pageSize and sortBy
	verbs      string   // of the collection and of one entity, such as "LCGPD"
	sorts      []string // besides id, modified and created
}

type field struct {
	check    func(any) string
	fallback any
	nullable bool
	readOnly bool
}

// readOnly are members that every entity has.
var readOnly = []string{"id", "created", "modified", "hidden", "links"}

func boolean(v any) string {
	if _, ok := v.(bool); !ok {
		return "must be true or false"
	}
	return ""
}

func words(limit int) func(any) string {
	return func(v any) string {
		s, ok := v.(string)
		if !ok || len([]rune(s)) > limit {
			return "must be a text that is not too long"
		}
		return ""
	}
}

func form(layout string) func(any) string {
	return func(v any) string {
		if _, err := time.Parse(layout, text(v)); err != nil {
			return "must look like " + layout
		}
		return ""
	}
}

func oneOf(list ...string) func(any) string {
	return func(v any) string {
		if !slices.Contains(list, text(v)) {
			return "must be one of the known words"
		}
		return ""
	}
}

func number(low, high float64) func(any) string {
	return func(v any) string {
		if n, ok := v.(float64); !ok || n < low || n > high || n != float64(int64(n)) {
			return "must be a whole number within its bounds"
		}
		return ""
	}
}

var ulid = regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{26}$`)

func identifier(v any) string {
	if !ulid.MatchString(text(v)) {
		return "must be an id"
	}
	return ""
}

func address(v any) string {
	if u, err := url.Parse(text(v)); err != nil || u.Scheme == "" {
		return "must be an address"
	}
	return ""
}

func list(item func(any) string) func(any) string {
	return func(v any) string {
		all, ok := v.([]any)
		if !ok {
			return "must be a list"
		}
		for _, x := range all {
			if wrong := item(x); wrong != "" {
				return wrong
			}
		}
		return ""
	}
}

func mapping(v any) string {
	m, _ := v.(map[string]any)
	id, at := text(m["id"]), text(m["url"])
	if len(m) != 2 || len(id) < 1 || len(id) > 64 || len(at) < 12 || len(at) > 255 || address(at) != "" {
		return "must have an id of 1 to 64 characters and an address of 12 to 255"
	}
	return ""
}

var placeFields = map[string]int{"streetAddress": 512, "village": 255, "city": 255, "state": 255, "postalCode": 255, "country": 2}

func place(v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return "must be an object"
	}
	at, _ := m["address"].(map[string]any)
	for name, x := range at {
		limit, known := placeFields[name]
		if !known {
			return "has an unknown part"
		}
		if x != nil && words(limit)(x) != "" {
			return "has a part that is too long"
		}
	}
	return ""
}

func anything(any) string { return "" }

func must(check func(any) string, fallback any) field { return field{check: check, fallback: fallback} }
func may(check func(any) string) field                { return field{check: check, nullable: true} }
func shown() field                                    { return field{check: anything, readOnly: true} }

var mappings = may(list(mapping))

var kinds = map[string]kind{
	"event": {collection: "event-collection", closed: true, hideable: true, order: "id", verbs: "LCGPD", sorts: []string{"name"},
		filters: []string{"includeHidden", "externalMappingId", "jobId"}, refers: map[string]string{"jobId": "job", "typeId": "event-type"},
		fields: map[string]field{"allDay": {check: boolean, fallback: false, nullable: true}, "channel": must(oneOf("InPerson", "Phone", "Virtual"), "InPerson"),
			"confirmed": {check: boolean, fallback: false, nullable: true}, "descriptionHtml": may(words(1 << 20)), "endDate": may(form(time.DateOnly)),
			"endTime": may(form(time.TimeOnly)), "endUtc": shown(), "externalMappings": mappings, "galleryId": may(identifier), "jobId": may(identifier),
			"location": may(place), "name": may(words(255)), "phoneNumber": may(anything), "readOnly": shown(), "startDate": may(form(time.DateOnly)),
			"startTime": may(form(time.TimeOnly)), "startUtc": shown(), "timezoneName": may(words(255)), "timezoneId": may(identifier),
			"typeId": may(identifier), "virtualUrl": may(address)}},
	"job": {collection: "job-collection", order: "id", verbs: "LCGPD", sorts: []string{"name", "stage", "title", "eventDate"},
		filters: []string{"includeClosed", "externalMappingId"}, refers: map[string]string{"jobTypeId": "job-type"},
		fields: map[string]field{"bookingDate": may(form(time.DateOnly)), "brandId": may(identifier), "closed": must(boolean, false),
			"closedReasonId": may(identifier), "closedDate": may(form(time.DateOnly)), "completedDate": may(form(time.DateOnly)),
			"contactFormId": may(identifier), "customFields": may(list(anything)), "eventDate": may(form(time.DateOnly)), "externalMappings": mappings,
			"fulfillmentDate": may(form(time.DateOnly)), "guestCount": may(number(0, 99999999999)), "inquiryDate": may(form(time.DateOnly)),
			"jobTypeId": may(identifier), "leadConfidence": may(oneOf("low", "medium", "high")), "leadDecisionExpectedByDate": may(form(time.DateOnly)),
			"leadMaxBudget": may(number(-99999999999, 99999999999)), "leadNotes": may(words(1 << 20)), "leadRating": may(number(1, 5)),
			"leadSourceId": may(identifier), "leadStatusId": may(identifier), "name": may(words(1 << 10)), "pinned": {check: boolean, fallback: false, nullable: true},
			"primarySessionId": shown(), "sample": shown(), "stage": must(oneOf("lead", "booked", "fulfillment", "completed"), nil), "title": shown(),
			"webLead": must(boolean, false), "workflowId": may(identifier)}},
	"job-contact": {collection: "jobcontact-collection", order: "id", verbs: "LCGPD", hideable: true, required: []string{"jobId", "contactId"},
		filters: []string{"includeHidden", "externalMappingId", "contactId", "jobId"}, refers: map[string]string{"jobId": "job", "contactId": "address-book"},
		fields: map[string]field{"client": {check: boolean, fallback: false, nullable: true}, "contactId": must(identifier, nil), "externalMappings": mappings,
			"jobId": must(identifier, nil), "jobRoles": may(list(identifier)), "roleKinds": shown()}},
	"address-book": {collection: "addressbook-collection", order: "id", verbs: "LCGPD", hideable: true, required: []string{"kind"},
		filters: []string{"includeHidden", "email"}, sorts: []string{"name", "kind", "email"},
		fields: map[string]field{"kind": must(oneOf("person"), nil), "firstName": may(words(48)), "lastName": may(words(48)), "email": may(words(255)),
			"companyName": may(words(128)), "name": shown(), "externalMappings": mappings}},
	"order": {collection: "order-collection", order: "sortPosition", verbs: "LG", linkless: true, hideable: true, sorts: []string{"name", "sortPosition"},
		refers: map[string]string{"jobId": "job"}, fields: map[string]field{"jobId": must(identifier, nil), "name": may(words(255)),
			"status": must(oneOf("draft", "open", "paid-in-full", "completed", "voided"), "draft"), "bookedOn": may(form(time.DateOnly))}},
	"rest-hook": {collection: "resthook-collection", order: "id", verbs: "LCGPD", hideable: true, required: []string{"event", "url"},
		filters: []string{"includeHidden"}, fields: map[string]field{
			"event": must(oneOf("contact.created", "job.created", "order.booked", "payment.created"), nil), "url": must(address, nil), "limitTo": may(anything)}},
	"event-type": {collection: "eventtype-collection", order: "sortPosition", verbs: "LG", hideable: true, required: []string{"name", "tokenPrefix"},
		filters: []string{"includeHidden", "externalMappingId"}, sorts: []string{"name", "sortPosition"},
		fields: map[string]field{"name": must(words(24), nil), "kind": may(oneOf("call", "meeting", "other", "session")), "tokenPrefix": must(words(32), nil),
			"defaultDuration": {check: number(5, 86400), fallback: 60.0, nullable: true}}},
	"job-type": {collection: "jobtype-collection", order: "sortPosition", verbs: "LG", hideable: true, required: []string{"name"},
		filters: []string{"includeHidden", "externalMappingId"}, sorts: []string{"name", "sortPosition"},
		fields: map[string]field{"name": must(words(128), nil)}},
	"timezone": {collection: "timezone-collection", order: "name", verbs: "LG", hideable: true, filters: []string{"search"}, sorts: []string{"name", "usage"},
		fields: map[string]field{"name": must(words(255), nil)}},
}
