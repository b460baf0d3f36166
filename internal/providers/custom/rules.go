package custom

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Bounds of rules.
const (
	maxRules      = 50
	maxRuleName   = 60  // bytes
	maxDropReason = 200 // bytes
	maxRoutes     = 10  // integrations of all rules together that one delivery goes to

	priorityTime = 100 * time.Millisecond // for finding a priority while the vendor waits
	priorityBody = 256 << 10              // bytes; a larger body gets no priority by rule
	priorityCost = 200_000                // for finding a priority
)

// decodeTime bounds all expressions of one delivery, beside their cost. It depends on the machine, so it is only there
// for what the cost does not foresee; tests that are about the cost make it longer.
var decodeTime = 5 * time.Second

// rule is a compiled Rule.
type rule struct {
	name     string
	path     string
	when     *program
	drop     string
	route    []domain.IntegrationID
	keep     bool
	priority domain.Priority
}

// compileRules compiles all rules and reports every wrong one, with its name.
func compileRules(rules []Rule, part string) ([]rule, error) {
	if len(rules) > maxRules {
		return nil, domain.Invalid(part, "at most %d, has %d", maxRules, len(rules))
	}
	var faults []error
	out := make([]rule, len(rules))
	seen := map[string]bool{}
	for i, r := range rules {
		path := fmt.Sprintf("%s[%d]", part, i)
		c, err := compileRule(r, path)
		if err != nil {
			faults = append(faults, err)
		}
		if seen[r.Name] && r.Name != "" {
			faults = append(faults, domain.Invalid(path+".name", "two rules are called %q", safeName(r.Name)))
		}
		seen[r.Name] = true
		out[i] = c
	}
	return out, errors.Join(faults...)
}

func compileRule(r Rule, path string) (rule, error) {
	out := rule{name: r.Name, path: path, keep: r.Keep}
	var faults []error
	wrong := func(field, format string, args ...any) {
		faults = append(faults, domain.Invalid(path+field, "%s", ruleText(r.Name, fmt.Sprintf(format, args...))))
	}
	if !printableText(r.Name, maxRuleName) {
		faults = append(faults, domain.Invalid(path+".name", "must have 1 to %d printable bytes", maxRuleName))
	}
	var err error
	if out.when, err = compile(string(r.When), path+".when", 0, scopeAnswer, wantBool, nil); err != nil {
		var e *domain.Error
		if errors.As(err, &e) {
			named := *e
			named.Text = ruleText(r.Name, e.Text)
			err = &named
		}
		faults = append(faults, err)
	}
	kinds := 0
	if r.Drop != nil {
		kinds++
		out.drop = r.Drop.Reason
		if !printableText(r.Drop.Reason, maxDropReason) {
			wrong(".drop.reason", "must have 1 to %d printable bytes", maxDropReason)
		}
	}
	if r.Route != nil {
		kinds++
		if len(r.Route) < 1 || len(r.Route) > maxRoutes {
			wrong(".route", "must name 1 to %d integrations", maxRoutes)
		}
		for n, id := range r.Route {
			parsed, err := domain.ParseID[domain.IntegrationID]("route", id)
			if err != nil {
				wrong(fmt.Sprintf(".route[%d]", n), "must be the id of an integration")
			} else if !slices.Contains(out.route, parsed) {
				out.route = append(out.route, parsed)
			}
		}
	} else if r.Keep {
		wrong(".keep", "has no meaning without route")
	}
	if r.Priority != "" {
		kinds++
		if out.priority, err = domain.ParsePriority("priority", r.Priority); err != nil {
			wrong(".priority", "must be urgent, high, normal or bulk")
		}
	}
	if kinds != 1 {
		wrong("", "must have exactly one of drop, route and priority")
	}
	return out, errors.Join(faults...)
}

func ruleText(name, text string) string { return fmt.Sprintf("rule %q: %s", safeName(name), text) }

// printableText reports whether s is printable and has 1 to n bytes.
func printableText(s string, n int) bool {
	return s != "" && len(s) <= n && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// verdict is what the rules say about a delivery.
type verdict struct {
	ignore   string
	route    []domain.IntegrationID
	priority domain.Priority // 0 = none said
}

// judge evaluates rules in order. A rule that drops, or routes without keeping, ends it. The first rule that sets a
// priority decides it.
func (w *work) judge(rules []rule) (verdict, error) {
	var out verdict
	for i := range rules {
		r := &rules[i]
		step := w.begin("rule", r.name)
		holds, err := w.holds(r)
		if err != nil {
			step.failed(err)
			return verdict{}, err
		}
		if !holds {
			step.done("does not apply")
			continue
		}
		switch {
		case r.drop != "":
			step.done("applies: dropped")
			out.ignore = "dropped by " + ruleText(r.name, r.drop)
			return out, nil
		case r.route != nil:
			for _, id := range r.route {
				if !slices.Contains(out.route, id) {
					out.route = append(out.route, id)
				}
			}
			if len(out.route) > maxRoutes {
				err := domain.Invalid(r.path+".route", "%s", ruleText(r.name, fmt.Sprintf("a delivery may go to at most %d integrations", maxRoutes)))
				step.failed(err)
				return verdict{}, err
			}
			if !r.keep {
				step.done("applies: routed, not kept")
				out.ignore = "routed by " + ruleText(r.name, "it is for other integrations")
				return out, nil
			}
			step.done("applies: routed and kept")
		case out.priority == 0:
			step.done("applies: priority " + r.priority.String())
			out.priority = r.priority
		default:
			step.done("applies, after another rule set the priority")
		}
	}
	return out, nil
}

func (w *work) holds(r *rule) (bool, error) {
	v, err := w.eval(r.when)
	if err != nil {
		return false, ruleError(r, err)
	}
	switch v := v.(type) {
	case nil:
		return false, nil
	case types.Bool:
		return bool(v), nil
	default:
		return false, ruleError(r, domain.Invalid("when", "must be %s, is %s", wantWords[wantBool], valueWord(v)))
	}
}

// ruleError names the rule in an error about its condition.
func ruleError(r *rule, err error) error {
	if domain.KindOf(err) != domain.KindInvalid {
		return err
	}
	at := positionOf(err)
	if at.Path == "" {
		at.Path = r.path + ".when"
	}
	return &exprError{at: at, err: domain.E(domain.KindInvalid, "rule %q: %w", r.name, err)}
}

// priorityOf is provider.Intake.Priority.
func (p *webhookPart) priorityOf(header http.Header, b []byte) (domain.Priority, bool) {
	if len(b) > priorityBody {
		return 0, false
	}
	f, err := p.formatFor(header.Get("Content-Type"))
	if err != nil {
		return 0, false
	}
	body, err := parseBody(f, b)
	if err != nil {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), priorityTime)
	defer cancel()
	w := newWork(ctx)
	w.left = priorityCost
	w.vars = vars{body: body, headers: lowerHeaders(header), receivedAt: types.Timestamp{Time: p.now().UTC()}}
	v, err := w.judge(p.rules)
	return v.priority, err == nil && v.priority.Valid()
}

// setsPriority reports whether any rule does.
func setsPriority(rules []rule) bool {
	return slices.ContainsFunc(rules, func(r rule) bool { return r.priority != 0 })
}

// eventType is the text by which people search. It decides nothing, so one that is too long is cut.
func (w *work) eventType(p *program) (string, error) {
	r := reader{w: w}
	text := strings.Map(func(c rune) rune {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, r.text(p))
	for len(text) > provider.MaxEventType {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return text, r.err
}
