package domain

import "time"

// Freshness tells how far behind an integration is with what changes in its system. Lags are from the change there to
// its effect here.
type Freshness struct {
	Target     time.Duration `json:"-"`
	TargetMS   int64         `json:"target_ms" doc:"What is aimed at, in milliseconds; 0 = nothing, since the system is read only when asked"`
	LastMS     *int64        `json:"last_ms,omitempty" doc:"Lag of the last change, in milliseconds"`
	P50MS      *int64        `json:"p50_ms,omitempty" doc:"Half of the last changes had at most this lag"`
	P95MS      *int64        `json:"p95_ms,omitempty" doc:"19 of 20 of the last changes had at most this lag"`
	Samples    int           `json:"samples" doc:"Changes that the figures are of, at most 100"`
	Changes    int64         `json:"changes" doc:"Changes measured so far"`
	LateCount  int64         `json:"late_changes" doc:"Of them, those over the target of their time"`
	MeasuredAt *time.Time    `json:"measured_at,omitempty"`
	Late       bool          `json:"late" doc:"Over the target now"`
	LateReason string        `json:"late_reason,omitempty"`
	Watches    []Watch       `json:"watches,omitempty" doc:"Addresses that the system posts to when something changed"`
}

// Progress tells how far a sync run is.
type Progress struct {
	Expected  int        `json:"expected,omitempty" doc:"Entries of the whole listing, as the system said or as known from before; absent when neither is known"`
	PerSecond float64    `json:"entries_per_second" doc:"Entries read a second, on average since the beginning"`
	Percent   int        `json:"percent,omitempty" doc:"Of the expected entries, at most 99 while the run goes on"`
	ETA       *time.Time `json:"eta,omitempty" doc:"When the listing is read at this pace; absent when it cannot be told"`
}
