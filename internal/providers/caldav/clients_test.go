package caldav

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/icsfeed"
)

// viewer is a calendar program that nobody here wrote: vdirsyncer fetches, khal reads what it fetched, in London.
type viewer struct {
	vdirsyncer, khal, dir string
}

func newViewer(t *testing.T, remote string) *viewer {
	t.Helper()
	v := &viewer{vdirsyncer: need(t, "vdirsyncer"), khal: need(t, "khal"), dir: t.TempDir()}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(v.dir, name), []byte(strings.ReplaceAll(text, "DIR", v.dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(v.dir, "here"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("vdirsyncer.conf", "[general]\nstatus_path = \"DIR/status/\"\n[pair one]\na = \"there\"\nb = \"here\"\ncollections = null\nconflict_resolution = \"a wins\"\n"+
		"[storage here]\ntype = \"filesystem\"\npath = \"DIR/here/\"\nfileext = \".ics\"\n[storage there]\n"+remote)
	write("khal.conf", "[calendars]\n[[one]]\npath = DIR/here/\ntype = calendar\n[sqlite]\npath = DIR/khal.db\n[locale]\n"+
		"local_timezone = Europe/London\ndefault_timezone = Europe/London\ntimeformat = %H:%M\ndateformat = %Y-%m-%d\nlongdateformat = %Y-%m-%d\n"+
		"datetimeformat = %Y-%m-%dT%H:%M\nlongdatetimeformat = %Y-%m-%dT%H:%M\nfirstweekday = 0\n")
	return v
}

func (v *viewer) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "HOME="+v.dir, "XDG_CONFIG_HOME="+v.dir, "XDG_DATA_HOME="+v.dir, "XDG_CACHE_HOME="+v.dir, "LC_ALL=C.UTF-8", "TZ=Europe/London")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", filepath.Base(program), err, out, said.String())
	}
	return string(out)
}

// sees fetches the calendar and lists its events, as far as khal shows them.
func (v *viewer) sees(t *testing.T) []string {
	t.Helper()
	config := filepath.Join(v.dir, "vdirsyncer.conf")
	v.run(t, v.vdirsyncer, "-c", config, "discover")
	v.run(t, v.vdirsyncer, "-c", config, "sync")
	var out []string
	for _, l := range strings.Split(v.run(t, v.khal, "-c", filepath.Join(v.dir, "khal.conf"), "list", "--once", "--day-format", "",
		"--format", "{start-long} {end-long} {status}{title} @ {location}", "2027-01-01", "400d"), "\n") {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return out
}

// shown is how khal shows a booking to somebody in London.
func shown(t *testing.T, b domain.Booking, title, location string) string {
	t.Helper()
	london := mustZone(t, "Europe/London")
	status := map[domain.BookingStatus]string{domain.StatusConfirmed: "CONFIRMED", domain.StatusTentative: "TENTATIVE"}[b.Status]
	if b.When.Kind == domain.TimeAllDay {
		first, end, ok := calendartime.WholeDays(b.When.Span, mustZone(t, b.When.Zone))
		if !ok {
			t.Fatal("the days are not whole")
		}
		return strings.TrimSpace(fmt.Sprintf("%s %s %s %s @ %s", first, end.AddDays(-1), status, title, location))
	}
	const form = "2006-01-02T15:04"
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s @ %s", b.When.Start.In(london).Format(form), b.When.End.In(london).Format(form), status, title, location))
}

// diary has every form of time, and titles that must be escaped and folded.
func diary() []domain.Booking {
	var all []domain.Booking
	for i, v := range []struct {
		start, end, zone string
		kind             domain.TimeKind
		status           domain.BookingStatus
		title            string
	}{
		{"2027-06-05T12:00:00Z", "2027-06-05T21:30:00Z", "Europe/Berlin", domain.TimeZoned, domain.StatusConfirmed, "Wedding, in summer; with guests"},
		{"2027-01-16T18:00:00Z", "2027-01-17T02:00:00Z", "America/New_York", domain.TimeZoned, domain.StatusConfirmed, "Wedding over midnight"},
		{"2027-03-28T00:30:00Z", "2027-03-28T02:30:00Z", "Europe/Berlin", domain.TimeZoned, domain.StatusConfirmed, "Clocks go forward"},
		{"2027-10-31T01:30:00Z", "2027-10-31T03:30:00Z", "Europe/Berlin", domain.TimeZoned, domain.StatusConfirmed, "The second of two equal hours"},
		{"2027-04-03T09:00:00Z", "2027-04-03T10:00:00Z", "Australia/Lord_Howe", domain.TimeZoned, domain.StatusTentative, "Half an hour of summer time"},
		{"2027-05-01T10:00:00Z", "2027-05-01T11:00:00Z", "UTC", domain.TimeZoned, domain.StatusConfirmed, "Instant"},
		{"2027-07-02T09:00:00Z", "2027-07-02T10:00:00Z", "Europe/London", domain.TimeFloating, domain.StatusConfirmed, "Floating"},
		{"2027-08-06T23:00:00Z", "2027-08-08T23:00:00Z", "Europe/London", domain.TimeAllDay, domain.StatusConfirmed, "Two whole days"},
		{"2027-03-28T00:00:00Z", "2027-03-28T23:00:00Z", "Europe/London", domain.TimeAllDay, domain.StatusTentative, "A day of 23 hours"},
		{"2027-09-04T11:00:00Z", "2027-09-04T12:00:00Z", "Europe/London", domain.TimeZoned, domain.StatusConfirmed,
			"Длинное название, которое не помещается в одну строку, потому что в каждой букве два байта — fold me, \\ backslash"},
	} {
		start, _ := time.Parse(time.RFC3339, v.start)
		end, _ := time.Parse(time.RFC3339, v.end)
		all = append(all, domain.Booking{ID: domain.BookingID(fmt.Sprintf("0193b000-0000-7000-8000-%012x", i+1)), Category: domain.CategoryWedding, Status: v.status,
			When: domain.When{Span: domain.Span{Start: start, End: end}, Zone: v.zone, Kind: v.kind}, Version: 1,
			Details: domain.Details{Title: v.title, Location: "Old barn; gate 2, left"}, UpdatedAt: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)})
	}
	return all
}

func TestInteropPublishedFeedsAreReadByVdirsyncerAndKhal(t *testing.T) {
	private := domain.Booking{ID: "0193b000-0000-7000-8000-00000000ffff", Category: domain.CategoryPersonal, Status: domain.StatusConfirmed, Private: true, Version: 1,
		When: when("2027-11-05T10:00:00Z", time.Hour), Details: domain.Details{Title: "Doctor", Location: "Clinic"}}
	cancelled := private
	cancelled.ID, cancelled.Status, cancelled.Private = "0193b000-0000-7000-8000-00000000fffe", domain.StatusCancelled, false
	all := append(diary(), private, cancelled)
	for detail, name := range map[domain.FeedDetail]string{domain.FeedTitles: "titles", domain.FeedBusy: "busy"} {
		t.Run(name, func(t *testing.T) {
			body := icsfeed.Write(icsfeed.Calendar{Name: "Main hall", Detail: detail, Refresh: 15 * time.Minute}, all)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", icsfeed.ContentType)
				_, _ = w.Write(body)
			}))
			defer server.Close()
			v := newViewer(t, "type = \"http\"\nurl = \""+server.URL+"/feeds/x.ics\"\n")
			var want []string
			for _, b := range diary() {
				if detail == domain.FeedTitles {
					want = append(want, shown(t, b, b.Details.Title, b.Details.Location))
				} else {
					want = append(want, shown(t, b, "Busy", ""))
				}
			}
			want = append(want, shown(t, private, "Busy", ""))
			slices.Sort(want)
			if diff := cmp.Diff(want, v.sees(t)); diff != "" {
				t.Errorf("the reader sees something else (-ours +theirs):\n%s", diff)
			}
		})
	}
}

// readByOthers writes copies to the server and has them read by programs that know nothing of us.
func (s *realServer) readByOthers(t *testing.T) {
	w := s.world(t)
	v := newViewer(t, fmt.Sprintf("type = \"caldav\"\nurl = %q\nusername = %q\npassword = %q\n", s.base.String()+w.path, s.user, s.secret))
	var want []string
	for i, b := range diary() {
		wish := provider.Write{Key: fmt.Sprintf("0193c000-0000-7000-8000-%012x", i+1), BookingID: b.ID, Category: b.Category, Status: b.Status, When: b.When, Details: b.Details}
		if _, err := w.conn.Put(t.Context(), wish); err != nil {
			t.Fatal(err)
		}
		want = append(want, shown(t, b, b.Details.Title, b.Details.Location))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, v.sees(t)); diff != "" {
		t.Errorf("the reader sees something else (-ours +theirs):\n%s", diff)
	}
}
