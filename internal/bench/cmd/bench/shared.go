package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
)

// helped makes nothing of the wish for help.
func helped(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}

// figures is a benchmark's result.
type figures interface {
	Line() string
	Bars() []string
}

// shared are the flags of every benchmark here.
type shared struct {
	bars    bool
	profile string
}

// begin makes the flags of a benchmark, and what it tells its progress by.
func begin(name string, progress io.Writer) (flags *flag.FlagSet, say func(line string)) {
	flags = flag.NewFlagSet("bench "+name, flag.ContinueOnError)
	flags.SetOutput(progress)
	return flags, func(line string) { fmt.Fprintln(progress, line) }
}

func common(flags *flag.FlagSet) *shared {
	s := &shared{}
	flags.BoolVar(&s.bars, "bars", false, "exit 1 when a bar of the project is missed")
	flags.StringVar(&s.profile, "profile", "", "folder for a CPU profile")
	return s
}

func (s *shared) run(out, progress io.Writer, name string, measure func() (figures, error)) error {
	if s.profile != "" {
		f, err := os.Create(filepath.Join(s.profile, name+".cpu.pprof"))
		if err != nil {
			return fmt.Errorf("write a profile: %w", err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("write a profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	result, err := measure()
	if err != nil {
		return err
	}
	return report(out, progress, result, s.bars)
}

// report prints which bars were missed, and the result as the last line. bars makes a missed one an error.
func report(out, progress io.Writer, result figures, bars bool) error {
	missed := result.Bars()
	for _, m := range missed {
		fmt.Fprintln(progress, "missed:", m)
	}
	fmt.Fprintln(out, result.Line())
	if bars && len(missed) > 0 {
		return fmt.Errorf("%d bars missed", len(missed))
	}
	return nil
}
