package devstack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestPinIsTheOneOfTheToolsFolder(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go.mod", "go.sum"} {
		tools, err := os.ReadFile(filepath.Join("..", "..", "tools", "temporal", name))
		if err != nil {
			t.Fatal(err)
		}
		copied, err := pinned.ReadFile("pin/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		if string(tools) != string(copied) {
			t.Errorf("internal/devstack/pin/%s.txt differs from tools/temporal/%s; copy the latter over the former", name, name)
		}
	}
}

func TestBuildIsKeyedByThePinnedVersionInsideTheCheckout(t *testing.T) {
	t.Parallel()
	b, err := newTemporalBuild()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(b.version, "v1.") || !strings.Contains(b.entry, b.version) {
		t.Errorf("version %q, entry %q", b.version, b.entry)
	}
	if filepath.Base(b.source) != "temporal" {
		t.Errorf("source %q, want tools/temporal of the checkout", b.source)
	}
}

// fakeGo writes a go command that does what body says; $out is the file asked
// for with -o.
func fakeGo(t *testing.T, body string) func() (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "go")
	script := "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = -o ] && out=$2; shift; done\n" + body + "\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return func() (string, error) { return path, nil }
}

func TestConcurrentBuildsHappenOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	goCommand := fakeGo(t, fmt.Sprintf(`[ -f go.mod ] && [ -f go.sum ] || exit 3
echo call >> %s
printf half > "$out"; sleep 0.3; printf '#!/bin/sh\n' > "$out"; chmod 755 "$out"`, calls))
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			b := &temporalBuild{version: "v9.9.9", entry: filepath.Join(dir, "cache", "temporal-v9.9.9"), findGo: goCommand}
			path, err := b.ensure(t.Context(), &Options{Log: func(string) {}})
			if raw, readErr := os.ReadFile(path); err == nil && (readErr != nil || string(raw) != "#!/bin/sh\n") {
				err = fmt.Errorf("got a half build %q, %v", raw, readErr)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(calls)
	if err != nil || string(raw) != "call\n" {
		t.Fatalf("builds: %q, %v; want one", raw, err)
	}
}

func TestFailedBuildIsOneLineAndLeavesNoProgram(t *testing.T) {
	t.Parallel()
	b := &temporalBuild{version: "v9.9.9", entry: filepath.Join(t.TempDir(), "entry"),
		findGo: fakeGo(t, `printf half > "$out"; echo "some/package: no such module" >&2; exit 1`)}
	_, err := b.ensure(t.Context(), &Options{Log: func(string) {}})
	wantUserError(t, err, "could not be built", "no such module", "build.log", "TEMPORAL_ADDRESS")
	if !errors.Is(err, ErrUnavailable) {
		t.Error("the cause is not ErrUnavailable")
	}
	left, _ := filepath.Glob(filepath.Join(b.entry, "temporal*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMissingGoCommandIsOneLine(t *testing.T) {
	t.Parallel()
	b := &temporalBuild{version: "v9.9.9", entry: t.TempDir(), findGo: func() (string, error) { return "", os.ErrNotExist }}
	_, err := b.ensure(t.Context(), &Options{Log: func(string) {}})
	wantUserError(t, err, "no go command", "TEMPORAL_ADDRESS")
}
