package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wedsync/wedsync/internal/domain"
)

// fill puts at least one row of org into every table.
func (b *bundle) fill(org domain.OrgID) {
	b.t.Helper()
	ctx := b.t.Context()
	i := b.integration(org)
	b.deliver(org, i.ID, 1)
	k := b.booking(org, i.ResourceID, b.clock.now(), 2*3600e9)
	c := b.conflict(org, k, "")
	if _, err := b.LeaseAllowances(ctx, AllowanceLimit{Rate: 1, Burst: 1}, []AllowanceAsk{{Org: org, Want: 1}}, b.clock.now()); err != nil {
		b.t.Fatal(err)
	}
	one, _ := domain.ParseUUID(string(i.ID))
	if _, err := b.LeaseSlots(ctx, SlotsAsk{Key: one, Holder: one, Want: 1, Most: 1, For: time.Minute}, b.clock.now()); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.SlowOutbound(ctx, Pace{Key: one, Level: 1, At: b.clock.now()}); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.LeaseOutbound(ctx, AllowanceLimit{Rate: 1, Burst: 1}, []OutboundAsk{{Key: one, Want: 1}}, b.clock.now()); err != nil {
		b.t.Fatal(err)
	}
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.PutCircuit(ctx, domain.Circuit{IntegrationID: i.ID, Host: "crm.example", State: domain.CircuitOpen, Until: tx.Now, Since: tx.Now})
		return err
	})
	b.tenant(org, func(tx *Tx) error {
		return tx.AddCredential(ctx, domain.WebhookCredential{ID: domain.NewID[domain.CredentialID](tx.Now), IntegrationID: i.ID, Label: "one", CreatedBy: "test"}, "secret")
	})
	b.tenant(org, func(tx *Tx) error {
		if err := tx.PutDecision(ctx, string(domain.NewID[domain.ConflictID](tx.Now)), c, domain.Resolution{Action: domain.ActionKeepBoth}); err != nil {
			return err
		}
		if _, err := tx.PutConflictPolicy(ctx, domain.ConflictPolicy{ID: domain.NewID[domain.ConflictPolicyID](tx.Now), Category: domain.CategoryWedding,
			Other: domain.CategoryVendor, Rule: domain.PolicyManual, UpdatedBy: "test"}); err != nil {
			return err
		}
		if _, _, err := tx.StartSyncRun(ctx, domain.SyncRun{ID: domain.NewID[domain.SyncRunID](tx.Now), IntegrationID: i.ID, RequestedBy: "test"}); err != nil {
			return err
		}
		if _, _, err := tx.CreateReplay(ctx, domain.Replay{ID: domain.NewID[domain.ReplayID](tx.Now), Rate: 1, RequestedBy: "test"}); err != nil {
			return err
		}
		if _, _, err := tx.GiveScrapeConsent(ctx, i.ID, "https://portal.example.com", "test"); err != nil {
			return err
		}
		if _, err := tx.KeepSnapshot(ctx, domain.Snapshot{IntegrationID: i.ID, Kind: domain.KindDrift, Report: "rows are missing"}, []byte("<table></table>")); err != nil {
			return err
		}
		if err := tx.FinishDeliveries(ctx, []DeliveryOutcome{{ID: b.deliver(org, i.ID, 1)[0], State: domain.DeliveryDead, Try: &DeliveryTry{}}}); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO links (id, org_id, integration_id, booking_id, external_id, mirror, updated_at)
			VALUES ($1, $2, $3, $4, 'e', false, $5)`, domain.NewID[domain.LinkID](tx.Now), org, i.ID, k.ID, tx.Now); err != nil {
			return err
		}
		if err := tx.Overtake(ctx, i.ID, []EntryArrival{{ExternalID: "e", Delivery: domain.NewID[domain.DeliveryID](tx.Now)}}); err != nil {
			return err
		}
		if err := b.RecordRefusals(ctx, []RefusedWebhook{{OrgID: org, IntegrationID: i.ID, At: tx.Now, Code: "wrong_signature"}}); err != nil {
			return err
		}
		if _, err := tx.CreateWatch(ctx, i.ID, domain.NewID[domain.WatchID](tx.Now), "secret", HashSettings(i)); err != nil {
			return err
		}
		if err := tx.CreateDrill(ctx, domain.Drill{ID: domain.NewID[domain.DrillID](tx.Now), IntegrationID: i.ID, RequestedBy: "test", WatchUntil: tx.Now, MutedUntil: tx.Now}); err != nil {
			return err
		}
		if err := tx.PutDrillSchedule(ctx, 30, tx.Now.AddDate(0, 0, 30), "test"); err != nil {
			return err
		}
		if err := tx.BeginEpisode(ctx, domain.FailoverEpisode{ID: domain.NewID[domain.EpisodeID](tx.Now), IntegrationID: i.ID, Kind: domain.EpisodeFailover, BeganAt: tx.Now}); err != nil {
			return err
		}
		if err := tx.AddLags(ctx, i.ID, []time.Duration{time.Second}, 0); err != nil {
			return err
		}
		if _, err := b.system.Exec(ctx, "INSERT INTO retention_days (org_id, day) VALUES ($1, $2)", org, tx.Now); err != nil {
			return err
		}
		if err := tx.StoreEffects(ctx, Effects{Edits: []domain.EditConflict{{ID: domain.NewID[domain.EditConflictID](tx.Now), IntegrationID: i.ID, BookingID: k.ID,
			ExternalID: "e", Kind: domain.EditRemoved, State: domain.EditOpen, There: domain.Change{Op: domain.OpRemove}, DetectedAt: tx.Now, UpdatedAt: tx.Now}}}); err != nil {
			return err
		}
		if err := tx.CreateVenue(ctx, domain.Venue{ID: domain.NewID[domain.VenueID](tx.Now), Name: "Barn", Point: domain.Point{Lat: 51, Lon: -2}}); err != nil {
			return err
		}
		if err := tx.PutLinkChoice(ctx, string(k.ID)+"+x", domain.LinkChoice{BookingID: k.ID, OtherID: k.ID, Decision: domain.DecidedLinked, By: "test", Reason: "test"}); err != nil {
			return err
		}
		if err := tx.SaveTimeline(ctx, domain.Timeline{BookingID: k.ID, Version: 1}, 0); err != nil {
			return err
		}
		if err := tx.CreateHold(ctx, domain.Hold{ID: k.ID, ExpiresAt: tx.Now.Add(time.Hour), MadeBy: "test"}, []byte("{}")); err != nil {
			return err
		}
		if _, _, err := tx.BeginLead(ctx, domain.SentLead{ID: domain.NewID[domain.LeadID](tx.Now), IntegrationID: i.ID, RequestedBy: "test"}, 1); err != nil {
			return err
		}
		if err := tx.AddPushLag(ctx, i.ID, time.Second); err != nil {
			return err
		}
		if _, err := tx.SetIntegrationState(ctx, i.ID, domain.IntegrationPaused, "test"); err != nil {
			return err
		}
		if _, _, err := tx.BeginOnboarding(ctx, domain.Onboarding{ID: domain.NewID[domain.OnboardingID](tx.Now), IntegrationID: i.ID, RequestedBy: "test"},
			domain.IntegrationPaused); err != nil {
			return err
		}
		if _, err := tx.SetIntegrationState(ctx, i.ID, domain.IntegrationActive, "test"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO pushes (id, org_id, integration_id, booking_id, op, want_version, state, created_at, updated_at)
			VALUES ($1, $2, $3, $4, 'put', 1, 'pending', $5, $5)`, domain.NewID[domain.PushID](tx.Now), org, i.ID, k.ID, tx.Now)
		return err
	})
	b.tenant(org, func(tx *Tx) error {
		links, err := tx.LinksOf(ctx, k.ID)
		if err != nil {
			return err
		}
		if _, _, _, err := tx.Hold(ctx, NewHold{Integration: i.ID, Cause: domain.Cause{Kind: domain.CauseSettings, ID: string(i.ID)}, Reason: "test",
			Rows: []domain.HeldRemoval{{LinkID: links[0].ID, BookingID: k.ID, Kind: domain.HeldElsewhere}}}); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO purges (id, org_id, integration_id, copies, disconnect, requested_by, reason, created_at)
			VALUES ($1, $2, $3, 0, false, 'test', 'test', $4)`, domain.NewID[domain.PurgeID](tx.Now), org, i.ID, tx.Now)
		if err != nil {
			return err
		}
		return tx.StoreEffects(ctx, Effects{Changes: []domain.BookingChange{{BookingID: k.ID, Version: 9, At: tx.Now, Cause: domain.Cause{Kind: domain.CausePerson, ID: "test"}}}})
	})
	b.tenant(org, func(tx *Tx) error {
		who := domain.Recipient{ID: domain.NewID[domain.RecipientID](tx.Now), Name: "Ann", Zone: "UTC", CreatedBy: "test"}
		if err := tx.CreateRecipient(ctx, who, "secret"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO notify_facts (org_id, topic, refs, at) VALUES ($1, 'conflict.opened', '{}', $2)", org, tx.Now); err != nil {
			return err
		}
		if _, err := tx.AddNotification(ctx, domain.Notification{ID: domain.NewID[domain.NotificationID](tx.Now), RecipientID: who.ID, Channel: domain.ChannelLive,
			Kind: domain.NotifyConflictOpened, Severity: domain.SeverityHigh, Subject: "conflict/x", Fact: "x", State: domain.NotificationSent}); err != nil {
			return err
		}
		link := domain.Share{ID: domain.NewID[domain.ShareID](tx.Now), BookingID: k.ID, Role: domain.ShareVendor, ResourceID: i.ResourceID, Label: "one",
			ExpiresAt: tx.Now.Add(time.Hour), CreatedBy: "test"}
		if err := tx.CreateShare(ctx, link, sha256.Sum256([]byte(org))); err != nil {
			return err
		}
		return tx.Confirm(ctx, domain.Confirmation{BookingID: k.ID, ItemKey: "one", ShareID: link.ID, ResourceID: i.ResourceID, Revision: "r"})
	})
	b.probed(org, i.ID)
	b.tenant(org, func(tx *Tx) error {
		everywhere := domain.Scope{Kind: domain.ScopeOrganization}
		window := domain.Maintenance{ID: domain.NewID[domain.MaintenanceID](tx.Now), Scopes: []domain.Scope{everywhere}, StartsAt: tx.Now, EndsAt: tx.Now.Add(time.Hour),
			State: domain.MaintenanceProposed, Approval: domain.ApprovalByPerson, Reason: "test", RequestedBy: "test"}
		if _, err := tx.SaveMaintenance(ctx, window, true, ""); err != nil {
			return err
		}
		if err := tx.HoldWork(ctx, window.ID, []domain.IntegrationID{i.ID}, tx.Now.Add(time.Hour), "test"); err != nil {
			return err
		}
		if _, err := tx.PutMaintenanceSettings(ctx, domain.StandardMaintenanceSettings(), "test", 0); err != nil {
			return err
		}
		if _, err := tx.CreateProviderWindow(ctx, domain.ProviderWindow{ID: domain.NewID[domain.ProviderWindowID](tx.Now), Provider: "custom", StartsAt: tx.Now,
			EndsAt: tx.Now.Add(time.Hour), Source: "test", CreatedBy: "test"}); err != nil {
			return err
		}
		if _, err := tx.PutObjective(ctx, domain.Objective{ID: domain.NewID[domain.ObjectiveID](tx.Now), Scope: everywhere, Targets: domain.StandardTargets(), CreatedBy: "test"}); err != nil {
			return err
		}
		if _, err := tx.PutAlertRule(ctx, domain.AlertRule{ID: domain.NewID[domain.AlertRuleID](tx.Now), Scope: everywhere, Kind: domain.AlertSilence, CreatedBy: "test"}); err != nil {
			return err
		}
		if _, err := tx.PutAlertPolicy(ctx, domain.StandardAlertPolicy(), "test", 0); err != nil {
			return err
		}
		if _, err := tx.PutFreezeSettings(ctx, domain.StandardFreezeSettings(), "test", 0); err != nil {
			return err
		}
		if _, err := tx.CreateSilence(ctx, domain.Silence{ID: domain.NewID[domain.SilenceID](tx.Now), Scope: everywhere, StartsAt: tx.Now, EndsAt: tx.Now.Add(time.Hour), Zone: "UTC",
			Reason: "test", CreatedBy: "test"}); err != nil {
			return err
		}
		if err := tx.SaveAlert(ctx, domain.Alert{ID: domain.NewID[domain.AlertID](tx.Now), Kind: domain.AlertConnection, Scope: domain.Scope{Kind: domain.ScopePlatform, Target: "custom"},
			State: domain.AlertOpen, Severity: domain.SeverityHigh, Technical: domain.SeverityHigh, OpenedAt: tx.Now}, true, "opened"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO alert_series (org_id, integration_id, series) VALUES ($1, $2, 'x')", org, i.ID)
		return err
	})
	b.tenant(org, func(tx *Tx) error {
		care := domain.WeddingCare{BookingID: k.ID, ResourceID: k.ResourceID, State: domain.CareDay, StartsAt: tx.Now, EndsAt: tx.Now, Zone: "UTC", Date: "2027-06-12",
			PreflightWeek: tx.Now, PreflightFreeze: tx.Now, FreezeFrom: tx.Now, DayFrom: tx.Now, DayUntil: tx.Now.Add(time.Hour)}
		if err := tx.SaveWeddingCare(ctx, care); err != nil {
			return err
		}
		if err := tx.SavePreflight(ctx, domain.Preflight{ID: domain.NewID[domain.PreflightID](tx.Now), BookingID: k.ID, Kind: domain.PreflightWeek, State: domain.CheckOK, Start: tx.Now,
			MadeAt: tx.Now, By: "test"}); err != nil {
			return err
		}
		if _, err := tx.AddWeddingNotes(ctx, k.ID, []domain.WeddingNote{{At: tx.Now, Kind: domain.NoteCare, Subject: "booking/x", Text: "x", Key: "x"}}); err != nil {
			return err
		}
		if _, err := tx.PutWeddingConnections(ctx, k.ID, []domain.IntegrationID{i.ID}, tx.Now, tx.Now.Add(time.Hour)); err != nil {
			return err
		}
		return tx.SaveHandOver(ctx, domain.HandOver{BookingID: k.ID, DayFrom: tx.Now})
	})
	b.subscription(org)
	b.tenant(org, func(tx *Tx) error {
		return tx.CreateFeed(ctx, domain.Feed{ID: domain.NewID[domain.FeedID](tx.Now), ResourceID: i.ResourceID, Label: "one", Detail: domain.FeedBusy, FutureDays: 1, CreatedBy: "test"},
			sha256.Sum256([]byte(org)))
	})
	b.oauth(org, i.ID)
	_, err := b.system.Exec(ctx, "INSERT INTO stream_floors (org_id, xid, seq, at) VALUES ($1, '0', 0, now()) ON CONFLICT DO NOTHING", org)
	b.must(err)
}

// schemaTables lists the tables of the schema except the one that counts migrations.
func schemaTables(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
		AND c.relname <> 'goose_db_version' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 15 {
		t.Fatalf("tables %v, %v", tables, err)
	}
	return tables
}

func orgColumn(table string) string {
	if table == "organizations" {
		return "id"
	}
	return "org_id"
}

func TestEveryTableForcesRowSecurityAndNoRoleOwnsOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.owner()
	for _, table := range schemaTables(t, conn) {
		var enabled, forced bool
		var owner string
		b.must(conn.QueryRow(t.Context(), "SELECT relrowsecurity, relforcerowsecurity, pg_get_userbyid(relowner) FROM pg_class WHERE oid = $1::text::regclass", table).
			Scan(&enabled, &forced, &owner))
		if !enabled || !forced || owner == roleApp || owner == roleSystem {
			t.Errorf("%s: row security %t, forced %t, owner %s", table, enabled, forced, owner)
		}
	}
	for _, role := range []string{roleApp, roleSystem} {
		var super, bypass, login bool
		b.must(conn.QueryRow(t.Context(), "SELECT rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = $1", role).Scan(&super, &bypass, &login))
		if super || bypass || login {
			t.Errorf("%s: superuser %t, bypasses row security %t, can log in %t", role, super, bypass, login)
		}
	}
}

func TestNoTableShowsOrTakesRowsOfAnotherTenant(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	mine, other := b.org(), b.org()
	b.fill(mine)
	b.fill(other)
	conn := b.owner()
	for _, table := range schemaTables(t, conn) {
		t.Run(table, func(t *testing.T) {
			org := orgColumn(table)
			var rows int
			b.must(conn.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s = $1", table, org), mine).Scan(&rows))
			if rows == 0 {
				t.Fatal("fill left the table empty, the test would prove nothing")
			}
			in := func(fn func(tx *Tx) error) error {
				return b.Tenant(ctx, other, func(_ context.Context, tx *Tx) error { return fn(tx) })
			}
			b.must(in(func(tx *Tx) error {
				var seen, own int
				if err := tx.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FILTER (WHERE %[2]s = $1), count(*) FILTER (WHERE %[2]s = $2) FROM %[1]s", table, org),
					mine, other).Scan(&seen, &own); err != nil {
					return err
				}
				if seen != 0 || own == 0 {
					t.Errorf("sees %d rows of the other tenant and %d of its own", seen, own)
				}
				return nil
			}))
			// A refused statement aborts its transaction, so each has its own. No grant at all refuses just as well.
			for verb, sql := range map[string]string{
				"update": fmt.Sprintf("UPDATE %[1]s SET %[2]s = %[2]s WHERE %[2]s = $1", table, org),
				"delete": fmt.Sprintf("DELETE FROM %s WHERE %s = $1", table, org)} {
				err := in(func(tx *Tx) error {
					tag, err := tx.Exec(ctx, sql, mine)
					if err == nil && tag.RowsAffected() != 0 {
						t.Errorf("%s touches %d rows", verb, tag.RowsAffected())
					}
					return fault(verb, err)
				})
				if err != nil {
					wantKind(t, err, domain.KindForbidden)
				}
			}
			err := in(func(tx *Tx) error {
				_, err := tx.Exec(ctx, fmt.Sprintf("INSERT INTO %s %s", table, copyOf(t, conn, table, org)), mine, other)
				return fault("insert", err)
			})
			wantKind(t, err, domain.KindForbidden)
		})
	}
}

// copyOf builds the rest of an insert that copies the tenant's own row under the other tenant's id ($1); it needs no
// knowledge of the columns, and would only be stopped by a policy or by keys.
func copyOf(t *testing.T, conn *pgx.Conn, table, org string) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
		AND attgenerated = '' AND attidentity = '' ORDER BY attnum`, table)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || !slices.Contains(names, org) {
		t.Fatalf("columns %v, %v", names, err)
	}
	values := slices.Clone(names)
	values[slices.Index(names, org)] = "$1::uuid"
	return fmt.Sprintf("(%s) SELECT %s FROM %s WHERE %s = $2 LIMIT 1", strings.Join(names, ", "), strings.Join(values, ", "), table, org)
}

func TestWithoutATenantNothingIsSeenAndTheSettingDoesNotStay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	b.fill(org)
	conn := b.owner()
	tables := schemaTables(t, conn)
	one, err := b.app.Acquire(ctx)
	b.must(err)
	defer one.Release()
	empty := func(when string) {
		t.Helper()
		for _, table := range tables {
			var n int
			if err := one.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil || n != 0 {
				t.Errorf("%s: %s shows %d rows, %v", when, table, n, err)
			}
		}
	}
	empty("on a fresh connection")
	for _, end := range []string{"commit", "rollback"} {
		_, err = one.Exec(ctx, "begin; select set_config('wedsync.org', '"+string(org)+"', true)")
		b.must(err)
		var n int
		b.must(one.QueryRow(ctx, "SELECT count(*) FROM bookings").Scan(&n))
		if n != 1 {
			t.Fatalf("the tenant sees %d bookings of its own", n)
		}
		_, err = one.Exec(ctx, end)
		b.must(err)
		empty("after " + end)
	}
	// The same through Tenant itself, on every connection of the pool.
	b.tenant(org, func(*Tx) error { return nil })
	for _, c := range b.app.AcquireAllIdle(ctx) {
		var setting string
		if err := c.QueryRow(ctx, "SELECT coalesce(current_setting('wedsync.org', true), '')").Scan(&setting); err != nil || setting != "" {
			t.Errorf("the next borrower finds %q, %v", setting, err)
		}
		c.Release()
	}
}

func TestRolesHaveOnlyTheGrantsTheyNeed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	b.fill(org)
	refused := func(who string, err error) {
		t.Helper()
		var server *pgconn.PgError
		if !errors.As(err, &server) || server.Code != "42501" {
			t.Errorf("%s: %v, want a refusal", who, err)
		}
	}
	for _, sql := range []string{"UPDATE audit_entries SET reason = ''", "DELETE FROM audit_entries", "DELETE FROM audit_heads",
		"DELETE FROM bookings", "INSERT INTO organizations (id, name, zone, created_at) VALUES (gen_random_uuid(), 'x', 'UTC', now())",
		"DELETE FROM quarantined_removals", "UPDATE booking_changes SET fields = '{}'", "DELETE FROM booking_changes",
		"DELETE FROM recipients", "DELETE FROM shares", "DELETE FROM confirmations", "DELETE FROM silences", "DELETE FROM alert_policies", "DELETE FROM freeze_settings", "DELETE FROM alert_series", "DELETE FROM leads", "DELETE FROM scrape_consents",
		"UPDATE health_rollups SET ok = 0", "DELETE FROM health_rollups", "DELETE FROM probe_results", "UPDATE health_changes SET at = now()", "DELETE FROM health_changes",
		"DELETE FROM outbound_circuits", "UPDATE outbound_allowances SET granted = 0", "UPDATE outbound_slots SET held = 0", "DELETE FROM outbound_paces",
		"DELETE FROM outbound_circuits", "UPDATE outbound_allowances SET granted = 0",
		"UPDATE wedding_notes SET text = ''",
		"DELETE FROM failovers", "DELETE FROM failover_episodes", "DELETE FROM drills",
		"DELETE FROM outbox", "TRUNCATE stream_events", "CREATE TABLE mine (a int)"} {
		_, err := b.app.Exec(ctx, sql)
		refused(sql, err)
	}
	for _, sql := range []string{"SELECT details FROM bookings", "SELECT private FROM bookings", "UPDATE bookings SET zone = 'UTC'", "UPDATE freeze_settings SET freeze_hours = 12", "SELECT 1 FROM audit_entries", "UPDATE audit_heads SET seq = 0", "UPDATE deliveries SET state = 'dead'",
		"UPDATE integrations SET secrets = ''", "DELETE FROM organizations", "SELECT booking_id FROM allocations",
		"UPDATE webhook_credentials SET not_after = NULL", "DELETE FROM webhook_credentials",
		"SELECT contact FROM recipients", "SELECT 1 FROM notifications", "SELECT 1 FROM notify_facts", "SELECT 1 FROM alerts", "SELECT 1 FROM objectives", "SELECT 1 FROM silences", "SELECT series FROM alert_series", "SELECT token_hash FROM shares", "SELECT 1 FROM confirmations", "SELECT 1 FROM leads",
		"SELECT origin FROM scrape_consents", "SELECT page FROM scrape_snapshots", "UPDATE scrape_snapshots SET report = ''",
		"SELECT zone FROM wedding_cares", "UPDATE wedding_cares SET state = 'ended'", "SELECT checks FROM wedding_preflights", "SELECT text FROM wedding_notes",
		"SELECT report FROM wedding_handovers", "SELECT booking_id FROM wedding_connections", "DELETE FROM wedding_connections",
		"SELECT label FROM feeds", "UPDATE feeds SET revoked_at = NULL",
		"SELECT tokens FROM oauth_grants", "SELECT verifier FROM oauth_states", "UPDATE oauth_states SET used_at = NULL",
		"UPDATE outbound_circuits SET state = 'closed'",
		"UPDATE failovers SET mode = 'usual'", "SELECT 1 FROM failover_episodes", "SELECT 1 FROM drills", "DELETE FROM drill_schedules",
		"UPDATE watches SET state = 'active'", "DELETE FROM watches", "SELECT lags FROM freshness",
		"UPDATE integration_health SET state = 'up'", "UPDATE integration_health SET maintenance_until = NULL", "DELETE FROM integration_health", "DELETE FROM health_rollups",
		"DELETE FROM health_changes", "INSERT INTO health_changes (org_id) VALUES (NULL)", "SELECT tokens FROM oauth_grants"} {
		_, err := b.system.Exec(ctx, sql)
		refused(sql, err)
	}
}
