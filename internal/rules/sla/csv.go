package sla

import (
	"encoding/csv"
	"io"
	"strconv"

	"github.com/wedsync/wedsync/internal/domain"
)

// columns are the names of the first row of a report in CSV; they are only ever added to.
var columns = []string{"part", "name", "integration_id", "platform", "target_availability_percent", "target_latency_ms", "target_errors_percent",
	"total_seconds", "known_seconds", "unknown_seconds", "maintenance_seconds", "down_seconds", "availability_percent",
	"availability_with_maintenance_percent", "availability_lowest_percent", "availability_verdict", "budget_seconds", "budget_left_seconds",
	"probes", "failed", "error_percent", "error_verdict", "p50_ms", "p95_ms", "p99_ms", "latency_verdict"}

// WriteCSV writes a report as RFC 4180: one row for the organisation, then platforms, integrations and the parts of the
// period; the first column says which. What is not known is empty. Names that a spreadsheet would take for a formula are
// written with an apostrophe before them. Errors are those of w.
func WriteCSV(w io.Writer, r Report) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	rows := [][]string{columns, row("organization", r.All)}
	for _, part := range []struct {
		name string
		all  []Line
	}{{"platform", r.Platforms}, {"integration", r.Lines}, {"part", r.Parts}} {
		for _, l := range part.all {
			rows = append(rows, row(part.name, l))
		}
	}
	if err := out.WriteAll(rows); err != nil {
		return domain.E(domain.KindInternal, "write a report: %w", err)
	}
	return nil
}

func row(part string, l Line) []string {
	whole := func(n int64) string { return strconv.FormatInt(n, 10) }
	share := func(v *float64) string {
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'f', -1, 64)
	}
	ms := func(v *int64) string {
		if v == nil {
			return ""
		}
		return whole(*v)
	}
	return []string{part, safe(l.Name), string(l.ID), safe(l.Platform), share(&l.Targets.Availability), strconv.Itoa(l.Targets.LatencyMS), share(&l.Targets.Errors),
		whole(l.TotalSeconds), whole(l.KnownSeconds), whole(l.UnknownSeconds), whole(l.MaintenanceSeconds), whole(l.DownSeconds), share(l.Availability),
		share(l.WithMaintenance), share(l.Lowest), string(l.Verdict), whole(l.BudgetSeconds), whole(l.BudgetLeftSeconds),
		whole(l.Probes), whole(l.Failed), share(l.ErrorPercent), string(l.ErrorVerdict), ms(l.P50MS), ms(l.P95MS), ms(l.P99MS), string(l.LatencyVerdict)}
}

// safe keeps a name that an admin chose from being run as a formula.
func safe(s string) string {
	if s != "" {
		switch s[0] {
		case '=', '+', '-', '@', '\t', '\r':
			return "'" + s
		}
	}
	return s
}
