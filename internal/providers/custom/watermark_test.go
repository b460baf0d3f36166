package custom

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

func TestADateAsWatermarkIsEarlyEnoughInEveryZone(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.November, 24, 0, 40, 0, 0, time.UTC) // the evening before in New York
	m := watermark{overlap: defaultOverlap, format: "date"}
	got, err := calendartime.ParseDate(m.since(cursor{Since: formatMark(at)}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"UTC", "America/New_York", "Pacific/Pago_Pago", "Etc/GMT+12", "Pacific/Kiritimati"} {
		zone, err := calendartime.LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		if begins := calendartime.DayStart(got, zone); begins.After(at.Add(-defaultOverlap)) {
			t.Errorf("%s: %s begins at %s, and changes since %s are wanted", name, got, begins.UTC(), at.Add(-defaultOverlap))
		}
	}
}
