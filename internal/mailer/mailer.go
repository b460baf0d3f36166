package mailer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

// Mode says how the connection is protected.
type Mode string

// The modes.
const (
	StartTLS Mode = "starttls" // RFC 3207, usually port 587; required, not opportunistic
	TLS      Mode = "tls"      // from the first byte (RFC 8314), usually port 465
	Plain    Mode = "plain"    // not at all; for a relay on this machine or network, with AllowPrivate
)

// Options of a Mailer.
type Options struct {
	Addr     string // host:port
	Mode     Mode   // "" = StartTLS
	Username string // "" = no authentication
	Password string
	From     string // mailbox such as "WedSync <notify@example.com>"
	Hello    string // name given in EHLO; "" = the domain of From
	// Allow says which addresses may be connected to.
	Allow httpx.AddressPolicy
	Dial  time.Duration // longest time to connect; 0 = 10 s
	Total time.Duration // longest time of a Send; 0 = 60 s
	// RootCAs replaces the system's certificate authorities, for tests and private deployments.
	RootCAs *x509.CertPool
}

// maxReplies bounds what a server may send in one exchange, in bytes.
const maxReplies = 256 << 10

// Mailer sends mail. It keeps no connection and may be used by many goroutines at once.
type Mailer struct {
	o    Options
	host string
	from *mail.Address
}

// New checks the options; errors are of kind invalid and name the option. It does not connect.
func New(o Options) (*Mailer, error) {
	host, port, err := net.SplitHostPort(o.Addr)
	if n, portErr := strconv.Atoi(port); err != nil || host == "" || portErr != nil || n < 1 || n > 65535 {
		return nil, domain.Invalid("addr", "must be host:port, such as smtp.example.com:587")
	}
	from, err := mail.ParseAddress(o.From)
	if err != nil || !ascii(from.Address) {
		return nil, domain.Invalid("from", "must be a mailbox such as WedSync <notify@example.com>")
	}
	switch o.Mode {
	case "":
		o.Mode = StartTLS
	case StartTLS, TLS:
	case Plain:
		if o.Allow != httpx.AllowPrivate {
			return nil, domain.Invalid("mode", "plain sends mail in the clear and is for private networks only; use starttls or tls")
		}
	default:
		return nil, domain.Invalid("mode", "must be starttls, tls or plain, not %q", string(o.Mode))
	}
	if (o.Username == "") != (o.Password == "") {
		return nil, domain.Invalid("username", "and password go together")
	}
	if o.Hello == "" {
		o.Hello = domainOf(from.Address)
	}
	if !ascii(o.Hello) || strings.ContainsAny(o.Hello, " <>") {
		return nil, domain.Invalid("hello", "must be a host name")
	}
	if o.Dial <= 0 {
		o.Dial = 10 * time.Second
	}
	if o.Total <= 0 {
		o.Total = time.Minute
	}
	return &Mailer{o: o, host: host, from: from}, nil
}

func ascii(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// Send hands a message to the server and returns nil once it was taken. See the package comment for the errors.
func (m *Mailer) Send(ctx context.Context, msg Message) error {
	to, err := mail.ParseAddress(msg.To)
	if err != nil || to.Address != msg.To || !ascii(msg.To) {
		return domain.Invalid("to", "is no bare mail address")
	}
	body, err := m.compose(msg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.o.Total)
	defer cancel()
	conn, err := m.connect(ctx)
	if err != nil {
		return describe(ctx, "connect to the mail server", err)
	}
	defer conn.Close()
	// The deadline bounds every read and write; a caller that gives up closes the connection under them.
	if at, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(at)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	return m.exchange(ctx, conn, to.Address, body)
}

func (m *Mailer) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: m.host, MinVersion: tls.VersionTLS12, RootCAs: m.o.RootCAs}
}

func (m *Mailer) connect(ctx context.Context) (net.Conn, error) {
	d := m.o.Allow.Dialer(m.o.Dial)
	raw, err := d.DialContext(ctx, "tcp", m.o.Addr)
	if err != nil {
		return nil, err
	}
	conn := net.Conn(&limited{Conn: raw, left: maxReplies})
	if m.o.Mode != TLS {
		return conn, nil
	}
	secure := tls.Client(conn, m.tlsConfig())
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return secure, nil
}

func (m *Mailer) exchange(ctx context.Context, conn net.Conn, to string, body []byte) error {
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return describe(ctx, "read the mail server's greeting", err)
	}
	if err := c.Hello(m.o.Hello); err != nil {
		return describe(ctx, "greet the mail server", err)
	}
	if m.o.Mode == StartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return domain.E(domain.KindUnavailable, "the mail server offers no STARTTLS, so nothing was sent")
		}
		if err := c.StartTLS(m.tlsConfig()); err != nil {
			return describe(ctx, "protect the connection to the mail server", err)
		}
	}
	if m.o.Username != "" {
		auth, err := m.auth(c)
		if err != nil {
			return err
		}
		if err := c.Auth(auth); err != nil {
			return installation(describe(ctx, "authenticate at the mail server", err))
		}
	}
	if err := c.Mail(m.from.Address); err != nil {
		return installation(describe(ctx, "name the sender", err))
	}
	if err := c.Rcpt(to); err != nil {
		return describe(ctx, "name the recipient", err)
	}
	w, err := c.Data()
	if err != nil {
		return describe(ctx, "begin the message", err)
	}
	if _, err := w.Write(body); err != nil {
		return describe(ctx, "send the message", err)
	}
	if err := w.Close(); err != nil {
		return describe(ctx, "hear that the message was taken", err)
	}
	// It was taken. What happens to the farewell changes nothing.
	_ = c.Quit()
	return nil
}

// auth chooses PLAIN (RFC 4616) or else LOGIN, which some servers offer alone.
func (m *Mailer) auth(c *smtp.Client) (smtp.Auth, error) {
	_, offered := c.Extension("AUTH")
	ways := strings.Fields(strings.ToUpper(offered))
	switch {
	case slices.Contains(ways, "PLAIN"):
		return plainAuth{m.o.Username, m.o.Password}, nil
	case slices.Contains(ways, "LOGIN"):
		return &loginAuth{m.o.Username, m.o.Password}, nil
	}
	return nil, domain.E(domain.KindUnavailable, "the mail server offers neither AUTH PLAIN nor AUTH LOGIN")
}

// plainAuth is RFC 4616. Whether the connection is protected was decided by the mode.
type plainAuth struct{ username, password string }

func (a plainAuth) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "PLAIN", []byte("\x00" + a.username + "\x00" + a.password), nil
}

func (a plainAuth) Next(_ []byte, more bool) ([]byte, error) {
	if more {
		return nil, errAuth
	}
	return nil, nil
}

var errAuth = errors.New("the server asked for more than it should")

// loginAuth answers the two questions of AUTH LOGIN in their order, whatever their words.
type loginAuth struct{ username, password string }

func (a *loginAuth) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (a *loginAuth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	var answer string
	switch {
	case a.username != "":
		answer, a.username = a.username, ""
	case a.password != "":
		answer, a.password = a.password, ""
	default:
		return nil, errAuth
	}
	return []byte(answer), nil
}

// describe gives an error its kind and a text without what the server said.
func describe(ctx context.Context, step string, err error) error {
	var reply *textproto.Error
	switch {
	case errors.As(err, &reply) && reply.Code >= 500:
		return domain.E(domain.KindPermanent, "%s: the mail server answered %d", step, reply.Code)
	case errors.As(err, &reply):
		return domain.E(domain.KindUnavailable, "%s: the mail server answered %d", step, reply.Code)
	case errors.Is(err, httpx.ErrAddress):
		return domain.E(domain.KindUnavailable, "%s: %w", step, httpx.ErrAddress)
	}
	var untrusted *tls.CertificateVerificationError
	var network net.Error
	what := "the connection broke off"
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		what = "the mail server took too long"
	case ctx.Err() != nil:
		what = "given up"
	case errors.As(err, &untrusted):
		what = "the mail server's certificate is not trusted"
	case errors.Is(err, errTalks):
		what = "the mail server said too much"
	case errors.Is(err, errAuth):
		what = errAuth.Error()
	}
	return domain.E(domain.KindUnavailable, "%s: %s", step, what)
}

// installation makes a refusal one that may pass: an operator mends it, and the message is not at fault.
func installation(err error) error {
	if domain.KindOf(err) == domain.KindPermanent {
		return domain.E(domain.KindUnavailable, "%s", err.Error())
	}
	return err
}

var errTalks = errors.New("more replies than allowed")

// limited bounds what is read of a connection.
type limited struct {
	net.Conn
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTalks
	}
	n, err := l.Conn.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

var _ io.Reader = (*limited)(nil)
