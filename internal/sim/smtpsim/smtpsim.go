// Package smtpsim is a mail server on loopback that keeps what it takes, with faults.
//
//	sim, err := smtpsim.Start(smtpsim.Options{STARTTLS: true, Username: "u", Password: "p"})
//	defer sim.Close()
//	sim.Fail(smtpsim.Greylist, smtpsim.LostAnswer) // for the next two messages
//	… sim.Addr(), sim.RootCAs(), sim.Mails()
//
// Documented behaviour: the dialogue of RFC 5321 (greeting, EHLO, MAIL, RCPT, DATA with dot-stuffing, RSET, NOOP, QUIT, and 421
// for a server that closes, section 3.8), STARTTLS of RFC 3207 (what was said before it is forgotten), AUTH PLAIN and LOGIN of
// RFC 4954 with 535 for wrong credentials, enhanced codes of RFC 3463, and greylisting as RFC 6647 describes it: 451 4.7.1 to a
// recipient that is new.
//
// Assumed: one recipient per message, and that a connection that is cut after the final dot has or has not stored the message as
// the fault says, since RFC 1047 leaves both open.
//
// A Server may be used by many goroutines at once. It listens on 127.0.0.1 and holds no clock.
package smtpsim

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"time"
)

// Fault is what a server does wrong with one connection.
type Fault int

// The faults.
const (
	None         Fault = iota
	Greylist           // 451 to RCPT
	Busy               // 421 as greeting
	NoMailbox          // 550 to RCPT
	RefuseData         // 554 after the data
	LaterData          // 452 after the data
	Slow               // says nothing any more after EHLO, until the client or the server goes
	CutInData          // closes in the middle of the data; nothing is stored
	LostAnswer         // stores the message and closes without an answer
	CutGreeting        // closes at once
	BadAuth            // 535 to AUTH
	Chatty             // answers EHLO with more than anybody wants to read
	RefuseSender       // 553 to MAIL
)

// Options of a server.
type Options struct {
	STARTTLS bool
	TLS      bool // from the first byte
	Username string
	Password string
	Login    bool // offer AUTH LOGIN and not PLAIN
}

// Mail is a message that was taken.
type Mail struct {
	From, To string
	Data     []byte // after dot-unstuffing
	Secure   bool   // came over TLS
	User     string // who authenticated
}

// Server is the simulator.
type Server struct {
	o        Options
	listener net.Listener
	config   *tls.Config
	roots    *x509.CertPool
	done     chan struct{}
	all      sync.WaitGroup

	mu     sync.Mutex
	faults []Fault
	mails  []Mail
	conns  map[net.Conn]struct{}
	count  int
}

// Start listens on a free port of 127.0.0.1.
func Start(o Options) (*Server, error) {
	s := &Server{o: o, done: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	cert, roots, err := selfSigned()
	if err != nil {
		return nil, err
	}
	s.config, s.roots = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, roots
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start mail simulator: %w", err)
	}
	s.all.Go(s.accept)
	return s, nil
}

// selfSigned makes a certificate for 127.0.0.1 and the pool that trusts it.
func selfSigned() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "smtpsim"}, NotBefore: time.Unix(0, 0),
		NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool, nil
}

// Addr is host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// RootCAs trusts the server's certificate.
func (s *Server) RootCAs() *x509.CertPool { return s.roots }

// Fail gives the next connections their faults; None is one without.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Mails returns what was taken, in order.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

// Connections is how many there were.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Close cuts every connection and waits for the server to end.
func (s *Server) Close() {
	close(s.done)
	_ = s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.all.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.count++
		fault := None
		if len(s.faults) > 0 {
			fault, s.faults = s.faults[0], s.faults[1:]
		}
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.all.Go(func() {
			d := &dialogue{s: s, fault: fault}
			d.serve(conn)
			_ = conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

// dialogue is one connection.
type dialogue struct {
	s      *Server
	fault  Fault
	conn   net.Conn
	r      *bufio.Reader
	secure bool
	user   string
	from   string
	to     string
}

func (d *dialogue) use(c net.Conn) { d.conn, d.r = c, bufio.NewReader(c) }

func (d *dialogue) say(lines ...string) bool {
	_, err := d.conn.Write([]byte(strings.Join(lines, "\r\n") + "\r\n"))
	return err == nil
}

func (d *dialogue) serve(conn net.Conn) {
	d.use(conn)
	if d.fault == CutGreeting {
		return
	}
	if d.s.o.TLS {
		d.use(tls.Server(conn, d.s.config))
		d.secure = true
	}
	if d.fault == Busy {
		d.say("421 4.3.2 closing")
		return
	}
	if !d.say("220 smtpsim ESMTP") {
		return
	}
	for {
		line, err := d.r.ReadString('\n')
		if err != nil || !d.command(strings.TrimRight(line, "\r\n")) {
			return
		}
	}
}

// command answers one line and reports whether the dialogue goes on.
func (d *dialogue) command(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO", "HELO":
		return d.hello()
	case "STARTTLS":
		if !d.s.o.STARTTLS || d.secure {
			return d.say("502 5.5.1 not here")
		}
		if !d.say("220 2.0.0 go ahead") {
			return false
		}
		secure := tls.Server(d.conn, d.s.config)
		if secure.Handshake() != nil {
			return false
		}
		d.use(secure)
		d.secure, d.user, d.from, d.to = true, "", "", ""
		return true
	case "AUTH":
		return d.auth(rest)
	case "MAIL":
		if d.s.o.Username != "" && d.user == "" {
			return d.say("530 5.7.0 authentication required")
		}
		if d.fault == RefuseSender {
			return d.say("553 5.1.8 sender refused")
		}
		d.from = path(rest)
		return d.say("250 2.1.0 ok")
	case "RCPT":
		switch {
		case d.from == "":
			return d.say("503 5.5.1 MAIL first")
		case d.fault == Greylist:
			return d.say("451 4.7.1 greylisted, " + path(rest) + " come back later")
		case d.fault == NoMailbox:
			return d.say("550 5.1.1 <" + path(rest) + "> no such mailbox")
		}
		d.to = path(rest)
		return d.say("250 2.1.5 ok")
	case "DATA":
		return d.data()
	case "RSET":
		d.from, d.to = "", ""
		return d.say("250 2.0.0 ok")
	case "NOOP":
		return d.say("250 2.0.0 ok")
	case "QUIT":
		d.say("221 2.0.0 bye")
		return false
	}
	return d.say("500 5.5.2 what?")
}

func (d *dialogue) hello() bool {
	if d.fault == Slow {
		<-d.s.done
		return false
	}
	lines := []string{"250-smtpsim"}
	if d.fault == Chatty {
		for range 10_000 {
			lines = append(lines, "250-X-"+strings.Repeat("A", 60))
		}
	}
	if d.s.o.STARTTLS && !d.secure {
		lines = append(lines, "250-STARTTLS")
	}
	if d.s.o.Username != "" && (d.secure || !d.s.o.STARTTLS) {
		way := "PLAIN"
		if d.s.o.Login {
			way = "LOGIN"
		}
		lines = append(lines, "250-AUTH "+way)
	}
	return d.say(append(lines, "250-8BITMIME", "250 ENHANCEDSTATUSCODES")...)
}

func (d *dialogue) auth(rest string) bool {
	way, initial, _ := strings.Cut(rest, " ")
	var user, password string
	switch {
	case strings.EqualFold(way, "PLAIN") && !d.s.o.Login:
		text, _ := base64.StdEncoding.DecodeString(initial)
		if parts := strings.Split(string(text), "\x00"); len(parts) == 3 {
			user, password = parts[1], parts[2]
		}
	case strings.EqualFold(way, "LOGIN") && d.s.o.Login:
		for _, q := range []struct {
			ask  string
			into *string
		}{{"VXNlcm5hbWU6", &user}, {"UGFzc3dvcmQ6", &password}} {
			if !d.say("334 " + q.ask) {
				return false
			}
			line, err := d.r.ReadString('\n')
			if err != nil {
				return false
			}
			text, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
			*q.into = string(text)
		}
	default:
		return d.say("504 5.5.4 not offered")
	}
	if d.fault == BadAuth || user != d.s.o.Username || password != d.s.o.Password {
		return d.say("535 5.7.8 wrong credentials for " + user)
	}
	d.user = user
	return d.say("235 2.7.0 welcome")
}

func (d *dialogue) data() bool {
	if d.to == "" {
		return d.say("503 5.5.1 RCPT first")
	}
	if !d.say("354 go ahead") {
		return false
	}
	if d.fault == CutInData {
		_, _ = d.r.ReadString('\n')
		return false
	}
	raw, err := textproto.NewReader(d.r).ReadDotBytes()
	if err != nil {
		return false
	}
	switch d.fault {
	case RefuseData:
		return d.say("554 5.6.0 refused")
	case LaterData:
		return d.say("452 4.3.1 no room")
	}
	d.s.mu.Lock()
	d.s.mails = append(d.s.mails, Mail{From: d.from, To: d.to, Data: bytes.Clone(raw), Secure: d.secure, User: d.user})
	d.s.mu.Unlock()
	if d.fault == LostAnswer {
		return false
	}
	d.from, d.to = "", ""
	return d.say("250 2.0.0 taken")
}

// path takes the address out of FROM:<a> and TO:<a>.
func path(s string) string {
	_, s, _ = strings.Cut(s, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}
