package ingest

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Scheme is a way of signing that is measured.
type Scheme struct {
	Name   string
	Auth   webhookauth.Config
	Secret string // in the form that the scheme takes
	// Private signs where Secret is a public key.
	Private ed25519.PrivateKey
	// IDSigned says that the signature covers the message id, which is then the dedupe key.
	IDSigned bool
}

// auth is what the generator signs by.
func (s Scheme) auth() webhookauth.Config {
	if s.Auth.Scheme == "" {
		return webhookauth.Config{Scheme: webhookauth.StandardWebhooks}
	}
	return s.Auth
}

// settings puts the scheme into the settings of an integration.
func (s Scheme) settings(base json.RawMessage) (json.RawMessage, error) {
	if s.Name == "" {
		return base, nil
	}
	var all map[string]any
	if err := json.Unmarshal(base, &all); err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	hook, ok := all["webhook"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the settings have no webhook")
	}
	hook["verify"] = s.Auth
	return json.Marshal(all)
}

// SchemeResult is what one scheme did.
type SchemeResult struct {
	Scheme    string  `json:"scheme"`
	AckedPerS float64 `json:"acked_per_s"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
}

// SchemesResult is the figures of all schemes.
type SchemesResult struct {
	Bench        string         `json:"bench"`
	Integrations int            `json:"integrations"`
	Schemes      []SchemeResult `json:"schemes"`
	SlowestPerS  float64        `json:"slowest_acked_per_s"`
	WorstP99     float64        `json:"worst_p99_ms"`
	Lost         int            `json:"lost"`
	Duplicated   int            `json:"duplicated"`
}

// Line is the result as one line of JSON.
func (r SchemesResult) Line() string {
	line, err := json.Marshal(r)
	if err != nil {
		panic("marshal plain figures: " + err.Error())
	}
	return string(line)
}

// Table is the result for people.
func (r SchemesResult) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-34s %12s %9s %9s\n", "scheme", "acked per s", "p50 ms", "p99 ms")
	for _, s := range r.Schemes {
		fmt.Fprintf(&b, "%-34s %12.0f %9.2f %9.2f\n", s.Scheme, s.AckedPerS, s.P50, s.P99)
	}
	return b.String()
}

// Bars are the project's bars on intake, which hold for every scheme.
func (r SchemesResult) Bars() (missed []string) {
	for _, s := range r.Schemes {
		if s.AckedPerS < 11000 {
			missed = append(missed, fmt.Sprintf("%s: acked_per_s is %.4g; the bar is at least 11000", s.Scheme, s.AckedPerS))
		}
		if s.P99 > 25 {
			missed = append(missed, fmt.Sprintf("%s: p99_ms is %.4g; the bar is at most 25", s.Scheme, s.P99))
		}
	}
	if r.Lost+r.Duplicated > 0 {
		missed = append(missed, fmt.Sprintf("lost %d, duplicated %d; the bar is 0", r.Lost, r.Duplicated))
	}
	return missed
}

// preparedPerS is how many messages a second are made ahead: more than a server on two cores takes.
const preparedPerS = 25_000

// RunSchemes makes the measurement accept once for each scheme, each on a fresh stack, with messages made ahead and
// posted to all integrations in turn. only names the schemes wanted; empty means all.
func RunSchemes(ctx context.Context, o Options, schemes []Scheme, only []string) (SchemesResult, error) {
	o.Only = []string{"accept"}
	o.defaults()
	o.Prepared = int(preparedPerS * (o.Duration + o.Warmup).Seconds())
	out := SchemesResult{Bench: "ingest-schemes", Integrations: o.Targets}
	for _, s := range schemes {
		if len(only) > 0 && !slices.Contains(only, s.Name) {
			continue
		}
		o.Scheme = s
		o.Say("scheme " + s.Name)
		r, err := Run(ctx, o)
		if err != nil {
			return out, fmt.Errorf("scheme %s: %w", s.Name, err)
		}
		out.Schemes = append(out.Schemes, SchemeResult{Scheme: s.Name, AckedPerS: r.AckedPerS, P50: r.P50, P99: r.P99})
		o.Say(fmt.Sprintf("scheme %s: %.0f acknowledged a second, p50 %.2f ms, p99 %.2f ms", s.Name, r.AckedPerS, r.P50, r.P99))
		out.Lost += r.Lost
		out.Duplicated += r.Duplicated
		if len(out.Schemes) == 1 || r.AckedPerS < out.SlowestPerS {
			out.SlowestPerS = r.AckedPerS
		}
		out.WorstP99 = max(out.WorstP99, r.P99)
	}
	if len(out.Schemes) == 0 {
		return out, fmt.Errorf("no scheme is named %s", strings.Join(only, " or "))
	}
	return out, nil
}
