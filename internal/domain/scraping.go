package domain

import "time"

// ConsentID names a customer's consent that pages are read for them.
type ConsentID string

// SnapshotID names a kept page.
type SnapshotID string

// Bounds of scraping's records.
const (
	MaxOrigin = 400 // bytes
	// MaxSnapshots is how many snapshots are kept of one integration; older ones make room.
	MaxSnapshots = 20
	// SnapshotLife is how long a snapshot is kept.
	SnapshotLife = 30 * 24 * time.Hour
	// MaxSnapshotReport and MaxSnapshotPage are in bytes.
	MaxSnapshotReport = 2000
	MaxSnapshotPage   = 256 << 10
)

// ScrapeConsent is a customer's word that the pages of an origin may be read for one integration by a program.
type ScrapeConsent struct {
	ID            ConsentID     `json:"id"`
	OrgID         OrgID         `json:"-"`
	IntegrationID IntegrationID `json:"integration_id"`
	Origin        string        `json:"origin"`   // such as https://portal.example.com
	GivenBy       string        `json:"given_by"` // token subject
	GivenAt       time.Time     `json:"given_at"`
	WithdrawnBy   string        `json:"withdrawn_by,omitempty"`
	WithdrawnAt   *time.Time    `json:"withdrawn_at,omitempty"` // nil = it counts
}

// Snapshot is a page that could not be read any more. Its values are masked, and the page itself is sealed in storage.
type Snapshot struct {
	ID            SnapshotID    `json:"id"`
	OrgID         OrgID         `json:"-"`
	IntegrationID IntegrationID `json:"integration_id"`
	SyncRunID     SyncRunID     `json:"sync_run_id,omitempty"` // the run that failed
	At            time.Time     `json:"at"`
	Kind          ErrorKind     `json:"kind"`
	Report        string        `json:"report"` // what happened, without values of the page
}
