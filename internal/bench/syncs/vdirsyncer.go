package syncs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// vdirsyncer reads a calendar into a folder.
type vdirsyncer struct {
	bed     *bed
	program string
	dir     string
	from    *davCalendar
}

// newVdirsyncer configures it for a calendar. Its own questions about the calendar are answered before anything is timed.
func (b *bed) newVdirsyncer(ctx context.Context, c *davCalendar) (*vdirsyncer, error) {
	program, err := find("vdirsyncer")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "vdirsyncer-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for vdirsyncer: %w", err)
	}
	v := &vdirsyncer{bed: b, program: program, dir: dir, from: c}
	if err := os.Mkdir(filepath.Join(dir, "here"), 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for vdirsyncer: %w", err)
	}
	config := fmt.Sprintf("[general]\nstatus_path = %q\n[pair one]\na = \"there\"\nb = \"here\"\ncollections = null\nconflict_resolution = \"a wins\"\n"+
		"[storage here]\ntype = \"filesystem\"\npath = %q\nfileext = \".ics\"\n[storage there]\ntype = \"caldav\"\nurl = %q\nusername = %q\npassword = %q\n",
		filepath.Join(dir, "status"), filepath.Join(dir, "here"), b.front.url+c.path, user, password)
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("configure vdirsyncer: %w", err)
	}
	return v, v.run(ctx, "discover")
}

func (v *vdirsyncer) run(ctx context.Context, command string) error {
	// It tells of every entry otherwise, which takes time.
	cmd := exec.CommandContext(ctx, v.program, "--verbosity", "WARNING", "--config", filepath.Join(v.dir, "config"), command)
	cmd.Env = append(os.Environ(), "HOME="+v.dir, "XDG_CONFIG_HOME="+v.dir, "XDG_DATA_HOME="+v.dir, "XDG_CACHE_HOME="+v.dir, "LC_ALL=C.UTF-8")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("vdirsyncer %s: %w: %s", command, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// sync lets it sync, and checks that it has all entries then. used is the server's processor time.
func (v *vdirsyncer) sync(ctx context.Context) (took, used time.Duration, err error) {
	before := processorOf(v.bed.dav.pid)
	began := time.Now()
	if err := v.run(ctx, "sync"); err != nil {
		return 0, 0, err
	}
	took, used = time.Since(began), processorOf(v.bed.dav.pid)-before
	files, err := os.ReadDir(filepath.Join(v.dir, "here"))
	if err != nil {
		return 0, 0, fmt.Errorf("count what vdirsyncer wrote: %w", err)
	}
	want := 0
	for _, e := range v.from.entries {
		if !e.gone {
			want++
		}
	}
	if len(files) != want {
		return 0, 0, fmt.Errorf("vdirsyncer wrote %d entries of %d", len(files), want)
	}
	return took, used, nil
}
