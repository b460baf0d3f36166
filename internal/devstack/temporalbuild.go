package devstack

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// The pinned module graph of the Temporal CLI, a copy of tools/temporal. A
// module cannot embed files of another, and an installed wedsync has no source
// tree beside it. A test compares the copies.
//
//go:embed pin/go.mod.txt pin/go.sum.txt
var pinned embed.FS

const (
	temporalPackage = "github.com/temporalio/cli/cmd/temporal"
	modulePath      = "github.com/wedsync/wedsync"
)

var temporalPin = regexp.MustCompile(`(?m)^\s*(?:require\s+)?github\.com/temporalio/cli (v\S+)`)

// TemporalBinary returns the path of a temporal command with a development
// server: the one on PATH, else the pinned one from the cache, which it builds
// first if needed. The build takes about 3 minutes on two cores and reports
// through o.Log or o.Terminal; only those fields of o are used. Two processes
// that build at once wait for each other. Without a go command the error is a
// *UserError with cause ErrUnavailable.
func TemporalBinary(ctx context.Context, o Options) (string, error) {
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if path, err := exec.LookPath("temporal"); err == nil {
		if hasDevServer(ctx, path) {
			return path, nil
		}
		o.logf("%s is not the Temporal CLI with a development server, so it is not used", path)
	}
	b, err := newTemporalBuild()
	if err != nil {
		return "", err
	}
	return b.ensure(ctx, &o)
}

// hasDevServer tells the Temporal CLI from other programs of that name.
func hasDevServer(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	return err == nil && bytes.Contains(out, []byte("(Server "))
}

// temporalBuild is one cached build of the pinned CLI.
type temporalBuild struct {
	version string
	entry   string // cache folder of this version and platform
	source  string // folder with go.mod and go.sum, "" for the embedded copy
	findGo  func() (string, error)
}

func newTemporalBuild() (*temporalBuild, error) {
	mod, err := pinned.ReadFile("pin/go.mod.txt")
	if err != nil {
		return nil, err
	}
	b := &temporalBuild{findGo: findGo}
	cache := ""
	if root := checkoutRoot(); root != "" {
		source := filepath.Join(root, "tools", "temporal")
		if raw, err := os.ReadFile(filepath.Join(source, "go.mod")); err == nil {
			mod, b.source = raw, source
			cache = writableFolder(filepath.Join(root, ".cache"))
		}
	}
	m := temporalPin.FindSubmatch(mod)
	if m == nil {
		return nil, userErrorf(nil, "tools/temporal/go.mod names no version of github.com/temporalio/cli")
	}
	b.version = string(m[1])
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, userErrorf(errors.Join(ErrUnavailable, err), "this user has no cache folder to build the Temporal server in; set HOME, or put temporal on PATH, or set TEMPORAL_ADDRESS")
		}
		cache = filepath.Join(user, "wedsync")
	}
	b.entry = filepath.Join(cache, fmt.Sprintf("temporal-%s-%s-%s", b.version, runtime.GOOS, runtime.GOARCH))
	return b, nil
}

// checkoutRoot finds the source tree this process runs in, from the working
// folder or the program's own place; "" if there is none.
func checkoutRoot() string {
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for {
			raw, err := os.ReadFile(filepath.Join(dir, "go.mod"))
			if err == nil && strings.HasPrefix(string(raw), "module "+modulePath+"\n") {
				return dir
			}
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	return ""
}

// writableFolder makes dir and returns it, or "" if it cannot be written to.
func writableFolder(dir string) string {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return ""
	}
	probe, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return ""
	}
	probe.Close()
	os.Remove(probe.Name())
	return dir
}

func (b *temporalBuild) program() string { return filepath.Join(b.entry, "temporal") }

func (b *temporalBuild) ready() bool {
	info, err := os.Stat(b.program())
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o100 != 0
}

// ensure returns the built program. A build goes to a temporary name and is
// renamed when whole, so a program that exists is complete.
func (b *temporalBuild) ensure(ctx context.Context, o *Options) (string, error) {
	if b.ready() {
		return b.program(), nil
	}
	goCommand, err := b.findGo()
	if err != nil {
		return "", userErrorf(errors.Join(ErrUnavailable, err), "no temporal command on PATH and no go command to build it with; install either, or set TEMPORAL_ADDRESS")
	}
	if err := os.MkdirAll(b.entry, 0o755); err != nil {
		return "", folderError(b.entry, err)
	}
	unlock, err := lockCache(ctx, filepath.Join(b.entry, "lock"), func() {
		o.logf("waiting for another process that is building the Temporal server")
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	if b.ready() {
		return b.program(), nil
	}
	source, err := b.sourceFolder()
	if err != nil {
		return "", err
	}
	return b.program(), b.build(ctx, o, goCommand, source)
}

// findGo looks for the go command, also where it is installed but not on PATH.
func findGo() (string, error) {
	path, err := exec.LookPath("go")
	if err == nil {
		return path, nil
	}
	for _, root := range []string{os.Getenv("GOROOT"), "/usr/local/go", "/usr/lib/go", "/opt/homebrew/opt/go/libexec"} {
		if root == "" {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(root, "bin", "go")); err == nil {
			return path, nil
		}
	}
	return "", err
}

// sourceFolder is the module to build in: tools/temporal of the checkout, else
// the embedded copy written to the cache.
func (b *temporalBuild) sourceFolder() (string, error) {
	if b.source != "" {
		return b.source, nil
	}
	dir := filepath.Join(b.entry, "source")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", folderError(dir, err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		raw, err := pinned.ReadFile("pin/" + name + ".txt")
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			return "", folderError(dir, err)
		}
	}
	return dir, nil
}

func (b *temporalBuild) build(ctx context.Context, o *Options, goCommand, source string) error {
	stale, _ := filepath.Glob(filepath.Join(b.entry, "temporal.part-*"))
	for _, path := range stale {
		_ = os.Remove(path)
	}
	log, err := openLog(filepath.Join(b.entry, "build.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	part := filepath.Join(b.entry, fmt.Sprintf("temporal.part-%d", os.Getpid()))
	defer os.Remove(part)
	spec := childSpec{
		name: "go", path: goCommand, dir: source, log: log,
		args: []string{"build", "-v", "-mod=readonly", "-buildvcs=false",
			"-ldflags=-s -w -X github.com/temporalio/cli/temporalcli.Version=" + strings.TrimPrefix(b.version, "v"),
			"-o", part, temporalPackage},
		// A cross-compiling or cgo environment of the caller is not meant here.
		env: append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false",
			"GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH),
		end: []syscall.Signal{syscall.SIGINT}, wait: 10 * time.Second,
	}
	buildCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	built := make(chan error, 1)
	go func() { built <- run(buildCtx, spec) }()
	what := fmt.Sprintf("building the Temporal server %s (needed once, about 3 minutes on two idle cores, kept in %s)", b.version, b.entry)
	err = await(ctx, o, what, func() string { return buildDetail(log.Name()) }, built)
	if ctx.Err() != nil {
		// Let the build stop before the lock is given up.
		<-built
		return ctx.Err()
	}
	if err != nil {
		return userErrorf(errors.Join(ErrUnavailable, err), "the Temporal server could not be built (%v): %s; see %s, or put temporal on PATH, or set TEMPORAL_ADDRESS", err, lastLine(log.Name()), log.Name())
	}
	if err := os.Rename(part, b.program()); err != nil {
		return folderError(b.entry, err)
	}
	o.logf("the Temporal server %s is built", b.version)
	return nil
}

// buildDetail counts what the build printed: a line per downloaded module and
// per compiled package.
func buildDetail(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	downloads := bytes.Count(raw, []byte("go: downloading "))
	packages := bytes.Count(raw, []byte("\n")) - downloads
	if packages == 0 {
		return fmt.Sprintf("%d modules downloaded", downloads)
	}
	return fmt.Sprintf("%d modules downloaded, %d packages compiled", downloads, packages)
}
