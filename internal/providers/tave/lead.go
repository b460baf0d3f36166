package tave

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// leadWaits are the times after which a new lead is looked for in the newer API: it shows there a little later.
var leadWaits = []time.Duration{0, 250 * time.Millisecond, 750 * time.Millisecond, 1500 * time.Millisecond, 2500 * time.Millisecond}

// bringIn makes a lead by the New Lead API, which notifies the studio as its own contact form does, and returns its job. That
// API has neither mappings nor keys, so the lead's message ends with our reference, by which an earlier try is found.
func (c *connection) bringIn(ctx context.Context, w provider.Write, at mapping, jobType string) (string, error) {
	mine := func(j job) bool { return strings.Contains(j.LeadNotes, noteOf(at)) }
	if id, err := c.newest(ctx, mine); id != "" || err != nil {
		return id, err
	}
	legacy, err := c.sendLead(ctx, w, at, jobType)
	if err != nil {
		return "", err
	}
	for _, wait := range leadWaits {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return "", domain.E(domain.KindUnavailable, "wait for a new lead: %w", ctx.Err())
		}
		id, err := c.newest(ctx, func(j job) bool {
			return mine(j) || legacy != "" && strings.HasSuffix(j.Links.Self.ManagerHref, "/jobs/view/"+legacy)
		})
		if id != "" || err != nil {
			return id, err
		}
	}
	return "", domain.E(domain.KindUnavailable, "the studio took a lead and does not list it yet")
}

// newest looks for a job among the hundred newest.
func (c *connection) newest(ctx context.Context, is func(job) bool) (string, error) {
	l, err := c.client.page(ctx, "/job", "job-collection", url.Values{"includeClosed": {"true"}, "sortBy": {"created desc"}}, 1, 100)
	if err != nil {
		return "", err
	}
	jobs, err := decode[job](l.items)
	if err != nil {
		return "", err
	}
	for _, j := range jobs {
		if validID(j.ID) && is(j) {
			return j.ID, nil
		}
	}
	return "", nil
}

// sendLead posts the lead and returns the older number of its job, "" where the answer does not tell it.
func (c *connection) sendLead(ctx context.Context, w provider.Write, at mapping, jobType string) (string, error) {
	name, err := c.typeName(ctx, jobType)
	if err != nil {
		return "", err
	}
	body := map[string]string{"SecretKey": c.lead, "FirstName": letters(titleOf(w), maxPersonName), "JobType": name,
		"EventDate": calendartime.DateOf(w.When.Start, c.zone).String(), "Message": strings.TrimSpace(clean(w.Details.Notes) + "\n" + noteOf(at))}
	if who := contact(w.Details.Contact); who != nil {
		for ours, theirs := range map[string]string{"firstName": "FirstName", "lastName": "LastName", "email": "Email"} {
			if v, is := who[ours].(string); is {
				body[theirs] = v
			}
		}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return "", domain.E(domain.KindInternal, "write a lead as JSON")
	}
	u := *c.client.base
	u.Path = leadAPIPath + c.settings.LeadStudio
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(b))
	if err != nil {
		return "", domain.E(domain.KindInternal, "make a request to %s", u.Host)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	res, err := c.client.send(req)
	if err != nil {
		return "", err
	}
	var answer struct {
		Status string
		JobID  json.RawMessage
	}
	switch {
	case strings.TrimSpace(string(res.Body)) == "OK":
		return "", nil
	case json.Unmarshal(res.Body, &answer) != nil:
		return "", domain.E(domain.KindUnavailable, "the New Lead API answered neither OK nor JSON")
	case !strings.EqualFold(answer.Status, "success"):
		return "", domain.E(domain.KindPermanent, "the New Lead API refused the lead")
	}
	return strings.Trim(string(answer.JobID), `"`), nil
}

// typeName returns the name of a job type, by which that API knows it.
func (c *connection) typeName(ctx context.Context, want string) (string, error) {
	if !validID(want) {
		return want, nil
	}
	var t eventType
	if _, err := c.client.get(ctx, "/job-type/"+want, nil, &t); err != nil {
		return "", err
	}
	if t.ID != want || t.Name == "" {
		return "", domain.E(domain.KindUnavailable, "the answer is not the job type that was asked for")
	}
	return t.Name, nil
}
