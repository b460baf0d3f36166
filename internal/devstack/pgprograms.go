package devstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// oldestPostgres is the oldest major version the product supports.
const oldestPostgres = 14

// fetchedPostgres is the version downloaded when none is installed.
const fetchedPostgres = embeddedpostgres.V17

// pgPrograms is one installation of PostgreSQL.
type pgPrograms struct {
	dir   string // holds initdb and postgres
	major int
}

func (p pgPrograms) initdb() string   { return filepath.Join(p.dir, "initdb") }
func (p pgPrograms) postgres() string { return filepath.Join(p.dir, "postgres") }

// pgFolders are the usual install folders; patterns sort newest first.
var pgFolders = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/usr/local/pgsql/bin",
	"/opt/local/lib/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/libexec/postgresql*",
	"/usr/lib/postgresql*/bin",
}

// findPostgres returns the installation to use. wantMajor, when not 0, is the
// version that made the existing cluster: nothing else can open it.
func findPostgres(ctx context.Context, wantMajor int, a *account, o *Options) (pgPrograms, error) {
	var seen []int
	for _, dir := range pgCandidates() {
		p, err := inspectPostgres(ctx, dir)
		if err != nil || p.major < oldestPostgres || a.blockedAt(dir) != "" {
			continue
		}
		if wantMajor == 0 || p.major == wantMajor {
			return p, nil
		}
		seen = append(seen, p.major)
	}
	fetched, _, _ := strings.Cut(string(fetchedPostgres), ".")
	if wantMajor != 0 && strconv.Itoa(wantMajor) != fetched {
		return pgPrograms{}, userErrorf(ErrUnavailable, "the cluster in %s was made by PostgreSQL %d, but %s; install PostgreSQL %d or move that folder away",
			filepath.Join(o.DataDir, "postgres"), wantMajor, describeMajors(seen), wantMajor)
	}
	return fetchPostgres(ctx, a, o)
}

func describeMajors(seen []int) string {
	if len(seen) == 0 {
		return "none is installed"
	}
	return "only version " + strings.Trim(strings.ReplaceAll(fmt.Sprint(seen), " ", ", "), "[]") + " is installed"
}

func pgCandidates() []string {
	var dirs []string
	if path, err := exec.LookPath("initdb"); err == nil {
		// A link on PATH may stand alone; its target has postgres beside it.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, pattern := range pgFolders {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		sort.Slice(found, func(i, j int) bool { return numberIn(found[i]) > numberIn(found[j]) })
		dirs = append(dirs, found...)
	}
	return dirs
}

var digits = regexp.MustCompile(`\d+(\.\d+)?`)

func numberIn(path string) float64 {
	n, err := strconv.ParseFloat(digits.FindString(path), 64)
	if err != nil {
		return 0
	}
	return n
}

var versionNumber = regexp.MustCompile(`\(PostgreSQL\)\D*(\d+)`)

func inspectPostgres(ctx context.Context, dir string) (pgPrograms, error) {
	p := pgPrograms{dir: dir}
	if info, err := os.Stat(p.initdb()); err != nil || info.Mode()&0o111 == 0 {
		return p, fmt.Errorf("no initdb in %s", dir)
	}
	out, err := exec.CommandContext(ctx, p.postgres(), "--version").Output()
	if err != nil {
		return p, fmt.Errorf("ask the version of %s: %w", p.postgres(), err)
	}
	m := versionNumber.FindSubmatch(out)
	if m == nil {
		return p, fmt.Errorf("%s gave no version", p.postgres())
	}
	p.major, err = strconv.Atoi(string(m[1]))
	return p, err
}

// fetchPostgres returns the downloaded installation in the user's cache, and
// downloads it first when it is not there yet.
func fetchPostgres(ctx context.Context, a *account, o *Options) (pgPrograms, error) {
	cache, err := postgresCache(a)
	if err != nil {
		return pgPrograms{}, err
	}
	home := filepath.Join(cache, fmt.Sprintf("postgres-%s-%s-%s", fetchedPostgres, runtime.GOOS, runtime.GOARCH))
	bin := filepath.Join(home, "bin")
	if p, err := inspectPostgres(ctx, bin); err == nil {
		return p, nil
	}
	unlock, err := lockCache(ctx, home+".lock", func() { o.logf("waiting for another process that is downloading PostgreSQL") })
	if err != nil {
		return pgPrograms{}, err
	}
	defer unlock()
	if p, err := inspectPostgres(ctx, bin); err == nil {
		return p, nil
	}
	if err := download(ctx, cache, home, o); err != nil {
		return pgPrograms{}, userErrorf(errors.Join(ErrUnavailable, err),
			"no PostgreSQL is installed and it cannot be downloaded (%v); install PostgreSQL %d or later, or set DATABASE_URL", err, oldestPostgres)
	}
	p, err := inspectPostgres(ctx, bin)
	if err != nil {
		return p, userErrorf(errors.Join(ErrUnavailable, err), "the downloaded PostgreSQL does not run here (%v); install PostgreSQL %d or later, or set DATABASE_URL", err, oldestPostgres)
	}
	return p, nil
}

// postgresCache is a folder for downloads that the cluster's user can reach.
func postgresCache(a *account) (string, error) {
	if user, err := os.UserCacheDir(); err == nil {
		dir := filepath.Join(user, "wedsync")
		if a.blockedAt(dir) == "" {
			return dir, os.MkdirAll(dir, 0o755)
		}
	}
	if a == nil {
		return "", userErrorf(ErrUnavailable, "this user has no cache folder to download PostgreSQL to; set HOME, or install PostgreSQL, or set DATABASE_URL")
	}
	dir := "/var/cache/wedsync"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", folderError(dir, err)
	}
	return dir, nil
}

// binaryRepository replaces the library's own download address in tests.
var binaryRepository string

// initdbRefused is how the library's error begins once everything is unpacked.
const initdbRefused = "unable to init database"

// download fetches and unpacks PostgreSQL to home. The library has no call for
// that alone: its Start also makes and runs a cluster, which refuses root and
// would be out of our supervision. A locale that cannot exist makes initdb
// refuse at once, which is just after the unpacking. Unpacking goes to a
// temporary folder, so that one cut off is never taken for whole.
func download(ctx context.Context, cache, home string, o *Options) error {
	stale, _ := filepath.Glob(home + ".part-*")
	for _, dir := range stale {
		_ = os.RemoveAll(dir)
	}
	part, err := os.MkdirTemp(cache, filepath.Base(home)+".part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	port, err := portChoice{}.pick()
	if err != nil {
		return err
	}
	files := filepath.Join(part, "files")
	config := embeddedpostgres.DefaultConfig().
		Version(fetchedPostgres).
		Port(uint32(port)).
		CachePath(part).
		BinariesPath(files).
		RuntimePath(filepath.Join(part, "run")).
		Locale("none-only-unpack").
		Logger(&bytes.Buffer{})

	if binaryRepository != "" {
		config = config.BinaryRepositoryURL(binaryRepository)
	}
	fetched := make(chan error, 1)
	database := embeddedpostgres.NewDatabase(config)
	go func() { fetched <- database.Start() }()
	what := fmt.Sprintf("downloading PostgreSQL %s (about 20 MB, once)", fetchedPostgres)
	if err := await(ctx, o, what, nil, fetched); err != nil && !strings.HasPrefix(err.Error(), initdbRefused) {
		return err
	} else if err == nil {
		if err := database.Stop(); err != nil {
			return err
		}
	}
	if err := os.Chmod(files, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(home); err != nil {
		return err
	}
	return os.Rename(files, home)
}
