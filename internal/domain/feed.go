package domain

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// FeedID names a published calendar feed.
type FeedID string

// FeedDetail says how much a published feed tells.
type FeedDetail string

// The levels of detail.
const (
	FeedBusy   FeedDetail = "busy"   // only that the time is taken; what takes no time is left out
	FeedTitles FeedDetail = "titles" // titles and places of bookings that are not private
)

// Bounds of a feed.
const (
	MaxFeedPastDays   = 366
	MaxFeedFutureDays = 1100
	MaxFeedLabel      = 120 // characters
	// MaxFeedEvents is the most events in one feed; later ones are left out, and the feed says so.
	MaxFeedEvents = 5000
	// MaxFeeds is how many feeds of one resource may be in use.
	MaxFeeds = 20
)

// Feed is the calendar of a resource, published under an address that only those know who were given it. The token in
// that address is shown once, when the feed is made; only its hash is kept.
type Feed struct {
	ID         FeedID     `json:"id"`
	ResourceID ResourceID `json:"resource_id"`
	Label      string     `json:"label"` // name of the calendar in the subscriber's program; no personal data
	Detail     FeedDetail `json:"detail"`
	PastDays   int        `json:"past_days"`
	FutureDays int        `json:"future_days"`
	CreatedBy  string     `json:"created_by"` // token subject
	CreatedAt  time.Time  `json:"created_at"`
	RevokedAt  *time.Time `json:"revoked_at,omitempty"`
	// LastReadAt is when somebody last read it, a minute late at most; nil means never.
	LastReadAt *time.Time `json:"last_read_at,omitempty"`
}

// Validate checks label, detail and window.
func (f Feed) Validate() error {
	if n := utf8.RuneCountInString(f.Label); n < 1 || n > MaxFeedLabel {
		return Invalid("label", "must have 1 to %d characters, has %d", MaxFeedLabel, n)
	}
	if strings.ContainsFunc(f.Label, unicode.IsControl) {
		return Invalid("label", "must be one line without control characters")
	}
	switch f.Detail {
	case FeedBusy, FeedTitles:
	default:
		return Invalid("detail", "must be busy or titles")
	}
	if f.PastDays < 0 || f.PastDays > MaxFeedPastDays {
		return Invalid("past_days", "must be 0 to %d", MaxFeedPastDays)
	}
	if f.FutureDays < 1 || f.FutureDays > MaxFeedFutureDays {
		return Invalid("future_days", "must be 1 to %d", MaxFeedFutureDays)
	}
	return nil
}

// Window is the time that the feed tells about at an instant. It moves on once a day (UTC), so that a feed in which
// nothing changed stays the same for a day.
func (f Feed) Window(now time.Time) Span {
	const day = 24 * time.Hour
	today := now.UTC().Truncate(day)
	return Span{Start: today.Add(-time.Duration(f.PastDays) * day), End: today.Add(time.Duration(f.FutureDays) * day)}
}
