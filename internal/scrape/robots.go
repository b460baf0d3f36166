package scrape

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
	"time"
)

// agent is by what robots.txt names us (RFC 9309: letters, _ and -).
const agent = "wedsync"

// maxRobots is how much of a robots.txt is read, in bytes; RFC 9309 asks for 500 KiB at least.
const maxRobots = 512 << 10

// rules are the lines of a robots.txt that are for us.
type rules struct {
	lines []rule
	delay time.Duration // Crawl-delay, which is not in the RFC and obeyed all the same
}

type rule struct {
	pattern string
	allow   bool
}

// parseRobots reads the group for us, or the one for everybody where there is none.
func parseRobots(body []byte) rules {
	var ours, all rules
	named := false
	var into []*rules
	begun := true // the group's agents are read; the next agent begins another group
	sc := bufio.NewScanner(bytes.NewReader(body[:min(len(body), maxRobots)]))
	sc.Buffer(nil, maxRobots+1)
	for sc.Scan() {
		line, _, _ := strings.Cut(strings.TrimPrefix(sc.Text(), "\ufeff"), "#")
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "user-agent":
			if begun {
				into, begun = nil, false
			}
			switch strings.ToLower(value) {
			case "*":
				into = append(into, &all)
			case agent:
				named = true
				into = append(into, &ours)
			}
		case "allow", "disallow":
			begun = true
			if value == "" {
				continue // an empty one says nothing
			}
			for _, r := range into {
				r.lines = append(r.lines, rule{value, strings.EqualFold(strings.TrimSpace(name), "allow")})
			}
		case "crawl-delay":
			begun = true
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil || !(seconds >= 0 && seconds <= 24*3600) {
				continue
			}
			for _, r := range into {
				r.delay = max(r.delay, time.Duration(seconds*float64(time.Second)))
			}
		}
	}
	if named {
		return ours
	}
	return all
}

// allows reports whether a path with its query may be asked for: the longest pattern that matches decides, and allow where two
// are equally long.
func (r rules) allows(path string) bool {
	best, allowed := -1, true
	for _, l := range r.lines {
		if n := len(l.pattern); n < best || n == best && !l.allow || !matches(l.pattern, path) {
			continue
		}
		best, allowed = len(l.pattern), l.allow
	}
	return allowed
}

// matches compares a path with a pattern in which * is anything and a $ at the end the end.
func matches(pattern, path string) bool {
	pattern, exact := strings.CutSuffix(pattern, "$")
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(path, parts[0]) {
		return false
	}
	path = path[len(parts[0]):]
	if len(parts) == 1 {
		return !exact || path == ""
	}
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(path, part)
		if i < 0 {
			return false
		}
		path = path[i+len(part):]
	}
	last := parts[len(parts)-1]
	if exact {
		return strings.HasSuffix(path, last)
	}
	return strings.Contains(path, last)
}
