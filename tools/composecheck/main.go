// Command composecheck says what is wrong with a compose file without an engine:
//
//	go run ./tools/composecheck docker-compose.yml
//
// It applies the rules of this repository itself (see check), has the file loaded by the library that docker compose is
// built on (tools/compose, a module of its own because of its dependencies), and asks docker compose too where it is
// installed. Each fault is a line on standard error; the exit status is 1 if there is one.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// exampleFile explains the variables of the compose file beside it.
const exampleFile = ".env.example"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: composecheck FILE")
		os.Exit(2)
	}
	faults, done, err := run(os.Args[1])
	for _, line := range done {
		fmt.Println("compose-check:", line)
	}
	for _, f := range faults {
		fmt.Fprintln(os.Stderr, "compose-check:", f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compose-check:", err)
	}
	if err != nil || len(faults) > 0 {
		os.Exit(1)
	}
}

// run applies every check that this machine can carry out. done names them.
func run(file string) (faults, done []string, err error) {
	root := filepath.Dir(file)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	example, err := os.ReadFile(filepath.Join(root, exampleFile))
	if err != nil {
		return nil, nil, err
	}
	temp, err := os.MkdirTemp("", "composecheck")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(temp)
	settings, err := settingsOf(root, temp)
	if err != nil {
		return nil, nil, err
	}
	faults, services := check(text, example, root, settings)
	done = append(done, fmt.Sprintf("%d services and their images, names, ports, settings and rights", services))

	env := filepath.Join(temp, "env")
	if err := os.WriteFile(env, filledIn(example), 0o600); err != nil {
		return nil, nil, err
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, nil, err
	}
	// The go command of the caller chose settings for this module, which must not reach the other one.
	load := exec.Command("go", "-C", filepath.Join(root, "tools", "compose"), "run", ".", path, env)
	load.Env = append(os.Environ(), "GOFLAGS=")
	if out, err := load.CombinedOutput(); err != nil {
		faults = append(faults, "compose-go: "+lastLines(out, err))
	} else {
		done = append(done, strings.TrimSpace(string(out)))
	}

	if exec.Command("docker", "compose", "version").Run() != nil {
		return faults, append(done, "docker compose is not installed here, so it was not asked"), nil
	}
	if out, err := exec.Command("docker", "compose", "--file", path, "--env-file", env, "--profile", "*", "config", "--quiet").CombinedOutput(); err != nil {
		faults = append(faults, "docker compose config: "+lastLines(out, err))
	} else {
		done = append(done, "docker compose config accepts it")
	}
	return faults, done, nil
}

func lastLines(out []byte, err error) string {
	if text := strings.TrimSpace(string(out)); text != "" {
		return text
	}
	return err.Error()
}

// commands are those that a service may run.
var commands = []string{"server", "worker", "migrate"}

var settingName = regexp.MustCompile(`\[([A-Z][A-Z_]+)\]`)

// settingsOf asks the program for the environment variables of each command.
func settingsOf(root, temp string) (map[string][]string, error) {
	program := filepath.Join(temp, "wedsync")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./cmd/wedsync")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build cmd/wedsync: %w\n%s", err, out)
	}
	all := map[string][]string{}
	for _, c := range commands {
		help, err := exec.Command(program, c, "--help").Output()
		if err != nil {
			return nil, fmt.Errorf("ask for the settings of %s: %w", c, err)
		}
		for _, m := range settingName.FindAllSubmatch(help, -1) {
			all[c] = append(all[c], string(m[1]))
		}
		if !slices.Contains(all[c], "DATABASE_URL") {
			return nil, errors.New("the help of " + c + " shows no DATABASE_URL; its form has changed")
		}
	}
	return all, nil
}

// filledIn gives every empty variable of the example a value, as its reader would.
func filledIn(example []byte) []byte {
	var out bytes.Buffer
	for name, value := range variables(example) {
		if value == "" {
			value = standIn
		}
		fmt.Fprintf(&out, "%s=%s\n", name, value)
	}
	return out.Bytes()
}
