// Package oauthsim is an authorization server: authorization, token and revocation endpoints in one http.Handler, with
// PKCE, rotation and faults.
//
//	sim := oauthsim.New(oauthsim.Options{Rotate: true})
//	srv := httptest.NewServer(sim)
//	code, err := sim.Consent(link) // what the browser of a person who agrees does; GET /authorize does it too
//
// Documented behaviour: RFC 6749 (codes work once and only with their redirect URL and client; client credentials give a token without a
// refresh token; the client is named in the form or by Basic; errors as in section 5.2),
// RFC 7636 (S256 only), RFC 7009 (an unknown token is success). With Rotate the server gives a new refresh token with
// each refresh, as Microsoft's does; without, the one of the consent stays good and is not repeated, as with Google's.
//
// Assumed: with Rotate the old refresh token is dead as soon as the new one was made, although Microsoft promises no
// moment for that. It is the harder case: an answer that gets lost then ends the grant. Grace lets an old token work
// until its successor was used.
//
// A Server may be used by many goroutines at once. It holds no clock of its own: tokens expire when Now passes their end.
package oauthsim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a server. The zero value rotates nothing and gives tokens for an hour.
type Options struct {
	ClientID, ClientSecret string           // "client" and "secret" if empty
	Rotate                 bool             // each refresh gives a new refresh token and ends the old one
	Grace                  bool             // with Rotate: the old one works until the new one was used
	Life                   time.Duration    // of access tokens; 1 h
	Redirects              []string         // the only redirect URLs taken; none = any
	Now                    func() time.Time // nil = time.Now
}

// Server is the simulator.
type Server struct {
	o Options

	mu      sync.Mutex
	codes   map[string]consent
	refresh map[string]*grant // by refresh token, living and dead ones
	access  map[string]access
	faults  []Fault
	counts  Counts
	hold    chan struct{}
	asked   chan struct{} // gets a value for each token request that is held
	drop    []string      // scopes that the person does not give
}

// Counts say how often the token endpoint was asked.
type Counts struct {
	Exchanges, Refreshes, Revocations int
	Own                               int // tokens of the client itself
	Refused                           int // requests answered with an error of the protocol
}

type consent struct {
	redirect, challenge string
	scopes              []string
}

type grant struct {
	current, previous string // refresh tokens
	scopes            []string
	revoked           bool
}

type access struct {
	grant *grant
	until time.Time
}

// Fault is what goes wrong with one token request. The zero value is no fault.
type Fault struct {
	Status     int    // answered instead; nothing happens on the server
	RetryAfter string // header beside Status
	Body       string // beside Status, or instead of the tokens when Status is 200
	// Lost does the work and closes the connection without an answer.
	Lost bool
}

// New makes a server.
func New(o Options) *Server {
	if o.ClientID == "" {
		o.ClientID, o.ClientSecret = "client", "secret"
	}
	if o.Life == 0 {
		o.Life = time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Server{o: o, codes: map[string]consent{}, refresh: map[string]*grant{}, access: map[string]access{}}
}

// Break lets the next token requests go wrong, one fault each.
func (s *Server) Break(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Hold keeps token requests waiting until release is called. asked gets a value for each one that waits.
func (s *Server) Hold() (asked <-chan struct{}, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := make(chan struct{})
	s.hold, s.asked = hold, make(chan struct{}, 1000)
	return s.asked, sync.OnceFunc(func() {
		s.mu.Lock()
		s.hold = nil
		s.mu.Unlock()
		close(hold)
	})
}

// Withhold lets persons leave these scopes out when they consent.
func (s *Server) Withhold(scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop = scopes
}

// Counts returns how often the token endpoint was asked.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Valid reports whether an access token works now.
func (s *Server) Valid(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.access[token]
	return ok && !a.grant.revoked && s.o.Now().Before(a.until)
}

// Refuse ends one access token before its time, as an administrator of the system may.
func (s *Server) Refuse(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.access, token)
}

// RevokeAll ends every grant, as persons do in their account.
func (s *Server) RevokeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.refresh {
		g.revoked = true
	}
}

// Consent is what a browser does with an authorization link when the person agrees: it returns the address to which the
// browser is sent back.
func (s *Server) Consent(link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil {
		return "", err
	}
	return s.consent(u.Query())
}

func (s *Server) consent(q url.Values) (string, error) {
	back, err := url.Parse(q.Get("redirect_uri"))
	switch {
	case q.Get("client_id") != s.o.ClientID:
		return "", errors.New("unknown client")
	case err != nil || back.Host == "" || len(s.o.Redirects) > 0 && !slices.Contains(s.o.Redirects, q.Get("redirect_uri")):
		return "", errors.New("redirect URL is not registered")
	}
	answer := url.Values{"state": {q.Get("state")}}
	challenge, bad := base64.RawURLEncoding.DecodeString(q.Get("code_challenge"))
	switch {
	case q.Get("response_type") != "code":
		answer.Set("error", "unsupported_response_type")
	case q.Get("code_challenge_method") != "S256" || bad != nil || len(challenge) != sha256.Size:
		answer.Set("error", "invalid_request")
	default:
		s.mu.Lock()
		code := newToken("code")
		scopes := slices.DeleteFunc(strings.Fields(q.Get("scope")), func(one string) bool { return slices.Contains(s.drop, one) })
		s.codes[code] = consent{redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), scopes: scopes}
		s.mu.Unlock()
		answer.Set("code", code)
	}
	back.RawQuery = answer.Encode()
	return back.String(), nil
}

// ServeHTTP answers GET /authorize (every person agrees at once), POST /token and POST /revoke.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/authorize":
		back, err := s.consent(r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, back, http.StatusFound)
	case r.Method == http.MethodPost && r.URL.Path == "/token":
		s.token(w, r)
	case r.Method == http.MethodPost && r.URL.Path == "/revoke":
		s.revoke(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if r.ParseForm() != nil {
		s.refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	s.mu.Lock()
	hold, asked := s.hold, s.asked
	var fault Fault
	if len(s.faults) > 0 {
		fault, s.faults = s.faults[0], s.faults[1:]
	}
	s.mu.Unlock()
	if hold != nil {
		asked <- struct{}{}
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	if fault.Status != 0 {
		if fault.RetryAfter != "" {
			w.Header().Set("Retry-After", fault.RetryAfter)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(fault.Status)
		_, _ = w.Write([]byte(fault.Body)) // the asker may be gone
		return
	}
	if id, secret, ok := r.BasicAuth(); ok && r.PostForm.Get("client_id") == "" {
		id, err1 := url.QueryUnescape(id)
		secret, err2 := url.QueryUnescape(secret)
		if err1 == nil && err2 == nil {
			r.PostForm.Set("client_id", id)
			r.PostForm.Set("client_secret", secret)
		}
	}
	answer, code := s.decide(r.PostForm)
	if fault.Lost {
		panic(http.ErrAbortHandler)
	}
	if code != "" {
		status := http.StatusBadRequest
		if code == "invalid_client" {
			status = http.StatusUnauthorized
		}
		s.refuse(w, status, code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(answer) // the asker may be gone
}

func (s *Server) refuse(w http.ResponseWriter, status int, code string) {
	s.mu.Lock()
	s.counts.Refused++
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "AADSTS70000: said to nobody"}) // as above
}

func (s *Server) decide(q url.Values) (answer map[string]any, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Get("client_id") != s.o.ClientID || q.Get("client_secret") != s.o.ClientSecret {
		return nil, "invalid_client"
	}
	switch q.Get("grant_type") {
	case "authorization_code":
		s.counts.Exchanges++
		c, ok := s.codes[q.Get("code")]
		delete(s.codes, q.Get("code"))
		sum := sha256.Sum256([]byte(q.Get("code_verifier")))
		if !ok || c.redirect != q.Get("redirect_uri") || c.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
			return nil, "invalid_grant"
		}
		g := &grant{current: newToken("refresh"), scopes: c.scopes}
		s.refresh[g.current] = g
		answer = s.give(g)
		answer["refresh_token"] = g.current
		return answer, ""
	case "client_credentials":
		s.counts.Own++
		return s.give(&grant{scopes: strings.Fields(q.Get("scope"))}), ""
	case "refresh_token":
		s.counts.Refreshes++
		token := q.Get("refresh_token")
		g := s.refresh[token]
		if g == nil || g.revoked || token != g.current && (!s.o.Grace || token != g.previous) {
			return nil, "invalid_grant"
		}
		answer = s.give(g)
		if s.o.Rotate {
			g.previous, g.current = token, newToken("refresh")
			s.refresh[g.current] = g
			answer["refresh_token"] = g.current
		}
		return answer, ""
	}
	return nil, "unsupported_grant_type"
}

func (s *Server) give(g *grant) map[string]any {
	token := newToken("access")
	s.access[token] = access{g, s.o.Now().Add(s.o.Life)}
	return map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int(s.o.Life / time.Second), "scope": strings.Join(g.scopes, " ")}
}

func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	if r.ParseForm() != nil {
		s.refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Revocations++
	if g := s.refresh[r.PostForm.Get("token")]; g != nil {
		g.revoked = true
	}
	w.WriteHeader(http.StatusOK)
}

func newToken(kind string) string {
	var b [18]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("read randomness for a token: " + err.Error())
	}
	return kind + "-" + base64.RawURLEncoding.EncodeToString(b[:])
}
