package tave

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Entities as the API writes them, as far as they are read. Members that are null are left empty.

type mapping struct {
	ID  string `json:"id"`
	URL string `json:"url"`
}

type place struct {
	ID      string   `json:"id"`
	Address *address `json:"address"`
}

type address struct {
	Name          string `json:"name,omitempty"`
	StreetAddress string `json:"streetAddress"`
	Village       string `json:"village,omitempty"`
	City          string `json:"city,omitempty"`
	State         string `json:"state,omitempty"`
	PostalCode    string `json:"postalCode,omitempty"`
	Country       string `json:"country,omitempty"`
}

type event struct {
	ID           string    `json:"id"`
	Modified     string    `json:"modified"`
	JobID        string    `json:"jobId"`
	TypeID       string    `json:"typeId"`
	Name         string    `json:"name"`
	Description  string    `json:"descriptionHtml"`
	Hidden       bool      `json:"hidden"`
	AllDay       bool      `json:"allDay"`
	Confirmed    bool      `json:"confirmed"`
	ReadOnly     bool      `json:"readOnly"`
	StartDate    string    `json:"startDate"`
	StartTime    string    `json:"startTime"`
	StartUTC     string    `json:"startUtc"`
	EndDate      string    `json:"endDate"`
	EndTime      string    `json:"endTime"`
	EndUTC       string    `json:"endUtc"`
	TimezoneName string    `json:"timezoneName"`
	TimezoneID   string    `json:"timezoneId"`
	Location     *place    `json:"location"`
	Mappings     []mapping `json:"externalMappings"`
}

type job struct {
	ID          string    `json:"id"`
	Modified    string    `json:"modified"`
	Stage       string    `json:"stage"`
	Closed      bool      `json:"closed"`
	Sample      bool      `json:"sample"`
	Name        string    `json:"name"`
	Title       string    `json:"title"`
	EventDate   string    `json:"eventDate"`
	BookingDate string    `json:"bookingDate"`
	JobTypeID   string    `json:"jobTypeId"`
	JobTypeName string    `json:"jobTypeName"`
	LeadNotes   string    `json:"leadNotes"`
	Mappings    []mapping `json:"externalMappings"`
	Links       struct {
		Self struct {
			ManagerHref string `json:"managerHref"`
		} `json:"self"`
	} `json:"links"`
}

// Stages of a job.
const (
	stageLead      = "lead"
	stageBooked    = "booked"
	stageFulfilled = "fulfillment"
	stageCompleted = "completed"
)

// firm reports whether the stage says that the job is booked. A stage that we do not know says nothing.
func (j job) firm() bool {
	return j.Stage == stageBooked || j.Stage == stageFulfilled || j.Stage == stageCompleted
}

// family is a job with what belongs to it.
type family struct {
	job
	Events  *[]event `json:"events"`
	Members []struct {
		Client  bool   `json:"client"`
		Hidden  bool   `json:"hidden"`
		Contact person `json:"contact"`
	} `json:"contacts"`

	booked bool      // an order of the lead is booked
	readAt time.Time // by the servers' clock
}

type person struct {
	Name      string `json:"name"`
	FirstName string `json:"firstName"`
	LastName  string `json:"lastName"`
	Company   string `json:"companyName"`
	Email     string `json:"email"`
}

type order struct {
	Status   string `json:"status"`
	BookedOn string `json:"bookedOn"`
}

// family reads a job by its worksheet. A lead may be booked already by an order that has not moved its stage.
func (c *connection) family(ctx context.Context, id string) (*family, error) {
	if !validID(id) {
		return nil, domain.Invalid("external_id", "is not one of a job")
	}
	var f family
	res, err := c.client.get(ctx, "/job/"+id+"/worksheet", nil, &f)
	if err != nil {
		return nil, err
	}
	f.readAt = c.client.serverTime(res)
	if f.ID != id || f.Events == nil {
		return nil, domain.E(domain.KindUnavailable, "the answer is not the worksheet that was asked for")
	}
	if f.firm() || f.Closed || f.Sample {
		return &f, nil
	}
	var orders struct {
		Items *[]order `json:"items"`
	}
	if _, err := c.client.get(ctx, "/job/"+id+"/order", nil, &orders); err != nil {
		return nil, err
	}
	if orders.Items == nil {
		return nil, domain.E(domain.KindUnavailable, "the answer is not the list of orders that was asked for")
	}
	for _, o := range *orders.Items {
		f.booked = f.booked || o.BookedOn != "" && o.Status != "voided" && o.Status != "draft"
	}
	return &f, nil
}

// event asks for one event, as read and as the members that were sent. KindNotFound says nothing about the studio.
func (c *connection) event(ctx context.Context, id string) (event, map[string]json.RawMessage, error) {
	var (
		raw json.RawMessage
		e   event
		all map[string]json.RawMessage
	)
	if !validID(id) {
		return e, nil, domain.Invalid("external_id", "is not one of an event")
	}
	if _, err := c.client.get(ctx, "/event/"+id, nil, &raw); err != nil {
		return e, nil, err
	}
	if json.Unmarshal(raw, &e) != nil || json.Unmarshal(raw, &all) != nil || e.ID != id {
		return e, nil, domain.E(domain.KindUnavailable, "the answer is not the event that was asked for")
	}
	return e, all, nil
}

// ids of entries.
const (
	eventPrefix = "event:"
	jobPrefix   = "job:"
)

// validID reports whether a text may go into a path: a ULID, in lower case.
func validID(s string) bool {
	return len(s) == 26 && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
}

// marker is what a copy of ours says of itself, in the id and the address of an external mapping. Both are fixed when the
// entity is made, and nobody can change them later.
type marker struct {
	booking  domain.BookingID
	key      string
	category domain.Category
}

const (
	mappingPrefix = "wedsync-"
	ofJobPrefix   = "wedsync-job-"    // of a job, so that no id is used twice
	mappingHost   = "wedsync.invalid" // leads nowhere: the vendor wants an address, and ours is not known here
	shortUUID     = 22
)

// mapping writes the marker. KindInvalid tells of ids that are no UUIDs.
func (m marker) mapping() (mapping, error) {
	booking, ok := domain.ParseUUID(string(m.booking))
	if !ok {
		return mapping{}, domain.Invalid("booking_id", "must be a UUID")
	}
	key, ok := domain.ParseUUID(m.key)
	if !ok {
		return mapping{}, domain.Invalid("key", "must be a UUID")
	}
	b64 := base64.RawURLEncoding
	return mapping{ID: mappingPrefix + b64.EncodeToString(booking[:]) + b64.EncodeToString(key[:]),
		URL: "https://" + mappingHost + "/" + string(m.category) + "/" + string(m.booking)}, nil
}

// ofJob is the mapping of the job around an event with this one.
func (m mapping) ofJob() mapping {
	m.ID = ofJobPrefix + strings.TrimPrefix(m.ID, mappingPrefix)
	return m
}

// markerOf finds our marker among the mappings of an entity.
func markerOf(list []mapping) (marker, bool) {
	for _, m := range list {
		rest, ours := strings.CutPrefix(m.ID, ofJobPrefix)
		if !ours {
			rest, ours = strings.CutPrefix(m.ID, mappingPrefix)
		}
		if !ours || len(rest) != 2*shortUUID {
			continue
		}
		booking, ok := longUUID(rest[:shortUUID])
		key, good := longUUID(rest[shortUUID:])
		u, err := url.Parse(m.URL)
		if !ok || !good || err != nil || u.Host != mappingHost {
			continue
		}
		category, tail, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		if c := domain.Category(category); c.Valid() && tail == booking {
			return marker{domain.BookingID(booking), key, c}, true
		}
	}
	return marker{}, false
}

func longUUID(s string) (string, bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 16 {
		return "", false
	}
	return domain.FormatUUID([16]byte(b)), true
}

// noteOf is the marker of a lead that came in by the New Lead API, which takes no mappings: a line of its notes.
func noteOf(m mapping) string { return "Reference " + m.ID }

// ours reports whether a job was made by us for this marker.
func (j job) ours(m marker) bool {
	at, err := m.mapping()
	if err != nil {
		return false
	}
	have, ok := markerOf(j.Mappings)
	return ok && have.booking == m.booking && have.key == m.key || strings.Contains(j.LeadNotes, noteOf(at))
}

// digest tells states apart. It holds no text.
func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("marshal plain fields: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// revision of an event: what can be written of it, and of its job.
func revision(e event, f *family) string {
	e.Modified, e.StartUTC, e.EndUTC = "", "", ""
	if f == nil {
		return digest(e) + ".-"
	}
	return digest(e) + "." + digest([]any{f.ID, f.Stage, f.Closed, f.booked})
}

// jobRevision is that of a job's own date.
func jobRevision(f *family) string {
	return digest([]any{f.ID, f.Stage, f.Closed, f.booked, f.EventDate})
}
