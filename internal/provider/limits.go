package provider

import "time"

// LimitScope says what a limit counts.
type LimitScope int

// The scopes.
const (
	PerIntegration LimitScope = iota // the calls of one integration
	PerAccount                       // those of all integrations with one account at the system, see Limit.Account
	PerHost                          // those of all integrations of a provider to one host
)

// Limit says how fast a system may be called. In any time t no more than Burst + PerSecond × t calls are made, and no more than
// AtOnce are under way, over all processes.
type Limit struct {
	Scope LimitScope
	// PerSecond is the rate. 0 means no rate where AtOnce is set, and otherwise the installation's own for systems of which no
	// number is known (DefaultLimits, unless its operator chose others).
	PerSecond float64
	Burst     int // at once after a rest; at least 1 with PerSecond
	AtOnce    int // calls under way at the same time; 0 = no bound
	// Slows halves the rate with each 429 of the system, in all processes, and gives one halving back each minute without one.
	// It is for systems that publish no number.
	Slows bool
	// Rest is how long the account is left alone, by all processes, after a 429 or a 503 that names no time; 0 = not at all. With it
	// a 503 is a matter of the account as a 429 is, for systems that answer so when they have had enough.
	Rest time.Duration
	// Account names the account of PerAccount, such as its key; it is kept as a digest. "" means the integration by itself.
	Account string
}

// DefaultLimits are those of systems of which no number is known: what a busy connection needs, and what one server of a small
// vendor bears.
func DefaultLimits() []Limit {
	return []Limit{{Scope: PerIntegration, PerSecond: 20, Burst: 100}, {Scope: PerHost, PerSecond: 100, Burst: 400}}
}
