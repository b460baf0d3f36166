//go:build !chaos || !chaos_nodedupe

package failpoint

// NoDedupe is a fault on purpose: every delivery counts as new.
// It is false in this build.
const NoDedupe = false
