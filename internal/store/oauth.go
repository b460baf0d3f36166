package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const (
	// OAuthStateLife is how long a consent may take, from the link to the way back.
	OAuthStateLife = 10 * time.Minute
	// MaxOAuthStates is how many links of one integration may wait at once.
	MaxOAuthStates = 20
	// keepOAuthStates is how long a state is known as used or expired.
	keepOAuthStates = 24 * time.Hour
)

// OAuthTokens are opened tokens. They must not reach logs, errors or histories.
type OAuthTokens struct {
	Access  string `json:"access"`
	Refresh string `json:"refresh"`
}

// String hides the tokens from whoever prints the value.
func (OAuthTokens) String() string { return "tokens" }

// GoString hides the tokens from %#v.
func (OAuthTokens) GoString() string { return "store.OAuthTokens{…}" }

// OAuthGrant is the consent that an integration lives on.
type OAuthGrant struct {
	ID            string
	IntegrationID domain.IntegrationID
	Tokens        OAuthTokens
	ExpiresAt     time.Time // of the access token
	Scopes        []string  // as the system named them
	Active        bool      // false: the system refused it for good
	ConnectedBy   string    // the admin who asked
	// Place is where the connection led when it last worked, as its settings say it; sealed with the tokens. It outlives
	// a grant that another one takes the place of. nil = not known.
	Place     json.RawMessage
	CreatedAt time.Time
	UpdatedAt time.Time
	Version   int64 // rises with every new pair of tokens
}

// sealedGrant is what is sealed of a grant.
type sealedGrant struct {
	OAuthTokens
	Place json.RawMessage `json:"place,omitempty"`
}

const grantColumns = "g.id, g.integration_id, g.tokens, g.expires_at, g.scopes, g.state = 'active', g.connected_by, g.created_at, g.updated_at, g.version"

// OAuthGrant reads the grant of an integration; KindNotFound when it never had one.
func (tx *Tx) OAuthGrant(ctx context.Context, id domain.IntegrationID) (OAuthGrant, error) {
	var g OAuthGrant
	var sealed []byte
	err := tx.QueryRow(ctx, "SELECT "+grantColumns+" FROM oauth_grants g WHERE org_id = $1 AND integration_id = $2", tx.Org, id).
		Scan((*rowID)(&g.ID), &g.IntegrationID, &sealed, &g.ExpiresAt, &g.Scopes, &g.Active, &g.ConnectedBy, &g.CreatedAt, &g.UpdatedAt, &g.Version)
	if err != nil {
		return g, missing("grant", "read grant", err)
	}
	g.ExpiresAt, g.CreatedAt, g.UpdatedAt = g.ExpiresAt.UTC(), g.CreatedAt.UTC(), g.UpdatedAt.UTC()
	opened, err := tx.openGrant(g.ID, sealed)
	if err != nil {
		return OAuthGrant{}, err
	}
	g.Tokens, g.Place = opened.OAuthTokens, opened.Place
	return g, nil
}

func (tx *Tx) openGrant(id string, sealed []byte) (g sealedGrant, err error) {
	text, err := tx.sealer.Open(sealed, "oauth_grants", "tokens", id)
	if err != nil {
		return g, fmt.Errorf("tokens of grant %s: %w", id, err)
	}
	defer clear(text)
	if json.Unmarshal(text, &g) != nil {
		return g, fmt.Errorf("tokens of grant %s: not the JSON that was sealed", id)
	}
	return g, nil
}

// LockOAuthGrant waits until nobody else, in any process, holds the lock of the integration's grant, and keeps it until
// the transaction ends. It is an advisory lock and not one of the row: a lock of a row gives the transaction a number,
// and one that waits for a system of others would hold back the live stream of everybody (see StreamAfter). Waiting for
// longer than the lock timeout of 10 s is KindUnavailable.
func (tx *Tx) LockOAuthGrant(ctx context.Context, id domain.IntegrationID) error {
	sum := sha256.Sum256([]byte("wedsync oauth grant v1 " + string(tx.Org) + " " + string(id)))
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(binary.BigEndian.Uint64(sum[:8])))
	return fault("lock grant", err)
}

func (tx *Tx) sealTokens(id string, t OAuthTokens, place json.RawMessage) []byte {
	text, err := json.Marshal(sealedGrant{t, place})
	if err != nil {
		panic("marshal two texts and an object: " + err.Error())
	}
	defer clear(text)
	return tx.sealer.Seal(text, "oauth_grants", "tokens", id)
}

// PutOAuthGrant stores the grant of a new consent in place of the one before, whose Place it keeps. ID, Active, Place,
// times and version of g are not read. KindInvalid when the tenant has no such integration.
func (tx *Tx) PutOAuthGrant(ctx context.Context, g OAuthGrant) error {
	var id rowID
	var sealed []byte
	err := tx.QueryRow(ctx, "SELECT id, tokens FROM oauth_grants WHERE org_id = $1 AND integration_id = $2 FOR UPDATE", tx.Org, g.IntegrationID).Scan(&id, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		id = domain.NewID[rowID](tx.Now)
		_, err = tx.Exec(ctx, `INSERT INTO oauth_grants (id, org_id, integration_id, tokens, expires_at, scopes, state, connected_by, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, 'active', $7, $8, $8)`, id, tx.Org, g.IntegrationID, tx.sealTokens(string(id), g.Tokens, nil), g.ExpiresAt,
			scopes(g.Scopes), g.ConnectedBy, tx.Now)
		return fault("store grant", err)
	}
	if err != nil {
		return fault("store grant", err)
	}
	was, err := tx.openGrant(string(id), sealed)
	if err != nil {
		was.Place = nil // its key is gone, which is one reason to consent anew
	}
	_, err = tx.Exec(ctx, `UPDATE oauth_grants SET tokens = $3, expires_at = $4, scopes = $5, state = 'active', connected_by = $6, updated_at = $7,
		version = version + 1 WHERE org_id = $1 AND id = $2`, tx.Org, id, tx.sealTokens(string(id), g.Tokens, was.Place), g.ExpiresAt, scopes(g.Scopes), g.ConnectedBy, tx.Now)
	return fault("store grant", err)
}

// NoteOAuthPlace keeps where a connection leads with its grant, whose version stays, since its tokens do. It waits for a
// refresh that is under way, as LockOAuthGrant does. KindNotFound when there is no grant.
func (tx *Tx) NoteOAuthPlace(ctx context.Context, id domain.IntegrationID, place json.RawMessage) error {
	if err := tx.LockOAuthGrant(ctx, id); err != nil {
		return err
	}
	g, err := tx.OAuthGrant(ctx, id)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE oauth_grants SET tokens = $3 WHERE org_id = $1 AND id = $2", tx.Org, rowID(g.ID), tx.sealTokens(g.ID, g.Tokens, place))
	return fault("note where a grant leads", err)
}

func scopes(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// RenewOAuthGrant stores the tokens of a refresh of g, and its scopes unless empty. stored is false when the grant has
// another version by now, or is gone: what stands there is newer and stays.
func (tx *Tx) RenewOAuthGrant(ctx context.Context, g OAuthGrant, t OAuthTokens, expires time.Time, granted []string) (stored bool, err error) {
	if len(granted) == 0 {
		granted = g.Scopes
	}
	tag, err := tx.Exec(ctx, `UPDATE oauth_grants SET tokens = $4, expires_at = $5, scopes = $6, state = 'active', updated_at = $7, version = version + 1
		WHERE org_id = $1 AND id = $2 AND version = $3`, tx.Org, rowID(g.ID), g.Version, tx.sealTokens(g.ID, t, g.Place), expires, scopes(granted), tx.Now)
	return err == nil && tag.RowsAffected() > 0, fault("store renewed grant", err)
}

// EndOAuthGrant notes that the system refused g for good, unless the grant has another version by now.
func (tx *Tx) EndOAuthGrant(ctx context.Context, g OAuthGrant) (ended bool, err error) {
	tag, err := tx.Exec(ctx, `UPDATE oauth_grants SET state = 'revoked', updated_at = $4
		WHERE org_id = $1 AND id = $2 AND version = $3 AND state = 'active'`, tx.Org, rowID(g.ID), g.Version, tx.Now)
	return err == nil && tag.RowsAffected() > 0, fault("end grant", err)
}

// DropOAuthGrant removes the grant and the waiting links of an integration. alone reports whether no other integration of
// the tenant is connected to the same provider. KindNotFound when there is no grant.
func (tx *Tx) DropOAuthGrant(ctx context.Context, id domain.IntegrationID) (g OAuthGrant, alone bool, err error) {
	if _, err := tx.Exec(ctx, "DELETE FROM oauth_states WHERE org_id = $1 AND integration_id = $2", tx.Org, id); err != nil {
		return g, false, fault("drop links", err)
	}
	if g, err = tx.OAuthGrant(ctx, id); err != nil {
		return g, false, err
	}
	err = tx.QueryRow(ctx, `SELECT NOT EXISTS (SELECT 1 FROM oauth_grants o JOIN integrations i ON i.org_id = o.org_id AND i.id = o.integration_id
		JOIN integrations me ON me.org_id = i.org_id AND me.provider = i.provider
		WHERE me.org_id = $1 AND me.id = $2 AND i.id <> $2 AND i.state <> 'deleted' AND o.state = 'active')`, tx.Org, id).Scan(&alone)
	if err != nil {
		return g, false, fault("look for other grants", err)
	}
	_, err = tx.Exec(ctx, "DELETE FROM oauth_grants WHERE org_id = $1 AND integration_id = $2", tx.Org, id)
	return g, alone, fault("drop grant", err)
}

// OAuthState is a consent asked for.
type OAuthState struct {
	ID            string
	IntegrationID domain.IntegrationID
	Subject       string   // the admin who asked
	Binding       [32]byte // SHA-256 of what the admin's browser or program showed
	Browser       bool     // the browser that comes back must show it again
	Verifier      string   // of PKCE; must not reach logs or errors
	RedirectURL   string
	CreatedAt     time.Time
	ExpiresAt     time.Time
	Used          bool
}

// CreateOAuthState stores a consent that is asked for, under the SHA-256 of its state, for OAuthStateLife. ID, times and
// Used of s are not read. KindConflict when MaxOAuthStates links of the integration wait already.
func (tx *Tx) CreateOAuthState(ctx context.Context, state string, s OAuthState) (OAuthState, error) {
	if _, err := tx.Exec(ctx, "DELETE FROM oauth_states WHERE org_id = $1 AND expires_at < $2", tx.Org, tx.Now.Add(-keepOAuthStates)); err != nil {
		return s, fault("clear old links", err)
	}
	var waiting int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM oauth_states WHERE org_id = $1 AND integration_id = $2 AND expires_at > $3 AND used_at IS NULL",
		tx.Org, s.IntegrationID, tx.Now).Scan(&waiting); err != nil {
		return s, fault("count links", err)
	}
	if waiting >= MaxOAuthStates {
		return s, domain.E(domain.KindConflict, "%d links of the integration wait already; use one of them, or wait %s", waiting, OAuthStateLife)
	}
	s.ID, s.CreatedAt, s.ExpiresAt, s.Used = string(domain.NewID[rowID](tx.Now)), tx.Now, tx.Now.Add(OAuthStateLife), false
	hash := sha256.Sum256([]byte(state))
	text := []byte(s.Verifier)
	defer clear(text)
	_, err := tx.Exec(ctx, `INSERT INTO oauth_states (id, org_id, integration_id, state_hash, subject, binding, browser, verifier, redirect_url, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, rowID(s.ID), tx.Org, s.IntegrationID, hash[:], s.Subject, s.Binding[:], s.Browser,
		tx.sealer.Seal(text, "oauth_states", "verifier", s.ID), s.RedirectURL, s.CreatedAt, s.ExpiresAt)
	return s, fault("store link", err)
}

// OAuthStateOrg finds whose consent comes back, across tenants. KindNotFound for a state that nobody made.
func (s *Store) OAuthStateOrg(ctx context.Context, state string) (domain.OrgID, error) {
	var org domain.OrgID
	hash := sha256.Sum256([]byte(state))
	err := s.system.QueryRow(ctx, "SELECT org_id FROM oauth_states WHERE state_hash = $1", hash[:]).Scan(&org)
	return org, missing("link", "find link", err)
}

// OAuthState reads a consent that is asked for and locks it, used and expired ones too; KindNotFound for an unknown one.
func (tx *Tx) OAuthState(ctx context.Context, state string) (OAuthState, error) {
	var s OAuthState
	var sealed, binding []byte
	hash := sha256.Sum256([]byte(state))
	err := tx.QueryRow(ctx, `SELECT id, integration_id, subject, binding, browser, verifier, redirect_url, created_at, expires_at, used_at IS NOT NULL
		FROM oauth_states WHERE org_id = $1 AND state_hash = $2 FOR UPDATE`, tx.Org, hash[:]).
		Scan((*rowID)(&s.ID), &s.IntegrationID, &s.Subject, &binding, &s.Browser, &sealed, &s.RedirectURL, &s.CreatedAt, &s.ExpiresAt, &s.Used)
	if err != nil {
		return s, missing("link", "read link", err)
	}
	copy(s.Binding[:], binding)
	s.CreatedAt, s.ExpiresAt = s.CreatedAt.UTC(), s.ExpiresAt.UTC()
	text, err := tx.sealer.Open(sealed, "oauth_states", "verifier", s.ID)
	if err != nil {
		return OAuthState{}, fmt.Errorf("verifier of link %s: %w", s.ID, err)
	}
	defer clear(text)
	s.Verifier = string(text)
	return s, nil
}

// UseOAuthState ends a link that OAuthState has locked: it works once, whatever comes of it.
func (tx *Tx) UseOAuthState(ctx context.Context, id string) error {
	_, err := tx.Exec(ctx, "UPDATE oauth_states SET used_at = $3 WHERE org_id = $1 AND id = $2", tx.Org, rowID(id), tx.Now)
	return fault("use link", err)
}
