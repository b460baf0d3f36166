//go:build !chaos || !chaos_ackearly

package failpoint

// AckEarly is a fault on purpose: senders are answered before the commit.
// It is false in this build.
const AckEarly = false
