package custom

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/wedsync/wedsync/internal/domain"
)

// Bounds of an expression. Cost is cel-go's unit, about one step of evaluation.
const (
	maxExpr       = 4 << 10    // characters of source
	maxNesting    = 50         // parser recursion
	maxExprNodes  = 5_000      // syntax nodes after macros
	maxRegexp     = 1_000      // compiled size of a pattern
	fieldCost     = 50_000     // one field of one entry
	pageCost      = 1_000_000  // an expression over a whole answer, such as items
	deliveryCost  = 2_000_000  // everything evaluated for one delivery, request or answer about one entry
	listingCost   = 10_000_000 // everything evaluated for one page of a listing
	interruptStep = 100        // loop iterations between looks at the context
)

// scope is the set of variables that an expression may use.
type scope int

const (
	scopeItem    scope = iota // one entry: item, body, headers, received_at
	scopeAnswer               // a whole answer or delivery: body, headers, received_at
	scopeList                 // a listing request: page, since, page_size
	scopeEntry                // a write request: entry.*
	scopeWritten              // the answer to a write: body, headers, entry.*
	scopeFault                // any answer: body, headers, received_at, status
	scopeNone                 // a probe: nothing
)

// entryVars are the variables of scopeEntry. Qualified names let the checker find a misspelt one at creation.
var entryVars = map[string]*cel.Type{
	"entry.key": cel.StringType, "entry.booking_id": cel.StringType, "entry.external_id": cel.StringType,
	"entry.revision": cel.StringType, "entry.category": cel.StringType, "entry.status": cel.StringType,
	"entry.start": cel.TimestampType, "entry.end": cel.TimestampType, "entry.zone": cel.StringType,
	"entry.start_date": cel.StringType, "entry.end_date": cel.StringType, "entry.last_date": cel.StringType,
	"entry.start_local": cel.StringType, "entry.end_local": cel.StringType,
	"entry.all_day": cel.BoolType, "entry.floating": cel.BoolType, "entry.source": cel.BoolType,
	"entry.title": cel.StringType, "entry.location": cel.StringType, "entry.notes": cel.StringType, "entry.contact": cel.StringType,
}

var answerVars = map[string]*cel.Type{
	"body": cel.DynType, "headers": cel.MapType(cel.StringType, cel.StringType), "received_at": cel.TimestampType,
}

func (s scope) vars() map[string]*cel.Type {
	vars := map[string]*cel.Type{}
	switch s {
	case scopeItem:
		maps.Copy(vars, answerVars)
		vars["item"] = cel.DynType
	case scopeAnswer:
		maps.Copy(vars, answerVars)
	case scopeList:
		vars["page"], vars["since"], vars["page_size"] = cel.StringType, cel.StringType, cel.IntType
	case scopeEntry:
		maps.Copy(vars, entryVars)
	case scopeWritten:
		maps.Copy(vars, answerVars)
		maps.Copy(vars, entryVars)
	case scopeFault:
		maps.Copy(vars, answerVars)
		vars["status"] = cel.IntType
	case scopeNone:
	}
	return vars
}

// environments are built once per process: they hold no settings.
var environments = sync.OnceValues(func() (map[scope]*cel.Env, error) {
	options := append([]cel.EnvOption{
		cel.OptionalTypes(), cel.ParserExpressionSizeLimit(maxExpr), cel.ParserRecursionLimit(maxNesting),
		cel.ExpressionNodeLimit(maxExprNodes), cel.RegexProgramSizeLimit(maxRegexp),
	}, append(functions(), relayFunctions()...)...)
	base, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("build expression environment: %w", err)
	}
	all := map[scope]*cel.Env{}
	for s := scopeItem; s <= scopeNone; s++ {
		var vars []cel.EnvOption
		for _, name := range sortedKeys(s.vars()) {
			vars = append(vars, cel.Variable(name, s.vars()[name]))
		}
		if all[s], err = base.Extend(vars...); err != nil {
			return nil, fmt.Errorf("build expression environment: %w", err)
		}
	}
	return all, nil
})

// want is the kind of value that an expression must give.
type want int

const (
	wantText    want = iota // text or whole number
	wantBool                //
	wantTime                // timestamp or text
	wantEnd                 // timestamp, text or duration
	wantVersion             // whole number or timestamp
	wantList                //
	wantAny                 //
	wantTotal               // whole number, or its digits in a text
)

var wantWords = [...]string{"a text", "true or false", "a timestamp or a text", "a timestamp, a text or a duration",
	"a whole number or a timestamp", "a list", "any value", "a whole number"}

func (w want) accepts(t *cel.Type) bool {
	if t.Kind() == types.OpaqueKind && t.TypeName() == "optional_type" && len(t.Parameters()) == 1 {
		t = t.Parameters()[0]
	}
	switch k := t.Kind(); k {
	case types.DynKind, types.AnyKind, types.NullTypeKind, types.TypeParamKind:
		return true
	case types.StringKind:
		return w == wantText || w == wantTime || w == wantEnd || w == wantAny || w == wantTotal
	case types.IntKind, types.UintKind:
		return w == wantText || w == wantVersion || w == wantAny || w == wantTotal
	case types.DoubleKind:
		return w == wantAny
	case types.BoolKind:
		return w == wantBool || w == wantAny
	case types.TimestampKind:
		return w == wantTime || w == wantEnd || w == wantVersion || w == wantAny
	case types.DurationKind:
		return w == wantEnd || w == wantAny
	case types.ListKind:
		return w == wantList || w == wantAny
	case types.MapKind:
		return w == wantAny
	default:
		return false
	}
}

func isNumber(t *cel.Type) bool { return t.Kind() == types.IntKind || t.Kind() == types.UintKind }

// program is a compiled expression with its place in the settings.
type program struct {
	prg      cel.Program
	constant ref.Val // set for an expression that is a literal
	source   string
	path     string
	offset   int      // characters before it in its text
	ast      *cel.Ast // nil for a literal
	field    string   // last part of path, for errors about deliveries
	headers  []string
	page     bool
	plain    *plainPath // set for an expression that only walks down
}

// compile checks an expression and makes it ready. offset is the number of characters before it in its text, so that
// a column counts from the start of what the user wrote. allowed names the constants that it may give; nil = any.
//
// Connections of one system mostly have the same expressions, and making one ready takes a hundred times as long as
// finding it, so they share programs. A program does not change and holds nothing but the text it was made of.
func compile(src, path string, offset int, s scope, w want, allowed []string) (*program, error) {
	of := recipe{src, path, offset, s, w, strings.Join(allowed, " ")}
	if p := programs.get(of); p != nil {
		return p, nil
	}
	p, err := compileAnew(src, path, offset, s, w, allowed)
	if err == nil {
		programs.put(of, p)
	}
	return p, err
}

func compileAnew(src, path string, offset int, s scope, w want, allowed []string) (*program, error) {
	envs, err := environments()
	if err != nil {
		return nil, err
	}
	env := envs[s]
	if strings.TrimSpace(src) == "" {
		return nil, domain.Invalid(path, "the expression is empty")
	}
	at := func(line, column int) (int, int) {
		if line == 1 {
			column += offset
		}
		return line, column + 1
	}
	checked, issues, ok := check(env, src)
	if !ok {
		return nil, domain.Invalid(path, "line 1, column %d: a pattern that counts, such as [0-9]{4}, cannot be used; write it out, as in [0-9]+", offset+1)
	}
	if issues != nil && issues.Err() != nil {
		first := issues.Errors()[0]
		line, column := at(first.Location.Line(), first.Location.Column())
		text := issueText(first.Message)
		if strings.Contains(text, "'entry'") && (s == scopeEntry || s == scopeWritten) {
			text = "entry has no such field; known: " + strings.Join(sortedKeys(entryVars), ", ")
		}
		return nil, domain.Invalid(path, "line %d, column %d: %s", line, column, text)
	}
	tree := checked.NativeRep()
	complain := func(e ast.Expr, format string, args ...any) error {
		loc := tree.SourceInfo().GetStartLocation(e.ID())
		line, column := at(max(loc.Line(), 1), max(loc.Column(), 0))
		return domain.Invalid(path, "line %d, column %d: %s", line, column, fmt.Sprintf(format, args...))
	}
	if !w.accepts(checked.OutputType()) || allowed != nil && isNumber(checked.OutputType()) {
		return nil, complain(tree.Expr(), "gives %s, must give %s", typeWord(checked.OutputType()), wantWords[w])
	}
	for _, leaf := range constants(tree.Expr()) {
		switch text, isText := leaf.AsLiteral().(types.String); {
		case allowed == nil:
		case !isText:
			return nil, complain(leaf, "must be one of %s", strings.Join(allowed, ", "))
		case text != "" && !slices.Contains(allowed, string(text)):
			return nil, complain(leaf, "%q is not one of %s", safeName(string(text)), strings.Join(allowed, ", "))
		}
	}
	p := &program{source: src, path: path, offset: offset, field: lastField(path), page: s == scopeAnswer}
	if err := p.inspect(tree.Expr(), complain); err != nil {
		return nil, err
	}
	if tree.Expr().Kind() == ast.LiteralKind {
		p.constant = tree.Expr().AsLiteral()
		return p, nil
	}
	p.plain, p.ast = pathOf(tree.Expr()), checked
	limit := uint64(fieldCost)
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if p.page {
		limit = pageCost
		options = append(options, cel.InterruptCheckFrequency(interruptStep))
	}
	if p.prg, err = env.Program(checked, append(options, cel.CostLimit(limit))...); err != nil {
		return nil, domain.Invalid(path, "line 1, column %d: %s", offset+1, issueText(err.Error()))
	}
	return p, nil
}

// check compiles an expression. cel-go measures patterns before it writes counted repetitions out, and the measure panics
// over one: ok is false then.
func check(env *cel.Env, src string) (checked *cel.Ast, issues *cel.Issues, ok bool) {
	defer func() { ok = recover() == nil }()
	checked, issues = env.Compile(src)
	return checked, issues, true
}

// issueText shortens what cel-go says. It quotes only the expression, which its author wrote.
func issueText(s string) string {
	s = strings.ReplaceAll(s, " (in container '')", "")
	if first, _, more := strings.Cut(s, "\n"); more {
		s = first
	}
	if len(s) > 300 {
		s = s[:300]
	}
	return strings.ToValidUTF8(s, "?")
}

func typeWord(t *cel.Type) string {
	switch t.Kind() {
	case types.IntKind, types.UintKind:
		return "a whole number"
	case types.DoubleKind:
		return "a number with a fraction"
	case types.StringKind:
		return "a text"
	case types.BoolKind:
		return "true or false"
	case types.ListKind:
		return "a list"
	case types.MapKind:
		return "an object"
	case types.TimestampKind:
		return "a timestamp"
	case types.DurationKind:
		return "a duration"
	default:
		return "a value of type " + t.String()
	}
}

func lastField(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// constants finds the literals that an expression can give as its result: itself, the branches of a conditional, the
// values of a literal table that is looked up, and defaults.
func constants(e ast.Expr) []ast.Expr {
	switch e.Kind() {
	case ast.LiteralKind:
		return []ast.Expr{e}
	case ast.CallKind:
		call := e.AsCall()
		args := call.Args()
		switch {
		case call.FunctionName() == operators.Conditional && len(args) == 3:
			return append(constants(args[1]), constants(args[2])...)
		case (call.FunctionName() == operators.Index || call.FunctionName() == operators.OptIndex) && len(args) == 2 && args[0].Kind() == ast.MapKind:
			var found []ast.Expr
			for _, entry := range args[0].AsMap().Entries() {
				found = append(found, constants(entry.AsMapEntry().Value())...)
			}
			return found
		case call.IsMemberFunction() && call.FunctionName() == "orValue" && len(args) == 1:
			return append(constants(call.Target()), constants(args[0])...)
		}
	}
	return nil
}

// inspect collects the headers that an expression reads, so that the inbox keeps exactly those, and checks literal
// layouts.
func (p *program) inspect(root ast.Expr, complain func(ast.Expr, string, ...any) error) error {
	var fault error
	note := func(e ast.Expr, name string) {
		switch {
		case name != strings.ToLower(name):
			fault = complain(e, "header names are lower-case here")
		case !slices.Contains(p.headers, name):
			p.headers = append(p.headers, name)
		}
	}
	known := map[int64]bool{}
	isHeaders := func(e ast.Expr) bool {
		if e.Kind() == ast.IdentKind && e.AsIdent() == "headers" {
			known[e.ID()] = true
			return true
		}
		return false
	}
	// A parent comes after its children in this order, so bare uses are judged at the end.
	var bare []ast.Expr
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			if e.AsIdent() == "headers" {
				bare = append(bare, e)
			}
		case ast.SelectKind:
			if sel := e.AsSelect(); isHeaders(sel.Operand()) {
				note(e, sel.FieldName())
			}
		case ast.CallKind:
			args := e.AsCall().Args()
			if len(args) == 2 {
				if name, ok := literalText(args[1]); ok && isHeaders(args[0]) {
					note(e, name)
				}
				if name, ok := literalText(args[0]); ok && isHeaders(args[1]) { // 'x' in headers
					note(e, name)
				}
				if words, ok := literalText(args[1]); ok && e.AsCall().FunctionName() == "parse_time" {
					if _, err := readLayout(words); err != nil && fault == nil {
						fault = complain(args[1], "%s", err)
					}
				}
			}
		}
	}))
	for _, e := range bare {
		if !known[e.ID()] && fault == nil {
			fault = complain(e, "headers needs a literal name, such as headers['x-event-type']")
		}
	}
	return fault
}

func literalText(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// work is the evaluation of the expressions of one delivery or page: the context that may end it and the cost left.
type work struct {
	ctx  context.Context
	left uint64
	vars vars
	// trace collects the steps for a person; nil when nobody asks.
	trace *trace
}

func newWork(ctx context.Context) *work { return &work{ctx: ctx, left: deliveryCost} }

// errTooMuchWork is in the chain when the total is used up, which is nobody's fault among the entries.
var errTooMuchWork = errors.New("the expressions together do more work than allowed for one delivery or page")

// vars are the values of the variables. It is its own activation: names are few, and a map per entry would cost more
// than the expressions.
type vars struct {
	item, body any
	headers    map[string]string
	receivedAt types.Timestamp
	named      map[string]any
}

// ResolveName gives a variable's value.
func (v *vars) ResolveName(name string) (any, bool) {
	switch name {
	case "item":
		return v.item, true
	case "body":
		return v.body, true
	case "headers":
		return v.headers, true
	case "received_at":
		return v.receivedAt, true
	}
	val, ok := v.named[name]
	return val, ok
}

// Parent says that there are no further variables.
func (*vars) Parent() interpreter.Activation { return nil }

// eval runs an expression. A value that is absent or null is nil.
func (w *work) eval(p *program) (ref.Val, error) {
	if p.plain != nil && w.ctx.Err() == nil {
		if v, ok := p.plain.walk(&w.vars); ok {
			return v, nil
		}
	}
	v, err := w.evalAsIs(p)
	return present(v), err
}

// evalAsIs runs an expression and keeps null and optional values as they are.
func (w *work) evalAsIs(p *program) (ref.Val, error) {
	if p.constant != nil {
		return p.constant, nil
	}
	var out ref.Val
	var details *cel.EvalDetails
	var err error
	if p.page {
		out, details, err = p.prg.ContextEval(w.ctx, &w.vars)
	} else {
		if w.ctx.Err() != nil {
			return nil, stopped(w.ctx)
		}
		out, details, err = p.prg.Eval(&w.vars)
	}
	if err != nil {
		if w.ctx.Err() != nil {
			return nil, stopped(w.ctx)
		}
		return nil, &exprError{at: p.placeOf(err), err: domain.Invalid(p.field, "%s", evalText(p, err))}
	}
	if cost := details.ActualCost(); cost != nil {
		if *cost > w.left {
			w.left = 0
			return nil, &exprError{at: p.start(), err: domain.E(domain.KindInvalid, "%s: %w", p.field, errTooMuchWork)}
		}
		w.left -= *cost
	}
	return out, nil
}

func stopped(ctx context.Context) error {
	return domain.E(domain.KindUnavailable, "evaluate mapping: %w", context.Cause(ctx))
}

// present unwraps an optional; nil stands for none and null.
func present(v ref.Val) ref.Val {
	if o, ok := v.(*types.Optional); ok {
		if !o.HasValue() {
			return nil
		}
		v = o.GetValue()
	}
	if v == types.NullValue {
		return nil
	}
	return v
}

// evalText turns an evaluation error into a reason that holds nothing of the data. cel-go quotes values freely, so
// its text is only looked at for its kind, and a key is named only when the expression names it itself.
func evalText(p *program, err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "cost limit exceeded"), errors.As(err, new(interpreter.EvalCancelledError)):
		return "the expression does more work than allowed"
	case strings.HasPrefix(text, "no such key: "):
		if key := strings.TrimPrefix(text, "no such key: "); key != "" && len(key) < 60 && strings.Contains(p.source, key) {
			return fmt.Sprintf("the expression needs %q, which is not there", key)
		}
		return "the expression looks up a key that is not there"
	case strings.HasPrefix(text, "no such overload"), strings.Contains(text, "unsupported"), strings.Contains(text, "no such attribute"):
		return "a value in the expression has another type than it needs"
	case strings.Contains(text, "index out of"), strings.Contains(text, "index '"):
		return "a list in the expression is shorter than it needs"
	case strings.HasPrefix(text, "parse_time: "), strings.HasPrefix(text, "add_days: "), strings.HasPrefix(text, "truncate: "),
		strings.HasPrefix(text, "substring: "), strings.HasPrefix(text, "join: "), strings.HasPrefix(text, "split: "),
		strings.HasPrefix(text, "from_unix_ms: "), strings.HasPrefix(text, "text of more"), strings.HasPrefix(text, "text: "),
		strings.HasPrefix(text, "read_time: "), strings.HasPrefix(text, "read_day: "):
		return text // written in functions.go, without values
	}
	return "the expression cannot be evaluated on this data"
}
