//go:build !chaos

package failpoint

// Enabled tells whether this build has failpoints.
const Enabled = false

// Hit does nothing in this build.
func Hit(string) {}

// Answered does nothing in this build.
func Answered(string) {}

// HitAnswered does nothing in this build.
func HitAnswered(string, string) {}
