package app

import (
	"bytes"
	"io"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/outbound"
	"github.com/wedsync/wedsync/internal/providers"
)

// outboundRates reads the setting outbound-rates, and checks the names in it.
func (c Config) outboundRates() (outbound.Rates, error) {
	rates, err := outbound.ParseRates(c.OutboundRates)
	if err != nil {
		return nil, err
	}
	for _, name := range rates.Systems() {
		if _, err := providers.Get(name); err != nil {
			return nil, domain.Invalid("outbound-rates", "%q is neither a provider nor %s", name, outbound.Tokens)
		}
	}
	return rates, nil
}

const (
	// leastMemory is the smallest limit that may be set, in bytes: below it a process does nothing but collect garbage.
	leastMemory = 64 << 20
	noMemory    = -1 // no limit
)

// parseMemory reads the setting memory-limit in bytes: 0 for "", noMemory for off.
func parseMemory(text string) (int64, error) {
	bad := domain.Invalid("memory-limit", "must be a number with MiB or GiB, at least 64MiB, or off")
	switch text = strings.TrimSpace(text); text {
	case "":
		return 0, nil
	case "off":
		return noMemory, nil
	}
	for unit, size := range map[string]float64{"MiB": 1 << 20, "GiB": 1 << 30} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
			if err != nil || !(n*size >= leastMemory && n*size <= 1<<50) {
				return 0, bad
			}
			return int64(n * size), nil
		}
	}
	return 0, bad
}

// cgroupFiles hold the memory that the container of this process may use, in the two forms that Linux has.
var cgroupFiles = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// containerMemory reads the first of the files that is there; 0 = no limit.
func containerMemory(files []string) int64 {
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(f, 64))
		_ = f.Close() // nothing was written
		n, parseErr := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
		if err != nil || parseErr != nil || n >= 1<<50 { // the older form writes a huge number for none
			return 0
		}
		return n
	}
	return 0
}

// LimitMemory tells the garbage collector how much memory this process should stay below, by the setting memory-limit, and
// returns it in bytes, 0 for no limit. Without the setting a server stays below 1 GiB, see inbox.TuneGC. It holds for the whole process, so main functions call it, once. Without it the
// collector lets a process grow to twice what it needs; near the limit it works more often instead. Memory that is needed
// is had beyond the limit too.
func LimitMemory(c Config) (int64, error) {
	limit, err := parseMemory(c.MemoryLimit)
	if err != nil {
		return 0, err
	}
	if limit == 0 && os.Getenv("GOMEMLIMIT") == "" {
		if most := containerMemory(cgroupFiles); most > 0 {
			limit = max(most/10*9, leastMemory)
		}
	}
	switch {
	case limit == noMemory:
		debug.SetMemoryLimit(math.MaxInt64)
		return 0, nil
	case limit == 0:
		return 0, nil
	}
	debug.SetMemoryLimit(limit)
	return limit, nil
}
