// Command chaos kills the parts of WedSync under load and checks that nothing was lost, done twice or left lying. It
// prints its progress to standard error and one line of JSON, the result, as the last line of standard output.
//
//	chaos ingest [--hits 20] [--long-outage 2m] [--points intake/after-commit,…] [--tags chaos_ackearly] …
//	chaos failover [--episodes 30] [--seed 1] [--kinds hooks/lost,…] [--tags chaos_noledger] …
//
// It builds the program under test with the tag chaos, so it runs in a checkout. It exits 1 when anything was lost,
// duplicated or stuck, when a point was hit less often than asked for, and when nothing failed over.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/wedsync/wedsync/internal/chaos/rig"
	"github.com/wedsync/wedsync/internal/devstack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		var user *devstack.UserError
		if errors.As(err, &user) {
			err = user
		}
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "ingest":
			return runIngest(ctx, args[1:], out, progress)
		case "failover":
			return runFailover(ctx, args[1:], out, progress)
		}
	}
	return errors.New("usage: chaos ingest|failover [flags]; -h lists them")
}

// command is what both kinds of runs have in common.
type command struct {
	*flag.FlagSet
	began    time.Time
	progress io.Writer
	binary   string
	tags     string
	dir      string
}

// newCommand makes the flags about the program under test; example is a tag that makes it wrong on purpose.
func newCommand(name, example string, progress io.Writer) *command {
	c := &command{FlagSet: flag.NewFlagSet("chaos "+name, flag.ContinueOnError), began: time.Now(), progress: progress}
	c.SetOutput(progress)
	c.StringVar(&c.binary, "binary", "", "wedsync built with the tag chaos; built here by default")
	c.StringVar(&c.tags, "tags", "", "further tags to build it with, parted by commas, such as "+example)
	c.StringVar(&c.dir, "dir", "", "folder for the private stack; the system's temporary folder by default")
	return c
}

// say tells how the run gets on.
func (c *command) say(line string) {
	fmt.Fprintf(c.progress, "%6.1fs %s\n", time.Since(c.began).Seconds(), line)
}

// program calls measure with the program under test, which is built where none was named.
func (c *command) program(ctx context.Context, measure func(binary string) error) error {
	if c.binary != "" {
		return measure(c.binary)
	}
	dir, err := os.MkdirTemp("", "wedsync-chaos-bin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c.say("building wedsync")
	binary, err := rig.Build(ctx, dir, list(c.tags)...)
	if err != nil {
		return err
	}
	return measure(binary)
}

// list parts a flag's value at its commas; an empty one has no parts.
func list(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

// report prints the result; faults are an error.
func report(out io.Writer, line string, faults []string) error {
	fmt.Fprintln(out, line)
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}

// helped makes nothing of the wish for help.
func helped(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}
