package tave

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// create makes a copy, unless an earlier try did.
func (c *connection) create(ctx context.Context, w provider.Write, m marker) (provider.Written, error) {
	at, err := m.mapping()
	if err != nil {
		return provider.Written{}, err
	}
	there, err := c.copies(ctx, at)
	if err != nil {
		return provider.Written{}, err
	}
	if len(there) == 0 {
		if err := c.make(ctx, w, m, at); err != nil {
			return provider.Written{}, err
		}
		// A try whose answer was lost may have come through late, between our look and our write.
		if there, err = c.copies(ctx, at); err != nil {
			return provider.Written{}, err
		}
		if len(there) == 0 {
			return provider.Written{}, domain.E(domain.KindUnavailable, "the studio took the copy and does not list it")
		}
	}
	for _, extra := range there[1:] {
		if err := c.remove(ctx, eventPrefix+extra.ID, ""); err != nil {
			return provider.Written{}, err
		}
	}
	return c.update(ctx, w, m, there[0], nil, true)
}

// copies lists the events with a mapping, oldest first.
func (c *connection) copies(ctx context.Context, at mapping) ([]event, error) {
	l, err := c.client.page(ctx, "/event", "event-collection", url.Values{"externalMappingId": {at.ID}, "includeHidden": {"true"}, "sortBy": {"id"}}, 1, 100)
	if err != nil {
		return nil, err
	}
	all, err := decode[event](l.items)
	if err != nil {
		return nil, err
	}
	var out []event
	for _, e := range all {
		for _, have := range e.Mappings {
			if have.ID == at.ID && validID(e.ID) {
				out = append(out, e)
				break
			}
		}
	}
	return out, nil
}

// make writes the copy: an event, or a job with one.
func (c *connection) make(ctx context.Context, w provider.Write, m marker, at mapping) error {
	e := c.wish(w)
	for name, v := range e {
		if v == nil {
			delete(e, name) // nothing to say
		}
	}
	e["externalMappings"] = []mapping{at}
	kind, err := c.named(ctx, "/event-type", "eventtype-collection", "settings.event_type", c.settings.EventType)
	if err != nil {
		return err
	}
	if kind != "" {
		e["typeId"] = kind
	}
	jobType := c.settings.Jobs[w.Category]
	if jobType == "" {
		return c.post(ctx, "/event", e)
	}
	job, err := c.jobFor(ctx, m, at)
	if err != nil {
		return err
	}
	if job == "" && c.settings.LeadStudio != "" && w.Status == domain.StatusTentative {
		if job, err = c.bringIn(ctx, w, at, jobType); err != nil {
			return err
		}
	}
	if job != "" {
		e["jobId"] = job
		return c.post(ctx, "/event", e)
	}
	typeID, err := c.named(ctx, "/job-type", "jobtype-collection", "settings.jobs", jobType)
	if err != nil {
		return err
	}
	sheet := map[string]any{"name": titleOf(w), "jobTypeId": typeID, "stage": stageLead, "eventDate": e["startDate"], "externalMappings": []mapping{at.ofJob()},
		"events": []any{e}}
	if w.Status == domain.StatusConfirmed {
		sheet["stage"], sheet["bookingDate"] = stageBooked, c.today()
	}
	if who := contact(w.Details.Contact); who != nil {
		sheet["contacts"] = []any{map[string]any{"client": true, "contact": who}}
	}
	return c.post(ctx, "/job/-/worksheet", sheet)
}

func (c *connection) post(ctx context.Context, path string, body any) error {
	_, err := c.client.do(ctx, http.MethodPost, path, nil, body, &json.RawMessage{})
	return err
}

// jobFor finds the job that an earlier try made, "" if there is none. Its event may have been removed since.
func (c *connection) jobFor(ctx context.Context, m marker, at mapping) (string, error) {
	l, err := c.client.page(ctx, "/job", "job-collection", url.Values{"externalMappingId": {at.ofJob().ID}, "includeClosed": {"true"}}, 1, 10)
	if err != nil {
		return "", err
	}
	jobs, err := decode[job](l.items)
	if err != nil {
		return "", err
	}
	for _, j := range jobs {
		if j.ours(m) && validID(j.ID) {
			return j.ID, nil
		}
	}
	return "", nil
}

// named returns the id of a setting of the studio by its id or name. field is told when there is none.
func (c *connection) named(ctx context.Context, path, kind, field, want string) (string, error) {
	if want == "" || validID(want) {
		return want, nil
	}
	all, err := everything[eventType](ctx, c.client, path, kind, nil)
	if err != nil {
		return "", err
	}
	for _, t := range all {
		if strings.EqualFold(t.Name, want) {
			return t.ID, nil
		}
	}
	return "", domain.Invalid(field, "the studio has none of this name among %d", len(all))
}

const maxPersonName = 48 // characters of a first or last name there

// contact makes a person of a name or mail address, nil of nothing.
func contact(text string) map[string]any {
	text = strings.ReplaceAll(clean(text), "\n", " ")
	switch {
	case text == "":
		return nil
	case strings.Contains(text, "@") && !strings.ContainsAny(text, " ,<>\""):
		if len(text) > 255 {
			return nil
		}
		return map[string]any{"kind": "person", "email": text}
	}
	first, last := text, ""
	if i := strings.LastIndexByte(text, ' '); i > 0 {
		first, last = text[:i], text[i+1:]
	}
	out := map[string]any{"kind": "person", "firstName": letters(first, maxPersonName)}
	if last != "" {
		out["lastName"] = letters(last, maxPersonName)
	}
	return out
}

// letters shortens a text to a number of characters.
func letters(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit])
	}
	return s
}
