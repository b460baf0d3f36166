package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// known are the settings that the compose file uses, so that these tests need not build the program; the first test
// below does.
var known = map[string][]string{
	"server": {"DATABASE_URL", "TEMPORAL_ADDRESS", "WEDSYNC_KEYS", "WEDSYNC_LOG_FORMAT", "OTEL_EXPORTER_OTLP_ENDPOINT", "WEDSYNC_TOKEN_KEYS", "WEDSYNC_CODEC_TOKEN",
		"WEDSYNC_METRICS_TOKEN", "WEDSYNC_HTTP_ADDR", "WEDSYNC_PUBLIC_URL", "WEDSYNC_TEMPORAL_UI", "WEDSYNC_DRAIN_DELAY",
		"WEDSYNC_GOOGLE_CLIENT_ID", "WEDSYNC_GOOGLE_CLIENT_SECRET", "WEDSYNC_MICROSOFT_CLIENT_ID", "WEDSYNC_MICROSOFT_CLIENT_SECRET"},
	"worker": {"DATABASE_URL", "TEMPORAL_ADDRESS", "WEDSYNC_KEYS", "WEDSYNC_LOG_FORMAT", "OTEL_EXPORTER_OTLP_ENDPOINT", "WEDSYNC_QUEUES", "WEDSYNC_PUBLIC_URL",
		"WEDSYNC_GOOGLE_CLIENT_ID", "WEDSYNC_GOOGLE_CLIENT_SECRET", "WEDSYNC_MICROSOFT_CLIENT_ID", "WEDSYNC_MICROSOFT_CLIENT_SECRET",
		"WEDSYNC_SMTP_ADDR", "WEDSYNC_SMTP_MODE", "WEDSYNC_SMTP_FROM", "WEDSYNC_SMTP_USERNAME", "WEDSYNC_SMTP_PASSWORD"},
	"migrate": {"DATABASE_URL", "WEDSYNC_FREEZE_WITHIN", "WEDSYNC_OVERRIDE_FREEZE"},
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFileOfTheRepositoryHasNoFaults(t *testing.T) {
	t.Parallel()
	settings, err := settingsOf(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	faults, services := check([]byte(read(t, "docker-compose.yml")), []byte(read(t, exampleFile)), root, settings)
	if len(faults) > 0 || services < 10 {
		t.Fatalf("%d services, faults:\n%s", services, strings.Join(faults, "\n"))
	}
}

func TestEachBreakIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		old, new, want string
	}{
		"setting that no command has": {"WEDSYNC_QUEUES: wedsync-core", "WEDSYNC_QUEUE: wedsync-core", "worker-core: WEDSYNC_QUEUE is no setting of wedsync worker"},
		"setting of another command":  {"WEDSYNC_QUEUES: wedsync-core", "WEDSYNC_HTTP_ADDR: 0.0.0.0:8080", "worker-core: WEDSYNC_HTTP_ADDR is no setting of wedsync worker"},
		"setting on a foreign image":  {"LOG_LEVEL: warn", "WEDSYNC_LOG_LEVEL: warn", "temporal: WEDSYNC_LOG_LEVEL is a setting of wedsync, which this is not"},
		"dependency on nobody":        {"migrate: {condition: service_completed_successfully}\n    temporal-n", "migration: {condition: service_completed_successfully}\n    temporal-n", "server-1: depends_on migration, which is no service"},
		"waiting for what never ends": {"temporal-schema: {condition: service_completed_successfully}", "postgres: {condition: service_completed_successfully}", "temporal: waits for postgres to end, which restarts for ever"},
		"circle":                      {"temporal-schema: {condition: service_completed_successfully}", "server-1: {condition: service_started}", "temporal: depends on itself"},
		"port published twice":        {"127.0.0.1:8081:8080", "127.0.0.1:8080:8080", "server-2: port 8080 is published by server-1 already"},
		"port open to everybody":      {`"127.0.0.1:8233:8080"`, `"8233:8080"`, "temporal-ui: port 8233:8080 is open to every network"},
		"image without a version":     {"temporalio/ui:2.53.3", "temporalio/ui:latest", "temporal-ui: image temporalio/ui:latest is latest; pin a version"},
		"rights over the machine":     {"    image: temporalio/ui:2.53.3\n", "    image: temporalio/ui:2.53.3\n    privileged: true\n", "temporal-ui: privileged"},
		"root":                        {`user: "65532:65532"`, `user: "0:0"`, "server-1: user must be set, and not to root"},
		"variable nobody explains":    {"${LOGIN_PASSWORD:?set it in .env}", "${LOGIN_PASWORD:?set it in .env}", "variable LOGIN_PASWORD is not explained in .env.example"},
		"variable that may be empty":  {"${WEDSYNC_KEYS:?set it in .env}", "${WEDSYNC_KEYS}", "variable WEDSYNC_KEYS has no value by itself"},
		"file that is not there":      {"./deploy/temporal/schema.sh:", "./deploy/temporal/scheme.sh:", "temporal-schema: volume ./deploy/temporal/scheme.sh: "},
		"network not declared":        {"networks: [data, edge]", "networks: [data, outside]", "server-1: network outside is not declared"},
		"no YAML":                     {"services:\n", "services: [\n", "yaml: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := read(t, "docker-compose.yml")
			if !strings.Contains(text, c.old) {
				t.Fatalf("the compose file no longer holds %q", c.old)
			}
			faults, _ := check([]byte(strings.ReplaceAll(text, c.old, c.new)), []byte(read(t, exampleFile)), root, known)
			if all := strings.Join(faults, "\n"); !strings.Contains(all, c.want) {
				t.Fatalf("want %q among:\n%s", c.want, all)
			}
		})
	}
}

func TestExampleHoldsNoVariableTooMany(t *testing.T) {
	t.Parallel()
	faults, _ := check([]byte(read(t, "docker-compose.yml")), []byte(read(t, exampleFile)+"\nFORGOTTEN=1\n"), root, known)
	if len(faults) != 1 || !strings.Contains(faults[0], "FORGOTTEN is not used") {
		t.Fatal(faults)
	}
}

func TestExampleHoldsNoSecret(t *testing.T) {
	t.Parallel()
	for name, value := range variables([]byte(read(t, exampleFile))) {
		for _, secret := range []string{"PASSWORD", "KEYS", "TOKEN"} {
			if strings.HasSuffix(name, secret) && value != "" {
				t.Errorf("%s has a value", name)
			}
		}
	}
}

func TestDockerfileFaultsAreNamed(t *testing.T) {
	t.Parallel()
	good := read(t, "Dockerfile")
	if faults := checkDockerfile([]byte(good)); len(faults) > 0 {
		t.Fatal(faults)
	}
	for old, c := range map[string]struct{ new, want string }{
		"golang:1.26.8-bookworm":                 {"golang", "base image golang has no tag"},
		"--from=build /out":                      {"--from=builder /out", "COPY --from=builder names no stage before it"},
		"USER 65532:65532":                       {"USER root", "USER that is not root"},
		`ENTRYPOINT ["/usr/local/bin/wedsync"]`:  {"ENTRYPOINT wedsync", "ENTRYPOINT must be a JSON list"},
		"FROM scratch":                           {"FROM scratch final", "FROM must be: FROM image [AS name]"},
		"EXPOSE 8080":                            {"EXPOSES 8080", "unknown instruction EXPOSES"},
		"FROM golang:1.26.8-bookworm AS build\n": {"", "WORKDIR before the first FROM"},
	} {
		if !strings.Contains(good, old) {
			t.Errorf("the Dockerfile no longer holds %q", old)
			continue
		}
		if all := strings.Join(checkDockerfile([]byte(strings.Replace(good, old, c.new, 1))), "\n"); !strings.Contains(all, c.want) {
			t.Errorf("after %q: want %q among:\n%s", old, c.want, all)
		}
	}
}
