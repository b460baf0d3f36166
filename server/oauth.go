package server

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/token"
)

// This file holds the way of a consent. A link that the dashboard made is bound to the session of its browser by a cookie
// that comes along when the system sends the browser back; the session cookie itself does not, being SameSite=Strict. A
// link that the API made goes by way of a page that names the organisation and asks: without it, whoever is talked into
// opening a stranger's link would give the stranger's organisation access to their calendar.

// CallbackPath is where systems send browsers back to after a consent; it is registered with them.
const CallbackPath = "/oauth/callback"

// maxCode is the longest code of a consent, in bytes.
const maxCode = 4096

type connectOutput struct {
	Body struct {
		URL       string    `json:"url" doc:"To be opened in the browser of the person who consents; works once" format:"uri"`
		ExpiresAt time.Time `json:"expires_at" doc:"When the link ends"`
	}
}

func (s *Server) connectIntegration(ctx context.Context, in *actionInput) (*connectOutput, error) {
	begun, err := s.beginConsent(ctx, in.ID, in.reason(), tokenBinding(callerOf(ctx)), false)
	if err != nil {
		return nil, err
	}
	out := &connectOutput{}
	out.Body.URL, out.Body.ExpiresAt = begun.URL, begun.ExpiresAt
	return out, nil
}

func (s *Server) beginConsent(ctx context.Context, rawID, reason string, binding [32]byte, browser bool) (connect.Begun, error) {
	who := callerOf(ctx)
	reason, err := checkReason(reason)
	if err != nil {
		return connect.Begun{}, err
	}
	id, err := parseID[domain.IntegrationID]("integration", rawID)
	if err != nil {
		return connect.Begun{}, err
	}
	if _, err := s.readIntegration(ctx, id); err != nil {
		return connect.Begun{}, err
	}
	if s.deps.Grants == nil {
		return connect.Begun{}, domain.E(domain.KindConflict, "this server connects no system by consent")
	}
	return s.deps.Grants.Begin(ctx, who.Org, connect.BeginRequest{Integration: id, Subject: who.Subject, Reason: reason, Binding: binding, Browser: browser,
		RedirectURL: s.o.CallbackURL})
}

// tokenBinding names the token that asked, without being of any use to whoever reads it.
func tokenBinding(c token.Claims) [32]byte {
	return sha256.Sum256([]byte("wedsync connect v1\n" + string(c.Org) + "\n" + c.Subject + "\n" + c.KeyID + "\n" + strconv.FormatInt(c.IssuedAt.Unix(), 10)))
}

func (s *Server) connectCookie(r *http.Request) string {
	if s.secure(r) {
		return "__Host-wedsync-connect"
	}
	return "wedsync-connect"
}

// connectSecret is known to the browser of one session only, and of no use as a session.
func connectSecret(session string) string {
	m := hmac.New(sha256.New, []byte(session))
	m.Write([]byte("wedsync connect v1"))
	return hex.EncodeToString(m.Sum(nil))
}

// consentPage is what the pages of this file show.
type consentPage struct {
	Heading string
	Good    string   // what went well
	Fault   string   // what did not
	Lines   []string // more words
	Link    string   // address and words of the way on
	Words   string
	// State and Code make the page ask whether to go on.
	State, Code string
}

func (s *Server) consentPage(c echo.Context, status int, p consentPage) error {
	return s.show(c, status, "oauth.html", frame{Title: p.Heading, Page: p})
}

// doConnect is the dashboard's button. It answers with a page and not with a redirect, because the content security policy
// lets forms lead nowhere else.
func (s *Server) doConnect(c echo.Context) error {
	r := c.Request()
	if callerOf(r.Context()).Role.Level() < domain.RoleAdmin.Level() {
		return s.done(c, "", domain.E(domain.KindForbidden, "only an admin can connect a system"))
	}
	secret := connectSecret(s.sessionOf(r))
	begun, err := s.beginConsent(r.Context(), c.Param("id"), r.PostForm.Get("reason"), sha256.Sum256([]byte(secret)), true)
	if err != nil {
		return s.done(c, "", err)
	}
	c.SetCookie(&http.Cookie{Name: s.connectCookie(r), Value: secret, Path: "/", HttpOnly: true, Secure: s.secure(r), SameSite: http.SameSiteLaxMode,
		MaxAge: int(store.OAuthStateLife / time.Second)})
	c.Response().Header().Set("Refresh", "0; url="+begun.URL)
	return s.consentPage(c, http.StatusOK, consentPage{Heading: "Connect " + begun.Title, Link: begun.URL, Words: "Continue to " + begun.Title,
		Lines: []string{"You sign in there and choose what WedSync may do. Use the account that was connected before, if there was one."}})
}

// callback takes a browser back from a system.
func (s *Server) callback(c echo.Context) error {
	r := c.Request()
	q := r.URL.Query()
	state, code := only(q, "state"), only(q, "code")
	if s.deps.Grants == nil {
		return s.consentFault(c, domain.E(domain.KindNotFound, "this server connects no system by consent"))
	}
	p, err := s.deps.Grants.Look(r.Context(), state)
	if err != nil {
		return s.consentFault(c, err)
	}
	if !p.Browser && !q.Has("error") && code != "" {
		return s.consentPage(c, http.StatusOK, consentPage{Heading: "Connect " + p.Title + "?", State: state, Code: code, Lines: []string{
			"Organisation: " + p.Organization, "Integration: " + p.Integration.Name, "Asked for by: " + p.Subject,
			"WedSync will read and write the account that you just chose for this organisation. Go on only if you know who asked you to."}})
	}
	if p, err = s.deps.Grants.Take(r.Context(), state); err != nil {
		return s.consentFault(c, err)
	}
	if p.Browser && !s.sameBrowser(r, p) {
		return s.consentFault(c, domain.E(domain.KindForbidden, "this link belongs to another browser or session; press the button on the dashboard again"))
	}
	if q.Has("error") {
		return s.consentFault(c, refusalOf(p, only(q, "error")))
	}
	return s.finishConsent(c, p, code)
}

// sameBrowser reports whether the link was made on the dashboard in this browser and session.
func (s *Server) sameBrowser(r *http.Request, p connect.Pending) bool {
	cookie, err := r.Cookie(s.connectCookie(r))
	if err != nil {
		return false
	}
	got := sha256.Sum256([]byte(cookie.Value))
	return hmac.Equal(got[:], p.Binding[:])
}

// only returns a parameter that is there once and has a sensible length, else "".
func only(q url.Values, name string) string {
	if v := q[name]; len(v) == 1 && len(v[0]) <= maxCode {
		return v[0]
	}
	return ""
}

// refusalOf says in our own words what the system answered: nothing of the address is repeated but words of the standard.
func refusalOf(p connect.Pending, code string) error {
	switch code = oauth.KnownCode(code); code {
	case "access_denied":
		return domain.E(domain.KindForbidden, "the consent was not given, so nothing was changed")
	case "temporarily_unavailable", "server_error":
		return domain.E(domain.KindUnavailable, "%s cannot answer at the moment; try again a little later", p.Title)
	case "":
		return domain.E(domain.KindForbidden, "%s refused and said nothing that is known here", p.Title)
	}
	return domain.E(domain.KindForbidden, "%s refused: %s", p.Title, code)
}

// confirm is the button of the page that asks.
func (s *Server) confirm(c echo.Context) error {
	r := c.Request()
	if err := s.origin.Check(r); err != nil {
		return s.consentFault(c, domain.E(domain.KindForbidden, "the form came from another site"))
	}
	if err := r.ParseForm(); err != nil {
		return s.consentFault(c, malformed("body", "is no form"))
	}
	if s.deps.Grants == nil {
		return s.consentFault(c, domain.E(domain.KindNotFound, "this server connects no system by consent"))
	}
	p, err := s.deps.Grants.Take(r.Context(), only(r.PostForm, "state"))
	if err != nil {
		return s.consentFault(c, err)
	}
	if p.Browser {
		return s.consentFault(c, domain.E(domain.KindForbidden, "this link belongs to the browser that asked for it"))
	}
	// Who is signed in here must be the one who asked. Who is not was sent the link, and has read whose it is.
	if raw := s.sessionOf(r); raw != "" {
		if who, err := s.deps.Tokens.Verify(raw, s.now()); err == nil && (who.Org != p.Org || who.Subject != p.Subject) {
			return s.consentFault(c, domain.E(domain.KindForbidden, "somebody else asked for this link; ask for one of your own"))
		}
	}
	return s.finishConsent(c, p, only(r.PostForm, "code"))
}

// finishConsent stores what was granted, lets the system complete the settings, sets the integration going and asks for a
// sync.
func (s *Server) finishConsent(c echo.Context, p connect.Pending, code string) error {
	ctx := c.Request().Context()
	if code == "" {
		return s.consentFault(c, domain.E(domain.KindInvalid, "%s sent no code; ask for a new link", p.Title))
	}
	granted, err := s.deps.Grants.Exchange(ctx, p, code)
	if err != nil {
		return s.consentFault(c, err)
	}
	settings, fault := s.completed(ctx, p.Integration, granted)
	if p.Placed && domain.KindOf(fault) == domain.KindInvalid {
		// What was granted does not lead where the connection has led so far: most likely it is of another account. The
		// grant before, which may be a good one, is not given up for it.
		if err := s.noteRefusedConsent(ctx, p); err != nil {
			return err
		}
		return s.consentFault(c, domain.E(domain.KindConflict, "%s Nothing was changed. Choose the account that was connected before, or make a new integration for another one", plain(fault)))
	}
	i, err := s.deps.Grants.Keep(ctx, p, granted)
	if err != nil {
		return s.consentFault(c, err)
	}
	s.forget(i.ID)
	page := consentPage{Heading: p.Title + " is connected", Good: p.Integration.Name + " of " + p.Organization + " is connected.", Link: "/", Words: "To the dashboard"}
	if err = fault; err == nil {
		i, err = s.setGoing(ctx, i, settings, p.Subject)
	}
	if err != nil {
		status, _ := statusOf(err)
		if status == http.StatusInternalServerError {
			return err
		}
		page.Good, page.Fault = "", "The consent was taken, but the integration does not work yet. "+plain(err)
		return s.consentPage(c, status, page)
	}
	switch {
	case i.State == domain.IntegrationConnecting:
		page.Lines = []string{"It is being brought to work now; the dashboard shows how far that is."}
	case i.State != domain.IntegrationActive:
		page.Lines = []string{"It is paused. Resume it on the dashboard when you want it to go on."}
	case s.askSync(ctx, i, p.Subject) != nil:
		page.Lines = []string{"It goes on by itself within moments."}
	default:
		page.Lines = []string{"It is being read now; the dashboard shows how far it is."}
	}
	return s.consentPage(c, http.StatusOK, page)
}

// noteRefusedConsent puts a line into the trail: somebody consented, and it led to nothing.
func (s *Server) noteRefusedConsent(ctx context.Context, p connect.Pending) error {
	return s.deps.Store.Tenant(context.WithoutCancel(ctx), p.Org, func(ctx context.Context, tx *store.Tx) error {
		return tx.Audit(ctx, domain.AuditEntry{Actor: p.Subject, Action: "integration.connect.refused", Subject: "integration/" + string(p.Integration.ID),
			Reason: "the account that consented does not have what the connection leads to"})
	})
}

// completed asks the system to complete the settings with tokens that are not stored yet.
func (s *Server) completed(ctx context.Context, i domain.Integration, tokens provider.TokenSource) (json.RawMessage, error) {
	if s.deps.Onboard == nil {
		return i.Settings, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), onboardTimeout)
	defer cancel()
	var zone string
	var secrets map[string]string
	err := s.deps.Store.TenantRead(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		r, err := tx.Resource(ctx, i.ResourceID)
		if err != nil {
			return err
		}
		zone = r.Zone
		secrets, err = tx.IntegrationSecrets(ctx, i.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	settings, err := s.deps.Onboard(ctx, i, secrets, zone, tokens)
	if err != nil {
		return nil, onboardFault(err)
	}
	return settings, nil
}

// setGoing stores the completed settings and ends needs_reconnect, in one transaction with what its workflow is told. A
// connection that leads elsewhere now has what it brought held back.
func (s *Server) setGoing(ctx context.Context, i domain.Integration, settings json.RawMessage, by string) (domain.Integration, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), onboardTimeout)
	defer cancel()
	before := i.Settings
	err := s.deps.Store.Tenant(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		now, err := present(ctx, tx, i.ID)
		if err != nil {
			return err
		}
		if !sameJSON(settings, before) && sameJSON(before, now.Settings) {
			now.Settings = settings
			if err := tx.UpdateIntegration(ctx, now, nil, now.Version); err != nil {
				return err
			}
			if now, err = tx.Integration(ctx, i.ID); err != nil {
				return err
			}
		}
		if _, err := guard.Settle(ctx, tx, before, now, by); err != nil {
			return err
		}
		if i, err = tx.Integration(ctx, i.ID); err != nil {
			return err
		}
		if i.State == domain.IntegrationConnecting {
			return beginAnew(ctx, tx, i.ID)
		}
		if i.State != domain.IntegrationNeedsReconnect {
			return nil
		}
		reason := "connected by " + by
		if i, err = tx.SetIntegrationState(ctx, i.ID, domain.IntegrationActive, reason); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: "integration.state", Reason: reason, Subject: "integration/" + string(i.ID),
			Before: map[string]string{"state": string(domain.IntegrationNeedsReconnect)}, After: map[string]string{"state": string(i.State)}})
	})
	s.forget(i.ID)
	return i, err
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// askSync asks for a sync and gives it a row. It is best effort: the workflow reads the system by itself too.
func (s *Server) askSync(ctx context.Context, i domain.Integration, by string) error {
	run := domain.NewID[domain.SyncRunID](s.now())
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), flowTimeout)
	defer cancel()
	_, err := s.deps.Flow.Resync(wait, flow.IntegrationRef{Org: i.OrgID, ID: i.ID, Provider: i.Provider}, contract.ResyncRequest{RunID: run, By: by})
	if err != nil {
		s.log.Warn("a sync after a consent could not be asked for", "request_id", requestID(ctx), "integration", i.ID, "error", err)
		return err
	}
	return s.deps.Store.Tenant(wait, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.StartSyncRun(ctx, domain.SyncRun{ID: run, OrgID: i.OrgID, IntegrationID: i.ID, RequestedBy: by})
		return err
	})
}

func (s *Server) consentFault(c echo.Context, err error) error {
	status, _ := statusOf(err)
	if status == http.StatusInternalServerError {
		return err
	}
	return s.consentPage(c, status, consentPage{Heading: "Not connected", Fault: plain(err), Link: "/", Words: "To the dashboard"})
}

// byConsent reports whether an integration is connected by a person's consent.
func (s *Server) byConsent(i domain.Integration) bool {
	return s.providers[i.Provider].Consents(i.Settings)
}

// checkScopes sends an integration that needs more than was granted back to its admin, instead of letting it fail.
func (s *Server) checkScopes(ctx context.Context, tx *store.Tx, i domain.Integration) error {
	if !s.byConsent(i) || i.State != domain.IntegrationActive {
		return nil
	}
	want, err := s.providers[i.Provider].OAuth(i.Settings, i.Direction.Exports())
	if err != nil {
		return err
	}
	grant, err := tx.OAuthGrant(ctx, i.ID)
	if domain.KindOf(err) == domain.KindNotFound {
		return nil
	}
	if err != nil || len(oauth.Missing(want.Scopes, grant.Scopes)) == 0 {
		return err
	}
	_, err = tx.SetIntegrationState(ctx, i.ID, domain.IntegrationNeedsReconnect, "it needs more permissions now than were given: "+connect.HowToConnect(i.ID))
	return err
}

// farewell ends a dropped grant in the system, best effort.
func (s *Server) farewell(ctx context.Context, ended *connect.Ended, by string) {
	if s.deps.Grants == nil || ended == nil {
		return
	}
	if err := s.deps.Grants.Farewell(ctx, *ended, by); err != nil {
		s.log.Warn("a grant could not be revoked; its person can remove WedSync in the account", "request_id", requestID(ctx), "integration", ended.Integration.ID, "error", err)
	}
}
