package server

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

func TestARecipientIsMadeChangedPausedAndWiped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	body := `{"name":"Quillfeather","role":"planner","zone":"Europe/Berlin","resources":["` + string(b.a.resource) + `"],
		"addresses":{"email":"quill@example.com","webhook":"https://hooks.example.com/in?token=zwetschge"},
		"preferences":{"rules":[{"kinds":["conflict_opened"],"channels":["email"],"min_severity":"high"}],"quiet_hours":{"from":1320,"to":420},"digest_at":480}}`
	made := b.do("POST", "/v1/recipients", admin, body, header("Idempotency-Key", "one"))
	var r recipientView
	made.into(t, &r)
	if made.status != 201 || !strings.HasPrefix(r.Secret, "whsec_") || r.State != domain.RecipientActive || r.Addresses.Email != "quill@example.com" || r.Prefer.Quiet.To != 420 {
		t.Fatalf("%d %s", made.status, made.body)
	}
	var again recipientView
	b.do("POST", "/v1/recipients", admin, body, header("Idempotency-Key", "one")).into(t, &again)
	if again.ID != r.ID || again.Secret != "" {
		t.Errorf("the same key made %+v", again)
	}
	at := "/v1/recipients/" + string(r.ID)
	b.do("GET", at, b.token(b.a.org, domain.RoleOperator), "").problem(t, 403, "forbidden")
	b.do("PATCH", at, admin, `{"state":"paused"}`).problem(t, 428, "version_required")
	var now recipientView
	b.do("PATCH", at, admin, `{"version":1,"state":"paused","addresses":{"email":"q@example.com"}}`).into(t, &now)
	if now.State != domain.RecipientPaused || now.Addresses.Webhook != "" || now.Name != "Quillfeather" || now.Version != 2 || now.Secret != "" {
		t.Errorf("%+v", now)
	}
	if got := b.do("DELETE", at, admin, ""); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	b.do("GET", at, admin, "").problem(t, 404, "not_found")
	b.must(b.store.TenantRead(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		gone, err := tx.Recipient(ctx, r.ID)
		if gone.Name != "" || gone.Addresses != (domain.NotifyAddresses{}) {
			t.Errorf("after the end there is %+v", gone)
		}
		return err
	}))
	var trail json.RawMessage
	b.do("GET", "/v1/audit?limit=50", admin, "").into(t, &trail)
	for _, word := range []string{"Quillfeather", "quill@", "q@example", "zwetschge"} {
		if strings.Contains(string(trail), word) || strings.Contains(b.log.String(), word) {
			t.Errorf("%s is in the trail or the log", word)
		}
	}
	if !strings.Contains(string(trail), "recipient.delete") {
		t.Error("the end is not in the trail")
	}
}

func TestWrongRecipientsNameTheFieldAndQuoteNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	for body, field := range map[string]string{
		`{"name":"x","zone":"Mars/Olympus"}`: "body.zone", `{"name":"a\u0001","zone":"UTC"}`: "body.name",
		`{"name":"x","zone":"UTC","addresses":{"email":"Ann <ann@example.com>"}}`:                            "body.addresses.email",
		`{"name":"x","zone":"UTC","addresses":{"slack":"http://example.com/secret"}}`:                        "body.addresses.slack",
		`{"name":"x","zone":"UTC","addresses":{"webhook":"https://10.0.0.1/secret"}}`:                        "body.addresses.webhook",
		`{"name":"x","zone":"UTC","addresses":{"slack":"https://u:secret@example.com/"}}`:                    "body.addresses.slack",
		`{"name":"x","zone":"UTC","resources":["` + string(b.b.resource) + `"]}`:                             "body.resources[0]",
		`{"name":"x","zone":"UTC","preferences":{"rules":[{"channels":["pigeon"]}],"digest_at":0}}`:          "body.preferences.rules[0].channels",
		`{"name":"x","zone":"UTC","preferences":{"rules":[{"kinds":["cake"],"channels":[]}],"digest_at":0}}`: "body.preferences.rules[0].kinds",
		`{"name":"x","zone":"UTC","preferences":{"rules":[],"digest_at":0,"quiet_hours":{"from":5,"to":5}}}`: "body.preferences.quiet_hours",
		`{"name":"x","zone":"UTC","preferences":{"rules":[],"digest_at":1440}}`:                              "body.preferences.digest_at",
	} {
		p := b.do("POST", "/v1/recipients", admin, body).problem(t, 422, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v, want field %s", body, p, field)
		}
		if strings.Contains(p.Detail, "secret") || strings.Contains(p.Detail, "Ann <") {
			t.Errorf("the answer quotes the address: %s", p.Detail)
		}
	}
}

func TestANotificationIsListedAcknowledgedAndSentAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	var all struct{ Items []domain.Notification }
	read := func(query string) []domain.Notification {
		t.Helper()
		all.Items = nil
		b.do("GET", "/v1/notifications"+query, operator, "").into(t, &all)
		return all.Items
	}
	if got := read("?state=sent&recipient=" + string(b.a.recipient)); len(got) != 1 || got[0].ID != b.a.notification {
		t.Fatalf("%+v", got)
	}
	if got := read("?subject=conflict/" + string(b.a.conflict)); len(got) != 0 {
		t.Errorf("about another thing: %+v", got)
	}
	if got := read("?recipient=" + string(b.b.recipient)); len(got) != 0 {
		t.Errorf("of another organisation: %+v", got)
	}
	at := "/v1/notifications/" + string(b.a.notification)
	var n domain.Notification
	b.do("POST", at+"/acknowledge", operator, `{"reason":"seen"}`).into(t, &n)
	if n.AcknowledgedAt == nil || n.AcknowledgedBy != "operator@example.test" || n.State != domain.NotificationSent {
		t.Errorf("%+v", n)
	}
	b.do("POST", at+"/resend", operator, "").into(t, &n)
	if n.State != domain.NotificationQueued || n.DueAt == nil {
		t.Errorf("%+v", n)
	}
	due := func() (out []store.Outgoing) {
		b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) (err error) {
			out, err = tx.ClaimNotifications(ctx, 10, 1)
			return err
		}))
		return out
	}
	if got := due(); len(got) != 1 || got[0].MessageID != "ntf-"+string(b.a.notification)+"-2" {
		t.Errorf("sent again as %+v", got)
	}
	b.do("POST", at+"/resend", b.token(b.a.org, domain.RoleViewer), "").problem(t, 403, "forbidden")
}

func TestMessagesCanBeSeenBeforehand(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	type content struct{ Subject, Text, HTML, Over string }
	preview := func(body string) (c content) {
		t.Helper()
		got := b.do("POST", "/v1/notifications:preview", operator, body)
		if got.status != 200 {
			t.Fatalf("%s: %d %s", body, got.status, got.body)
		}
		got.into(t, &c)
		return c
	}
	for _, k := range domain.NotifyKinds() {
		if c := preview(`{"kind":"` + string(k) + `"}`); !strings.Contains(c.Subject, "ample") || !strings.Contains(c.Text, c.Subject) || !strings.Contains(c.HTML, "Sample person") || c.Over != "" {
			t.Errorf("%s: %+v", k, c)
		}
	}
	real := preview(`{"kind":"conflict_opened","recipient":"` + string(b.a.recipient) + `","subject":"conflict/` + string(b.a.conflict) + `"}`)
	for _, word := range []string{"Hello Planner Pia", "Photographer One", "Wedding of Ada", "Coffee with Bo", "Europe/London"} {
		if !strings.Contains(real.Text, word) {
			t.Errorf("the mail does not say %s: %s", word, real.Text)
		}
	}
	if c := preview(`{"kind":"needs_reconnect","subject":"integration/` + string(b.a.integration) + `"}`); c.Over == "" || c.Text != "" {
		t.Errorf("a connection that is active: %+v", c)
	}
	if c := preview(`{"kind":"conflict_opened","subject":"conflict/` + string(b.b.conflict) + `"}`); c.Over == "" || c.Text != "" {
		t.Errorf("a conflict of another organisation: %+v", c)
	}
	for body, field := range map[string]string{`{"kind":"cake"}`: "body.kind", `{"kind":"sync_stale","subject":"conflict/` + string(b.a.conflict) + `"}`: "body.subject",
		`{"kind":"sync_stale","recipient":"` + string(b.b.recipient) + `"}`: "body.recipient"} {
		if p := b.do("POST", "/v1/notifications:preview", operator, body).problem(t, 422, "invalid"); len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v", body, p)
		}
	}
}

func TestASampleIsAskedForByAdminsInTheWaysThatThereAre(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	at := "/v1/recipients/" + string(b.a.recipient)
	b.do("PATCH", at, admin, `{"version":1,"addresses":{"email":"pia@example.com","slack":"https://hooks.example.com/zwetschge"}}`)
	var all struct{ Items []domain.Notification }
	got := b.do("POST", at+"/test", admin, `{"reason":"a new address"}`)
	got.into(t, &all)
	if got.status != 202 || len(all.Items) != 3 || all.Items[0].Channel != domain.ChannelEmail || all.Items[0].State != domain.NotificationQueued || all.Items[1].Channel != domain.ChannelSlack ||
		all.Items[2].Channel != domain.ChannelLive || all.Items[2].State != domain.NotificationSent {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if e := b.lastAction(b.a, "recipient.test"); e.Reason != "a new address" || e.After["messages"] != "3" {
		t.Errorf("the trail says %+v", e)
	}
	var one domain.Notification
	b.do("GET", "/v1/notifications/"+string(all.Items[1].ID), b.token(b.a.org, domain.RoleViewer), "").into(t, &one)
	if one.Kind != domain.NotifyTest || one.State != domain.NotificationQueued || one.DueAt == nil {
		t.Errorf("%+v", one)
	}
	b.refuses("POST", at+"/test", admin, []wrongBody{
		{"a way without an address", `{"channels":["slack","pagerduty"]}`, "body.channels[1]", "no address"},
		{"an unknown way", `{"channels":["pigeon"]}`, "body.channels[0]", "pagerduty"},
		{"a way twice", `{"channels":["slack","slack"]}`, "body.channels[1]", "once"},
		{"a field that is not there", `{"channel":"slack"}`, "body.channel", ""},
	})
	b.do("POST", at+"/test", b.token(b.a.org, domain.RoleOperator), "").problem(t, 403, "forbidden")
	b.do("POST", at+"/test", b.token(b.b.org, domain.RoleAdmin), "").problem(t, 404, "not_found")
	// What did not get through is on the page of alerts, with why.
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		out, err := tx.ClaimNotifications(ctx, 10, 1)
		if err != nil {
			return err
		}
		for _, o := range out {
			for _, n := range o.All {
				if err := tx.FinishNotifications(ctx, o.MessageID, []domain.NotificationID{n.ID}, store.SendOutcome{State: domain.NotificationFailed, Reason: "answered 404"}); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	page := string(b.do("GET", "/alerts", "", "", header("Cookie", b.signIn(domain.RoleViewer).cookie)).body)
	if !strings.Contains(page, "test by slack") || !strings.Contains(page, "answered 404") || strings.Contains(page, "zwetschge") || strings.Contains(page, "pia@") {
		t.Errorf("the page of alerts does not show it: %s", page)
	}
	b.do("PATCH", at, admin, `{"version":2,"state":"paused"}`)
	b.do("POST", at+"/test", admin, "").problem(t, 409, "conflict")
}
