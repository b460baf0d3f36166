package load

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Usage is CPU time used so far, read from the system. It is zero where there is no /proc.
type Usage struct {
	at      time.Time
	machine time.Duration // by everybody
	self    time.Duration
	below   map[string]time.Duration // by living descendants, by program
	cores   int
}

// clockTick is the unit of CPU times in /proc on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// Used reads the CPU time of this process, of the processes it started and of the machine.
func Used() Usage {
	u := Usage{at: time.Now(), below: map[string]time.Duration{}}
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		switch {
		case f[0] == "cpu":
			for _, i := range []int{1, 2, 3, 6, 7} { // user, nice, system, irq, softirq
				u.machine += ticks(f, i)
			}
		case strings.HasPrefix(f[0], "cpu"):
			u.cores++
		}
	}
	type process struct {
		parent int
		name   string
		used   time.Duration
	}
	all := map[int]process{}
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return u
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name in parentheses may hold anything, also blanks.
		open, shut := bytes.IndexByte(raw, '('), bytes.LastIndexByte(raw, ')')
		if open < 0 || shut < open {
			continue
		}
		f := strings.Fields(string(raw[shut+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || len(f) < 15 {
			continue
		}
		parent, err := strconv.Atoi(f[1])
		if err != nil {
			continue
		}
		all[pid] = process{parent, string(raw[open+1 : shut]), ticks(f, 11) + ticks(f, 12)}
	}
	me := os.Getpid()
	for pid, p := range all {
		if pid == me {
			u.self = p.used
			continue
		}
		for up, steps := p.parent, 0; up > 1 && steps < 100; up, steps = all[up].parent, steps+1 {
			if up == me {
				u.below[p.name] += p.used
				break
			}
		}
	}
	return u
}

func ticks(fields []string, i int) time.Duration {
	if i >= len(fields) {
		return 0
	}
	n, err := strconv.ParseInt(fields[i], 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * clockTick
}

// Each tells how much CPU time this process and each program below it used since before, divided by n.
func (u Usage) Each(before Usage, n int) string {
	if u.cores == 0 || n == 0 {
		return "CPU time is not known on this system"
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / float64(n) }
	parts := []string{fmt.Sprintf("this process %.1f ms", each(u.self-before.self))}
	for _, name := range slices.Sorted(maps.Keys(u.below)) {
		if used := u.below[name] - before.below[name]; used > 0 {
			parts = append(parts, fmt.Sprintf("%s below it %.1f ms", name, each(used)))
		}
	}
	busy := u.machine - before.machine
	room := u.at.Sub(before.at) * time.Duration(u.cores)
	return fmt.Sprintf("%s; the machine was busy for %.0f %%", strings.Join(parts, ", "), 100*float64(busy)/float64(room))
}

// Since describes who used the CPU since before, given what the generator used and how many requests there were. What
// other programs used tells how far a figure of a shared machine can be trusted.
func (u Usage) Since(before Usage, generator time.Duration, requests int) string {
	if u.cores == 0 || requests == 0 {
		return "CPU time is not known on this system"
	}
	self := u.self - before.self
	others := u.machine - before.machine - self - generator
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(requests) }
	room := u.at.Sub(before.at) * time.Duration(u.cores)
	parts := []string{fmt.Sprintf("server %.0f µs", each(self)), fmt.Sprintf("generator %.0f µs", each(generator))}
	for _, name := range slices.Sorted(maps.Keys(u.below)) {
		used := u.below[name] - before.below[name]
		others -= used
		if used > 0 {
			parts = append(parts, fmt.Sprintf("%s %.0f µs", name, each(used)))
		}
	}
	return fmt.Sprintf("CPU per request: %s; other programs used %.0f %% of the machine",
		strings.Join(parts, ", "), 100*float64(max(0, others))/float64(room))
}
