package domain_test

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestTheTimeOfAChangeIsNoPartOfWhatItSays(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 6, 5, 12, 0, 0, 0, time.UTC)
	one := domain.Change{Op: domain.OpUpsert, ExternalID: "e", Status: domain.StatusConfirmed}
	timed, other := one, one
	timed.ChangedAt = &at
	other.Kind = "out_of_office"
	if one.Hash() != timed.Hash() {
		t.Error("the same entry counts as another one because it tells when it was changed")
	}
	if one.Hash() == other.Hash() {
		t.Error("entries of different kinds have one fingerprint")
	}
}
