package webhookauth

import "strings"

// signatureList is a signature header such as "t=1700000000,v1=5257a8...,v1=...,v0=...".
type signatureList struct {
	signatureKey, timestampKey string // the latter "" when the list has no time
}

// parse returns the time of a list and its signatures of the wanted version. Entries of other versions are not looked
// at, since a sender may add one at any time; an entry that is none, and a second time, make the header malformed.
func (l signatureList) parse(header, name string, found *[MaxSignatures]string) (timestamp string, n int, _ *Reason) {
	entries, haveTime := 0, false
	for rest, more := header, true; more; {
		var entry string
		entry, rest, more = strings.Cut(rest, ",")
		entry = strings.Trim(entry, " ")
		if entries++; entries > MaxSignatures {
			return "", 0, refuse(TooManySignatures, "header %s lists more than %d entries", name, MaxSignatures)
		}
		key, value, ok := strings.Cut(entry, "=")
		if !ok || key == "" {
			return "", 0, refuse(MalformedSignature, "entry %d of header %s is not of the form name=value", entries, name)
		}
		switch {
		case key == l.signatureKey:
			found[n] = value
			n++
		case key == l.timestampKey && haveTime:
			return "", 0, refuse(DuplicateHeader, "header %s has %q twice; want once", name, key)
		case key == l.timestampKey:
			timestamp, haveTime = value, true
		}
	}
	if l.timestampKey != "" && timestamp == "" {
		return "", 0, refuse(MalformedTimestamp, "header %s has no %q with a time", name, l.timestampKey)
	}
	if n == 0 {
		return "", 0, refuse(NoSupportedSignature, "none of the %d entries of header %s is a %q", entries, name, l.signatureKey)
	}
	return timestamp, n, nil
}

// validListKey holds for the short names that such lists use.
func validListKey(s string) bool {
	return s != "" && len(s) <= 16 && visible(s) && !strings.ContainsAny(s, "=,")
}
