package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/wedsync/wedsync"

// root is the module's folder as seen from this package.
const root = "../.."

// pkg is one package as its source files show it.
type pkg struct {
	path    string            // below the module
	imports map[string]string // of files that are not tests, with one file that has it
	doc     string
	files   map[string]*ast.File // by path below the module
	tests   map[string]*ast.File
}

var read = sync.OnceValues(readAll)

func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := read()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readAll() ([]pkg, error) {
	var out []pkg
	byPath := map[string]int{}
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		below = filepath.ToSlash(below)
		if d.IsDir() {
			base := d.Name()
			if below != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules" ||
				below == "tools" || below == "bin") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && below != "." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(below, ".go") {
			return nil
		}
		f, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(below))
		at, known := byPath[dir]
		if !known {
			at = len(out)
			byPath[dir] = at
			out = append(out, pkg{path: dir, imports: map[string]string{}, files: map[string]*ast.File{}, tests: map[string]*ast.File{}})
		}
		p := &out[at]
		if strings.HasSuffix(below, "_test.go") {
			p.tests[below] = f
			return nil
		}
		p.files[below] = f
		if doc := f.Doc.Text(); len(doc) > len(p.doc) {
			p.doc = doc
		}
		for _, i := range f.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			p.imports[imported] = below
		}
		return nil
	})
	return out, err
}

// uses lists the selectors of an imported package in a file, such as Sleep for time.
func uses(f *ast.File, imported string) []string {
	name := ""
	for _, i := range f.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil && p == imported {
			name = imported[strings.LastIndex(imported, "/")+1:]
			if i.Name != nil {
				name = i.Name.Name
			}
		}
	}
	if name == "" {
		return nil
	}
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == name {
				out = append(out, s.Sel.Name)
			}
		}
		return true
	})
	return out
}
