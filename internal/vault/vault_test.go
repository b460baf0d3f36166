package vault

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func newRing(t testing.TB) *Keyring {
	t.Helper()
	ring, err := ParseKeys(GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func entry(id string, length int) string {
	key := make([]byte, length)
	for i := range key {
		key[i] = byte(i) + id[0]
	}
	return id + ":" + base64.StdEncoding.EncodeToString(key)
}

func TestParseKeysFirstIsActive(t *testing.T) {
	t.Parallel()
	ring, err := ParseKeys(" " + entry("k2", 32) + ",\n" + entry("old-1_x", 32) + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"k2", "old-1_x"}, ring.IDs()); diff != "" {
		t.Error(diff)
	}
	if ring.ActiveID() != "k2" {
		t.Errorf("active = %s", ring.ActiveID())
	}
	again, err := ParseKeys(ring.Encode())
	if err != nil || again.Encode() != ring.Encode() {
		t.Errorf("encode does not survive parsing: %v", err)
	}
}

func TestParseKeysNamesTheFaultAndHidesTheKey(t *testing.T) {
	t.Parallel()
	good := entry("k1", 32)
	secret := strings.TrimPrefix(good, "k1:")
	for name, c := range map[string]struct{ text, want string }{
		"empty":          {"  ", "WEDSYNC_KEYS: empty"},
		"no id":          {secret, "entry 1: no colon"},
		"blank id":       {":" + secret, "entry 1: key id has 0 characters; want 1 to 32"},
		"long id":        {strings.Repeat("k", 33) + ":" + secret, "33 characters; want 1 to 32"},
		"bad id":         {"K!:" + secret, "a-z, 0-9"},
		"short key":      {good + "," + entry("k0", 31), "entry 2 (k0): key has 31 bytes; want exactly 32"},
		"long key":       {entry("k0", 64), "key has 64 bytes; want exactly 32"},
		"not base64":     {"k1:!!" + secret, "entry 1 (k1): key is not standard base64"},
		"no padding":     {strings.TrimRight(good, "="), "entry 1 (k1): key is not standard base64"},
		"same id":        {good + "," + good, "id k1 is used twice"},
		"same key":       {good + ",k9:" + secret, "entry 2 (k9): same key as k1"},
		"trailing comma": {good + ",", "entry 2: no colon"},
		"constant key":   {"k1:" + base64.StdEncoding.EncodeToString(make([]byte, 32)), "one byte repeated"},
		"too many":       {strings.Repeat(good+",", 16) + good, "17 keys; at most 16"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ring, err := ParseKeys(c.text)
			if err == nil || ring != nil {
				t.Fatalf("accepted: %v", ring)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
			if strings.Contains(err.Error(), secret[:12]) {
				t.Errorf("error shows the key: %s", err)
			}
		})
	}
}

func TestWhatIsSealedOpensInItsPlaceOnly(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.Byte()).Draw(t, "text")
		place := rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, "place")
		other := rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, "other")
		org, stranger := rapid.String().Draw(t, "org"), rapid.String().Draw(t, "stranger")
		sealed := ring.Org(org).Seal(text, place...)
		if len(sealed) != len(text)+ring.Org(org).Overhead() {
			t.Fatalf("length %d, overhead %d", len(sealed), ring.Org(org).Overhead())
		}
		got, err := ring.Org(org).Open(sealed, place...)
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("round trip: %v", err)
		}
		if fmt.Sprintf("%q", place) != fmt.Sprintf("%q", other) {
			if _, err := ring.Org(org).Open(sealed, other...); !errors.Is(err, ErrTampered) {
				t.Fatalf("other place: %v", err)
			}
		}
		if org != stranger {
			if _, err := ring.Org(stranger).Open(sealed, place...); !errors.Is(err, ErrTampered) {
				t.Fatalf("other organisation: %v", err)
			}
		}
		if _, err := ring.Scope(org).Open(sealed, place...); !errors.Is(err, ErrTampered) {
			t.Fatalf("scope of the same name: %v", err)
		}
	})
}

func TestPartsOfThePlaceDoNotRunTogether(t *testing.T) {
	t.Parallel()
	s := newRing(t).Org("o")
	sealed := s.Seal([]byte("x"), "a", "bc")
	for _, place := range [][]string{{"ab", "c"}, {"abc"}, {"a", "bc", ""}, {"", "a", "bc"}, {"bc", "a"}, nil} {
		if _, err := s.Open(sealed, place...); !errors.Is(err, ErrTampered) {
			t.Errorf("place %q: %v", place, err)
		}
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	s := newRing(t).Org("org")
	text := []byte("refresh token of a calendar")
	sealed := s.Seal(text, "integration", "credentials", "7")
	for i := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		got, err := s.Open(bad, "integration", "credentials", "7")
		if err == nil || got != nil {
			t.Fatalf("bit %d: opened", i)
		}
		if !errors.Is(err, ErrTampered) && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrWrongKey) {
			t.Fatalf("bit %d: unnamed fault %v", i, err)
		}
		if strings.Contains(err.Error(), "refresh") {
			t.Fatalf("bit %d: error shows content", i)
		}
	}
}

func TestEveryTruncationIsNoticed(t *testing.T) {
	t.Parallel()
	s := newRing(t).Org("org")
	sealed := s.Seal([]byte("some text"), "p")
	for n := range sealed {
		if _, err := s.Open(sealed[:n], "p"); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTampered) {
			t.Fatalf("%d of %d bytes: %v", n, len(sealed), err)
		}
	}
	if _, err := s.Open(append(sealed, 0), "p"); !errors.Is(err, ErrTampered) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestFaultsOfTheKeyAreToldApart(t *testing.T) {
	t.Parallel()
	mine, err := ParseKeys(entry("k1", 32))
	if err != nil {
		t.Fatal(err)
	}
	sealed := mine.Org("o").Seal([]byte("secret text"))
	unknown, _ := ParseKeys(entry("k2", 32))
	if _, err := unknown.Org("o").Open(sealed); !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), "key k1") {
		t.Errorf("other id: %v", err)
	}
	wrong, _ := ParseKeys("k1:" + strings.TrimPrefix(entry("z", 32), "z:"))
	if _, err := wrong.Org("o").Open(sealed); !errors.Is(err, ErrWrongKey) {
		t.Errorf("same id, other bytes: %v", err)
	}
	if _, err := mine.Org("o").Open([]byte("plain text that was never sealed, long enough to hold a header")); !errors.Is(err, ErrFormat) ||
		strings.Contains(err.Error(), "plain") {
		t.Errorf("plain text: %v", err)
	}
	odd := append([]byte{1, 4}, "Anna and forty more bytes of something that is not sealed"...)
	if _, err := mine.Org("o").Open(odd); !errors.Is(err, ErrFormat) || strings.Contains(err.Error(), "Anna") {
		t.Errorf("id that is no id: %v", err)
	}
	if id, err := KeyID(sealed); err != nil || id != "k1" {
		t.Errorf("KeyID = %q, %v", id, err)
	}
	if _, err := KeyID(nil); !errors.Is(err, ErrFormat) {
		t.Errorf("KeyID of nothing: %v", err)
	}
}

func TestRotationKeepsOldValuesReadableUntilResealed(t *testing.T) {
	t.Parallel()
	old := newRing(t)
	sealed := old.Org("o").Seal([]byte("text"), "t", "c", "1")
	ring, err := old.WithNewKey()
	if err != nil {
		t.Fatal(err)
	}
	s := ring.Org("o")
	if !s.NeedsRotation(sealed) || !s.NeedsRotation([]byte("junk")) {
		t.Error("old and unreadable values must be due")
	}
	if got, err := s.Open(sealed, "t", "c", "1"); err != nil || string(got) != "text" {
		t.Fatalf("old value: %q, %v", got, err)
	}
	if _, err := s.Reseal(sealed, "t", "c", "2"); !errors.Is(err, ErrTampered) {
		t.Errorf("reseal for another place: %v", err)
	}
	fresh, err := s.Reseal(sealed, "t", "c", "1")
	if err != nil || s.NeedsRotation(fresh) {
		t.Fatalf("reseal: %v", err)
	}
	if same, err := s.Reseal(fresh, "t", "c", "1"); err != nil || !bytes.Equal(same, fresh) {
		t.Errorf("second reseal changed the value: %v", err)
	}
	alone, err := ParseKeys(strings.Split(ring.Encode(), ",")[0])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := alone.Org("o").Open(fresh, "t", "c", "1"); err != nil || string(got) != "text" {
		t.Errorf("without the old key: %q, %v", got, err)
	}
	if _, err := alone.Org("o").Open(sealed, "t", "c", "1"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("old value without the old key: %v", err)
	}
}

func TestSameTextSealsDifferentlyEachTime(t *testing.T) {
	t.Parallel()
	s := newRing(t).Org("o")
	if bytes.Equal(s.Seal([]byte("x")), s.Seal([]byte("x"))) {
		t.Error("nonce repeated")
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	s := newRing(t).Org("o")
	sealed := s.AppendSeal([]byte("before"), []byte("text"))
	if !bytes.HasPrefix(sealed, []byte("before")) {
		t.Fatal("prefix lost")
	}
	got, err := s.AppendOpen([]byte("kept-"), sealed[len("before"):])
	if err != nil || string(got) != "kept-text" {
		t.Errorf("%q, %v", got, err)
	}
	got, err = s.AppendOpen([]byte("kept-"), []byte("junk"))
	if err == nil || string(got) != "kept-" {
		t.Errorf("after a fault: %q, %v", got, err)
	}
}

func TestSealersAreSharedAndBounded(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	if one, other := ring.Org("a"), ring.Org("a"); one != other {
		t.Error("sealer made twice")
	}
	sealed := ring.Org("a").Seal([]byte("x"))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range maxSealers / 3 {
				ring.Org(fmt.Sprint(g, "/", i)).Overhead()
			}
		})
	}
	wg.Wait()
	if n := len(ring.sealers); n > maxSealers {
		t.Errorf("%d sealers kept; limit %d", n, maxSealers)
	}
	if _, err := ring.Org("a").Open(sealed); err != nil {
		t.Errorf("after eviction: %v", err)
	}
}

func TestKeyringNeverPrintsItsKeys(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	id, secret, _ := strings.Cut(ring.Encode(), ":")
	raw, _ := base64.StdEncoding.DecodeString(secret)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "ring", ring)
	asJSON, _ := json.Marshal(any(ring)) //lint:ignore SA9005 that nothing comes out is what is tested
	for _, out := range []string{fmt.Sprint(ring), fmt.Sprintf("%v %+v %#v %s %q %x %d", ring, ring, ring, ring, ring, ring, ring), log.String(), string(asJSON)} {
		for _, form := range []string{secret[:10], string(raw), fmt.Sprintf("%x", raw[:8]), fmt.Sprint(raw[:4]), fmt.Sprintf("%d", raw[:4])} {
			if strings.Contains(out, strings.Trim(form, "[]")) {
				t.Errorf("key shown in %q", out)
			}
		}
	}
	if !strings.Contains(fmt.Sprint(ring), id) {
		t.Error("key id not shown")
	}
}

func TestKeyFileIsMadeOnceAndPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "keys")
	encoded := make([]string, 8)
	var wg sync.WaitGroup
	for i := range encoded {
		wg.Go(func() {
			ring, err := LoadOrCreateFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			encoded[i] = ring.Encode()
		})
	}
	wg.Wait()
	for _, e := range encoded {
		if e == "" || e != encoded[0] {
			t.Fatal("processes starting at once got different keys")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	names, _ := os.ReadDir(dir)
	if len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestKeyFileThatOthersCanReadIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o610} {
		path := filepath.Join(dir, fmt.Sprintf("%o", mode))
		if err := os.WriteFile(path, []byte(GenerateKey()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreateFile(path); err == nil || !strings.Contains(err.Error(), "want 0600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestKeyFileFaultsAreOneClearLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(write("real", GenerateKey()), link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"folder":          {dir, "not a regular file"},
		"link":            {link, "not a regular file"},
		"empty":           {write("empty", ""), "empty; want id:base64"},
		"huge":            {write("huge", strings.Repeat("x", maxKeyFile+1)), "more than 4096 bytes"},
		"no such folder":  {filepath.Join(dir, "absent", "keys"), "no such file"},
		"damaged content": {write("short", entry("k1", 16)), "entry 1 (k1): key has 16 bytes"},
	} {
		_, err := LoadOrCreateFile(c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRotateFilePutsANewKeyInFront(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys")
	before, err := LoadOrCreateFile(path)
	if err != nil {
		t.Fatal(err)
	}
	after, err := RotateFile(path)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadFile(path)
	if err != nil || loaded.Encode() != after.Encode() {
		t.Fatalf("file differs from result: %v", err)
	}
	if diff := cmp.Diff([]string{after.ActiveID(), before.ActiveID()}, loaded.IDs()); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := RotateFile(path); err == nil || !strings.Contains(err.Error(), "another rotation holds") {
		t.Errorf("second rotation: %v", err)
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	for range MaxKeys - 2 {
		if _, err := RotateFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := RotateFile(path); err == nil || !strings.Contains(err.Error(), "at most 16") {
		t.Errorf("past the limit: %v", err)
	}
	if full, err := LoadFile(path); err != nil || len(full.IDs()) != MaxKeys {
		t.Errorf("refused rotation damaged the file: %v", err)
	}
}

func TestAppendSealDoesNotAllocate(t *testing.T) {
	s := newRing(t).Org("o")
	text, dst := make([]byte, 1024), make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(200, func() { s.AppendSeal(dst, text, "delivery", "body", "0190c2f0") }); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzOpen(f *testing.F) {
	ring, err := ParseKeys(entry("k1", 32))
	if err != nil {
		f.Fatal(err)
	}
	s := ring.Org("o")
	f.Add(s.Seal([]byte("text"), "p"))
	f.Add([]byte{1, 255})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		got, err := s.Open(sealed, "p")
		if err != nil && got != nil {
			t.Fatal("content beside an error")
		}
		if err == nil && string(got) != "text" {
			t.Fatal("forged value opened")
		}
		if _, err := KeyID(sealed); err != nil && !errors.Is(err, ErrFormat) {
			t.Fatal(err)
		}
	})
}

func BenchmarkAppendSeal1KiB(b *testing.B) {
	s := newRing(b).Org("o")
	text, dst := make([]byte, 1024), make([]byte, 0, 2048)
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		s.AppendSeal(dst, text, "delivery", "body", "0190c2f0-0000-7000-8000-000000000000")
	}
}

func BenchmarkAppendOpen1KiB(b *testing.B) {
	s := newRing(b).Org("o")
	sealed, dst := s.Seal(make([]byte, 1024), "delivery", "body", "1"), make([]byte, 0, 2048)
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.AppendOpen(dst, sealed, "delivery", "body", "1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOrg(b *testing.B) {
	ring := newRing(b)
	for b.Loop() {
		ring.Org("0190c2f0-0000-7000-8000-000000000000")
	}
}

func BenchmarkDeriveOrg(b *testing.B) {
	ring := newRing(b)
	for b.Loop() {
		ring.newSealer("org\x00x")
	}
}
