package alert

import (
	"fmt"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/sla"
)

// Fresh is how old the newest sample of a series may be for its rules to say anything.
const Fresh = 10 * time.Minute

// Connection is what is known of one connection.
type Connection struct {
	ID       domain.IntegrationID
	Platform string
	State    domain.HealthState
	Reason   string // of the state, in words
	Since    time.Time
	Signals  []domain.HealthSignal
	Series   *Series // nil = no probe was ever counted
	Targets  domain.Targets
	Wedding  *time.Time // when the next wedding of its resource begins, or one that goes on began; nil = none within a week
}

// Finding is what one rule found.
type Finding struct {
	Kind      domain.AlertKind
	Technical domain.Severity
	Reason    string // the rule and its numbers, in words; no personal data
	// AtMost bounds how far a near wedding raises the severity; "" = not at all.
	AtMost domain.Severity
}

// Verdict is what is wrong with one connection.
type Verdict struct {
	Findings []Finding
	// Off says why nothing is wrong with it by definition, such as a pause; its alerts are over.
	Off string
	// Held are the rules that cannot tell: they neither raise an alert nor end one.
	Held []domain.AlertKind
}

const (
	// settle is how long it must be calm before an alert is over, unless a rule says otherwise, settleFlapping how long at the least
	// when it comes and goes.
	settle         = 5 * time.Minute
	settleFlapping = 30 * time.Minute
	// slowShare is how many answers may take longer than the target.
	slowShare = 0.05
	// leastSlow is how many must have been slow, whatever the bound says of a few answers: eight slow ones of half an hour come by
	// chance about once in a month of 5,000 connections of which one answer in 130 is slow.
	leastSlow = 10
)

// Look applies every rule to one connection.
func Look(c Connection, settings []domain.AlertRule, now time.Time) Verdict {
	others := domain.AlertKinds()[1:]
	var v Verdict
	found := func(kind domain.AlertKind, severity domain.Severity, format string, args ...any) {
		rule := domain.RuleFor(settings, kind, c.Platform, c.ID)
		if !rule.Enabled {
			return
		}
		if rule.Severity != "" {
			severity = rule.Severity
		}
		f := Finding{Kind: kind, Technical: severity, Reason: fmt.Sprintf(format, args...)}
		if kind == domain.AlertDegradation && rule.Severity == "" && c.Series.Recent() <= c.Targets.Latency() {
			// Slower than usual and still as fast as promised is no reason to wake anybody, whatever day it is. Of 5,000 healthy
			// connections a few a month are called so by chance.
			f.AtMost = domain.SeverityMedium
		}
		v.Findings = append(v.Findings, f)
	}
	since := c.Since.UTC().Format("2006-01-02 15:04 UTC")
	switch c.State {
	case domain.HealthPaused:
		return Verdict{Off: "the connection was paused"}
	case domain.HealthMaintenance:
		return Verdict{Off: "the connection is in maintenance"}
	case domain.HealthUnknown, "":
		return Verdict{Held: domain.AlertKinds()}
	case domain.HealthDown:
		found(domain.AlertConnection, domain.SeverityHigh, "down since %s: %s", since, c.Reason)
		v.Held = others
		return v
	case domain.HealthNeedsReconnect:
		found(domain.AlertConnection, domain.SeverityHigh, "must be connected anew since %s: %s", since, c.Reason)
		v.Held = others
		return v
	case domain.HealthFailingOver:
		found(domain.AlertConnection, domain.SeverityMedium, "tells of no news, and polls do not stand in yet, since %s: %s", since, c.Reason)
	case domain.HealthPolling:
		found(domain.AlertConnection, domain.SeverityLow, "tells of no news and is polled since %s: %s", since, c.Reason)
	case domain.HealthUp, domain.HealthDegraded:
	}
	for _, s := range c.Signals {
		if s.Kind == domain.SignalWebhooks && !s.OK {
			found(domain.AlertSilence, domain.SeverityMedium, "%s", s.Text)
		}
	}
	if c.Series == nil || now.Sub(c.Series.Last()) > Fresh {
		v.Held = []domain.AlertKind{domain.AlertErrorRate, domain.AlertResponseTime, domain.AlertDegradation}
		return v
	}
	errorRate(c, found)
	responseTime(c, found)
	if at := c.Series.Degraded(); !at.IsZero() {
		severity := domain.SeverityLow
		if c.Series.Recent() > c.Targets.Latency() {
			severity = domain.SeverityMedium
		}
		found(domain.AlertDegradation, severity, "answers take about %s since %s, and took about %s before",
			c.Series.Recent(), at.Format("2006-01-02 15:04 UTC"), c.Series.Usual())
	}
	return v
}

type finder func(kind domain.AlertKind, severity domain.Severity, format string, args ...any)

func errorRate(c Connection, found finder) {
	if b, ok := sla.Fastest(sla.Burns(c.Targets.Budget(), c.Series.Failed)); ok {
		severity := domain.SeverityLow
		switch {
		case b.Page:
			severity = domain.SeverityHigh
		case b.Factor > 1:
			severity = domain.SeverityMedium
		}
		found(domain.AlertErrorRate, severity, "%d of %d probes failed in %s, which spends the error budget %.1f times as fast as allowed (surely %.1f times; %s)",
			b.LongCount.Bad, b.LongCount.N, span(b.Long), b.Rate, b.Sure, b.Name)
		return
	}
	const long, short = 6 * time.Hour, 30 * time.Minute
	all := c.Series.Failed(long)
	if low, _ := sla.Wilson(float64(all.Bad), float64(all.N), sla.Z995); all.Bad >= sla.LeastBad && low*100 > c.Targets.Errors && c.Series.Failed(short).Bad > 0 {
		found(domain.AlertErrorRate, domain.SeverityMedium, "%d of %d probes failed in %s, surely more than %.3g %%", all.Bad, all.N, span(long), c.Targets.Errors)
	}
}

func responseTime(c Connection, found finder) {
	const long, short = 30 * time.Minute, 5 * time.Minute
	all := c.Series.Slow(long)
	low, _ := sla.Wilson(float64(all.Bad), float64(all.N), sla.Z995)
	if all.Bad < leastSlow || low <= slowShare || c.Series.Slow(short).Bad == 0 {
		return
	}
	severity := domain.SeverityLow
	if low > 0.5 {
		severity = domain.SeverityMedium
	}
	found(domain.AlertResponseTime, severity, "%d of %d answers in %s took longer than %d ms; 5 of 100 may", all.Bad, all.N, span(long), c.Targets.LatencyMS)
}

func span(d time.Duration) string {
	if d < time.Hour {
		return fmt.Sprintf("%d min", int(d/time.Minute))
	}
	return fmt.Sprintf("%d h", int(d/time.Hour))
}

// Near is the severity of a finding near a wedding, within its bound.
func (f Finding) Near(wedding *time.Time, now time.Time) domain.Severity {
	raised := Raise(f.Technical, wedding, now)
	if f.AtMost != "" && raised.Level() > f.AtMost.Level() {
		return f.AtMost
	}
	return raised
}

// Raise is a severity near a wedding: one step up within a week of its beginning, two within two days and while it goes on.
func Raise(technical domain.Severity, wedding *time.Time, now time.Time) domain.Severity {
	if wedding == nil {
		return technical
	}
	steps := 0
	switch until := wedding.Sub(now); {
	case until <= 48*time.Hour:
		steps = 2
	case until <= 7*24*time.Hour:
		steps = 1
	}
	all := []domain.Severity{domain.SeverityLow, domain.SeverityMedium, domain.SeverityHigh, domain.SeverityCritical}
	level := technical.Level()
	if level == 0 {
		return technical
	}
	return all[min(level-1+steps, len(all)-1)]
}
