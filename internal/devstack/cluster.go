package devstack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// superuser owns the private cluster.
	superuser = "postgres"
	// database is the one DatabaseURL points to.
	database = "wedsync"
	// initialised marks a cluster folder whose initdb ran to its end.
	initialised = "wedsync-initialised"
	// These two hold the password for one command only. A kill may leave them,
	// so every start removes them.
	initPassword  = "postgres.init-password"
	resetPassword = "postgres.reset-password"
)

// cluster is the folder of a private PostgreSQL and what is needed to run it.
type cluster struct {
	dir      string // the data directory
	outside  string // folder made outside the data folder for it, "" if none
	password string
	programs pgPrograms
	account  *account
	log      *os.File
	lock     *instanceLock
	options  *Options
}

// openCluster finds the programs and makes the cluster unless it is there.
func openCluster(ctx context.Context, o *Options, lock *instanceLock, log *os.File) (*cluster, error) {
	a, err := clusterAccount(filepath.Join(o.DataDir, "postgres"))
	if err != nil {
		return nil, err
	}
	c := &cluster{account: a, log: log, lock: lock, options: o}
	var moved bool
	if c.dir, moved, err = placeCluster(o.DataDir, a, o.Ephemeral, o.Log); err != nil {
		return nil, err
	}
	if moved && o.Ephemeral {
		c.outside = filepath.Dir(c.dir)
	}
	if o.Ephemeral && o.SkipTemporal {
		// The watcher removes this folder after a kill, with the account's rights.
		if err := a.own(o.DataDir); err != nil {
			return nil, folderError(o.DataDir, err)
		}
	}
	for _, path := range []string{filepath.Join(filepath.Dir(c.dir), initPassword), filepath.Join(o.DataDir, resetPassword)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, folderError(o.DataDir, err)
		}
	}
	whole, err := c.inspect()
	if err != nil {
		return nil, err
	}
	major := 0
	if whole {
		if major, err = c.version(); err != nil {
			return nil, err
		}
	}
	if c.programs, err = findPostgres(ctx, major, a, o); err != nil {
		return nil, err
	}
	if !whole {
		if err := c.moveAside(time.Now()); err != nil {
			return nil, err
		}
		return c, c.create(ctx)
	}
	if err := c.endLeftover(ctx); err != nil {
		return nil, err
	}
	return c, c.loadPassword(ctx)
}

// inspect reports whether a whole cluster of ours is there.
func (c *cluster) inspect() (bool, error) {
	info, err := os.Stat(c.dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, folderError(c.dir, err)
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); c.account == nil && owner != os.Geteuid() {
		return false, userErrorf(nil, "%s belongs to another user (id %d), probably from a run as root; run as that user or choose another folder with --data-dir", c.dir, owner)
	}
	if _, err := os.Stat(filepath.Join(c.dir, initialised)); err == nil {
		return true, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return false, folderError(c.dir, err)
	}
	// Only a server that ran writes this file; initdb does not. Such a cluster
	// is somebody's data, not a creation cut off.
	if _, err := os.Stat(filepath.Join(c.dir, "postmaster.opts")); err == nil {
		return false, userErrorf(nil, "%s holds a PostgreSQL cluster that wedsync did not make; move it away, or run it yourself and set DATABASE_URL", c.dir)
	}
	return false, nil
}

func (c *cluster) version() (int, error) {
	raw, err := os.ReadFile(filepath.Join(c.dir, "PG_VERSION"))
	if err == nil {
		var major int
		if major, err = strconv.Atoi(strings.TrimSpace(string(raw))); err == nil {
			return major, nil
		}
	}
	return 0, userErrorf(err, "%s is damaged: its file PG_VERSION cannot be read; restore the folder from a backup or move it away", c.dir)
}

// moveAside renames what a cut-off creation left, so that nothing is deleted.
func (c *cluster) moveAside(now time.Time) error {
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return folderError(c.dir, err)
	}
	aside := c.dir + ".broken-" + now.UTC().Format("20060102T150405.000")
	if err := os.Rename(c.dir, aside); err != nil {
		return folderError(c.dir, err)
	}
	c.options.logf("the creation of the PostgreSQL cluster was cut off earlier; its folder is now %s", aside)
	return nil
}

func (c *cluster) create(ctx context.Context) error {
	c.options.logf("making a private PostgreSQL %d cluster in %s", c.programs.major, c.dir)
	if err := os.MkdirAll(filepath.Dir(c.dir), dataMode()); err != nil {
		return folderError(filepath.Dir(c.dir), err)
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return folderError(c.dir, err)
	}
	if err := c.account.own(c.dir); err != nil {
		return folderError(c.dir, err)
	}
	secret := make([]byte, 24)
	if _, err := rand.Read(secret); err != nil {
		return fmt.Errorf("make a database password: %w", err)
	}
	c.password = hex.EncodeToString(secret)
	if err := os.WriteFile(c.passwordFile(), []byte(c.password+"\n"), 0o600); err != nil {
		return folderError(c.options.DataDir, err)
	}
	// initdb runs as the other user and cannot read the file above.
	pw, err := c.passwordCopy()
	if err != nil {
		return err
	}
	defer os.Remove(pw)

	err = errors.New("no locale tried")
	for _, locale := range c.locales() {
		args := append([]string{
			"--pgdata=" + c.dir, "--username=" + superuser, "--pwfile=" + pw,
			"--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions",
		}, locale...)
		if c.options.Postgres.Fast {
			args = append(args, "--no-sync")
		}
		// initdb empties the folder itself when it fails, so the next locale
		// starts clean.
		if err = run(ctx, c.spec("initdb", c.programs.initdb(), args)); err == nil || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return userErrorf(err, "initdb could not make the cluster in %s (%v): %s", c.dir, err, lastLine(c.log.Name()))
	}
	marker := filepath.Join(c.dir, initialised)
	if err := os.WriteFile(marker, []byte("initdb completed\n"), 0o600); err != nil {
		return folderError(c.dir, err)
	}
	return c.account.own(marker)
}

// locales are the initdb options for an ordering by bytes, the same on every
// machine, with case rules for all of Unicode; then plain C, which every
// system has.
func (c *cluster) locales() [][]string {
	plain := []string{"--locale=C"}
	switch {
	case c.programs.major >= 17:
		return [][]string{{"--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"}, plain}
	case runtime.GOOS == "darwin":
		return [][]string{{"--locale=C", "--lc-ctype=UTF-8"}, plain}
	}
	return [][]string{{"--locale=C", "--lc-ctype=C.UTF-8"}, plain}
}

func (c *cluster) passwordFile() string {
	return filepath.Join(c.options.DataDir, "postgres.password")
}

func (c *cluster) passwordCopy() (string, error) {
	f, err := secretFile(filepath.Join(filepath.Dir(c.dir), initPassword))
	if err != nil {
		return "", folderError(filepath.Dir(c.dir), err)
	}
	_, err = f.WriteString(c.password + "\n")
	if err := errors.Join(err, f.Close(), c.account.own(f.Name())); err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("write the password for initdb: %w", err)
	}
	return f.Name(), nil
}

// secretFile makes a new file that only this user can read.
func secretFile(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// loadPassword reads the superuser's password, and sets a new one when its
// file was lost.
func (c *cluster) loadPassword(ctx context.Context) error {
	raw, err := os.ReadFile(c.passwordFile())
	if err == nil && len(strings.TrimSpace(string(raw))) > 0 {
		c.password = strings.TrimSpace(string(raw))
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return folderError(c.options.DataDir, err)
	}
	return c.setNewPassword(ctx)
}

func (c *cluster) setNewPassword(ctx context.Context) error {
	secret := make([]byte, 24)
	if _, err := rand.Read(secret); err != nil {
		return fmt.Errorf("make a database password: %w", err)
	}
	c.password = hex.EncodeToString(secret)
	statement, err := secretFile(filepath.Join(c.options.DataDir, resetPassword))
	if err != nil {
		return folderError(c.options.DataDir, err)
	}
	defer os.Remove(statement.Name())
	defer statement.Close()
	if _, err := fmt.Fprintf(statement, "ALTER ROLE %s PASSWORD '%s'\n", superuser, c.password); err != nil {
		return fmt.Errorf("write the new database password: %w", err)
	}
	if _, err := statement.Seek(0, 0); err != nil {
		return fmt.Errorf("write the new database password: %w", err)
	}
	spec := c.spec("postgres", c.programs.postgres(), []string{"--single", "-D", c.dir, "postgres"})
	spec.stdin = statement
	if err := run(ctx, spec); err != nil {
		return userErrorf(err, "the password file %s is missing and a new password could not be set (%v): %s", c.passwordFile(), err, lastLine(c.log.Name()))
	}
	if err := os.WriteFile(c.passwordFile(), []byte(c.password+"\n"), 0o600); err != nil {
		return folderError(c.options.DataDir, err)
	}
	c.options.logf("the database password was missing and has been set anew")
	return nil
}

// endLeftover deals with a postmaster.pid. This process holds the folder's
// lock, so the file is either stale or names a server whose supervisor and
// watcher were both killed. A stale one is removed here, because PostgreSQL
// takes any process of the same user and number for its server, which after a
// restart of a container is common.
func (c *cluster) endLeftover(ctx context.Context) error {
	path := filepath.Join(c.dir, "postmaster.pid")
	pid := readPID(path)
	found, err := endOrphan(ctx, pid, c.dir, syscall.SIGINT)
	if err != nil {
		return err
	}
	if found {
		c.options.logf("stopped a PostgreSQL server of an earlier run (process %d)", pid)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return folderError(c.dir, err)
	}
	return nil
}

// spec is the common part of every command run on the cluster.
func (c *cluster) spec(name, program string, args []string) childSpec {
	env := []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + c.dir}
	if tmp := os.Getenv("TMPDIR"); tmp != "" && c.account == nil {
		env = append(env, "TMPDIR="+tmp)
	}
	spec := childSpec{
		name: name, path: program, args: args, env: env, dir: c.dir,
		log: c.log, account: c.account, lock: c.lock,
		end: []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT}, wait: 10 * time.Second,
	}
	if c.options.Ephemeral {
		spec.remove = c.dir
		if c.options.SkipTemporal {
			spec.remove = c.options.DataDir
		}
	}
	return spec
}

// removeOutside deletes an ephemeral cluster kept outside the data folder.
func (c *cluster) removeOutside() error {
	if c.outside == "" {
		return nil
	}
	return os.RemoveAll(c.outside)
}
