package devstack

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Not parallel: the download address and the cache folder belong to the process.
func TestPostgresIsDownloadedOnceAndUnpackedWhole(t *testing.T) {
	// testdata/tiny-postgres.txz holds shell scripts in place of the programs.
	archive, err := os.ReadFile(filepath.Join("testdata", "tiny-postgres.txz"))
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	w, err := z.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(archive); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	jars, serve := 0, false
	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !serve:
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, ".sha256"):
			fmt.Fprintf(w, "%x", sha256.Sum256(jar.Bytes()))
		default:
			jars++
			_, _ = w.Write(jar.Bytes())
		}
	}))
	defer repository.Close()
	binaryRepository = repository.URL
	defer func() { binaryRepository = "" }()
	cache := openDir(t)
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)

	var log lineLog
	o := &Options{Log: log.add}
	_, err = fetchPostgres(t.Context(), nil, o)
	wantUserError(t, err, "cannot be downloaded", "DATABASE_URL")
	if !errors.Is(err, ErrUnavailable) {
		t.Error("the cause is not ErrUnavailable")
	}

	serve = true
	for range 2 {
		p, err := fetchPostgres(t.Context(), nil, o)
		if err != nil {
			t.Fatal(err)
		}
		if p.major != 17 {
			t.Errorf("major version %d, want 17", p.major)
		}
		if _, err := os.Stat(filepath.Join(p.dir, "..", "share", "file")); err != nil {
			t.Errorf("not unpacked whole: %v", err)
		}
	}
	if jars != 1 {
		t.Errorf("%d downloads, want 1", jars)
	}
	if !strings.Contains(log.text(), "downloading PostgreSQL") {
		t.Errorf("the log does not tell of the download: %s", log.text())
	}
	root, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(root, "wedsync", "*.part-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestInstallationWithoutServerProgramIsPassedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "initdb"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if p, err := inspectPostgres(t.Context(), dir); err == nil {
		t.Fatalf("accepted %+v", p)
	}
}
