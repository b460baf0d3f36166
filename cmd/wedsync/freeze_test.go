package main

import (
	"bytes"
	"context"
	neturl "net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/devstack/pgtest"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
)

// command runs wedsync with arguments and returns what it printed, and its exit status.
func command(t *testing.T, args ...string) (out string, exit int) {
	t.Helper()
	root := rootCommand()
	var b bytes.Buffer
	root.SetOut(&b)
	root.SetErr(&b)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	if err == nil {
		return b.String(), 0
	}
	return b.String() + err.Error(), status(err)
}

// wedding makes an organisation that has one, from an hour ago on, and returns it.
func wedding(t *testing.T, url string) domain.OrgID {
	t.Helper()
	s := storetest.Open(t, url, storetest.Ring(t), store.Options{MaxConns: 2, SystemMaxConns: 2})
	now := time.Now().UTC()
	org := domain.NewID[domain.OrgID](now)
	if err := s.CreateOrganization(t.Context(), domain.Organization{ID: org, Name: "Studio", Zone: "Europe/London"}, "test"); err != nil {
		t.Fatal(err)
	}
	err := s.Tenant(t.Context(), org, func(ctx context.Context, tx *store.Tx) error {
		r := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Ann", Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1}
		if err := tx.CreateResource(ctx, r); err != nil {
			return err
		}
		return tx.StoreEffects(ctx, store.Effects{Bookings: []domain.Booking{{ID: domain.NewID[domain.BookingID](now), OrgID: org, ResourceID: r.ID,
			Category: domain.CategoryWedding, Status: domain.StatusConfirmed, Version: 1, CreatedAt: now, UpdatedAt: now,
			When: domain.When{Span: domain.Span{Start: now.Add(-time.Hour), End: now.Add(8 * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}}}})
	})
	if err != nil {
		t.Fatal(err)
	}
	return org
}

func TestADeploymentIsRefusedOnTheDayOfAnyWedding(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	if out, exit := command(t, "freeze", "check", "--database-url", url); exit != 0 || !strings.Contains(out, "go ahead") {
		t.Fatalf("without a wedding: %d %s", exit, out)
	}
	org := wedding(t, url)
	out, exit := command(t, "freeze", "check", "--database-url", url)
	if exit != 3 || strings.Count(out, "\n") != 0 || !strings.Contains(out, "1 wedding in 1 organisation") || !strings.Contains(out, "ends at 20") {
		t.Errorf("on the day: %d %q", exit, out)
	}
	if out, exit := command(t, "freeze", "list", "--database-url", url); exit != 0 || !strings.Contains(out, string(org)) || !strings.Contains(out, "Europe/London") {
		t.Errorf("the list: %d %s", exit, out)
	}
	if out, exit := command(t, "freeze", "check", "--database-url", url, "--override-freeze", "no"); exit != 2 {
		t.Errorf("a reason that says nothing: %d %s", exit, out)
	}
	if out, exit := command(t, "freeze", "check", "--database-url", url, "--freeze-within", "169h"); exit != 2 {
		t.Errorf("further ahead than a week: %d %s", exit, out)
	}
	if out, exit := command(t, "freeze", "check", "--database-url", url, "--override-freeze", "webhooks are being lost"); exit != 0 || !strings.Contains(out, "webhooks are being lost") {
		t.Errorf("overridden: %d %s", exit, out)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var noted int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM audit_entries WHERE org_id = $1 AND action = 'platform.override_freeze' AND reason = 'webhooks are being lost'",
		org).Scan(&noted); err != nil || noted != 1 {
		t.Errorf("%d lines on record, %v", noted, err)
	}
}

func TestAMigrationIsRefusedOnTheDayOnlyWhereItWouldChangeSomething(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	wedding(t, url)
	if out, exit := command(t, "migrate", "--database-url", url); exit != 0 || !strings.Contains(out, "0 migrations applied") {
		t.Errorf("with nothing to do: %d %s", exit, out)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if _, err := conn.Exec(t.Context(), "DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)"); err != nil {
		t.Fatal(err)
	}
	if out, exit := command(t, "migrate", "--database-url", url); exit != 3 || !strings.Contains(out, "migration refused: 1 wedding in 1 organisation") {
		t.Errorf("with something to do: %d %s", exit, out)
	}
	if have, want, err := store.SchemaVersion(t.Context(), url); err != nil || have >= want {
		t.Errorf("the schema is at %d of %d, %v", have, want, err)
	}
	// A login that may not look must not pass for one that saw nothing.
	login := "blind_" + strings.ReplaceAll(string(domain.NewID[domain.OrgID](time.Now())), "-", "")
	if _, err := conn.Exec(t.Context(), "CREATE ROLE "+login+" LOGIN NOINHERIT PASSWORD 'blind'; GRANT SELECT ON goose_db_version TO "+login); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_, _ = conn.Exec(context.WithoutCancel(t.Context()), "DROP OWNED BY "+login+"; DROP ROLE "+login)
	}()
	u, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = neturl.UserPassword(login, "blind")
	if out, exit := command(t, "migrate", "--database-url", u.String()); exit == 0 || exit == 3 || !strings.Contains(out, `as a superuser: GRANT wedsync_app, wedsync_system TO "`+login+`"; `) {
		t.Errorf("a login that may not look: %d %s", exit, out)
	}
}

func TestAnEmptyDatabaseIsMigratedOnAnyDay(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	if out, exit := command(t, "freeze", "check", "--database-url", url); exit != 0 {
		t.Errorf("check: %d %s", exit, out)
	}
	if out, exit := command(t, "migrate", "--database-url", url); exit != 0 || strings.Contains(out, " 0 migrations") {
		t.Errorf("migrate: %d %s", exit, out)
	}
}
