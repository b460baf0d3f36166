package lightbluesim

import (
	"fmt"
	"html"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The portal is invented; see the package comment. It lists shoots in the order of their ids, a page at a time:
//
//	/robots.txt                   lets everybody read but /portal/admin
//	/portal/login                 a form with a hidden token; a success leads to the list with 303
//	/portal/shoots?page=1         the list: table#shoots, tr.shoot with data-id, a link to the next page, the whole number
//
// A session is a cookie and ends after [SessionLife]. Whoever has none is sent to the form.

// SessionLife is how long a log-in counts.
const SessionLife = 30 * time.Minute

// Shoot is an entry of the portal. Start and End are clocks of the studio, as they are shown.
type Shoot struct {
	Title, Status, Place, Client string
	Start, End                   time.Time
	AllDay                       bool
}

// PortalFaults are faults of the portal's pages.
type PortalFaults struct {
	RenameDate bool // the class of the date's column is another one
	DropID     bool // rows say no id any more
	NoRows     bool // the table is empty, without a word about it
	NoTable    bool // there is no table at all
	HalfDates  int  // so many rows of a page have no date
	Short      bool // an entry is left out, and the whole number stays
	Loop       bool // the last page leads to the first
	Repeat     bool // every page but the first begins with the last row of the one before
	Skip       bool // the first page leads to the third
	Inline     bool // who is logged out gets the form in place of the list, with 200
	Nonce      bool // every answer holds another number
	Forget     bool // no session counts, however new
	// Robots replaces the robots.txt, RobotsStatus answers with a status in its place.
	Robots       string
	RobotsStatus int
}

type portal struct {
	shoots   map[string]Shoot
	next     int
	sessions map[string]time.Time // token to end
	csrf     string
	count    int
	logins   int
	requests []string
}

func newPortal() portal {
	return portal{shoots: map[string]Shoot{}, next: 1000, sessions: map[string]time.Time{}, csrf: "csrf-simulated-71d0"}
}

// AddShoot makes an entry and returns its id.
func (s *Server) AddShoot(sh Shoot) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.portal.next++
	id := "S-" + strconv.Itoa(s.portal.next)
	s.portal.shoots[id] = sh
	return id
}

// EditShoot replaces an entry.
func (s *Server) EditShoot(id string, sh Shoot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.portal.shoots[id] = sh
}

// RemoveShoot takes an entry out.
func (s *Server) RemoveShoot(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.portal.shoots, id)
}

// Shoots is how many entries there are.
func (s *Server) Shoots() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.portal.shoots)
}

// ExpireSessions logs everybody out.
func (s *Server) ExpireSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.portal.sessions)
}

// Logins counts the log-ins that were let in.
func (s *Server) Logins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.portal.logins
}

// Requests lists method and address of everything that was asked so far.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.portal.requests)
}

const cookieName = "portal_session"

func (s *Server) mountPortal(mux *http.ServeMux) {
	mux.HandleFunc("GET /robots.txt", s.robots)
	mux.HandleFunc("GET /portal/login", func(w http.ResponseWriter, _ *http.Request) { s.form(w, "") })
	mux.HandleFunc("POST /portal/login", s.login)
	mux.HandleFunc("GET /portal/shoots", s.list)
}

func (s *Server) robots(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	f := s.faults.Portal
	s.mu.Unlock()
	switch {
	case f.RobotsStatus != 0:
		w.WriteHeader(f.RobotsStatus)
	case f.Robots != "":
		_, _ = w.Write([]byte(f.Robots))
	default:
		_, _ = w.Write([]byte("User-agent: *\nDisallow: /portal/admin\n"))
	}
}

func page(w http.ResponseWriter, title, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>%s</title></head>\n<body>\n<h1>%s</h1>\n%s\n</body>\n</html>\n", title, title, body)
}

func (s *Server) form(w http.ResponseWriter, fault string) {
	s.mu.Lock()
	csrf := s.portal.csrf
	s.mu.Unlock()
	if fault != "" {
		fault = `<p class="error">` + fault + "</p>\n"
	}
	page(w, "Log in", fault+`<form id="login" method="post" action="/portal/login">
<input type="hidden" name="csrf" value="`+csrf+`">
<label>Email <input type="email" name="email"></label>
<label>Password <input type="password" name="password"></label>
<button type="submit" name="go" value="1">Log in</button>
</form>`)
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if r.ParseForm() != nil {
		http.Error(w, "no form", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	good := r.PostForm.Get("email") == PortalUser && r.PostForm.Get("password") == PortalPassword && r.PostForm.Get("csrf") == s.portal.csrf && !s.faults.BadKey
	token := ""
	if good {
		s.portal.count++
		s.portal.logins++
		token = fmt.Sprintf("session-simulated-%d", s.portal.count)
		s.portal.sessions[token] = s.o.Now().Add(SessionLife)
	}
	s.mu.Unlock()
	if !good {
		s.form(w, "Email or password is wrong")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: token, Path: "/portal", HttpOnly: true})
	http.Redirect(w, r, "/portal/shoots?page=1", http.StatusSeeOther)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	f := s.faults.Portal
	cookie, err := r.Cookie(cookieName)
	in := err == nil && s.o.Now().Before(s.portal.sessions[cookie.Value]) && !f.Forget && !s.faults.BadKey
	s.portal.count++
	count := s.portal.count
	shoots := maps.Clone(s.portal.shoots)
	s.mu.Unlock()
	if !in {
		if f.Inline {
			s.form(w, "")
			return
		}
		http.Redirect(w, r, "/portal/login", http.StatusFound)
		return
	}
	ids := slices.Sorted(maps.Keys(shoots))
	whole := len(ids)
	if f.Short && whole > 0 {
		ids = ids[1:]
	}
	number, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil || number < 1 {
		number = 1
	}
	from := min((number-1)*s.o.PageSize, len(ids))
	to := min(from+s.o.PageSize, len(ids))
	last := to == len(ids)
	if f.Repeat && from > 0 {
		from--
	}
	var b strings.Builder
	if !f.NoTable {
		b.WriteString("<table id=\"shoots\">\n<thead><tr><th>Shoot</th><th>Date</th><th>Status</th></tr></thead>\n<tbody>\n")
		if !f.NoRows {
			for n, id := range ids[from:to] {
				b.WriteString(row(id, shoots[id], f, n < f.HalfDates))
			}
		}
		b.WriteString("</tbody>\n</table>\n")
	}
	switch {
	case whole == 0:
		b.WriteString("<p class=\"none\">There are no shoots yet.</p>\n")
	case !f.NoRows && !f.NoTable:
		fmt.Fprintf(&b, "<p class=\"total\">%d shoots in all</p>\n", whole)
	}
	switch {
	case !last:
		next := number + 1
		if f.Skip && number == 1 {
			next++
		}
		fmt.Fprintf(&b, "<nav class=\"pages\"><a class=\"next\" href=\"?page=%d\">Next</a></nav>\n", next)
	case f.Loop:
		b.WriteString("<nav class=\"pages\"><a class=\"next\" href=\"?page=1\">Next</a></nav>\n")
	}
	if f.Nonce {
		fmt.Fprintf(&b, "<footer>Answer %d</footer>\n", count)
	}
	b.WriteString("<a class=\"logout\" href=\"/portal/logout\">Log out</a>")
	page(w, "Shoots", b.String())
}

func row(id string, sh Shoot, f PortalFaults, noDate bool) string {
	attr := fmt.Sprintf(" data-id=%q", id)
	if f.DropID {
		attr = ""
	}
	class := "date"
	if f.RenameDate {
		class = "when"
	}
	status := sh.Status
	if status == "" {
		status = "Booked"
	}
	start, end := sh.Start.Format("15:04"), sh.End.Format("15:04")
	if sh.AllDay {
		start, end = "", ""
	}
	date := fmt.Sprintf("<td class=%q>%s</td>", class, sh.Start.Format("02/01/2006"))
	if noDate {
		date = "<td></td>"
	}
	return fmt.Sprintf("<tr class=\"shoot\"%s><td class=\"title\"><a href=\"/portal/shoots/%s\">%s</a></td>%s<td class=\"start\">%s</td><td class=\"end\">%s</td>"+
		"<td class=\"status\">%s</td><td class=\"place\">%s</td><td class=\"client\">%s</td></tr>\n",
		attr, id, html.EscapeString(sh.Title), date, start, end, html.EscapeString(status), html.EscapeString(sh.Place), html.EscapeString(sh.Client))
}
