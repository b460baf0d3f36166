//go:build chaos && chaos_ackearly

package failpoint

// AckEarly is a fault on purpose: senders are answered before the commit.
const AckEarly = true
