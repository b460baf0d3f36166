package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/sim/caldavsim"
)

// calendar is a calendar server of the story, spoken to over CalDAV like any other client would.
type calendar struct {
	name string // for people
	url  string // of the account
	path string // of the collection
	stop func()
}

const (
	calendarUser     = "studio"
	calendarPassword = "demo-password"
)

func startCalendar(ctx context.Context, builtin bool) (*calendar, error) {
	if radicale, err := exec.LookPath("radicale"); err == nil && !builtin {
		return startRadicale(ctx, radicale)
	}
	sim := caldavsim.New(caldavsim.Options{Username: calendarUser, Password: calendarPassword, Calendars: []caldavsim.Calendar{{Name: "bookings"}}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the simulated calendar: %w", err)
	}
	srv := &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	return &calendar{name: "built-in CalDAV server (go-webdav)", url: "http://" + l.Addr().String(), path: sim.CalendarPath("bookings"),
		stop: func() { _ = srv.Close() }}, nil
}

// startRadicale runs a real Radicale on a free port with its files in a folder of its own. A shell stands between, which
// ends the server when this process is gone, however it went.
func startRadicale(ctx context.Context, program string) (*calendar, error) {
	dir, err := os.MkdirTemp("", "wedsync-demo-calendar-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for Radicale: %w", err)
	}
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, []byte(calendarUser+":"+calendarPassword+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write Radicale's users: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a port for Radicale: %w", err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	cmd := exec.Command("/bin/sh", "-c", `"$@" & child=$!; read _; kill $child; wait $child; rm -rf "$0"`, dir, program,
		"--config", os.DevNull, "--server-hosts", addr, "--auth-type", "htpasswd", "--auth-htpasswd-filename", users,
		"--auth-htpasswd-encryption", "plain", "--storage-filesystem-folder", filepath.Join(dir, "collections"))
	alive, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start Radicale: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Radicale: %w", err)
	}
	c := &calendar{name: "Radicale", url: "http://" + addr, path: "/" + calendarUser + "/bookings/", stop: func() {
		_ = alive.Close()
		_ = cmd.Wait()
	}}
	made := fmt.Errorf("it never answered")
	for deadline := time.Now().Add(20 * time.Second); made != nil && time.Now().Before(deadline) && ctx.Err() == nil; {
		if made = c.make(ctx); made != nil {
			pause(ctx, 100*time.Millisecond)
		}
	}
	if made != nil {
		c.stop()
		return nil, fmt.Errorf("start Radicale: %w", made)
	}
	return c, nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (c *calendar) make(ctx context.Context) error {
	_, status, err := c.do(ctx, "MKCALENDAR", c.path, "")
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("MKCALENDAR answered %d", status)
	}
	return err
}

// put writes an event as another client of the calendar would.
func (c *calendar) put(ctx context.Context, name, data string) error {
	_, status, err := c.do(ctx, http.MethodPut, c.path+name, data)
	if err == nil && status != http.StatusCreated && status != http.StatusNoContent {
		err = fmt.Errorf("PUT answered %d", status)
	}
	return err
}

// events reads every event of the calendar over CalDAV.
func (c *calendar) events(ctx context.Context) ([]string, error) {
	const all = `<?xml version="1.0" encoding="utf-8"?><C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">` +
		`<D:prop><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"/></C:comp-filter></C:filter></C:calendar-query>`
	body, status, err := c.do(ctx, "REPORT", c.path, all)
	if err != nil {
		return nil, err
	}
	if status != http.StatusMultiStatus {
		return nil, fmt.Errorf("REPORT answered %d", status)
	}
	var out []string
	for _, part := range strings.Split(strings.ReplaceAll(body, "&#13;", ""), "BEGIN:VEVENT")[1:] {
		event, _, _ := strings.Cut(part, "END:VEVENT")
		out = append(out, event)
	}
	return out, nil
}

func (c *calendar) do(ctx context.Context, method, path, body string) (string, int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return "", 0, err
	}
	req.SetBasicAuth(calendarUser, calendarPassword)
	req.Header.Set("Depth", "1")
	req.Header.Set("Content-Type", "text/calendar; charset=utf-8")
	if strings.HasPrefix(body, "<?xml") {
		req.Header.Set("Content-Type", "application/xml; charset=utf-8")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	return string(b), res.StatusCode, err
}
