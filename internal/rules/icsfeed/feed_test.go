package icsfeed_test

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/icsfeed"
)

const id = domain.BookingID("01900000-0000-7000-8000-000000000001")

func booking(t interface{ Fatal(...any) }, start, end, zone string, kind domain.TimeKind) domain.Booking {
	from, err := time.Parse(time.RFC3339, start)
	if err != nil {
		t.Fatal(err)
	}
	to, err := time.Parse(time.RFC3339, end)
	if err != nil {
		t.Fatal(err)
	}
	return domain.Booking{ID: id, Category: domain.CategoryWedding, Status: domain.StatusConfirmed, Version: 3,
		When:      domain.When{Span: domain.Span{Start: from.UTC(), End: to.UTC()}, Zone: zone, Kind: kind},
		Details:   domain.Details{Title: "Quillfeather, Oakbridge; rehearsal", Location: "Mill\\House\nBarn", Notes: "secret", Contact: "mail"},
		UpdatedAt: time.Date(2027, 1, 2, 3, 4, 5, 6000, time.UTC)}
}

// lines unfolds a stream.
func lines(t interface{ Fatalf(string, ...any) }, raw []byte) []string {
	if !bytes.HasSuffix(raw, []byte("\r\n")) {
		t.Fatalf("the stream does not end in CRLF")
	}
	text := string(raw)
	for _, l := range strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		if len(l) > 75 || strings.ContainsAny(l, "\r\n") || !utf8.ValidString(l) {
			t.Fatalf("line of %d octets: %q", len(l), l)
		}
	}
	return strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "\r\n ", ""), "\r\n"), "\r\n")
}

func pick(all []string, prefixes ...string) []string {
	var out []string
	for _, l := range all {
		for _, p := range prefixes {
			if strings.HasPrefix(l, p) {
				out = append(out, l)
			}
		}
	}
	return out
}

func titles() icsfeed.Calendar {
	return icsfeed.Calendar{Name: "Main hall", Detail: domain.FeedTitles, Refresh: 15 * time.Minute}
}

func TestAZonedBookingIsWrittenWithItsZone(t *testing.T) {
	t.Parallel()
	got := lines(t, icsfeed.Write(titles(), []domain.Booking{booking(t, "2027-06-05T14:00:00+02:00", "2027-06-05T23:30:00+02:00", "Europe/Berlin", domain.TimeZoned)}))
	want := []string{
		"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//WedSync//WedSync//EN", "CALSCALE:GREGORIAN", "NAME:Main hall", "X-WR-CALNAME:Main hall",
		"REFRESH-INTERVAL;VALUE=DURATION:PT15M", "X-PUBLISHED-TTL:PT15M",
		"BEGIN:VTIMEZONE", "TZID:Europe/Berlin", "BEGIN:DAYLIGHT", "DTSTART:20270328T020000", "TZOFFSETFROM:+0100", "TZOFFSETTO:+0200", "TZNAME:CEST", "END:DAYLIGHT", "END:VTIMEZONE",
		"BEGIN:VEVENT", "UID:wedsync-" + string(id), "DTSTAMP:20270102T030405Z", "LAST-MODIFIED:20270102T030405Z", "SEQUENCE:2",
		"DTSTART;TZID=Europe/Berlin:20270605T140000", "DTEND;TZID=Europe/Berlin:20270605T233000",
		`SUMMARY:Quillfeather\, Oakbridge\; rehearsal`, `LOCATION:Mill\\House\nBarn`, "STATUS:CONFIRMED", "TRANSP:OPAQUE",
		"X-WEDSYNC-BOOKING:" + icsfeed.Marker(id), "X-WEDSYNC-CATEGORY:wedding", "END:VEVENT", "END:VCALENDAR",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheVtimezoneCoversEveryChangeOfTheFeed(t *testing.T) {
	t.Parallel()
	a := booking(t, "2026-01-10T12:00:00Z", "2026-01-10T13:00:00Z", "Europe/London", domain.TimeZoned)
	b := booking(t, "2027-12-10T12:00:00Z", "2027-12-10T13:00:00Z", "Europe/London", domain.TimeZoned)
	got := pick(lines(t, icsfeed.Write(titles(), []domain.Booking{a, b})), "BEGIN:STANDARD", "BEGIN:DAYLIGHT", "DTSTART:", "RDATE", "TZOFFSET")
	want := []string{
		"BEGIN:STANDARD", "DTSTART:20251026T020000", "RDATE:20261025T020000", "RDATE:20271031T020000", "TZOFFSETFROM:+0100", "TZOFFSETTO:+0000",
		"BEGIN:DAYLIGHT", "DTSTART:20260329T010000", "RDATE:20270328T010000", "TZOFFSETFROM:+0000", "TZOFFSETTO:+0100",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFormsOfTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		start, end, zone string
		kind             domain.TimeKind
		want             []string
	}{
		"whole days are dates":                        {"2027-06-04T22:00:00Z", "2027-06-06T22:00:00Z", "Europe/Berlin", domain.TimeAllDay, []string{"DTSTART;VALUE=DATE:20270605", "DTEND;VALUE=DATE:20270607"}},
		"whole days over a change of clocks":          {"2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z", "Europe/Berlin", domain.TimeAllDay, []string{"DTSTART;VALUE=DATE:20270328", "DTEND;VALUE=DATE:20270329"}},
		"whole days of UTC":                           {"2027-06-05T00:00:00Z", "2027-06-06T00:00:00Z", "UTC", domain.TimeAllDay, []string{"DTSTART;VALUE=DATE:20270605", "DTEND;VALUE=DATE:20270606"}},
		"days that are not whole are times":           {"2027-06-05T00:00:00Z", "2027-06-06T00:00:00Z", "Europe/Berlin", domain.TimeAllDay, []string{"DTSTART;TZID=Europe/Berlin:20270605T020000", "DTEND;TZID=Europe/Berlin:20270606T020000"}},
		"instants are UTC":                            {"2027-06-05T10:00:00Z", "2027-06-05T11:00:00Z", "UTC", domain.TimeZoned, []string{"DTSTART:20270605T100000Z", "DTEND:20270605T110000Z"}},
		"an unknown zone is UTC":                      {"2027-06-05T10:00:00Z", "2027-06-05T11:00:00Z", "Mars/Olympus", domain.TimeZoned, []string{"DTSTART:20270605T100000Z", "DTEND:20270605T110000Z"}},
		"floating is told in the zone it was read in": {"2027-06-05T10:00:00Z", "2027-06-05T11:00:00Z", "Europe/London", domain.TimeFloating, []string{"DTSTART;TZID=Europe/London:20270605T110000", "DTEND;TZID=Europe/London:20270605T120000"}},
		"the second of two equal hours is UTC":        {"2027-10-31T01:30:00Z", "2027-10-31T04:00:00Z", "Europe/Berlin", domain.TimeZoned, []string{"DTSTART:20271031T013000Z", "DTEND:20271031T040000Z"}},
		"the first of two equal hours keeps its zone": {"2027-10-31T00:30:00Z", "2027-10-31T04:00:00Z", "Europe/Berlin", domain.TimeZoned, []string{"DTSTART;TZID=Europe/Berlin:20271031T023000", "DTEND;TZID=Europe/Berlin:20271031T050000"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := lines(t, icsfeed.Write(titles(), []domain.Booking{booking(t, c.start, c.end, c.zone, c.kind)}))
			for i, l := range all {
				if l == "BEGIN:VEVENT" {
					all = all[i:]
					break
				}
			}
			if diff := cmp.Diff(c.want, pick(all, "DTSTART", "DTEND")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadersLearnOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	one := func(change func(*domain.Booking)) domain.Booking {
		b := booking(t, "2027-06-05T10:00:00Z", "2027-06-05T11:00:00Z", "UTC", domain.TimeZoned)
		change(&b)
		return b
	}
	busy := icsfeed.Calendar{Name: "Main hall", Detail: domain.FeedBusy}
	for name, c := range map[string]struct {
		calendar icsfeed.Calendar
		booking  domain.Booking
		want     []string // of SUMMARY, LOCATION, STATUS, TRANSP, X-WEDSYNC-CATEGORY
	}{
		"titles":                    {titles(), one(func(*domain.Booking) {}), []string{`SUMMARY:Quillfeather\, Oakbridge\; rehearsal`, `LOCATION:Mill\\House\nBarn`, "STATUS:CONFIRMED", "TRANSP:OPAQUE", "X-WEDSYNC-CATEGORY:wedding"}},
		"private":                   {titles(), one(func(b *domain.Booking) { b.Private = true }), []string{"SUMMARY:Busy", "STATUS:CONFIRMED", "TRANSP:OPAQUE"}},
		"busy":                      {busy, one(func(*domain.Booking) {}), []string{"SUMMARY:Busy", "STATUS:CONFIRMED", "TRANSP:OPAQUE"}},
		"free in a feed of titles":  {titles(), one(func(b *domain.Booking) { b.Free, b.Details.Location = true, "" }), []string{`SUMMARY:Quillfeather\, Oakbridge\; rehearsal`, "STATUS:CONFIRMED", "TRANSP:TRANSPARENT", "X-WEDSYNC-CATEGORY:wedding"}},
		"free in a feed of busy":    {busy, one(func(b *domain.Booking) { b.Free = true }), nil},
		"cancelled":                 {titles(), one(func(b *domain.Booking) { b.Status = domain.StatusCancelled }), nil},
		"tentative":                 {busy, one(func(b *domain.Booking) { b.Status = domain.StatusTentative }), []string{"SUMMARY:Busy", "STATUS:TENTATIVE", "TRANSP:OPAQUE"}},
		"a hold that was confirmed": {busy, one(func(b *domain.Booking) { b.Category = domain.CategoryHold }), []string{"SUMMARY:Busy", "STATUS:TENTATIVE", "TRANSP:OPAQUE"}},
		"no title":                  {titles(), one(func(b *domain.Booking) { b.Details = domain.Details{} }), []string{"SUMMARY:Busy", "STATUS:CONFIRMED", "TRANSP:OPAQUE", "X-WEDSYNC-CATEGORY:wedding"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := icsfeed.Write(c.calendar, []domain.Booking{c.booking})
			got := pick(lines(t, raw), "SUMMARY", "LOCATION", "DESCRIPTION", "CONTACT", "STATUS", "TRANSP", "X-WEDSYNC-CATEGORY", "METHOD", "ATTENDEE", "ORGANIZER")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(string(raw), "secret") {
				t.Error("the notes are in the feed")
			}
		})
	}
}

func TestACutFeedSaysSo(t *testing.T) {
	t.Parallel()
	c := titles()
	c.Cut = true
	if got := pick(lines(t, icsfeed.Write(c, nil)), "X-WR-CALDESC", "DESCRIPTION"); len(got) != 2 || !strings.Contains(got[0], "5000") {
		t.Errorf("%q", got)
	}
}

func TestAnyTextSurvivesFoldingAndEscaping(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := booking(t, "2027-06-05T10:00:00Z", "2027-06-05T11:00:00Z", "UTC", domain.TimeZoned)
		b.Details.Title = "x" + rapid.String().Draw(t, "title")
		raw := icsfeed.Write(titles(), []domain.Booking{b})
		if !bytes.Equal(raw, icsfeed.Write(titles(), []domain.Booking{b})) {
			t.Fatalf("two writings differ")
		}
		got := pick(lines(t, raw), "SUMMARY:")
		if len(got) != 1 {
			t.Fatalf("%d summaries", len(got))
		}
		said := strings.NewReplacer(`\\`, `\`, `\;`, ";", `\,`, ",", `\n`, "\n").Replace(strings.TrimPrefix(got[0], "SUMMARY:"))
		want := strings.Map(func(r rune) rune {
			if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
				return -1
			}
			return r
		}, strings.ReplaceAll(b.Details.Title, "\r\n", "\n"))
		if said != want {
			t.Fatalf("%q came out as %q", want, said)
		}
	})
}
