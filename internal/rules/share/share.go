// Package share decides what somebody sees of a wedding who was given a link and has no account.
//
//	view := share.Build(share.Wedding{…}, link, now)
//
// The table [Sees] says for each field of a view what each role sees: everything, what is common to all and their own, only
// their own, or nothing. Build fills a field only if the table allows it, and takes nothing from a wedding that is not a field:
// notes, contacts, prices, titles of bookings, other bookings and other people's items have no way into a view.
//
// Everything is pure. Test with go test ./internal/rules/share.
package share

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Field names what a view may hold, by its path in JSON.
type Field string

// The fields.
const (
	FieldTitle     Field = "title"    // the heading chosen for the link
	FieldWhen      Field = "when"     // starts_at, ends_at, zone
	FieldStatus    Field = "status"   // of the wedding
	FieldLocation  Field = "location" // of the wedding
	FieldItems     Field = "items"    // that there is such an item: kind, title, place, times
	FieldVendor    Field = "items.vendor"
	FieldConfirmed Field = "items.confirmed_at" // and whether it changed since
	FieldConfirm   Field = "items.may_confirm"
	FieldMoved     Field = "changes.wedding"  // that the wedding changed, and what of it, without values
	FieldPlan      Field = "changes.timeline" // that the timeline changed
	FieldSaid      Field = "changes.confirmed"
)

// Scope says how much of a field somebody sees.
type Scope int

// The scopes.
const (
	Nothing Scope = iota
	Own           // of items that are theirs
	Common        // of items that are theirs or nobody's
	All
)

// Sees is the one place that says what each role sees.
var Sees = map[Field]map[domain.ShareRole]Scope{
	FieldTitle:     {domain.ShareCouple: All, domain.ShareVendor: All},
	FieldWhen:      {domain.ShareCouple: All, domain.ShareVendor: All},
	FieldStatus:    {domain.ShareCouple: All, domain.ShareVendor: All},
	FieldLocation:  {domain.ShareCouple: All, domain.ShareVendor: Common}, // not of a private wedding
	FieldItems:     {domain.ShareCouple: All, domain.ShareVendor: Common},
	FieldVendor:    {domain.ShareCouple: All, domain.ShareVendor: Own},
	FieldConfirmed: {domain.ShareCouple: All, domain.ShareVendor: Own},
	FieldConfirm:   {domain.ShareCouple: Nothing, domain.ShareVendor: Own},
	FieldMoved:     {domain.ShareCouple: All, domain.ShareVendor: All},
	FieldPlan:      {domain.ShareCouple: All, domain.ShareVendor: All},
	FieldSaid:      {domain.ShareCouple: All, domain.ShareVendor: Own},
}

// Wedding is what is known of a wedding.
type Wedding struct {
	Booking       domain.Booking
	Items         []domain.TimelineItem
	Spans         map[string]domain.Span // of items, by key
	Vendors       map[domain.ResourceID]string
	Confirmations []domain.Confirmation
	Changes       []domain.BookingChange // newest first
	PlanChangedAt time.Time              // zero without a timeline
}

// View is what somebody sees.
type View struct {
	Title    string    `json:"title,omitempty"`
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
	Zone     string    `json:"zone"`
	Status   string    `json:"status"`
	Location string    `json:"location,omitempty"`
	Items    []Item    `json:"items"`
	Changes  []Change  `json:"changes"` // newest first
	AsOf     time.Time `json:"as_of"`
	Role     string    `json:"role"`
	Until    time.Time `json:"link_expires_at"`
}

// Item is an entry of the timeline.
type Item struct {
	Key         string     `json:"key"`
	Kind        string     `json:"kind"`
	Title       string     `json:"title"`
	Place       string     `json:"place,omitempty"`
	Start       time.Time  `json:"start"`
	End         time.Time  `json:"end"`
	Vendor      string     `json:"vendor,omitempty"`
	ConfirmedAt *time.Time `json:"confirmed_at,omitempty"`
	Outdated    bool       `json:"changed_since_confirmed,omitempty"`
	MayConfirm  bool       `json:"may_confirm,omitempty"`
	// Revision says which state of the item a confirmation is of; only where it may be confirmed.
	Revision string `json:"revision,omitempty"`
}

// Change is something that happened, without values.
type Change struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// MaxChanges is how many changes a view lists.
const MaxChanges = 20

// Build makes the view of a wedding for a link.
func Build(w Wedding, link domain.Share, now time.Time) View {
	may := func(f Field) Scope { return Sees[f][link.Role] }
	v := View{AsOf: now, Role: string(link.Role), Until: link.ExpiresAt, Items: []Item{}, Changes: []Change{}}
	if may(FieldTitle) == All {
		v.Title = link.Title
	}
	if may(FieldWhen) == All {
		v.StartsAt, v.EndsAt, v.Zone = w.Booking.When.Start, w.Booking.When.End, w.Booking.When.Zone
	}
	if may(FieldStatus) == All {
		v.Status = string(w.Booking.Status)
	}
	if s := may(FieldLocation); s == All || s == Common && !w.Booking.Private {
		v.Location = w.Booking.Details.Location
	}
	sees := func(f Field, of domain.ResourceID) bool {
		switch may(f) {
		case All:
			return true
		case Common:
			return of == "" || of == link.ResourceID
		case Own:
			return of != "" && of == link.ResourceID
		case Nothing:
		}
		return false
	}
	if w.Booking.Status != domain.StatusCancelled {
		for _, item := range w.Items {
			if sees(FieldItems, item.ResourceID) {
				v.Items = append(v.Items, show(w, item, sees))
			}
		}
		slices.SortStableFunc(v.Items, func(a, b Item) int { return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End)) })
	}
	v.Changes = changes(w, may, sees)
	return v
}

func show(w Wedding, item domain.TimelineItem, sees func(Field, domain.ResourceID) bool) Item {
	span := w.Spans[item.Key]
	out := Item{Key: item.Key, Kind: string(item.Kind), Title: item.Title, Place: item.Place, Start: span.Start, End: span.End}
	if sees(FieldVendor, item.ResourceID) {
		out.Vendor = w.Vendors[item.ResourceID]
	}
	revision := Revision(item, span)
	if c := Latest(w.Confirmations, item); c != nil && sees(FieldConfirmed, item.ResourceID) {
		at := c.At
		out.ConfirmedAt, out.Outdated = &at, c.Revision != revision
	}
	if sees(FieldConfirm, item.ResourceID) {
		out.MayConfirm, out.Revision = out.ConfirmedAt == nil || out.Outdated, revision
	}
	return out
}

// Latest is the last confirmation of an item by its vendor, nil when there is none.
func Latest(all []domain.Confirmation, item domain.TimelineItem) *domain.Confirmation {
	var out *domain.Confirmation
	for i := range all {
		c := &all[i]
		if c.ItemKey == item.Key && c.ResourceID == item.ResourceID && item.ResourceID != "" && (out == nil || c.At.After(out.At)) {
			out = c
		}
	}
	return out
}

// Revision is the fingerprint of what a vendor confirms: whose, what, where and when.
func Revision(item domain.TimelineItem, span domain.Span) string {
	h := sha256.New()
	for _, part := range []string{string(item.ResourceID), string(item.Kind), item.Title, item.Place, span.String()} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// changes lists what happened, from what may be told.
func changes(w Wedding, may func(Field) Scope, sees func(Field, domain.ResourceID) bool) []Change {
	out := []Change{}
	if may(FieldMoved) == All {
		for _, c := range w.Changes {
			if what := told(c.Fields); what != "" {
				out = append(out, Change{c.At, what})
			}
		}
	}
	if may(FieldPlan) == All && !w.PlanChangedAt.IsZero() {
		out = append(out, Change{w.PlanChangedAt, "the timeline changed"})
	}
	for _, item := range w.Items {
		if c := Latest(w.Confirmations, item); c != nil && sees(FieldSaid, item.ResourceID) {
			out = append(out, Change{c.At, "confirmed: " + item.Title})
		}
	}
	slices.SortStableFunc(out, func(a, b Change) int { return b.At.Compare(a.At) })
	return out[:min(len(out), MaxChanges)]
}

// told says what changed of a wedding, "" for what is nobody's business who has a link.
func told(fields []string) string {
	for _, f := range []struct{ field, words string }{{"created", "the wedding was entered"}, {"status", "the status of the wedding changed"},
		{"start", "the wedding was moved"}, {"end", "the end of the wedding was moved"}, {"location", "the place of the wedding changed"}} {
		if slices.Contains(fields, f.field) {
			return f.words
		}
	}
	return ""
}
