package tave

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Onboard checks the key and fills in the studio's id and zone, and the ids of the types that copies get. A key of another
// studio than the settings were made for is refused, and so is a studio in read-only mode where copies are to be written.
func (c *connection) Onboard(ctx context.Context) (json.RawMessage, error) {
	s, err := c.onboard(ctx)
	if err != nil {
		return nil, domain.E(domain.KindOf(err), "connect studio: %w", err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, domain.E(domain.KindInternal, "write settings: %w", err)
	}
	return b, nil
}

func (c *connection) onboard(ctx context.Context) (settings, error) {
	s := c.settings
	me, err := c.studio(ctx)
	if err != nil {
		return s, err
	}
	if !validID(me.ID) {
		return s, domain.E(domain.KindUnavailable, "the answer does not name the studio")
	}
	if c.exports && me.Readonly {
		return s, domain.Invalid("settings.studio", "the studio is in read-only mode, so nothing can be written to it")
	}
	s.Studio = me.ID
	if validID(me.TimezoneID) {
		var zone struct {
			Name string `json:"name"`
		}
		if _, err := c.client.get(ctx, "/timezone/"+me.TimezoneID, nil, &zone); err != nil {
			return s, err
		}
		// A name that we do not know leaves the resource's zone.
		if _, err := calendartime.LoadZone(zone.Name); err == nil {
			s.Timezone = zone.Name
		}
	}
	if s.EventType, err = c.named(ctx, "/event-type", "eventtype-collection", "settings.event_type", s.EventType); err != nil {
		return s, err
	}
	s.Jobs = maps.Clone(s.Jobs)
	for category, want := range s.Jobs {
		if s.Jobs[category], err = c.named(ctx, "/job-type", "jobtype-collection", "settings.jobs."+string(category), want); err != nil {
			return s, err
		}
	}
	return s, nil
}

// Identity is the studio: a key reads all of it.
func (c *connection) Identity() string {
	return provider.IdentityOf(c.settings.base.Host, c.settings.Studio)
}
