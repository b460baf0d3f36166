package syncs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/devstack"
)

// The account of the CalDAV server.
const (
	user     = "studio"
	password = "a-password-of-no-value"
)

// find finds a program of the distribution that the benchmark needs.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", &devstack.UserError{Line: program + " is not installed; it is a package of Debian, and make interop installs it", Err: errors.Join(devstack.ErrUnavailable, err)}
	}
	return path, nil
}

// radicale is a CalDAV server of its own process.
type radicale struct {
	above   string // thrown away with it
	dir     string // its storage, in above
	address string // host:port
	pid     int
	stop    func()
	made    int
}

// storageFor is where Radicale keeps its files: in memory, where the system has a folder for that. It flushes each file that
// it makes, which would take minutes for a calendar put there at once. Whoever reads is served from memory in any case.
func storageFor(dir string) string {
	const memory = "/dev/shm"
	made, err := os.MkdirTemp(memory, "wedsync-bench-sync-")
	if err != nil {
		return dir
	}
	return made
}

// keeper runs a program until its own standard input ends, which it does with the process that started it, however that
// ends.
const keeper = `"$@" </dev/null & echo $!; cat >/dev/null; kill $! 2>/dev/null; wait $!`

func startRadicale(ctx context.Context, dir string) (_ *radicale, err error) {
	program, err := find("radicale")
	if err != nil {
		return nil, err
	}
	s := &radicale{above: storageFor(dir)}
	s.dir = filepath.Join(s.above, "radicale")
	defer func() {
		if err != nil {
			_ = os.RemoveAll(s.above) // a leftover does no harm
		}
	}()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for Radicale: %w", err)
	}
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, []byte(user+":"+password+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write Radicale's users: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	s.address = l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", keeper, "radicale", program, "--hosts", s.address, "--auth-type", "htpasswd",
		"--auth-htpasswd-filename", users, "--auth-htpasswd-encryption", "plain", "--storage-filesystem-folder", s.dir, "--logging-level", "error")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start Radicale: %w", err)
	}
	cmd.Cancel = in.Close
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start Radicale: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Radicale: %w", err)
	}
	s.stop = func() {
		_ = in.Close()            // this is what ends it
		_ = cmd.Wait()            // its own words are on standard error
		_ = os.RemoveAll(s.above) // a leftover does no harm
	}
	word, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		s.pid, err = strconv.Atoi(strings.TrimSpace(word))
	}
	if err == nil {
		err = s.ready(ctx)
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("start Radicale: %w", err)
	}
	return s, nil
}

// ready waits until it answers.
func (s *radicale) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", s.address); err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// davCalendar is a calendar of the server.
type davCalendar struct {
	*diary
	server *radicale
	dir    string
	path   string // in addresses
}

// calendar makes a calendar. Its files are put into the server's storage, as its documentation allows: by requests it would
// take hours, because the server looks through all entries for each new one.
func (s *radicale) calendar(ctx context.Context, events int) (*davCalendar, error) {
	s.made++
	name := fmt.Sprintf("diary-%d", s.made)
	c := &davCalendar{server: s, dir: filepath.Join(s.dir, "collection-root", user, name), path: "/" + user + "/" + name + "/"}
	var err error
	if c.diary, err = newDiary(events); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a calendar: %w", err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, ".Radicale.props"), []byte(`{"tag": "VCALENDAR", "D:displayname": "Diary"}`), 0o600); err != nil {
		return nil, fmt.Errorf("make a calendar: %w", err)
	}
	return c, c.write(ctx, c.entries...)
}

// id is the path of an entry.
func (c *davCalendar) id(e *entry) string { return c.path + e.uid + ".ics" }

// write stores entries as they are now. The server reads them before anybody else does, so that nobody pays for that.
func (c *davCalendar) write(ctx context.Context, entries ...*entry) error {
	for _, e := range entries {
		file := filepath.Join(c.dir, e.uid+".ics")
		var err error
		if e.gone {
			err = os.Remove(file)
		} else {
			err = os.WriteFile(file, []byte(e.ics()), 0o600)
		}
		if err != nil {
			return fmt.Errorf("write an entry: %w", err)
		}
	}
	const report = `<sync-collection xmlns="DAV:"><sync-token/><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>`
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "REPORT", "http://"+c.server.address+c.path, bytes.NewReader([]byte(report)))
	if err != nil {
		return fmt.Errorf("ask Radicale for the calendar: %w", err)
	}
	req.SetBasicAuth(user, password)
	req.Header.Set("Content-Type", "application/xml")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask Radicale for the calendar: %w", err)
	}
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusMultiStatus {
		return fmt.Errorf("ask Radicale for the calendar: status %d, %d bytes: %w", res.StatusCode, n, err)
	}
	return nil
}

// change changes the calendar.
func (c *davCalendar) change(ctx context.Context, number int) (*changed, error) {
	ch := c.diary.change(number)
	return ch, c.write(ctx, append(append(append([]*entry{}, ch.edited...), ch.gone...), ch.added...)...)
}
