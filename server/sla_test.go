package server

import (
	"context"
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// TestReportsLeaveMaintenanceOutAndSayWhatIsNotKnown stores a day of a month in which the clock of the organisation's zone changes.
func TestReportsLeaveMaintenanceOutAndSayWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE integrations SET created_at = '2024-01-01T00:00:00Z' WHERE id = $1", b.a.integration)
		return err
	}))
	day := time.Date(2025, 3, 10, 0, 0, 0, 0, time.UTC)
	for h := range 24 {
		one := store.ProbeBatch{Org: b.a.org, Integration: b.a.integration, Provider: "plain", From: day.Add(time.Duration(h) * time.Hour)}
		switch {
		case h < 12:
			one.Seconds = map[domain.HealthState]int64{domain.HealthMaintenance: 3600}
		case h == 12:
			one.Seconds = map[domain.HealthState]int64{domain.HealthUp: 1800, domain.HealthDown: 1800}
		default:
			one.Seconds = map[domain.HealthState]int64{domain.HealthUp: 3600}
			one.Results = []domain.ProbeResult{{At: one.From, Outcome: domain.ProbeOK, Took: 80 * time.Millisecond, Tries: 1}}
		}
		b.must(b.store.SaveProbes(t.Context(), []store.ProbeBatch{one}))
	}
	w := b.signIn(domain.RoleViewer)
	viewer := b.token(b.a.org, domain.RoleViewer)
	type line struct {
		Name                string
		Total               int64    `json:"total_seconds"`
		Known               int64    `json:"known_seconds"`
		Unknown             int64    `json:"unknown_seconds"`
		Maintenance         int64    `json:"maintenance_seconds"`
		Down                int64    `json:"down_seconds"`
		Availability        *float64 `json:"availability_percent"`
		With                *float64 `json:"availability_with_maintenance_percent"`
		Lowest              *float64 `json:"availability_lowest_percent"`
		AvailabilityVerdict string   `json:"availability_verdict"`
		LatencyVerdict      string   `json:"latency_verdict"`
		P95                 *int64   `json:"p95_ms"`
		Probes              int64
	}
	var report struct {
		Period       struct{ Zone string }
		Organization line
		Integrations []line
		Parts        []line
	}
	read := func(period string) {
		t.Helper()
		report.Integrations, report.Parts = nil, nil
		b.do("GET", "/v1/sla/"+period, viewer, "").into(t, &report)
	}
	read("2025-03")
	o := report.Organization
	const hour = 3600
	// March has an hour less in London.
	if report.Period.Zone != "Europe/London" || o.Total != 743*hour || o.Known != 24*hour || o.Unknown != 719*hour || o.Maintenance != 12*hour || o.Down != hour/2 || len(report.Parts) != 31 {
		t.Errorf("March: %+v", o)
	}
	if o.Availability == nil || *o.Availability != 95.8333 || o.With == nil || *o.With != 47.9166 || o.AvailabilityVerdict != "unknown" && o.AvailabilityVerdict != "missed" {
		t.Errorf("March: %+v", o)
	}
	if last := report.Parts[29]; last.Name != "2025-03-30" || last.Total != 23*hour || last.Availability != nil || last.AvailabilityVerdict != "unknown" {
		t.Errorf("the day on which the clock changes: %+v", last)
	}
	read("2025")
	if o := report.Organization; o.Known != 24*hour || *o.Availability != 95.8333 || *o.With != 47.9166 || len(report.Parts) != 12 || report.Parts[2].Known != 24*hour || report.Parts[2].Total != 743*hour {
		t.Errorf("2025: %+v", o)
	}
	// What nothing is known of is not 100 %, and not 0 % either.
	read("2025-02")
	if o := report.Organization; o.Availability != nil || o.With != nil || o.P95 != nil || o.Known != 0 || o.Total != 28*24*hour || o.AvailabilityVerdict != "unknown" || o.LatencyVerdict != "unknown" {
		t.Errorf("February: %+v", o)
	}
	for period, want := range map[string][2]string{"2025-03": {"95.8333", "47.9166"}, "2025": {"95.8333", "47.9166"}, "2025-02": {"", ""}} {
		rows, err := csv.NewReader(strings.NewReader(string(b.do("GET", "/v1/sla/"+period+"/csv", viewer, "").body))).ReadAll()
		if err != nil || len(rows) < 3 {
			t.Fatalf("%s: %d rows, %v", period, len(rows), err)
		}
		at := map[string]int{}
		for i, name := range rows[0] {
			at[name] = i
		}
		if got := [2]string{rows[1][at["availability_percent"]], rows[1][at["availability_with_maintenance_percent"]]}; rows[1][0] != "organization" || got != want {
			t.Errorf("%s as CSV: %v, want %v", period, got, want)
		}
		page := b.do("GET", "/sla/"+period, "", "", header("Cookie", w.cookie))
		text := string(page.body)
		if page.status != 200 || strings.Contains(text, "<td>100 %</td>") {
			t.Errorf("%s as a page: %d %s", period, page.status, text)
		}
		if want[0] == "" && !strings.Contains(text, "<td>not known</td>") || want[0] != "" && (!strings.Contains(text, "<td>"+want[0]+" %</td>") || !strings.Contains(text, "<td>"+want[1]+" %</td>")) {
			t.Errorf("%s as a page does not say %v: %s", period, want, text)
		}
	}
}
