package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestMemoryLimitsAreReadAndWrongOnesNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"": 0, "off": noMemory, "64MiB": 64 << 20, " 1.5 GiB ": 3 << 29, "900MiB": 900 << 20} {
		if got, err := parseMemory(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"63MiB", "900", "900MB", "-1GiB", "NaNGiB", "manyMiB", "9999999GiB"} {
		if _, err := parseMemory(text); domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), "memory-limit") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestMemoryOfTheContainerIsFoundInEitherForm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := filepath.Join(dir, "none")
	for name, x := range map[string]struct {
		files []string
		want  int64
	}{
		"new form":           {[]string{file("a", "1073741824\n"), none}, 1 << 30},
		"new form, no limit": {[]string{file("b", "max\n")}, 0},
		"old form":           {[]string{none, file("c", "536870912")}, 512 << 20},
		"old form, no limit": {[]string{none, file("d", "9223372036854771712")}, 0},
		"no container":       {[]string{none}, 0},
		"something else":     {[]string{file("e", "a lot")}, 0},
	} {
		if got := containerMemory(x.files); got != x.want {
			t.Errorf("%s: %d, want %d", name, got, x.want)
		}
	}
}

func TestRatesOfUnknownSystemsAreNamed(t *testing.T) {
	t.Parallel()
	c := Defaults()
	c.OutboundRates = []string{"host=50:200", "google.host=300", "tokens.host=20"}
	if rates, err := c.outboundRates(); err != nil || len(rates) != 3 {
		t.Errorf("%v, %v", rates, err)
	}
	for _, wrong := range []string{"gogle.host=300", "host=many"} {
		c.OutboundRates = []string{wrong}
		if err := c.Validate(false); !strings.Contains(err.Error(), "outbound-rates:") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	c.OutboundRates, c.MemoryLimit = nil, "lots"
	if err := c.Validate(false); !strings.Contains(err.Error(), "memory-limit:") {
		t.Errorf("%v", err)
	}
}
