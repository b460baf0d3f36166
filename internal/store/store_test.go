package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wedsync/wedsync/internal/devstack/pgtest"
	"github.com/wedsync/wedsync/internal/domain"
)

func TestMigrateIsDoneOnceByConcurrentCallers(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	if have, want, err := SchemaVersion(t.Context(), url); err != nil || have != 0 || want < 1 {
		t.Fatalf("empty database: have %d, want %d, %v", have, want, err)
	}
	var wg sync.WaitGroup
	applied := make([]int, 3)
	errs := make([]error, 3)
	for i := range applied {
		wg.Go(func() { applied[i], errs[i] = Migrate(t.Context(), url) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	have, want, err := SchemaVersion(t.Context(), url)
	if err != nil || have != want {
		t.Fatalf("version %d, want %d, %v", have, want, err)
	}
	files, err := migrationFiles.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	if sum := applied[0] + applied[1] + applied[2]; sum != len(files) {
		t.Fatalf("%d steps applied in all, want %d", sum, len(files))
	}
}

func TestPoolsTakeTheirRolesAndFlushCommits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for pool, role := range map[interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}]string{b.app: roleApp, b.system: roleSystem} {
		var user, commit, zone string
		b.must(pool.QueryRow(t.Context(), "SELECT current_user, current_setting('synchronous_commit'), current_setting('timezone')").Scan(&user, &commit, &zone))
		if user != role || commit != "on" || zone != "UTC" {
			t.Errorf("role %s, synchronous_commit %s, timezone %s", user, commit, zone)
		}
	}
}

func TestIdentifiersTravelInBinaryBothWays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := domain.NewID[domain.PushID](time.Now())
	var one domain.PushID
	var none domain.BookingID = "left over"
	var many []domain.LinkID
	var text string
	b.must(b.app.QueryRow(t.Context(), "SELECT $1::uuid, $2::uuid, $3::uuid[], $4::uuid", id, domain.BookingID(""),
		arrayOf([]domain.LinkID{domain.LinkID(id)}), domain.OrgID(id)).Scan(&one, &none, &many, &text))
	if one != id || none != "" || len(many) != 1 || many[0] != domain.LinkID(id) || text != string(id) {
		t.Fatalf("got %q %q %q %q", one, none, many, text)
	}
	err := b.app.QueryRow(t.Context(), "SELECT $1::uuid", domain.OrgID("grace@example.com")).Scan(&text)
	err = fault("look up", err)
	wantKind(t, err, domain.KindInvalid)
	if strings.Contains(err.Error(), "grace") {
		t.Fatalf("error quotes the value: %v", err)
	}
}

func TestTransactionSeesOneNowAndCommitsOnNil(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	r := b.resource(org)
	var now time.Time
	b.tenant(org, func(tx *Tx) error {
		now = tx.Now
		return nil
	})
	if now.Nanosecond()%1000 != 0 || now.Location() != time.UTC {
		t.Fatalf("now %v is not in UTC and whole microseconds", now)
	}
	boom := errors.New("boom")
	err := b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
		changed := r
		changed.Name = "Someone Else"
		if err := tx.UpdateResource(ctx, changed, 1); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	b.tenant(org, func(tx *Tx) error {
		got, err := tx.Resource(t.Context(), r.ID)
		if got.Name != r.Name || got.Version != 1 {
			t.Errorf("rolled back change is visible: %+v", got)
		}
		return err
	})
}

func TestReadTransactionRefusesWrites(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	r := b.resource(org)
	err := b.TenantRead(t.Context(), org, func(ctx context.Context, tx *Tx) error { return tx.UpdateResource(ctx, r, 1) })
	if err == nil {
		t.Fatal("a write passed")
	}
}

func TestTenantRepeatsAfterADeadlock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	first, second := b.resource(org), b.resource(org)
	// Each side holds one row and then asks for the other's, on its first run only after both hold theirs.
	var held sync.WaitGroup
	held.Add(2)
	side := func(one, two domain.ResourceID, runs *int) error {
		return b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
			*runs++
			const lock = "SELECT 1 FROM resources WHERE id = $1 FOR UPDATE"
			if _, err := tx.Exec(ctx, lock, one); err != nil {
				return fault("lock", err)
			}
			if *runs == 1 {
				held.Done()
				held.Wait()
			}
			_, err := tx.Exec(ctx, lock, two)
			return fault("lock", err)
		})
	}
	var runs [2]int
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { errs[0] = side(first.ID, second.ID, &runs[0]) })
	wg.Go(func() { errs[1] = side(second.ID, first.ID, &runs[1]) })
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if runs[0]+runs[1] < 3 {
		t.Fatalf("runs %v: nothing was repeated", runs)
	}
}

func TestErrorsHaveKindsAndNoValues(t *testing.T) {
	t.Parallel()
	for code, kind := range map[string]domain.ErrorKind{"23505": domain.KindConflict, "23P01": domain.KindConflict, "23503": domain.KindInvalid,
		"23514": domain.KindInvalid, "22P02": domain.KindInvalid, "57P01": domain.KindUnavailable, "53300": domain.KindUnavailable,
		"57014": domain.KindUnavailable, "08006": domain.KindUnavailable, "42501": domain.KindForbidden, "42703": domain.KindInternal} {
		err := fault("store it", &pgconn.PgError{Code: code, Message: "value grace@example.com", Detail: "grace", ConstraintName: "a_check"})
		wantKind(t, err, kind)
		if strings.Contains(err.Error(), "grace") || !strings.Contains(err.Error(), "a_check") || !strings.Contains(err.Error(), "store it") {
			t.Errorf("text is %q", err)
		}
	}
	wantKind(t, fault("x", pgx.ErrNoRows), domain.KindNotFound)
	wantKind(t, fault("x", context.DeadlineExceeded), domain.KindUnavailable)
	wantKind(t, fault("x", domain.Invalid("name", "too long")), domain.KindInvalid)
	if fault("x", nil) != nil {
		t.Error("nil became an error")
	}
}

func TestServerDownIsUnavailable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	_, err := Open(t.Context(), "postgres://nobody@127.0.0.1:1/none", newRing(t), Options{})
	wantKind(t, err, domain.KindUnavailable)
	b.Close()
	wantKind(t, b.Ping(t.Context()), domain.KindUnavailable)
	wantKind(t, b.Tenant(t.Context(), org, func(context.Context, *Tx) error { return nil }), domain.KindUnavailable)
	_, err = b.InsertDeliveries(t.Context(), []NewDelivery{b.delivery(org, domain.NewID[domain.IntegrationID](b.clock.now()), "x")})
	wantKind(t, err, domain.KindUnavailable)
}

func TestKilledConnectionIsUnavailableAndThePoolRecovers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	owner := b.owner()
	err := b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
		if _, err := owner.Exec(ctx, "SELECT pg_terminate_backend($1)", tx.conn.Conn().PgConn().PID()); err != nil {
			return err
		}
		var err error
		for err == nil {
			_, err = tx.Resource(ctx, domain.NewID[domain.ResourceID](tx.Now))
			if domain.KindOf(err) == domain.KindNotFound {
				err = nil
			}
		}
		return err
	})
	wantKind(t, err, domain.KindUnavailable)
	b.tenant(org, func(*Tx) error { return nil })
}

func TestOrganizationsAreListedAndNotMadeTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	all, err := b.Organizations(t.Context())
	b.must(err)
	one, err := b.Organization(t.Context(), org)
	b.must(err)
	want := domain.Organization{ID: org, Name: "Studio", Zone: "Europe/Berlin", CreatedAt: b.timestamp()}
	if diff := cmp.Diff([]domain.Organization{want}, all) + cmp.Diff(want, one); diff != "" {
		t.Fatal(diff)
	}
	wantKind(t, b.CreateOrganization(t.Context(), want, "admin"), domain.KindConflict)
	want.Name = ""
	wantKind(t, b.CreateOrganization(t.Context(), want, "admin"), domain.KindInvalid)
	_, err = b.Organization(t.Context(), domain.NewID[domain.OrgID](b.clock.now()))
	wantKind(t, err, domain.KindNotFound)
}

func TestAnOwnerWithoutSuperuserRightsCanMigrateAndServe(t *testing.T) {
	t.Parallel()
	role := fmt.Sprintf("owner_%d", time.Now().UnixNano())
	keep := pgtest.New(t, nil) // a database that is still there when the role's own is gone and the role can be dropped
	t.Cleanup(func() { asOwner(t, keep, "DROP ROLE "+role) })
	admin := pgtest.New(t, nil)
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatal(err)
	}
	asOwner(t, admin, "CREATE ROLE "+role+" LOGIN NOINHERIT CREATEROLE PASSWORD 'pw'; ALTER DATABASE "+strings.TrimPrefix(u.Path, "/")+" OWNER TO "+role+
		"; GRANT ALL ON SCHEMA public TO "+role) // NOINHERIT keeps a role from being the schema's owner through the database
	u.User = url.UserPassword(role, "pw")
	if _, err := Migrate(t.Context(), u.String()); err != nil {
		t.Fatal(err)
	}
	b := &bundle{t: t, url: u.String(), clock: newClock()}
	b.Store = b.open(newRing(t))
	org := b.org()
	b.fill(org)
	b.fill(b.org())
	// The owner of the tables is bound by the policies too, and has no rights of the roles without taking one.
	var n int
	if err := b.owner().QueryRow(t.Context(), "SELECT count(*) FROM bookings").Scan(&n); err != nil || n != 0 {
		t.Fatalf("the owner sees %d bookings, %v", n, err)
	}
}

// asOwner runs statements on a connection of their own.
func asOwner(t *testing.T, url, sql string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Error(err)
	}
}

func TestErrorsOfOpenHideThePassword(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"postgres://u:hunter2@127.0.0.1:1/x", "postgres://u:hunter2@127.0.0.1:x/x", "postgres://u:hunter2@127.0.0.1/x?sslmode=odd",
		"host=127.0.0.1 port=1 password=hunter2 sslmode=odd"} {
		_, err := Open(t.Context(), bad, newRing(t), Options{})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v", err)
		}
		if _, err := Migrate(t.Context(), bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v", err)
		}
	}
}
