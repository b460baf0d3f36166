package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// project is the part of a compose file that is checked here; the rest is for compose-go.
type project struct {
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
	Networks map[string]any     `yaml:"networks"`
}

type service struct {
	Image       string                `yaml:"image"`
	Build       *build                `yaml:"build"`
	User        string                `yaml:"user"`
	Command     []string              `yaml:"command"`
	Environment map[string]string     `yaml:"environment"`
	Ports       []string              `yaml:"ports"`
	Volumes     []string              `yaml:"volumes"`
	Networks    []string              `yaml:"networks"`
	DependsOn   map[string]dependency `yaml:"depends_on"`
	Restart     string                `yaml:"restart"`
	Profiles    []string              `yaml:"profiles"`
	ReadOnly    bool                  `yaml:"read_only"`
	Privileged  bool                  `yaml:"privileged"`
	CapAdd      []string              `yaml:"cap_add"`
	CapDrop     []string              `yaml:"cap_drop"`
	SecurityOpt []string              `yaml:"security_opt"`
	NetworkMode string                `yaml:"network_mode"`
	PID         string                `yaml:"pid"`
	IPC         string                `yaml:"ipc"`
	Healthcheck *struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
}

type build struct {
	Context    string `yaml:"context"`
	Dockerfile string `yaml:"dockerfile"`
}

type dependency struct {
	Condition string `yaml:"condition"`
}

// standIn takes the place of values that the example leaves to its reader.
const standIn = "standin"

// checker gathers faults.
type checker struct {
	root     string
	settings map[string][]string
	p        project
	faults   []string
}

func (c *checker) bad(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// check returns the faults of a compose file, and how many services it has. example is the text of .env.example, root the
// folder of the file, settings the environment variables that each command of wedsync knows.
func check(text, example []byte, root string, settings map[string][]string) (faults []string, services int) {
	c := &checker{root: root, settings: settings}
	var raw yaml.Node
	if err := yaml.Unmarshal(text, &raw); err != nil {
		return []string{err.Error()}, 0
	}
	c.interpolate(&raw, variables(example))
	if err := raw.Decode(&c.p); err != nil {
		return append(c.faults, err.Error()), 0
	}
	if len(c.p.Services) == 0 {
		c.bad("no services")
	}
	published := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.p.Services)) {
		s := c.p.Services[name]
		c.image(name, s)
		c.rights(name, s)
		c.dependencies(name, s)
		c.ports(name, s, published)
		c.places(name, s)
		c.environment(name, s)
	}
	slices.Sort(c.faults)
	return slices.Compact(c.faults), len(c.p.Services)
}

var variable = regexp.MustCompile(`\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?])([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*)|)`)

// interpolate replaces variables in every value as compose does. Each must be explained in the example, and each of
// the example must be used.
func (c *checker) interpolate(n *yaml.Node, known map[string]string) {
	used := map[string]bool{}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			for _, child := range n.Content { // an alias has none: its anchor is walked where it stands
				walk(child)
			}
			return
		}
		n.Value = variable.ReplaceAllStringFunc(n.Value, func(m string) string {
			parts := variable.FindStringSubmatch(m)
			name := parts[1] + parts[4]
			if name == "" {
				if m == "$$" {
					return "$"
				}
				c.bad("line %d: a $ that begins no variable; write $$ for the sign itself", n.Line)
				return m
			}
			used[name] = true
			value, ok := known[name]
			switch {
			case !ok:
				c.bad("line %d: variable %s is not explained in %s", n.Line, name, exampleFile)
				return standIn
			case value != "":
				return value
			case strings.HasSuffix(parts[2], "-"):
				return parts[3]
			case !strings.HasSuffix(parts[2], "?"):
				c.bad("line %d: variable %s has no value by itself; require it by ${%s:?message} or give a default by ${%s:-value}", n.Line, name, name, name)
			}
			return standIn
		})
	}
	walk(n)
	for name := range known {
		if !used[name] {
			c.bad("%s: %s is not used by the compose file", exampleFile, name)
		}
	}
}

// variables reads NAME=value lines.
func variables(text []byte) map[string]string {
	out := map[string]string{}
	for line := range bytes.Lines(text) {
		s := strings.TrimSpace(string(line))
		name, value, ok := strings.Cut(s, "=")
		if ok && !strings.HasPrefix(s, "#") {
			out[name] = value
		}
	}
	return out
}

// pinned says why an image's version may change by itself, "" if it may not.
func pinned(image string) string {
	name := image[strings.LastIndex(image, "/")+1:]
	if strings.Contains(name, "@sha256:") {
		return ""
	}
	_, tag, ok := strings.Cut(name, ":")
	switch {
	case !ok || tag == "":
		return "has no tag"
	case tag == "latest":
		return "is latest"
	}
	return ""
}

func (c *checker) image(name string, s service) {
	switch why := pinned(s.Image); {
	case s.Image == "" && s.Build == nil:
		c.bad("%s: neither image nor build", name)
	case s.Image != "" && why != "":
		c.bad("%s: image %s %s; pin a version", name, s.Image, why)
	}
	if s.Build == nil {
		return
	}
	file := s.Build.Dockerfile
	if file == "" {
		file = "Dockerfile"
	}
	text, err := os.ReadFile(filepath.Join(c.root, s.Build.Context, file))
	if err != nil {
		c.bad("%s: %v", name, err)
		return
	}
	for _, f := range checkDockerfile(text) {
		c.bad("%s: %s", file, f)
	}
}

func (c *checker) rights(name string, s service) {
	if s.Privileged {
		c.bad("%s: privileged", name)
	}
	if len(s.CapAdd) > 0 {
		c.bad("%s: cap_add %s", name, strings.Join(s.CapAdd, ", "))
	}
	for what, value := range map[string]string{"network_mode": s.NetworkMode, "pid": s.PID, "ipc": s.IPC} {
		if value == "host" {
			c.bad("%s: %s: host", name, what)
		}
	}
	if !slices.Contains(s.CapDrop, "ALL") {
		c.bad("%s: cap_drop must name ALL", name)
	}
	if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
		c.bad("%s: security_opt must name no-new-privileges:true", name)
	}
	if !s.ReadOnly {
		c.bad("%s: read_only must be true; give folders to write in by tmpfs or volumes", name)
	}
	if user, _, _ := strings.Cut(s.User, ":"); user == "" || user == "0" || user == "root" {
		c.bad("%s: user must be set, and not to root", name)
	}
	if s.Restart == "" {
		c.bad("%s: restart must be set", name)
	}
}

func (c *checker) dependencies(name string, s service) {
	for target, d := range s.DependsOn {
		t, ok := c.p.Services[target]
		if !ok {
			c.bad("%s: depends_on %s, which is no service", name, target)
			continue
		}
		endless := t.Restart == "always" || t.Restart == "unless-stopped"
		switch d.Condition {
		case "service_started":
		case "service_healthy":
			if t.Healthcheck == nil || len(t.Healthcheck.Test) == 0 {
				c.bad("%s: waits for %s to be healthy, which has no healthcheck", name, target)
			}
		case "service_completed_successfully":
			if endless {
				c.bad("%s: waits for %s to end, which restarts for ever (restart: %s)", name, target, t.Restart)
			}
		default:
			c.bad("%s: depends_on %s has the unknown condition %q", name, target, d.Condition)
		}
	}
	if c.reaches(name, name, map[string]bool{}) {
		c.bad("%s: depends on itself", name)
	}
}

func (c *checker) reaches(from, to string, seen map[string]bool) bool {
	for next := range c.p.Services[from].DependsOn {
		if next == to {
			return true
		}
		if !seen[next] {
			seen[next] = true
			if c.reaches(next, to, seen) {
				return true
			}
		}
	}
	return false
}

func (c *checker) ports(name string, s service, published map[string]string) {
	for _, p := range s.Ports {
		parts := strings.Split(p, ":")
		if len(parts) != 3 {
			c.bad("%s: port %s is open to every network; write 127.0.0.1:HOST:CONTAINER", name, p)
			continue
		}
		if parts[0] != "127.0.0.1" {
			c.bad("%s: port %s must be bound to 127.0.0.1; a proxy opens it to others", name, p)
		}
		if other, taken := published[parts[1]]; taken {
			c.bad("%s: port %s is published by %s already", name, parts[1], other)
		}
		published[parts[1]] = name
	}
}

// places are networks, volumes and files that must exist.
func (c *checker) places(name string, s service) {
	for _, n := range s.Networks {
		if _, ok := c.p.Networks[n]; !ok {
			c.bad("%s: network %s is not declared", name, n)
		}
	}
	for _, v := range s.Volumes {
		source, _, _ := strings.Cut(v, ":")
		switch {
		case strings.Contains(source, "docker.sock"):
			c.bad("%s: the engine's socket gives it the whole machine", name)
		case strings.HasPrefix(source, "."):
			if _, err := os.Stat(filepath.Join(c.root, source)); err != nil {
				c.bad("%s: volume %s: %v", name, source, err)
			}
		default:
			if _, ok := c.p.Volumes[source]; !ok {
				c.bad("%s: volume %s is not declared", name, source)
			}
		}
	}
}

// environment checks that every setting of WedSync is one that the service's command knows.
func (c *checker) environment(name string, s service) {
	ours := strings.HasPrefix(s.Image, "wedsync:")
	var known []string
	if ours && len(s.Command) > 0 {
		var ok bool
		if known, ok = c.settings[s.Command[0]]; !ok {
			c.bad("%s: command %s is none of %s", name, s.Command[0], strings.Join(slices.Sorted(maps.Keys(c.settings)), ", "))
			return
		}
	} else if ours { // any command may be given to it
		for _, list := range c.settings {
			known = append(known, list...)
		}
	}
	for key := range s.Environment {
		wedsync := strings.HasPrefix(key, "WEDSYNC_")
		switch {
		case ours && !slices.Contains(known, key):
			c.bad("%s: %s is no setting of wedsync %s", name, key, strings.Join(s.Command, " "))
		case !ours && wedsync:
			c.bad("%s: %s is a setting of wedsync, which this is not", name, key)
		}
	}
}
