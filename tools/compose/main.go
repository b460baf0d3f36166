// Command compose loads a compose file by the library that docker compose is built on, which checks it against the
// specification and checks that its parts fit together:
//
//	go -C tools/compose run . /path/docker-compose.yml /path/env-file
//
// It is a module of its own to keep its dependencies out of WedSync's. tools/composecheck calls it.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: compose FILE ENV-FILE")
		os.Exit(2)
	}
	services, err := load(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("compose-go loads it: %d services\n", services)
}

func load(file, envFile string) (int, error) {
	env, err := dotenv.Read(envFile)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", envFile, err)
	}
	p, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  filepath.Dir(file),
		ConfigFiles: []types.ConfigFile{{Filename: file}},
		Environment: env,
	}, loader.WithProfiles([]string{"*"}))
	if err != nil {
		return 0, err
	}
	return len(p.Services), nil
}
