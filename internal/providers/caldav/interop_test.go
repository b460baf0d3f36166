package caldav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
)

// realServer is a CalDAV server that nobody here wrote.
type realServer struct {
	name         string
	base         *url.URL // without user
	user, secret string
	home         string // path below which calendars are made
	// forget makes the server forget its sync tokens for a calendar; nil when there is no way.
	forget func(t testing.TB, calendar string)
	// unknownToken is a sync token of the server's own form that it never gave out.
	unknownToken string
	many         int
	calendars    atomic.Int64
}

func TestInteropRadicale(t *testing.T) {
	binary := need(t, "radicale")
	dir := t.TempDir()
	passwords := filepath.Join(dir, "users")
	if err := os.WriteFile(passwords, []byte(user+":"+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := start(t, func(port string) *exec.Cmd {
		return exec.Command(binary, "--hosts", "127.0.0.1:"+port, "--auth-type", "htpasswd",
			"--auth-htpasswd-filename", passwords, "--auth-htpasswd-encryption", "plain",
			"--storage-filesystem-folder", filepath.Join(dir, "store"), "--logging-level", "error")
	})
	s := &realServer{name: "Radicale", base: base, user: user, secret: password, home: "/" + user + "/",
		unknownToken: "http://radicale.org/ns/sync/" + strings.Repeat("0123abcd", 8), many: 2*pageSize + 10,
		forget: func(t testing.TB, calendar string) {
			tokens := filepath.Join(dir, "store", "collection-root", filepath.FromSlash(calendar), ".Radicale.cache", "sync-token")
			if err := os.RemoveAll(tokens); err != nil {
				t.Fatal(err)
			}
		},
	}
	s.run(t)
	t.Run("wrong password is unauthenticated", func(t *testing.T) {
		calendar := s.makeCalendar(t)
		wrong := connect(t, settings{URL: s.base.String(), Username: user, Calendar: calendar})
		wrong.auth = "Basic d3Jvbmc6d3Jvbmc="
		if err := wrong.Probe(t.Context()); domain.KindOf(err) != domain.KindUnauthenticated {
			t.Errorf("error %v, want KindUnauthenticated", err)
		}
	})
}

func TestInteropXandikos(t *testing.T) {
	binary := need(t, "xandikos")
	dir := filepath.Join(t.TempDir(), "store")
	base := start(t, func(port string) *exec.Cmd {
		return exec.Command(binary, "-d", dir, "--defaults", "--autocreate", "-l", "127.0.0.1", "-p", port,
			"--current-user-principal", "/"+user+"/")
	})
	s := &realServer{name: "Xandikos", base: base, user: user, secret: password, home: "/" + user + "/calendars/",
		unknownToken: strings.Repeat("0123abcd", 5), many: pageSize + 10}
	s.run(t)
}

// TestInteropServers runs the same against servers that are named in the environment, as addresses separated by
// spaces, with user and password, whose path is where calendars may be made. They are left behind there.
func TestInteropServers(t *testing.T) {
	list := strings.Fields(os.Getenv("WEDSYNC_CALDAV_SERVERS"))
	if len(list) == 0 {
		t.Skip("WEDSYNC_CALDAV_SERVERS names no server")
	}
	for _, address := range list {
		u, err := url.Parse(address)
		if err != nil || u.User == nil {
			t.Fatal("WEDSYNC_CALDAV_SERVERS must hold addresses with user and password")
		}
		secret, _ := u.User.Password()
		s := &realServer{name: u.Hostname(), user: u.User.Username(), secret: secret, home: u.Path,
			unknownToken: "data:,never-given-out", many: 0}
		s.base = &url.URL{Scheme: u.Scheme, Host: u.Host}
		t.Run(s.name, s.run)
	}
}

// need finds a program or skips the test, naming it. With WEDSYNC_INTEROP=1 a missing one is a failure.
func need(t *testing.T, program string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: real servers are left out")
	}
	binary, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("WEDSYNC_INTEROP") == "1" {
			t.Fatalf("%s is not installed, and WEDSYNC_INTEROP=1 demands it", program)
		}
		t.Skipf("%s is not installed; tools/interop.sh installs it", program)
	}
	return binary
}

// start runs a server on a free loopback port and waits until it answers. It ends with the test.
func start(t *testing.T, command func(port string) *exec.Cmd) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	cmd := command(port)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return &url.URL{Scheme: "http", Host: address}
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the server ended: %v\n%s", err, output.String())
		case <-deadline:
			t.Fatal("the server does not answer after 30 s")
		case <-tick.C:
		}
	}
}

func (s *realServer) run(t *testing.T) {
	if os.Getenv("WEDSYNC_INTEROP") != "1" {
		s.many = 0 // hundreds of entries take such a server a while: only where it was asked for
	}
	t.Run("suite", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{
			Registration: Registration, Many: s.many, Secrets: []string{s.secret},
			Lacks: map[string]string{"hazard/duplicate page": pagesOfDAV, "hazard/missing page": pagesOfDAV,
				string("hazard/" + providertest.HazardSkew): "a real server on this machine has the clock of the machine"},
			Open: func(t testing.TB) (any, providertest.World) {
				w := s.world(t)
				return w.conn, w
			},
		})
	})
	t.Run("story", s.story)
	t.Run("discovery finds the calendar", s.discovery)
	t.Run("copies are read by vdirsyncer and khal", s.readByOthers)
}

// do sends a request to the server as somebody else.
func (s *realServer) do(t testing.TB, method, path, body string, header ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.base.String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(s.user, s.secret)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// makeCalendar makes an empty calendar and returns its path.
func (s *realServer) makeCalendar(t testing.TB) string {
	t.Helper()
	path := fmt.Sprintf("%swedsync-%d-%d/", s.home, os.Getpid(), s.calendars.Add(1))
	status, body := s.do(t, "MKCALENDAR", path, `<?xml version="1.0"?><C:mkcalendar xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><set><prop>`+
		`<displayname>Weddings</displayname><C:supported-calendar-component-set><C:comp name="VEVENT"/></C:supported-calendar-component-set></prop></set></C:mkcalendar>`,
		"Content-Type", "application/xml")
	if status != http.StatusCreated {
		t.Fatalf("MKCALENDAR: status %d: %.200s", status, body)
	}
	return path
}

// realWorld is a calendar of a real server behind a front that can fail.
type realWorld struct {
	server *realServer
	path   string
	front  *caldavsim.Front
	conn   *connection
	url    string
	seeded atomic.Int64
}

func (s *realServer) world(t testing.TB) *realWorld {
	t.Helper()
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(s.base)
		r.Out.Host = r.In.Host
	}}
	w := &realWorld{server: s, path: s.makeCalendar(t), front: caldavsim.NewFront(proxy)}
	server := httptest.NewServer(w.front)
	t.Cleanup(func() { w.front.Heal(); server.Close() })
	w.url = server.URL
	w.conn = connect(t, settings{URL: server.URL, Username: s.user, Calendar: server.URL + w.path})
	return w
}

func (w *realWorld) put(t testing.TB, path, data string) {
	t.Helper()
	if status, body := w.server.do(t, http.MethodPut, path, data, "Content-Type", "text/calendar; charset=utf-8"); status != 200 && status != 201 && status != 204 {
		t.Fatalf("PUT: status %d: %.200s", status, body)
	}
}

func (w *realWorld) Seed(t testing.TB, e providertest.Entry) string {
	n := w.seeded.Add(1)
	id := fmt.Sprintf("%sentry-%d.ics", w.path, n)
	w.put(t, id, entryICS(fmt.Sprintf("entry-%d", n), e))
	return id
}

func (w *realWorld) Edit(t testing.TB, id string, e providertest.Entry) {
	_, data := w.server.do(t, http.MethodGet, id, "")
	w.put(t, id, entryICS(uidIn(t, data), e))
}

func (w *realWorld) Delete(t testing.TB, id string) {
	if status, body := w.server.do(t, http.MethodDelete, id, ""); status != 200 && status != 204 {
		t.Fatalf("DELETE: status %d: %.200s", status, body)
	}
}

func (w *realWorld) Count(t testing.TB) int {
	_, body := w.server.do(t, "PROPFIND", w.path, `<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>`,
		"Depth", "1", "Content-Type", "application/xml")
	return strings.Count(body, ".ics<")
}

func (w *realWorld) Heal(testing.TB) { w.front.Heal() }

func (w *realWorld) Fault(t testing.TB, f providertest.Fault) bool {
	if f == providertest.FaultForgetTokens {
		if w.server.forget == nil {
			return false
		}
		w.server.forget(t, w.path)
		return true
	}
	return setFault(w.front, f)
}

// story is the whole way: a booking is written, a person moves it by hand, another booking comes and goes, the server
// loses the token.
func (s *realServer) story(t *testing.T) {
	w := s.world(t)
	ctx := t.Context()
	seeded := w.Seed(t, providertest.Entry{Title: "Dentist", When: when("2027-04-02T09:00:00Z", time.Hour)})
	page := pullAll(t, w.conn, "")
	if !page.Complete || len(page.Changes) != 1 || page.Changes[0].ExternalID != seeded {
		t.Fatalf("first listing: complete %v with %d changes", page.Complete, len(page.Changes))
	}

	wish := write(1)
	done, err := w.conn.Put(ctx, wish)
	if err != nil {
		t.Fatal(err)
	}
	page = pullAll(t, w.conn, page.Next)
	if len(page.Changes) != 1 || page.Changes[0].Hash() != done.ReadBack.Hash() || page.Changes[0].Origin != wish.BookingID {
		t.Fatalf("the echo of our own write is not recognised: %+v", page.Changes)
	}

	// A person moves our copy by hand: their program keeps our properties.
	_, data := s.do(t, http.MethodGet, done.ExternalID, "")
	moved := strings.ReplaceAll(data, "20270601T", "20270602T")
	if moved == data {
		t.Fatalf("the stored copy does not say when it is:\n%s", data)
	}
	w.put(t, done.ExternalID, moved)
	page = pullAll(t, w.conn, page.Next)
	if len(page.Changes) != 1 || !page.Changes[0].When.Start.Equal(wish.When.Start.AddDate(0, 0, 1)) || page.Changes[0].Origin != wish.BookingID {
		t.Fatalf("the person's move is not read: %+v", page.Changes)
	}
	stale := wish
	stale.ExternalID, stale.Revision = done.ExternalID, done.Revision
	stale.Details.Notes = "another note"
	if _, err := w.conn.Put(ctx, stale); domain.KindOf(err) != domain.KindConflict {
		t.Fatalf("a write over the person's move: %v, want KindConflict", err)
	}

	w.Delete(t, seeded)
	if err := w.conn.Remove(ctx, done.ExternalID, page.Changes[0].Revision); err != nil {
		t.Fatal(err)
	}
	before := page.Next
	page = pullAll(t, w.conn, before)
	removed := map[string]bool{}
	for _, c := range page.Changes {
		if c.Op == domain.OpRemove {
			removed[c.ExternalID] = true
		}
	}
	if len(page.Changes) != 2 || !removed[seeded] || !removed[done.ExternalID] {
		t.Fatalf("the removals are not read: %+v", page.Changes)
	}

	cur, err := w.conn.parseCursor(page.Next)
	if err != nil {
		t.Fatal(err)
	}
	cur.Base = s.unknownToken
	if _, err := w.conn.Pull(ctx, cur.String()); domain.KindOf(err) != domain.KindGoneToken {
		t.Fatalf("a token that the server never gave out: %v, want KindGoneToken", err)
	}
	page = pullAll(t, w.conn, "")
	for _, c := range page.Changes {
		if c.Op == domain.OpUpsert {
			t.Errorf("the listing after the loss still has %s", c.ExternalID)
		}
	}
	if !page.Complete {
		t.Error("the listing after the loss is not complete")
	}
}

func (s *realServer) discovery(t *testing.T) {
	w := s.world(t)
	conn := connect(t, settings{URL: w.url, Username: s.user})
	raw, err := conn.Onboard(t.Context())
	if err == nil {
		if !strings.Contains(string(raw), s.home) {
			t.Errorf("onboarding chose a calendar outside the account: %s", raw)
		}
		return
	}
	var ours *domain.Error
	if !errors.As(err, &ours) || domain.FieldOf(err) != "settings.calendar" || !strings.Contains(err.Error(), w.path) {
		t.Errorf("onboarding: %v, want the choices with %s among them", err, w.path)
	}
}
