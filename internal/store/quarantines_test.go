package store

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestTheSystemRoleDecidesNothingAndReadsNoHistory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(b.org())
	for _, sql := range []string{"UPDATE quarantines SET state = 'approved'", "SELECT 1 FROM quarantined_removals", "SELECT 1 FROM booking_changes", "SELECT 1 FROM purges"} {
		_, err := b.system.Exec(t.Context(), sql)
		var server *pgconn.PgError
		if !errors.As(err, &server) || server.Code != "42501" {
			t.Errorf("%s: %v, want a refusal", sql, err)
		}
	}
}
