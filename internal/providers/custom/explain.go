package custom

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// maxExplained is how many entries of a delivery are told one by one.
const maxExplained = 100

// exprError is an error about an expression with its place. Its text is that of the error inside.
type exprError struct {
	at  provider.Position
	err error
}

func (e *exprError) Error() string { return e.err.Error() }
func (e *exprError) Unwrap() error { return e.err }

// positionOf finds the place that err is about; its Path is "" when none is known.
func positionOf(err error) provider.Position {
	var e *exprError
	if errors.As(err, &e) {
		return e.at
	}
	return provider.Position{}
}

// start is where an expression begins in its text.
func (p *program) start() provider.Position {
	return provider.Position{Path: p.path, Line: 1, Column: p.offset + 1}
}

// placeOf is where in an expression its evaluation failed.
func (p *program) placeOf(err error) provider.Position {
	at := p.start()
	var failed *types.Err
	if !errors.As(err, &failed) || p.ast == nil {
		return at
	}
	info := p.ast.NativeRep().SourceInfo()
	if _, known := info.GetOffsetRange(failed.NodeID()); !known {
		return at
	}
	loc := info.GetStartLocation(failed.NodeID())
	if loc.Line() < 1 || loc.Column() < 0 {
		return at
	}
	at.Line, at.Column = loc.Line(), loc.Column()+1
	if at.Line == 1 {
		at.Column += p.offset
	}
	return at
}

// trace collects what is told about a delivery.
type trace struct{ steps []provider.ExplainStep }

// step is one entry of a trace. A nil step tells nothing, so that decoding does not pay for it.
type step struct {
	w  *work
	n  int
	at uint64 // cost left when it began
}

func (w *work) begin(name, subject string) *step {
	if w.trace == nil {
		return nil
	}
	w.trace.steps = append(w.trace.steps, provider.ExplainStep{Name: name, Subject: subject})
	return &step{w: w, n: len(w.trace.steps) - 1, at: w.left}
}

func (s *step) done(result string) {
	if s == nil {
		return
	}
	told := &s.w.trace.steps[s.n]
	told.Result, told.Cost = result, s.at-s.w.left
}

func (s *step) failed(err error) {
	if s == nil {
		return
	}
	s.done("failed")
	s.w.trace.steps[s.n].Fault = &provider.Fault{Position: positionOf(err), Text: faultText(err)}
}

// failedIn is failed for an error of a mapping, whose place may be known by its field only.
func (s *step) failedIn(m *mapper, err error) {
	if s == nil {
		return
	}
	s.failed(err)
	if at := &s.w.trace.steps[s.n].Fault.Position; at.Path == "" {
		field, _, _ := strings.Cut(domain.FieldOf(err), ".")
		if field == "when" {
			field = "start"
		}
		if path := m.paths[field]; path != "" {
			*at = provider.Position{Path: path, Line: 1, Column: 1}
		}
	}
}

// faultText is the text of an error of ours, without data; of any other error only that there was one.
func faultText(err error) string {
	var known *domain.Error
	if errors.As(err, &known) {
		return err.Error()
	}
	return "an unexpected fault"
}

// Explain tells how a delivery is read, step by step, with the same outcome as Decode.
func (h hooks) Explain(ctx context.Context, d provider.Webhook) provider.Explanation {
	ctx, cancel := context.WithTimeout(ctx, decodeTime)
	defer cancel()
	return h.c.webhook.explain(ctx, d)
}

func (p *webhookPart) explain(ctx context.Context, d provider.Webhook) provider.Explanation {
	w := newWork(ctx)
	w.trace = &trace{}
	var out provider.Explanation
	out.Decoded, out.Priority, out.Err = p.decode(w, d)
	out.Steps, out.Cost = w.trace.steps, deliveryCost-w.left
	return out
}

// trial lays settings to be tried over the stored ones: a document with a member webhook is taken whole, any other is the
// webhook part in place of the stored one.
func trial(stored, given json.RawMessage) (json.RawMessage, error) {
	if len(given) > maxSettings {
		return nil, domain.Invalid("settings", "at most %d bytes, has %d", maxSettings, len(given))
	}
	v, err := parseJSON(given)
	if err != nil {
		return nil, domain.Invalid("settings", "%s", err)
	}
	part, ok := v.(map[string]any)
	if !ok {
		return nil, domain.Invalid("settings", "must be an object: the webhook part, or all settings")
	}
	if _, whole := part["webhook"]; whole {
		return given, nil
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(stored, &all); err != nil {
		return nil, domain.E(domain.KindInternal, "read the stored settings: %w", err)
	}
	all["webhook"] = given
	out, err := json.Marshal(all)
	if err != nil {
		return nil, domain.E(domain.KindInternal, "lay settings over the stored ones: %w", err)
	}
	return out, nil
}

// summary describes a converted body without its values.
func summary(f format, b []byte, v any) string {
	text := f.String() + " of " + strconv.Itoa(len(b)) + " bytes: "
	switch v := v.(type) {
	case map[string]any:
		return text + "an object with " + strconv.Itoa(len(v)) + " members"
	case []any:
		return text + "a list of " + strconv.Itoa(len(v))
	case nil:
		return text + "null"
	case string:
		return text + "a text"
	case bool:
		return text + "true or false"
	}
	return text + "a number"
}
