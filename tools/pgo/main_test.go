package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

func write(t *testing.T, name string, samples int64, kind string) string {
	t.Helper()
	fn := &profile.Function{ID: 1, Name: "example.com/a.Hot", SystemName: "example.com/a.Hot", Filename: "/home/somewhere/a/hot.go", StartLine: 10}
	m := &profile.Mapping{ID: 1, File: "/home/somewhere/bin/bench", BuildID: "abc", HasFunctions: true}
	loc := &profile.Location{ID: 1, Mapping: m, Line: []profile.Line{{Function: fn, Line: 12}}}
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: kind, Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		Sample:   []*profile.Sample{{Location: []*profile.Location{loc}, Value: []int64{samples, samples * 10_000_000}, Label: map[string][]string{"host": {"somewhere"}}}},
		Location: []*profile.Location{loc}, Function: []*profile.Function{fn}, Mapping: []*profile.Mapping{m}, TimeNanos: 5, Comments: []string{"somewhere"}}
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := p.Write(f); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMergedProfileWeighsEachTheSameAndNamesNoMachine(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "cpu.pgo")
	if err := run(out, []string{write(t, "a", 10, "samples"), write(t, "b", 100_000, "samples")}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, s := range p.Sample {
		total += s.Value[0]
	}
	if total != 2*weight {
		t.Errorf("%d samples, want %d", total, 2*weight)
	}
	if text := p.String(); strings.Contains(text, "somewhere") {
		t.Errorf("the profile names where it was made:\n%s", text)
	}
	if fn := p.Function[0]; fn.Name != "example.com/a.Hot" || fn.StartLine != 10 {
		t.Errorf("function %q from line %d; the compiler needs both", fn.Name, fn.StartLine)
	}
}

func TestWhatIsNoCPUProfileIsRefused(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "cpu.pgo")
	for want, path := range map[string]string{
		"not a CPU profile": write(t, "heap", 1, "alloc_objects"),
		"no samples":        write(t, "empty", 0, "samples"),
	} {
		if err := run(out, []string{path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
