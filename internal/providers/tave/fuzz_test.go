package tave

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/providertest"
)

// offline is a connection that reads what it is given and asks nobody.
func offline(t testing.TB) *connection {
	s, err := parseSettings(json.RawMessage(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	return &connection{settings: s, zone: mustZone(t, "Europe/London"), now: func() time.Time { return providertest.Now }}
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"id":"01h35ccwymj5ctckp8px1azhg6","name":"x","startDate":"2027-03-28","startTime":"01:30:00","endTime":"00:10","location":{"address":{"city":"York"}}}`))
	f.Add([]byte(`{"id":"a","allDay":true,"startDate":"2027-03-27","endDate":"2027-03-28","externalMappings":[{"id":"wedsync-x","url":"https://wedsync.invalid/wedding/x"}]}`))
	f.Add([]byte(`{"descriptionHtml":"<p>a</p","startDate":"9999-12-31","startTime":"23:59:59"}`))
	c := offline(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e event
		if json.Unmarshal(raw, &e) != nil {
			return
		}
		e.TypeID = "" // types are asked for
		ch, err := c.change(context.Background(), e, nil)
		if err != nil {
			if domain.KindOf(err) != domain.KindInvalid {
				t.Fatalf("error of kind %q: %v", domain.KindOf(err), err)
			}
			return
		}
		if err := ch.Validate(); err != nil {
			t.Fatalf("an invalid change: %v", err)
		}
	})
}

func FuzzCursor(f *testing.F) {
	c := offline(f)
	f.Add(cursor{Version: cursorVersion, Fingerprint: c.settings.fingerprint("Europe/London"), Phase: phaseNews, List: 4, At: 7}.String())
	f.Add("x")
	f.Fuzz(func(t *testing.T, s string) {
		cur, err := c.parseCursor(s)
		if err != nil {
			if domain.KindOf(err) != domain.KindGoneToken {
				t.Fatalf("error of kind %q: %v", domain.KindOf(err), err)
			}
			return
		}
		again, err := c.parseCursor(cur.String())
		if err != nil || again.String() != cur.String() {
			t.Fatalf("a cursor changes when it is written: %v", err)
		}
	})
}

func FuzzPlainText(f *testing.F) {
	f.Add("First\nsecond <b> & more")
	f.Add("<p>a</p><br>&lt;")
	f.Fuzz(func(t *testing.T, s string) {
		if got := plainText(s); utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Fatalf("%q", got)
		}
		if text := strings.ReplaceAll(clean(s), "\u00a0", ""); len(text) < domain.MaxNotes && plainText(htmlText(text)) != clean(text) {
			t.Fatalf("%q comes back as %q", clean(text), plainText(htmlText(text)))
		}
	})
}

func FuzzMarker(f *testing.F) {
	at, err := marker{"0193b000-0000-7000-8000-000000000001", "0193c000-0000-7000-8000-000000000001", domain.CategoryWedding}.mapping()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(at.ID, at.URL)
	f.Add(at.ofJob().ID, at.URL)
	f.Add("wedsync-", "https://wedsync.invalid/")
	f.Fuzz(func(t *testing.T, id, url string) {
		m, ok := markerOf([]mapping{{id, url}})
		if !ok {
			return
		}
		again, err := m.mapping()
		if back, same := markerOf([]mapping{again}); err != nil || !same || back != m || len(again.ID) > 64 || len(again.URL) > 255 {
			t.Fatalf("%+v comes back as %+v: %v", m, back, err)
		}
	})
}
