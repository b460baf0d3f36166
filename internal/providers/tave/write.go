package tave

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
)

// Put creates or updates a copy, or changes a source entry; see the package comment.
func (c *connection) Put(ctx context.Context, w provider.Write) (provider.Written, error) {
	done, err := c.put(ctx, w)
	if err != nil {
		err = c.explain(ctx, err)
		return provider.Written{}, domain.E(domain.KindOf(err), "write to studio: %w", err)
	}
	return done, nil
}

// readonlyPause is when a write to a studio in read-only mode is tried again.
const readonlyPause = 30 * time.Minute

// explain finds out whether a refusal is that of a studio in read-only mode, which passes.
func (c *connection) explain(ctx context.Context, err error) error {
	if status := httpx.StatusOf(err); status < 400 || status >= 500 || status == http.StatusUnauthorized || status == http.StatusTooManyRequests {
		return err
	}
	if s, askErr := c.studio(ctx); askErr == nil && s.Readonly {
		return domain.WithRetryAfter(domain.E(domain.KindUnavailable, "the studio is in read-only mode"), readonlyPause)
	}
	return err
}

func (c *connection) put(ctx context.Context, w provider.Write) (provider.Written, error) {
	m := marker{w.BookingID, w.Key, w.Category}
	if _, err := m.mapping(); err != nil {
		return provider.Written{}, err
	}
	if err := w.When.Validate("when"); err != nil {
		return provider.Written{}, err
	}
	// The API has no keys against repeats, so two tries of one write may not meet.
	leave, err := c.writing.enter(ctx, w.Key)
	if err != nil {
		return provider.Written{}, err
	}
	defer leave()
	switch {
	case w.Source:
		return c.move(ctx, w)
	case w.ExternalID == "":
		return c.create(ctx, w, m)
	}
	id, ok := strings.CutPrefix(w.ExternalID, eventPrefix)
	if !ok {
		return provider.Written{}, domain.Invalid("external_id", "names no event, and copies are events")
	}
	e, raw, err := c.event(ctx, id)
	if domain.KindOf(err) == domain.KindNotFound {
		if err := c.proved(ctx, err); domain.KindOf(err) != domain.KindNotFound {
			return provider.Written{}, err
		}
		if w.Revision == "" {
			return c.create(ctx, w, m)
		}
		return provider.Written{}, domain.E(domain.KindConflict, "the copy was removed since it was read")
	}
	if err != nil {
		return provider.Written{}, err
	}
	if have, ours := markerOf(e.Mappings); w.Revision == "" && (!ours || have.key != w.Key) {
		return provider.Written{}, domain.E(domain.KindConflict, "the event is not a copy of ours")
	}
	return c.update(ctx, w, m, e, raw, w.Revision == "")
}

// update makes a copy what it should be. raw is the event as it was sent, nil if it is to be asked for once it is needed. adopt
// says that no revision is known, and that ours counts. Of event and job each is
// written only if it is not yet as wished, so that a try after a lost answer ends what the first began.
func (c *connection) update(ctx context.Context, w provider.Write, m marker, e event, raw map[string]json.RawMessage, adopt bool) (provider.Written, error) {
	f, err := c.familyOf(ctx, e)
	if err != nil {
		return provider.Written{}, err
	}
	same, err := c.same(ctx, w, e)
	if err != nil {
		return provider.Written{}, err
	}
	wishes := map[string]any{}
	if f != nil && f.ours(m) {
		wishes = c.stageWish(w, f)
	}
	knownEvent, knownJob, _ := strings.Cut(w.Revision, ".")
	haveEvent, haveJob, _ := strings.Cut(revision(e, f), ".")
	if !adopt && (!same && knownEvent != haveEvent || len(wishes) > 0 && knownJob != haveJob) {
		return provider.Written{}, domain.E(domain.KindConflict, "the copy was changed since it was read")
	}
	if !same {
		if e.ReadOnly {
			return provider.Written{}, domain.E(domain.KindPermanent, "the studio lets nobody change this event")
		}
		if raw == nil {
			if e, raw, err = c.event(ctx, e.ID); err != nil {
				return provider.Written{}, err
			}
		}
		wish := c.wish(w)
		if e.Location.String() == clean(w.Details.Location) {
			delete(wish, "location")
		}
		if plainText(e.Description) == clean(w.Details.Notes) {
			delete(wish, "descriptionHtml")
		}
		if err := c.save(ctx, "/event/"+e.ID, raw, eventMembers, wish); err != nil {
			return provider.Written{}, err
		}
	}
	if len(wishes) > 0 {
		if err := c.saveJob(ctx, f.ID, wishes); err != nil {
			return provider.Written{}, err
		}
	}
	if same && len(wishes) == 0 {
		return stored(c.change(ctx, e, f))
	}
	return c.written(ctx, eventPrefix+e.ID)
}

// written reads what was written, in the form in which Pull gives it.
func (c *connection) written(ctx context.Context, id string) (provider.Written, error) {
	return stored(c.read(ctx, id))
}

func stored(ch domain.Change, err error) (provider.Written, error) {
	if err != nil {
		kind := domain.KindOf(err)
		if kind == domain.KindNotFound || kind == domain.KindInvalid {
			kind = domain.KindUnavailable
		}
		return provider.Written{}, domain.E(kind, "read what was written: %w", err)
	}
	return provider.Written{ExternalID: ch.ExternalID, Revision: ch.Revision, ReadBack: ch}, nil
}

// Members that can be written. What else an answer holds is read-only or unknown, and would be refused.
var (
	eventMembers = []string{"allDay", "channel", "confirmed", "descriptionHtml", "endDate", "endTime", "externalMappings", "galleryId", "jobId", "location",
		"name", "phoneNumber", "startDate", "startTime", "timezoneId", "timezoneName", "typeId", "virtualUrl"}
	jobMembers = []string{"bookingDate", "brandId", "closed", "closedDate", "closedReasonId", "completedDate", "contactFormId", "customFields", "eventDate",
		"externalMappings", "fulfillmentDate", "guestCount", "inquiryDate", "jobTypeId", "leadConfidence", "leadDecisionExpectedByDate", "leadMaxBudget",
		"leadNotes", "leadRating", "leadSourceId", "leadStatusId", "name", "pinned", "stage", "webLead", "workflowId"}
	// readOnlyInside are read-only members of members.
	readOnlyInside = map[string][]string{
		"location":     {"links", "created", "modified", "hidden"},
		"address":      {"links", "id", "created", "modified", "hidden", "name", "latitude", "longitude", "googlePlaceId", "timezone"},
		"phoneNumber":  {"id", "dialCode"},
		"customFields": {"id", "created", "modified", "hidden"},
	}
)

// save writes an entity back whole, with changes.
func (c *connection) save(ctx context.Context, path string, raw map[string]json.RawMessage, members []string, changes map[string]any) error {
	body := make(map[string]any, len(members))
	for _, name := range members {
		if v, there := raw[name]; there {
			var value any
			if err := json.Unmarshal(v, &value); err != nil {
				return domain.E(domain.KindUnavailable, "a member of the entity cannot be read")
			}
			body[name] = stripped(name, value)
		}
	}
	for name, v := range changes {
		body[name] = v
	}
	_, err := c.client.do(ctx, http.MethodPut, path, nil, body, &json.RawMessage{})
	return err
}

// stripped leaves out what inside a member cannot be written.
func stripped(name string, v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = stripped(name, v[i])
		}
	case map[string]any:
		for _, inner := range readOnlyInside[name] {
			delete(v, inner)
		}
		if at, is := v["address"]; is && name == "location" {
			v["address"] = stripped("address", at)
		}
	}
	return v
}

// saveJob changes a job.
func (c *connection) saveJob(ctx context.Context, id string, changes map[string]any) error {
	var raw map[string]json.RawMessage
	if _, err := c.client.get(ctx, "/job/"+id, nil, &raw); err != nil {
		return err
	}
	var have string
	if json.Unmarshal(raw["id"], &have) != nil || have != id {
		return domain.E(domain.KindUnavailable, "the answer is not the job that was asked for")
	}
	return c.save(ctx, "/job/"+id, raw, jobMembers, changes)
}

// Remove deletes a copy, and the job that was made for it unless the studio has put more into it. One that is gone is success.
// Without a revision only a copy of ours is deleted.
func (c *connection) Remove(ctx context.Context, externalID, revision string) error {
	if err := c.remove(ctx, externalID, revision); err != nil {
		err = c.explain(ctx, err)
		return domain.E(domain.KindOf(err), "remove from studio: %w", err)
	}
	return nil
}

func (c *connection) remove(ctx context.Context, externalID, known string) error {
	id, ok := strings.CutPrefix(externalID, eventPrefix)
	if !ok {
		return domain.Invalid("external_id", "names no event, and copies are events")
	}
	e, _, err := c.event(ctx, id)
	if err != nil {
		return c.goneIsFine(ctx, err)
	}
	m, ours := markerOf(e.Mappings)
	if known == "" && !ours {
		return domain.E(domain.KindConflict, "the event is not a copy of ours")
	}
	f, err := c.familyOf(ctx, e)
	if err != nil {
		return err
	}
	if known != "" && revision(e, f) != known {
		return domain.E(domain.KindConflict, "the copy was changed since it was read")
	}
	if f != nil && ours && f.ours(m) {
		// The job first: should only half of it succeed, the event still leads to the rest.
		if err := c.removeJob(ctx, f, e.ID); err != nil {
			return err
		}
	}
	_, err = c.client.do(ctx, http.MethodDelete, "/event/"+e.ID, nil, nil, nil)
	return c.goneIsFine(ctx, err)
}

// removeJob deletes a job of ours that holds nothing but one event.
func (c *connection) removeJob(ctx context.Context, f *family, only string) error {
	for _, e := range *f.Events {
		if e.ID != only {
			return nil
		}
	}
	var orders struct {
		Items *[]order `json:"items"`
	}
	if _, err := c.client.get(ctx, "/job/"+f.ID+"/order", nil, &orders); err != nil {
		return err
	}
	if orders.Items == nil {
		return domain.E(domain.KindUnavailable, "the answer is not the list of orders that was asked for")
	}
	if len(*orders.Items) > 0 {
		return nil
	}
	_, err := c.client.do(ctx, http.MethodDelete, "/job/"+f.ID, nil, nil, nil)
	return c.goneIsFine(ctx, err)
}

// goneIsFine turns the proof that an entry is gone into success.
func (c *connection) goneIsFine(ctx context.Context, err error) error {
	if domain.KindOf(err) != domain.KindNotFound {
		return err
	}
	if err = c.proved(ctx, err); domain.KindOf(err) == domain.KindNotFound {
		return nil
	}
	return err
}
