package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// checkDockerfile returns the faults of a Dockerfile: stages that do not fit together, bases whose version may change,
// and a last stage that runs as root or through a shell.
func checkDockerfile(text []byte) []string {
	var faults []string
	bad := func(line int, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("line %d: ", line)+fmt.Sprintf(format, args...))
	}
	known := strings.Fields("ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR")
	var stages []string
	user, entrypoint, number := "", false, 0
	for _, in := range instructions(text) {
		number = in.line
		word, rest, _ := strings.Cut(in.text, " ")
		word, rest = strings.ToUpper(word), strings.TrimSpace(rest)
		if !slices.Contains(known, word) {
			bad(in.line, "unknown instruction %s", word)
			continue
		}
		if len(stages) == 0 && word != "FROM" && word != "ARG" {
			bad(in.line, "%s before the first FROM", word)
		}
		switch word {
		case "FROM":
			fields := slices.DeleteFunc(strings.Fields(rest), func(s string) bool { return strings.HasPrefix(s, "--") })
			if len(fields) != 1 && (len(fields) != 3 || !strings.EqualFold(fields[1], "AS")) {
				bad(in.line, "FROM must be: FROM image [AS name]")
				continue
			}
			if why := pinned(fields[0]); fields[0] != "scratch" && !slices.Contains(stages, fields[0]) && why != "" {
				bad(in.line, "base image %s %s; pin a version", fields[0], why)
			}
			stages = append(stages, fields[len(fields)-1])
			user, entrypoint = "", false
		case "COPY":
			for _, f := range strings.Fields(rest) {
				from, ok := strings.CutPrefix(f, "--from=")
				if ok && !slices.Contains(stages[:max(0, len(stages)-1)], from) {
					bad(in.line, "COPY --from=%s names no stage before it", from)
				}
			}
		case "USER":
			user = rest
		case "ENTRYPOINT", "CMD":
			if json.Unmarshal([]byte(rest), new([]string)) != nil {
				bad(in.line, "%s must be a JSON list, so that signals reach the program and not a shell", word)
			}
			entrypoint = entrypoint || word == "ENTRYPOINT"
		}
	}
	switch {
	case len(stages) == 0:
		bad(number, "no FROM")
	case user == "" || user == "root" || user == "0" || strings.HasPrefix(user, "0:"):
		bad(number, "the last stage must set a USER that is not root")
	case !entrypoint:
		bad(number, "the last stage has no ENTRYPOINT")
	}
	return faults
}

type instruction struct {
	line int
	text string
}

// instructions joins continued lines and leaves comments out.
func instructions(text []byte) []instruction {
	var out []instruction
	open := false
	lines := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		s := strings.TrimSpace(lines.Text())
		if s == "" || strings.HasPrefix(s, "#") {
			continue
		}
		part, continued := strings.CutSuffix(s, "\\")
		if open {
			out[len(out)-1].text += " " + strings.TrimSpace(part)
		} else {
			out = append(out, instruction{number, strings.TrimSpace(part)})
		}
		open = continued
	}
	return out
}
