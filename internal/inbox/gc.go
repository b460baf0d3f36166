package inbox

import (
	"os"
	"runtime/debug"
)

// TuneGC sets the garbage collector up for a process that takes webhooks, unless GOGC or GOMEMLIMIT say otherwise. Such a
// process has little that lives and much that does not: collecting at the default pace costs a fifth of its CPU. The
// memory limit makes the collector work harder long before the bounds of queues and bodies could add up to trouble; with limited
// somebody set one already, and that stays.
func TuneGC(limited bool) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(800)
	}
	if os.Getenv("GOMEMLIMIT") == "" && !limited {
		debug.SetMemoryLimit(1 << 30)
	}
}
