package provider_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/provider"
)

func TestIdentitiesOfDifferentPartsDiffer(t *testing.T) {
	t.Parallel()
	parts := rapid.SliceOfN(rapid.StringOfN(rapid.SampledFrom([]rune{'a', '\n', '\\', 'n'}), 1, 4, -1), 1, 3)
	rapid.Check(t, func(t *rapid.T) {
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		one, two := provider.IdentityOf(a...), provider.IdentityOf(b...)
		if slices.Equal(a, b) != (one == two) {
			t.Fatalf("%q is %q and %q is %q", a, one, b, two)
		}
	})
	if provider.IdentityOf("host", "") != "" || provider.IdentityOf("", "x") != "" {
		t.Error("what is not known has an identity")
	}
}
