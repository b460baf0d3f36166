// Command testrun runs go test and tells what happened in a form for people and for CI: failed tests with their output,
// skipped ones with their reason, packages as they finish, and counts as the last line.
//
//	go run ./tools/testrun [go test flags] [packages]
//
// The exit status is 1 when a test or a build failed, or when no test ran at all.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// event is a line of go test -json (cmd/test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

var reason = regexp.MustCompile(`^\s+\S+\.go:\d+: (.*)`)

func main() { os.Exit(run()) }

func run() int {
	began := time.Now()
	cmd := exec.Command("go", append([]string{"test", "-json", "-timeout=20m"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun: start go test:", err)
		return 1
	}
	var passed, failed, skipped int
	var skips []string
	output := map[string][]string{}
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text())
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			output[key] = append(output[key], e.Output)
			if e.Action == "build-output" {
				fmt.Print(e.Output)
			}
		case "pass", "fail", "skip":
			if e.Test == "" {
				if e.Action == "fail" {
					fmt.Print(strings.Join(output[key], ""))
				}
				if e.Action != "skip" {
					fmt.Printf("%-4s %s  %.1fs\n", e.Action, e.Package, e.Elapsed)
				}
				continue
			}
			switch e.Action {
			case "pass":
				passed++
			case "fail":
				failed++
				fmt.Printf("FAIL %s %s\n%s", e.Package, e.Test, strings.Join(output[key], ""))
			case "skip":
				skipped++
				skips = append(skips, key+": "+why(output[key]))
			}
			delete(output, key)
		}
	}
	err = cmd.Wait()
	slices.Sort(skips)
	for _, s := range skips {
		fmt.Println("skipped", s)
	}
	fmt.Printf("took %s\n", time.Since(began).Round(time.Second))
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	switch {
	case err != nil, failed > 0:
		return 1
	case passed == 0:
		fmt.Fprintln(os.Stderr, "testrun: no test ran")
		return 1
	}
	return 0
}

// why finds the reason that a skipped test gave.
func why(output []string) string {
	for _, line := range output {
		if m := reason.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return "no reason given"
}
