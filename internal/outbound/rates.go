package outbound

import (
	"slices"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Tokens is the name under which [ParseRates] takes the limits of token endpoints (OAuth), which are no provider's.
const Tokens = "tokens"

// Rates are an installation's own numbers by system and scope. Those of the system "" are for systems of which no number is
// known.
type Rates map[string]map[provider.LimitScope]provider.Limit

var scopeWords = []string{provider.PerIntegration: "integration", provider.PerAccount: "account", provider.PerHost: "host"}

// most is the highest rate and burst that may be set.
const most = 1_000_000

// ParseRates reads entries of the form [SYSTEM.]SCOPE=PER_SECOND[:BURST], such as host=50:200 for systems of which no number is
// known, google.host=300 for one provider, or tokens.host=20. Scopes are integration, account and host; without BURST it is five
// seconds' worth. Errors are domain.Invalid for the setting outbound-rates.
func ParseRates(entries []string) (Rates, error) {
	out := Rates{}
	for n, entry := range entries {
		bad := func(what string) (Rates, error) {
			return nil, domain.Invalid("outbound-rates", "entry %d %s; want [SYSTEM.]integration|account|host=PER_SECOND[:BURST]", n+1, what)
		}
		name, numbers, ok := strings.Cut(strings.TrimSpace(entry), "=")
		if !ok {
			return bad("has no =")
		}
		system := ""
		if before, after, dotted := strings.Cut(name, "."); dotted {
			if system, name = before, after; system == "" {
				return bad("names no system before its dot")
			}
		}
		scope := slices.Index(scopeWords, name)
		if scope < 0 {
			return bad("names an unknown scope")
		}
		l := provider.Limit{Scope: provider.LimitScope(scope)}
		per, burst, has := strings.Cut(numbers, ":")
		var err error
		if l.PerSecond, err = strconv.ParseFloat(per, 64); err != nil || !(l.PerSecond > 0 && l.PerSecond <= most) {
			return bad("must have a rate above 0 and at most " + strconv.Itoa(most))
		}
		l.Burst = max(1, int(5*l.PerSecond))
		if has {
			if l.Burst, err = strconv.Atoi(burst); err != nil || l.Burst < 1 || l.Burst > most {
				return bad("must have a burst of 1 to " + strconv.Itoa(most))
			}
		}
		if system == "" && l.Scope == provider.PerAccount {
			return bad("sets a rate by account, but only providers know accounts: name one")
		}
		if out[system] == nil {
			out[system] = map[provider.LimitScope]provider.Limit{}
		}
		if _, twice := out[system][l.Scope]; twice {
			return bad("repeats an earlier one")
		}
		out[system][l.Scope] = l
	}
	return out, nil
}

// Systems returns the names of the systems that are named, without "" and [Tokens].
func (r Rates) Systems() (names []string) {
	for name := range r {
		if name != "" && name != Tokens {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// tokenLimits are those of token endpoints: an integration needs a token an hour, and one whose tokens are refused at once must
// not ask for a new one with every call.
func tokenLimits() []provider.Limit {
	return []provider.Limit{{Scope: provider.PerIntegration, PerSecond: 1, Burst: 10}, {Scope: provider.PerHost, PerSecond: 50, Burst: 200}}
}

// of returns the limits of a system: what it declares (nil = nothing), with this installation's numbers in their places.
func (r Rates) of(name string, declared []provider.Limit) []provider.Limit {
	unknown := map[provider.LimitScope]provider.Limit{}
	for _, l := range provider.DefaultLimits() {
		unknown[l.Scope] = l
	}
	for scope, l := range r[""] {
		unknown[scope] = l
	}
	if declared == nil {
		for scope := range provider.LimitScope(len(scopeWords)) {
			if l, ok := unknown[scope]; ok {
				declared = append(declared, l)
			}
		}
	}
	own := r[name]
	if name == "" {
		own = nil
	}
	out := make([]provider.Limit, 0, len(declared)+len(own))
	named := map[provider.LimitScope]bool{}
	for _, l := range declared {
		if l.PerSecond == 0 && l.AtOnce == 0 {
			l.PerSecond, l.Burst = unknown[l.Scope].PerSecond, unknown[l.Scope].Burst
		}
		if set, ok := own[l.Scope]; ok && l.PerSecond > 0 {
			l.PerSecond, l.Burst, named[l.Scope] = set.PerSecond, set.Burst, true
		}
		out = append(out, l)
	}
	for scope := range provider.LimitScope(len(scopeWords)) {
		if set, ok := own[scope]; ok && !named[scope] {
			out = append(out, set)
		}
	}
	return out
}
