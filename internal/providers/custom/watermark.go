package custom

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/wedsync/wedsync/internal/domain"
)

// Bounds of a watermark.
const (
	defaultOverlap = 5 * time.Minute
	maxOverlap     = 24 * time.Hour
	maxFullEvery   = 24 * 366       // hours
	farthestBehind = 12 * time.Hour // UTC-12
)

// watermark is a compiled Incremental by the time of changes; with a token it holds fullEvery alone.
type watermark struct {
	of        *program // nil = the listing continues by a token
	overlap   time.Duration
	format    string
	newest    bool // the system lists the last change first and cannot filter
	fullEvery time.Duration
}

func compileWatermark(inc *Incremental, part string) (*watermark, error) {
	out := &watermark{overlap: defaultOverlap, format: inc.Format, newest: inc.Order == "newest_first",
		fullEvery: time.Duration(inc.FullEveryHours) * time.Hour}
	var faults []error
	var err error
	if out.of, err = compile(string(inc.Watermark), part+".watermark", 0, scopeItem, wantTime, nil); err != nil {
		faults = append(faults, err)
	}
	if inc.OverlapSeconds < 0 || inc.OverlapSeconds > int(maxOverlap/time.Second) {
		faults = append(faults, domain.Invalid(part+".overlap_seconds", "must be 0 to %d", int(maxOverlap/time.Second)))
	} else if inc.OverlapSeconds > 0 {
		out.overlap = time.Duration(inc.OverlapSeconds) * time.Second
	}
	switch inc.Format {
	case "":
		out.format = "rfc3339"
	case "rfc3339", "unix", "unix_ms", "date":
	default:
		faults = append(faults, domain.Invalid(part+".format", "must be rfc3339, unix, unix_ms or date"))
	}
	if inc.Order != "" && inc.Order != "newest_first" {
		faults = append(faults, domain.Invalid(part+".order", "must be newest_first, or left out"))
	}
	if inc.From != "" {
		faults = append(faults, domain.Invalid(part+".from", "has a meaning with token only"))
	}
	return out, errors.Join(append(faults, checkFullEvery(inc, part))...)
}

func checkFullEvery(inc *Incremental, part string) error {
	if inc.FullEveryHours < 0 || inc.FullEveryHours > maxFullEvery {
		return domain.Invalid(part+".full_every_hours", "must be 0 to %d", maxFullEvery)
	}
	return nil
}

// note keeps the greatest time of a listing and tells whether an entry is older than where the listing goes back to.
func (m *watermark) note(w *work, cur *cursor) (older bool, err error) {
	r := reader{w: w}
	v := r.value(m.of)
	if r.err != nil {
		return false, r.err
	}
	var at time.Time
	switch v := v.(type) {
	case nil:
		return false, nil // an entry that never changed
	case types.Timestamp:
		at = v.UTC()
	case types.String:
		if at, err = time.Parse(time.RFC3339, string(v)); err != nil {
			return false, domain.Invalid(m.of.field, "must be a time in RFC 3339, such as 2027-06-05T14:00:00Z; others by parse_time")
		}
	default:
		return false, domain.Invalid(m.of.field, "must be %s, is %s", wantWords[wantTime], valueWord(v))
	}
	if seen, ok := parseMark(cur.Mark); !ok || at.After(seen) {
		cur.Mark = formatMark(at)
	}
	since, ok := parseMark(cur.Since)
	return ok && at.Before(since.Add(-m.overlap)), nil
}

// next is where the next listing continues. What changed while we read may have been read before it changed, so the mark
// is never later than the beginning of the listing.
func (m *watermark) next(cur cursor) string {
	mark, ok := parseMark(cur.Mark)
	began := time.UnixMilli(cur.Began)
	switch {
	case !ok && cur.Since != "":
		return cur.Since
	case !ok || mark.After(began):
		mark = began
	}
	if since, ok := parseMark(cur.Since); ok && mark.Before(since) {
		mark = since
	}
	return formatMark(mark)
}

// steppedBack reports whether the system's clock shows a time before the one from which changes are asked for. What changed since
// it was set back is not among the changes of such a listing, and would not be until the clock has caught up.
func (m *watermark) steppedBack(cur cursor, h http.Header) bool {
	if m == nil || m.of == nil {
		return false
	}
	since, ok := parseMark(cur.Since)
	shown, err := http.ParseTime(h.Get("Date"))
	return ok && err == nil && shown.Before(since.Add(-m.overlap))
}

// since gives the value of the variable since.
func (m *watermark) since(cur cursor) string {
	mark, ok := parseMark(cur.Since)
	if !ok {
		return ""
	}
	mark = mark.Add(-m.overlap)
	switch m.format {
	case "unix":
		return strconv.FormatInt(mark.Unix(), 10)
	case "unix_ms":
		return strconv.FormatInt(mark.UnixMilli(), 10)
	case "date":
		// The system may take the date as one of any zone. In the one that is farthest behind it is the least.
		return mark.Add(-farthestBehind).Format(time.DateOnly)
	}
	return mark.Format(time.RFC3339)
}

func parseMark(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UTC(), err == nil
}

func formatMark(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// serverTime is the system's own clock where an answer tells it.
func serverTime(h http.Header, now time.Time) time.Time {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return t
	}
	return now
}

// walks reports whether a listing goes back through changes, so that it is not all that there is.
func (p *listPart) walks(cur cursor) bool {
	return p.mark != nil && p.mark.newest && cur.Since != ""
}

// due begins a listing: a cursor whose last full listing is too long ago is a gone token.
func (p *listPart) due(cur *cursor, now time.Time) error {
	if cur.Page != "" {
		return nil
	}
	if cur.Since == "" {
		cur.Full = now.Unix()
		return nil
	}
	if p.mark != nil && p.mark.fullEvery > 0 && !now.Before(time.Unix(cur.Full, 0).Add(p.mark.fullEvery)) {
		return domain.E(domain.KindGoneToken, "list: a full listing is due")
	}
	return nil
}
