package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// outside is a system in memory with every ability, for stories on the real server.
type outside struct {
	mu      sync.Mutex
	entries map[string]domain.Change
	made    int
	refuse  error // answers every Put
	mended  bool  // what was "dead" is understood now
}

func (o *outside) Intake() provider.Intake { return provider.Intake{} }

func (o *outside) Decode(_ context.Context, d provider.Webhook) (provider.Decoded, error) {
	var out provider.Decoded
	switch string(d.Body) {
	case "dead":
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.mended {
			return out, nil
		}
		return out, domain.Invalid("body", "must be JSON")
	case "fault":
		return out, errors.New("cannot read what " + markers[0] + " sent")
	}
	err := json.Unmarshal(d.Body, &out.Changes)
	return out, err
}

func (o *outside) Pull(_ context.Context, cursor string) (provider.Page, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if cursor == "" {
		// The first page of two is empty, so that a full run has more than one.
		return provider.Page{Next: "second", More: true}, nil
	}
	page := provider.Page{Next: "end", Complete: cursor == "second"}
	for _, c := range o.entries {
		page.Changes = append(page.Changes, c)
	}
	return page, nil
}

func (o *outside) Read(_ context.Context, id string) (domain.Change, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c, ok := o.entries[id]
	if !ok {
		return c, domain.E(domain.KindNotFound, "no such entry")
	}
	return c, nil
}

func (o *outside) Put(_ context.Context, w provider.Write) (provider.Written, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse != nil {
		return provider.Written{}, o.refuse
	}
	id := w.ExternalID
	if id == "" {
		o.made++
		id = fmt.Sprintf("copy-%d", o.made)
	}
	c := domain.Change{Op: domain.OpUpsert, ExternalID: id, Revision: o.entries[id].Revision + "r", Category: w.Category, Status: w.Status,
		When: w.When, Details: w.Details}
	if !w.Source {
		c.Origin = w.BookingID
	}
	o.entries[id] = c
	return provider.Written{ExternalID: id, Revision: c.Revision, ReadBack: c}, nil
}

func (o *outside) Remove(_ context.Context, id, _ string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.entries, id)
	return nil
}
