package tave

import (
	"context"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// Read returns the entry as it is now. NotFound needs a studio that answers.
func (c *connection) Read(ctx context.Context, externalID string) (domain.Change, error) {
	ch, err := c.read(ctx, externalID)
	if err != nil {
		return domain.Change{}, domain.E(domain.KindOf(err), "read from studio: %w", err)
	}
	return ch, nil
}

func (c *connection) read(ctx context.Context, externalID string) (domain.Change, error) {
	if id, ok := strings.CutPrefix(externalID, jobPrefix); ok {
		f, err := c.family(ctx, id)
		if err != nil {
			return domain.Change{}, c.lost(ctx, err)
		}
		if !f.hasDate() {
			return domain.Change{}, domain.E(domain.KindNotFound, "the job has no date of its own any more")
		}
		return c.dated(f)
	}
	id, ok := strings.CutPrefix(externalID, eventPrefix)
	if !ok {
		return domain.Change{}, domain.Invalid("external_id", "names neither an event nor a job")
	}
	e, _, err := c.event(ctx, id)
	if err != nil {
		return domain.Change{}, c.lost(ctx, err)
	}
	return c.entry(ctx, e)
}

// entry reads an event with its job.
func (c *connection) entry(ctx context.Context, e event) (domain.Change, error) {
	if e.StartDate == "" {
		return domain.Change{}, domain.E(domain.KindNotFound, "the event has no date any more")
	}
	f, err := c.familyOf(ctx, e)
	if err != nil {
		return domain.Change{}, err
	}
	if f != nil && f.Sample {
		return domain.Change{}, domain.E(domain.KindNotFound, "the event belongs to a sample job")
	}
	return c.change(ctx, e, f)
}

// familyOf reads the job of an event, nil if it has none, or none that is there.
func (c *connection) familyOf(ctx context.Context, e event) (*family, error) {
	if e.JobID == "" || e.Hidden {
		return nil, nil
	}
	f, err := c.family(ctx, e.JobID)
	if domain.KindOf(err) == domain.KindNotFound {
		return nil, nil
	}
	return f, err
}

// lost proves that what was not found is gone.
func (c *connection) lost(ctx context.Context, err error) error {
	if domain.KindOf(err) == domain.KindNotFound {
		return c.proved(ctx, err)
	}
	return err
}
