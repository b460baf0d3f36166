package custom

import (
	"context"
	"errors"
	"net/http"

	"cel.dev/cel-go/common/types"

	"github.com/wedsync/wedsync/internal/domain"
)

// probePart is a compiled Probe.
type probePart struct {
	req    *request
	expect *program // nil = any success will do
}

func compileProbe(p Probe) (*probePart, error) {
	const part = "settings.probe"
	out := &probePart{}
	var faults [2]error
	out.req, faults[0] = compileRequest(p.Request, part, scopeNone, http.MethodGet)
	if p.Expect != "" {
		out.expect, faults[1] = compile(string(p.Expect), part+".expect", 0, scopeAnswer, wantBool, nil)
	}
	return out, errors.Join(faults[:]...)
}

// probes is the ability to be asked for a sign of life.
type probes struct{ c *connection }

// Probe makes the request of settings.probe. Any 2xx answer counts, with or without a body, unless settings.probe.expect
// says otherwise.
func (p probes) Probe(ctx context.Context) error {
	part := p.c.probe
	w := newWork(ctx)
	req, err := part.req.build(ctx, p.c.base, w)
	if err != nil {
		return err
	}
	if part.expect == nil {
		if _, err := p.c.do(req); err != nil {
			return notAnEntry("probe", err)
		}
		return nil
	}
	body, res, err := p.c.send(req)
	if err != nil {
		return notAnEntry("probe", err)
	}
	w.vars = answerVarsOf(body, res.Header, p.c.now())
	if v, err := w.eval(part.expect); err != nil || v != types.True {
		return domain.E(domain.KindUnavailable, "probe: the answer is not what settings.probe.expect asks for")
	}
	return nil
}

const (
	hasHooks = 1 << iota
	hasLists
	hasReads
	hasWrites
	hasProbes
)

// abilities returns a value with exactly the methods of the configured parts. Abilities are found by type, and Go
// fixes a type's methods when it compiles, so each combination is a type of its own.
func (c *connection) abilities() any {
	set := 0
	for bit, there := range map[int]bool{hasHooks: c.webhook != nil, hasLists: c.list != nil, hasReads: c.read != nil,
		hasWrites: c.write != nil, hasProbes: c.probe != nil} {
		if there {
			set |= bit
		}
	}
	switch set {
	case hasHooks:
		return struct {
			hooks
		}{hooks{c}}
	case hasLists:
		return struct {
			lists
		}{lists{c}}
	case hasHooks | hasLists:
		return struct {
			hooks
			lists
		}{hooks{c}, lists{c}}
	case hasReads:
		return struct {
			reads
		}{reads{c}}
	case hasHooks | hasReads:
		return struct {
			hooks
			reads
		}{hooks{c}, reads{c}}
	case hasLists | hasReads:
		return struct {
			lists
			reads
		}{lists{c}, reads{c}}
	case hasHooks | hasLists | hasReads:
		return struct {
			hooks
			lists
			reads
		}{hooks{c}, lists{c}, reads{c}}
	case hasWrites:
		return struct {
			writes
		}{writes{c}}
	case hasHooks | hasWrites:
		return struct {
			hooks
			writes
		}{hooks{c}, writes{c}}
	case hasLists | hasWrites:
		return struct {
			lists
			writes
		}{lists{c}, writes{c}}
	case hasHooks | hasLists | hasWrites:
		return struct {
			hooks
			lists
			writes
		}{hooks{c}, lists{c}, writes{c}}
	case hasReads | hasWrites:
		return struct {
			reads
			writes
		}{reads{c}, writes{c}}
	case hasHooks | hasReads | hasWrites:
		return struct {
			hooks
			reads
			writes
		}{hooks{c}, reads{c}, writes{c}}
	case hasLists | hasReads | hasWrites:
		return struct {
			lists
			reads
			writes
		}{lists{c}, reads{c}, writes{c}}
	case hasHooks | hasLists | hasReads | hasWrites:
		return struct {
			hooks
			lists
			reads
			writes
		}{hooks{c}, lists{c}, reads{c}, writes{c}}
	case hasProbes:
		return struct {
			probes
		}{probes{c}}
	case hasHooks | hasProbes:
		return struct {
			hooks
			probes
		}{hooks{c}, probes{c}}
	case hasLists | hasProbes:
		return struct {
			lists
			probes
		}{lists{c}, probes{c}}
	case hasHooks | hasLists | hasProbes:
		return struct {
			hooks
			lists
			probes
		}{hooks{c}, lists{c}, probes{c}}
	case hasReads | hasProbes:
		return struct {
			reads
			probes
		}{reads{c}, probes{c}}
	case hasHooks | hasReads | hasProbes:
		return struct {
			hooks
			reads
			probes
		}{hooks{c}, reads{c}, probes{c}}
	case hasLists | hasReads | hasProbes:
		return struct {
			lists
			reads
			probes
		}{lists{c}, reads{c}, probes{c}}
	case hasHooks | hasLists | hasReads | hasProbes:
		return struct {
			hooks
			lists
			reads
			probes
		}{hooks{c}, lists{c}, reads{c}, probes{c}}
	case hasWrites | hasProbes:
		return struct {
			writes
			probes
		}{writes{c}, probes{c}}
	case hasHooks | hasWrites | hasProbes:
		return struct {
			hooks
			writes
			probes
		}{hooks{c}, writes{c}, probes{c}}
	case hasLists | hasWrites | hasProbes:
		return struct {
			lists
			writes
			probes
		}{lists{c}, writes{c}, probes{c}}
	case hasHooks | hasLists | hasWrites | hasProbes:
		return struct {
			hooks
			lists
			writes
			probes
		}{hooks{c}, lists{c}, writes{c}, probes{c}}
	case hasReads | hasWrites | hasProbes:
		return struct {
			reads
			writes
			probes
		}{reads{c}, writes{c}, probes{c}}
	case hasHooks | hasReads | hasWrites | hasProbes:
		return struct {
			hooks
			reads
			writes
			probes
		}{hooks{c}, reads{c}, writes{c}, probes{c}}
	case hasLists | hasReads | hasWrites | hasProbes:
		return struct {
			lists
			reads
			writes
			probes
		}{lists{c}, reads{c}, writes{c}, probes{c}}
	case hasHooks | hasLists | hasReads | hasWrites | hasProbes:
		return struct {
			hooks
			lists
			reads
			writes
			probes
		}{hooks{c}, lists{c}, reads{c}, writes{c}, probes{c}}
	}
	return struct{}{}
}
