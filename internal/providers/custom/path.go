package custom

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// plainPath is an expression that only walks down from item or body, such as item.client.?name.orValue(0). Most
// expressions of a mapping are of this kind, so they are walked here, several times faster than by the interpreter
// with its cost tracking. What is not an ordinary case is left to the interpreter, errors too: it alone decides what
// an expression means.
type plainPath struct {
	body      bool // begins at body, else at item
	steps     []pathStep
	optional  bool    // has an optional step
	defaulted bool    // ends with orValue
	fallback  ref.Val // of orValue; nil = null or none
}

type pathStep struct {
	name     string
	optional bool
}

// pathOf recognises a plain path; nil = the expression is something else.
func pathOf(e ast.Expr) *plainPath {
	p := &plainPath{}
	if e.Kind() == ast.CallKind && e.AsCall().IsMemberFunction() && e.AsCall().FunctionName() == "orValue" {
		args := e.AsCall().Args()
		if len(args) != 1 || args[0].Kind() != ast.LiteralKind {
			return nil
		}
		p.fallback, p.defaulted = present(args[0].AsLiteral()), true
		e = e.AsCall().Target()
	}
	for {
		switch e.Kind() {
		case ast.IdentKind:
			if p.body = e.AsIdent() == "body"; !p.body && e.AsIdent() != "item" {
				return nil
			}
			// The steps were found from the last to the first.
			for i, j := 0, len(p.steps)-1; i < j; i, j = i+1, j-1 {
				p.steps[i], p.steps[j] = p.steps[j], p.steps[i]
			}
			if p.defaulted && !p.optional {
				return nil // orValue of what is no optional is a fault, and the interpreter says so
			}
			return p
		case ast.SelectKind:
			sel := e.AsSelect()
			if sel.IsTestOnly() {
				return nil
			}
			p.steps = append(p.steps, pathStep{name: sel.FieldName()})
			e = sel.Operand()
		case ast.CallKind:
			call := e.AsCall()
			if call.FunctionName() != operators.OptSelect || len(call.Args()) != 2 {
				return nil
			}
			name, ok := literalText(call.Args()[1])
			if !ok {
				return nil
			}
			p.steps, p.optional = append(p.steps, pathStep{name: name, optional: true}), true
			e = call.Args()[0]
		default:
			return nil
		}
	}
}

// walk gives the value at the path, nil for null or an absent optional. ok is false when the interpreter has to say.
func (p *plainPath) walk(v *vars) (out ref.Val, ok bool) {
	at := v.item
	if p.body {
		at = v.body
	}
	optional := false
	for _, s := range p.steps {
		m, isMap := at.(map[string]any)
		if !isMap {
			return nil, false
		}
		optional = optional || s.optional // what follows an optional step is optional too
		if at, isMap = m[s.name]; !isMap {
			if !optional {
				return nil, false
			}
			return p.fallback, true
		}
	}
	switch at := at.(type) {
	case nil:
		return nil, true
	case string:
		return types.String(at), true
	case int64:
		return types.Int(at), true
	case bool:
		return types.Bool(at), true
	}
	return types.DefaultTypeAdapter.NativeToValue(at), true
}
