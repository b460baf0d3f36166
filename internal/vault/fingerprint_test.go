package vault_test

import (
	"bytes"
	"testing"

	"github.com/wedsync/wedsync/internal/vault"
)

func TestFingerprintsTellTextsApartWithoutNamingThem(t *testing.T) {
	t.Parallel()
	ring, err := vault.ParseKeys(vault.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	s := ring.Org("one")
	have := s.Fingerprint([]byte("someone@example.com"), "integrations", "identity")
	if !bytes.Equal(have, s.Fingerprint([]byte("someone@example.com"), "integrations", "identity")) || !s.Current(have) {
		t.Error("the same text has another fingerprint")
	}
	if bytes.Contains(have, []byte("someone")) {
		t.Error("it holds the text")
	}
	for what, other := range map[string][]byte{
		"another text":         s.Fingerprint([]byte("someone@example.org"), "integrations", "identity"),
		"another place":        s.Fingerprint([]byte("someone@example.com"), "integrations", "name"),
		"another organisation": ring.Org("two").Fingerprint([]byte("someone@example.com"), "integrations", "identity"),
		"parts that join":      s.Fingerprint([]byte("ysomeone@example.com"), "integrations", "identit"),
	} {
		if bytes.Equal(have, other) {
			t.Errorf("%s has the same fingerprint", what)
		}
	}
	rotated, err := ring.WithNewKey()
	if err != nil {
		t.Fatal(err)
	}
	if now := rotated.Org("one"); now.Current(have) || bytes.Equal(have, now.Fingerprint([]byte("someone@example.com"), "integrations", "identity")) {
		t.Error("a fingerprint of the key before counts as one of today")
	}
	if s.Current(nil) || s.Current(have[:len(have)-1]) {
		t.Error("what is cut off counts as a fingerprint")
	}
}
