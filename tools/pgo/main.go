// Command pgo makes one profile for the compiler out of CPU profiles of the benchmarks (make pgo writes
// cmd/wedsync/cpu.pgo with it).
//
//	pgo -o FILE PROFILE...
//
// Each profile weighs the same, however long it ran. What the compiler does not read is left out: times, labels, and the
// names of files and folders of the machine that measured. The compiler's part is described at https://go.dev/doc/pgo.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/google/pprof/profile"
)

func main() {
	out := flag.String("o", "", "file to write")
	flag.Parse()
	if *out == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: pgo -o FILE PROFILE...")
		os.Exit(2)
	}
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "pgo:", err)
		os.Exit(1)
	}
}

// weight is the number of samples that every profile is scaled to.
const weight = 20_000

func run(out string, files []string) error {
	var list []*profile.Profile
	for _, name := range files {
		p, err := read(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, p)
	}
	all, err := profile.Merge(list)
	if err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	if err := all.Write(f); err != nil {
		_ = f.Close() // the write's error tells more
		return err
	}
	return f.Close()
}

func read(name string) (*profile.Profile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		return nil, err
	}
	if len(p.SampleType) == 0 || p.SampleType[0].Type != "samples" {
		return nil, fmt.Errorf("not a CPU profile")
	}
	var total int64
	for _, s := range p.Sample {
		total += s.Value[0]
	}
	if total == 0 {
		return nil, fmt.Errorf("no samples")
	}
	for _, s := range p.Sample {
		s.Label, s.NumLabel, s.NumUnit = nil, nil, nil
	}
	for _, m := range p.Mapping {
		m.File, m.BuildID = "wedsync", ""
	}
	for _, fn := range p.Function {
		fn.Filename = ""
	}
	p.TimeNanos, p.DurationNanos, p.Comments = 0, 0, nil
	p.Scale(float64(weight) / float64(total))
	return p, nil
}
