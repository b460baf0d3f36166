package archtest

import (
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageOpensWithACommentForStrangers(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if len(p.files) == 0 {
			continue
		}
		if lines := strings.Count(strings.TrimSpace(p.doc), "\n") + 1; lines < 3 {
			t.Errorf("package %s opens with %d lines; a stranger needs what it is, how to use it and what it promises (3 lines at least)", p.path, lines)
		}
	}
}

func TestOnlyGuardedClientsGoOut(t *testing.T) {
	t.Parallel()
	// httpx bounds and guards every call to systems of others. The rest talk to our own servers, or are tools and stand-ins.
	allowed := []string{"internal/httpx", "internal/flow", "internal/apiclient", "internal/demo", "internal/devstack", "internal/devstack/*",
		"internal/sim/*", "internal/bench/*", "internal/bench/cmd/*", "internal/chaos/*"}
	goes := []string{"Client", "DefaultClient", "Get", "Head", "Post", "PostForm", "Transport", "DefaultTransport"}
	seen := false
	for _, p := range packages(t) {
		for name, f := range p.files {
			for _, use := range uses(f, "net/http") {
				if !slices.Contains(goes, use) {
					continue
				}
				seen = seen || p.path == "internal/httpx"
				if !matches(allowed, p.path) {
					t.Errorf("%s uses http.%s. Outbound calls go through internal/httpx, which guards addresses and bounds time and size.", name, use)
				}
			}
		}
	}
	if !seen {
		t.Error("not even httpx was seen to use a client; the check sees too little")
	}
}

func TestDecisionsAndStoriesReadNoClock(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if p.path != "workflows" && p.path != "internal/domain" && p.path != "internal/contract" && !strings.HasPrefix(p.path, "internal/rules/") {
			continue
		}
		for name, f := range p.files {
			for _, use := range uses(f, "time") {
				if slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "NewTicker", "Tick", "AfterFunc"}, use) {
					t.Errorf("%s uses time.%s. Rules take the time as an argument, and workflows ask workflow.Now, or they cannot be replayed.", name, use)
				}
			}
		}
	}
}

func TestNobodySleepsInTestsStepsOrStories(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for name, f := range p.tests {
			if slices.Contains(uses(f, "time"), "Sleep") {
				t.Errorf("%s sleeps. Wait for the condition, not for a time.", name)
			}
		}
		if p.path != "activities" {
			continue
		}
		for name, f := range p.files {
			if slices.Contains(uses(f, "time"), "Sleep") {
				t.Errorf("%s sleeps. Let Temporal wait.", name)
			}
		}
	}
}

func TestUnseededRandomnessStaysOutOfDecisions(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if p.path != "workflows" && !strings.HasPrefix(p.path, "internal/rules/") {
			continue
		}
		for _, lib := range []string{"math/rand", "math/rand/v2", "crypto/rand"} {
			if file, ok := p.imports[lib]; ok {
				t.Errorf("%s imports %s. A decision or a story must come out the same the next time.", file, lib)
			}
		}
	}
}
