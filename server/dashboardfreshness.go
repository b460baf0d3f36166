package server

import (
	"context"
	"fmt"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	"github.com/wedsync/wedsync/internal/store"
)

// fillFreshness tells of each integration how it does, how far behind it is, and how far a reading that is under way.
func (s *Server) fillFreshness(ctx context.Context, tx *store.Tx, rows []integrationRow) error {
	ids := make([]domain.IntegrationID, len(rows))
	for n := range rows {
		ids[n] = rows[n].ID
	}
	measured, err := tx.Freshness(ctx, ids...)
	if err != nil {
		return err
	}
	running, err := tx.RunningSyncs(ctx, ids...)
	if err != nil {
		return err
	}
	healths, err := tx.HealthOf(ctx, ids...)
	if err != nil {
		return err
	}
	for n := range rows {
		f := freshness.Of(tx.Now, rows[n].Integration, measured[rows[n].ID])
		rows[n].Lag, rows[n].Late = lagText(f), f.LateReason
		rows[n].Health = markOf(healths[rows[n].ID])
		if run, ok := running[rows[n].ID]; ok {
			rows[n].Syncing = progressText(run.Seen, freshness.Progress(run.StartedAt, tx.Now, run.Seen, run.Expected))
		}
	}
	return nil
}

func lagText(f domain.Freshness) string {
	if f.LastMS == nil {
		return ""
	}
	text := "Lag: " + lagSpan(*f.LastMS) + ", usually " + lagSpan(*f.P50MS) + ", at worst " + lagSpan(*f.P95MS)
	if f.Target > 0 {
		text += " (target " + lagSpan(f.TargetMS) + ")"
	}
	return text
}

// lagSpan spells milliseconds out, no more exactly than somebody wants to know.
func lagSpan(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f h", d.Hours())
}

func progressText(seen int, p domain.Progress) string {
	text := fmt.Sprintf("Reading: %d entries", seen)
	if p.Expected > 0 {
		text = fmt.Sprintf("Reading: %d of about %d entries", seen, p.Expected)
	}
	if p.PerSecond > 0 {
		text += fmt.Sprintf(", %.1f a second", p.PerSecond)
	}
	if p.ETA != nil {
		text += ", until about " + p.ETA.Format("15:04:05") + " UTC"
	}
	return text
}
