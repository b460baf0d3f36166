package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const inspectedFile = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" +
	"BEGIN:VEVENT\r\nUID:shift\r\nDTSTART;TZID=America/New_York:20270313T023000\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=3\r\nSUMMARY:Night\\, shift\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:shift\r\nRECURRENCE-ID;TZID=America/New_York:20270315T023000\r\nSTATUS:CANCELLED\r\nDTSTART;TZID=America/New_York:20270315T023000\r\nDURATION:PT1H\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:days\r\nDTSTART;VALUE=DATE:20270327\r\nDTEND;VALUE=DATE:20270329\r\nSTATUS:TENTATIVE\r\nTRANSP:TRANSPARENT\r\nSUMMARY:Days\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:call\r\nDTSTART:20270401T090000\r\nSUMMARY:Call\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:lost\r\nDTSTART;TZID=Mars/Olympus:20270401T090000\r\nEND:VEVENT\r\n" +
	"END:VCALENDAR\r\n"

func TestCalendarInspectPrintsAnObjectPerOccurrence(t *testing.T) {
	t.Parallel()
	want := []string{
		`{"uid":"shift","recurrence_id":"2027-03-13T02:30:00-05:00","start":"2027-03-13T02:30:00-05:00","end":"2027-03-13T03:30:00-05:00","all_day":false,"summary":"Night, shift","status":"confirmed","busy":true}`,
		`{"uid":"shift","recurrence_id":"2027-03-14T03:30:00-04:00","start":"2027-03-14T03:30:00-04:00","end":"2027-03-14T04:30:00-04:00","all_day":false,"summary":"Night, shift","status":"confirmed","busy":true}`,
		`{"uid":"shift","recurrence_id":"2027-03-15T02:30:00-04:00","start":"2027-03-15T02:30:00-04:00","end":"2027-03-15T03:30:00-04:00","all_day":false,"summary":"","status":"cancelled","busy":false}`,
		`{"uid":"days","recurrence_id":null,"start":"2027-03-27","end":"2027-03-29","all_day":true,"summary":"Days","status":"tentative","busy":false}`,
		`{"uid":"call","recurrence_id":null,"start":"2027-04-01T09:00:00+01:00","end":"2027-04-01T09:00:00+01:00","all_day":false,"summary":"Call","status":"confirmed","busy":false}`,
	}
	range2027 := []string{"--from", "2027-01-01", "--to", "2028-01-01", "--tz", "Europe/London", "--json"}
	for name, args := range map[string][]string{"from a file": {file(t, inspectedFile)}, "from standard input": {"-"}} {
		code, out, fault := wedsync(t, inspectedFile, append(append([]string{"calendar", "inspect"}, args...), range2027...)...)
		var got, said []string
		for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
			if strings.HasPrefix(l, "{") {
				got = append(got, l)
			} else {
				said = append(said, l)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || code != 0 {
			t.Errorf("%s: status %d, %s (-want +got):\n%s", name, code, fault, diff)
		}
		if len(said) != 1 || !strings.HasPrefix(said[0], "line 32: DTSTART: ") || !strings.Contains(said[0], `left out (UID "lost")`) {
			t.Errorf("%s: said %q", name, said)
		}
	}
}

func TestCalendarInspectPrintsATable(t *testing.T) {
	t.Parallel()
	code, out, fault := wedsync(t, inspectedFile, "calendar", "inspect", "-", "--from", "2027-03-20", "--to", "2027-03-28T00:00:00Z", "--tz", "GMT Standard Time")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 3 || !strings.HasPrefix(lines[1], "START ") || strings.Join(strings.Fields(lines[2]), " ") != "2027-03-27 2027-03-29 tentative free Days days" {
		t.Errorf("status %d, %s:\n%s", code, fault, out)
	}
}

func TestCalendarInspectSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	often := "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\nDTSTART:20270101T000000Z\nDURATION:PT1M\nRRULE:FREQ=MINUTELY\nEND:VEVENT\nEND:VCALENDAR\n"
	for name, c := range map[string]struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		"no file":                         {"", nil, 2, "needs one file"},
		"a file that is not there":        {"", []string{filepath.Join(t.TempDir(), "none.ics")}, 1, "open calendar"},
		"no calendar":                     {"<html>", []string{"-"}, 1, "holds no VCALENDAR"},
		"a calendar that is lost wholly":  {"BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:x\nEND:VEVENT\nEND:VCALENDAR\n", []string{"-"}, 1, "nothing could be read"},
		"a file over its bound":           {strings.Repeat("X", 10<<20+1), []string{"-"}, 1, "larger than 10485760 bytes"},
		"more occurrences than its bound": {often, []string{"-", "--from", "2027-01-01", "--to", "2028-01-01"}, 1, "nothing could be read"},
		"a range of 11 years":             {inspectedFile, []string{"-", "--from", "2027-01-01", "--to", "2038-01-01"}, 2, "at most 10 years"},
		"a range backwards":               {inspectedFile, []string{"-", "--from", "2027-01-02", "--to", "2027-01-01"}, 2, "must be after --from"},
		"a day that is not":               {inspectedFile, []string{"-", "--from", "2027-02-30"}, 2, "--from: must be a day"},
		"a zone that nobody knows":        {inspectedFile, []string{"-", "--tz", "Mars/Olympus"}, 2, "--tz: must be a time zone"},
	} {
		code, out, fault := wedsync(t, c.stdin, append([]string{"calendar", "inspect"}, c.args...)...)
		if code != c.code || !strings.Contains(fault, c.want) {
			t.Errorf("%s: status %d, %q, want %d, %q; printed %.200q", name, code, fault, c.code, c.want, out)
		}
	}
	if code, out, _ := wedsync(t, "BEGIN:VCALENDAR\nEND:VCALENDAR\n", "calendar", "inspect", "-", "--json"); code != 0 || out != "" {
		t.Errorf("an empty calendar: status %d, %q", code, out)
	}
}

func TestCalendarInspectHoldsTenYears(t *testing.T) {
	t.Parallel()
	daily := "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\nDTSTART:19700101T000000Z\nDURATION:PT1M\nRRULE:FREQ=HOURLY\nEND:VEVENT\nEND:VCALENDAR\n"
	code, out, fault := wedsync(t, daily, "calendar", "inspect", "-", "--from", "2027-01-01", "--to", "2037-01-01", "--json")
	if n := strings.Count(out, "\n"); code != 0 || n != 3653*24 {
		t.Fatalf("status %d, %s, %d lines", code, fault, n)
	}
	var last inspected
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Start != "2036-12-31T23:00:00Z" {
		t.Errorf("last %s, %v", fmt.Sprint(last), err)
	}
}
