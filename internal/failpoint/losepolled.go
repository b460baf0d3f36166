//go:build chaos && chaos_losepolled

package failpoint

// LosePolled is a fault on purpose: some of what only a reading shows is left out.
const LosePolled = true
