package custom

import (
	"errors"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/jsonpointer"
	"github.com/wedsync/wedsync/internal/provider"
)

// Days for which a repeat may be recognised.
const (
	minDedupeDays = int(provider.MinDedupe / (24 * time.Hour))
	maxDedupeDays = 3650
)

// dedupe checks by what a repeat is known, and sets it.
func (w *Webhook) dedupe(part string, out *provider.Intake) error {
	out.DedupeHeader = w.DedupeHeader
	d := w.Dedupe
	if d == nil {
		return nil
	}
	part += ".dedupe"
	var faults []error
	given := 0
	for _, there := range []bool{w.DedupeHeader != "", d.Header != "", d.BodyPath != "", d.Hash} {
		if there {
			given++
		}
	}
	if given > 1 {
		faults = append(faults, domain.Invalid(part, "at most one of header, body_path and hash, and no dedupe_header beside"))
	}
	if d.Header != "" {
		if out.DedupeHeader = d.Header; !headerName(d.Header) {
			faults = append(faults, domain.Invalid(part+".header", "must be a header name"))
		}
	}
	if d.BodyPath != "" {
		if _, err := jsonpointer.Parse(d.BodyPath); err != nil {
			faults = append(faults, domain.Invalid(part+".body_path", "%s", err))
		}
	}
	if d.Days != 0 && (d.Days < minDedupeDays || d.Days > maxDedupeDays) {
		faults = append(faults, domain.Invalid(part+".days", "must be %d to %d, is %d", minDedupeDays, maxDedupeDays, d.Days))
	}
	out.DedupePath, out.DedupeHash, out.DedupeFor = d.BodyPath, d.Hash, time.Duration(d.Days)*24*time.Hour
	return errors.Join(faults...)
}
