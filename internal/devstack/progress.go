package devstack

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progressEvery is how often a long step reports when there is no terminal.
const progressEvery = 10 * time.Second

// await waits for a long step and shows that it moves: a spinner on the
// terminal, else a line every ten seconds. what is told in full once and then
// without its part in brackets. detail, if not nil, adds how far it
// got. When ctx ends await returns its error and the step goes on unwatched.
func await(ctx context.Context, o *Options, what string, detail func() string, done <-chan error) error {
	o.logf("%s", what)
	label, _, _ := strings.Cut(what, " (")
	start := time.Now()
	text := func() string {
		if detail == nil {
			return ""
		}
		if d := detail(); d != "" {
			return ", " + d
		}
		return ""
	}
	every := progressEvery
	show := func() { o.logf("%s: %s%s", label, time.Since(start).Round(time.Second), text()) }
	if o.Terminal != nil && term.IsTerminal(int(o.Terminal.Fd())) {
		bar := progressbar.NewOptions(-1,
			progressbar.OptionSetWriter(o.Terminal),
			progressbar.OptionSpinnerType(14),
			progressbar.OptionSetDescription(label),
			progressbar.OptionSetElapsedTime(true),
			progressbar.OptionClearOnFinish())
		defer bar.Finish()
		every = 200 * time.Millisecond
		show = func() {
			bar.Describe(label + text())
			_ = bar.Add(1)
		}
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			show()
		}
	}
}

// lockCache takes the lock of a cache entry and returns its release. waiting
// is called once if another process holds it.
func lockCache(ctx context.Context, path string, waiting func()) (func(), error) {
	file, err := tryLock(ctx, path, 0, waiting)
	if err != nil {
		return nil, folderError(filepath.Dir(path), err)
	}
	return func() { _ = file.Close() }, nil
}
