package custom

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// readPart is a compiled Read.
type readPart struct {
	req     *request
	item    *program // nil = the body
	missing []int
	mapper  *mapper
}

func compileRead(s Settings, local *time.Location) (*readPart, error) {
	const part = "settings.read"
	out := &readPart{}
	var err error
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	out.req, err = compileRequest(s.Read.Request, part, scopeEntry, http.MethodGet)
	note(err)
	if s.Read.Item != "" {
		out.item, err = compile(string(s.Read.Item), part+".item", 0, scopeAnswer, wantAny, nil)
		note(err)
	}
	out.missing, err = checkStatuses(part+".missing_status", s.Read.MissingStatus, http.StatusNotFound, http.StatusGone)
	note(err)
	out.mapper, err = compileMapping(s.Mapping, s.Read.Mapping, part+".mapping", local)
	note(err)
	return out, errors.Join(faults...)
}

// reads is the ability to ask for one entry.
type reads struct{ c *connection }

// Read asks for an entry.
func (r reads) Read(ctx context.Context, externalID string) (domain.Change, error) {
	return r.c.readEntry(ctx, externalID)
}

func (c *connection) readEntry(ctx context.Context, externalID string) (domain.Change, error) {
	part := c.read
	w := newWork(ctx)
	named, err := entryVarsOf(provider.Write{ExternalID: externalID})
	if err != nil {
		return domain.Change{}, err
	}
	w.vars.named = named
	body, res, err := c.call(ctx, part.req, w)
	if err != nil {
		if missing(part.missing, err) {
			return domain.Change{}, domain.E(domain.KindNotFound, "read entry: %w", err)
		}
		return domain.Change{}, notAnEntry("read entry", err)
	}
	if body == nil {
		return domain.Change{}, domain.E(domain.KindUnavailable, "read entry: the answer has no body")
	}
	w = newWork(ctx)
	w.vars = answerVarsOf(body, res.Header, c.now())
	change, err := w.entry(part.item, part.mapper)
	if err != nil {
		return domain.Change{}, at("settings.read", err)
	}
	if change.Op == domain.OpRemove {
		return domain.Change{}, domain.E(domain.KindNotFound, "read entry: the system says that it is removed")
	}
	if change.ExternalID != externalID {
		return domain.Change{}, domain.E(domain.KindPermanent, "read entry: the answer is about another entry")
	}
	return change, nil
}

// errDropped is in the chain when an entry exists and is not for us.
var errDropped = errors.New("the mapping drops this entry")

// entry takes the entry out of an answer and maps it. An entry that the mapping drops exists, but nothing can be said
// about it.
func (w *work) entry(item *program, m *mapper) (domain.Change, error) {
	if err := w.pick(item); err != nil {
		return domain.Change{}, err
	}
	change, dropped, err := m.change(w)
	if err != nil {
		return domain.Change{}, err
	}
	if dropped {
		return domain.Change{}, domain.E(domain.KindPermanent, "%w", errDropped)
	}
	return change, nil
}

// pick sets the variable item: the body, or what the expression takes from it.
func (w *work) pick(item *program) error {
	if item == nil {
		w.vars.item = w.vars.body
		return nil
	}
	v, err := w.eval(item)
	if err != nil {
		return err
	}
	if v == nil {
		return domain.Invalid(item.field, "has no value")
	}
	w.vars.item = v
	return nil
}
