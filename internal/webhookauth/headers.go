package webhookauth

import (
	"net/http"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// single returns the one value of a header, "" with found false when it is absent. A repeated header is refused: a
// proxy and this program may disagree on which of the two counts.
func single(h http.Header, name string, limit int) (value string, found bool, _ *Reason) {
	values := h[name]
	switch {
	case len(values) == 0:
		return "", false, nil
	case len(values) > 1:
		return "", false, refuse(DuplicateHeader, "header %s came %d times; want once", name, len(values))
	case len(values[0]) > limit:
		return "", false, refuse(HeaderTooLong, "header %s has %d bytes; want at most %d", name, len(values[0]), limit)
	}
	return values[0], true, nil
}

// required is single for a header that must be there and not be empty.
func required(h http.Header, name string, limit int) (string, *Reason) {
	value, _, reason := single(h, name, limit)
	if reason == nil && value == "" {
		reason = refuse(MissingHeader, "header %s is missing or empty", name)
	}
	return value, reason
}

// parseTimestamp reads plain decimal digits without sign or leading zero. The stricter form matters because the
// characters are signed as received: two spellings of one time must not both be valid.
func parseTimestamp(s string) (seconds int64, ok bool) { return parseDigits(s, MaxTimestampDigits) }

func parseDigits(s string, limit int) (n int64, ok bool) {
	if s == "" || len(s) > limit || (s[0] == '0' && len(s) > 1) {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// freshTimestamp reads the timestamp header and holds it against now in whole seconds, both ways.
func freshTimestamp(h http.Header, name string, now time.Time, tolerance int64) (raw string, at time.Time, _ *Reason) {
	raw, reason := required(h, name, MaxSignatureHeader)
	if reason != nil {
		return "", time.Time{}, reason
	}
	at, reason = fresh(raw, name, false, now, tolerance)
	return raw, at, reason
}

// fresh holds a timestamp, of seconds or of milliseconds, against now in whole seconds, both ways.
func fresh(raw, header string, milliseconds bool, now time.Time, tolerance int64) (time.Time, *Reason) {
	unit, limit := "seconds", MaxTimestampDigits
	if milliseconds {
		unit, limit = "milliseconds", MaxTimestampDigits+3
	}
	n, ok := parseDigits(raw, limit)
	if !ok {
		return time.Time{}, refuse(MalformedTimestamp,
			"header %s has no Unix time in %s of plain digits, without sign or leading zero, at most %d of them", header, unit, limit)
	}
	at := time.Unix(n, 0).UTC()
	if milliseconds {
		at = time.UnixMilli(n).UTC()
	}
	if reason := checkAge(at, now, tolerance); reason != nil {
		return time.Time{}, reason
	}
	return at, nil
}

// checkAge compares in whole seconds, dropping the fraction of both.
func checkAge(at, now time.Time, tolerance int64) *Reason {
	switch age := now.Unix() - at.Unix(); {
	case age > tolerance:
		return refuse(TimestampTooOld, "signed %d s ago; the limit is %d s (a replay, a slow sender or a wrong clock)", age, tolerance)
	case age < -tolerance:
		return refuse(TimestampInFuture, "signed %d s in the future; the limit is %d s (a wrong clock)", -age, tolerance)
	}
	return nil
}

// visible reports whether s is made of visible ASCII characters only.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func formatTimestamp(ts time.Time) (string, error) {
	return formatTime(ts, false)
}

func formatTime(ts time.Time, milliseconds bool) (string, error) {
	s := strconv.FormatInt(ts.Unix(), 10)
	if _, ok := parseTimestamp(s); !ok {
		return "", domain.Invalid("timestamp", "want a time from 1970 with at most %d digits of seconds", MaxTimestampDigits)
	}
	if milliseconds {
		s = strconv.FormatInt(ts.UnixMilli(), 10)
	}
	return s, nil
}
