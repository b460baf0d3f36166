package provider

// LimitScope says what a limit counts.
type LimitScope int

// The scopes.
const (
	PerIntegration LimitScope = iota // the calls of one integration
	PerAccount                       // those of all integrations with one account at the system, see Limit.Account
	PerHost                          // those of all integrations of a provider to one host
)

// Limit says how fast a system may be called. In any time t no more than Burst + PerSecond × t calls are made, over all
// processes.
type Limit struct {
	Scope     LimitScope
	PerSecond float64 // more than 0
	Burst     int     // at least 1
	// Account names the account of PerAccount, such as its key; it is kept as a digest. "" means the integration by itself.
	Account string
}

// DefaultLimits are those of systems of which no number is known: what a busy connection needs, and what one server of a small
// vendor bears.
func DefaultLimits() []Limit {
	return []Limit{{Scope: PerIntegration, PerSecond: 20, Burst: 100}, {Scope: PerHost, PerSecond: 100, Burst: 400}}
}
