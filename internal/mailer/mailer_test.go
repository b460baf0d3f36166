package mailer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/sim/smtpsim"
)

var message = Message{ID: "ntf-1", To: "ann@example.com", Subject: "Zwei Buchungen für Jörg", Text: "Hello Ann,\n.\n.two dots and a long line " + strings.Repeat("ä", 200) + "\n",
	HTML: "<p>Hello <b>Ann</b></p>", Date: time.Date(2027, 6, 1, 12, 0, 0, 0, time.UTC)}

func start(t *testing.T, o smtpsim.Options) *smtpsim.Server {
	t.Helper()
	sim, err := smtpsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return sim
}

func newMailer(t *testing.T, sim *smtpsim.Server, change func(*Options)) *Mailer {
	t.Helper()
	o := Options{Addr: sim.Addr(), From: "WedSync <notify@studio.example>", Allow: httpx.AllowPrivate, RootCAs: sim.RootCAs(), Total: 10 * time.Second}
	if change != nil {
		change(&o)
	}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMailArrivesAsItWasWrittenInEveryMode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sim  smtpsim.Options
		mode Mode
	}{
		"STARTTLS with PLAIN": {smtpsim.Options{STARTTLS: true, Username: "u", Password: "geheim"}, StartTLS},
		"TLS with LOGIN":      {smtpsim.Options{TLS: true, Username: "u", Password: "geheim", Login: true}, TLS},
		"plain":               {smtpsim.Options{}, Plain},
	} {
		sim := start(t, c.sim)
		m := newMailer(t, sim, func(o *Options) { o.Mode, o.Username, o.Password = c.mode, c.sim.Username, c.sim.Password })
		for range 2 {
			if err := m.Send(t.Context(), message); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		got := sim.Mails()
		if len(got) != 2 || !bytes.Equal(got[0].Data, got[1].Data) {
			t.Fatalf("%s: %d mails, and the same message twice is not the same", name, len(got))
		}
		one := got[0]
		if one.From != "notify@studio.example" || one.To != "ann@example.com" || one.Secure != (c.mode != Plain) || one.User != c.sim.Username {
			t.Errorf("%s: %+v", name, one)
		}
		checkMail(t, one.Data)
	}
}

// checkMail reads a mail as another program does.
func checkMail(t *testing.T, data []byte) {
	t.Helper()
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if len(line) > 998 || bytes.ContainsFunc(line, func(r rune) bool { return r > '~' }) {
			t.Errorf("a line that no server must take: %q", line)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != message.Subject || m.Header.Get("Message-ID") != "<ntf-1@studio.example>" || m.Header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("subject %q, headers %v: %v", subject, m.Header, err)
	}
	if at, err := m.Header.Date(); err != nil || !at.Equal(message.Date) {
		t.Errorf("date %s: %v", at, err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("content type %q: %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []struct{ kind, text string }{{"text/plain; charset=utf-8", message.Text}, {"text/html; charset=utf-8", message.HTML}} {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(p))
		if p.Header.Get("Content-Type") != want.kind || strings.TrimRight(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n") != strings.TrimRight(want.text, "\n") || err != nil {
			t.Errorf("part %q is %q: %v", p.Header.Get("Content-Type"), text, err)
		}
	}
	if _, err := parts.NextPart(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last part: %v", err)
	}
}

func TestFaultsOfTheServerHaveTheirKindsAndQuoteNobody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault smtpsim.Fault
		kind  domain.ErrorKind
		text  string
		kept  int
	}{
		"greylisted":              {smtpsim.Greylist, domain.KindUnavailable, "name the recipient: the mail server answered 451", 0},
		"busy":                    {smtpsim.Busy, domain.KindUnavailable, "read the mail server's greeting: the mail server answered 421", 0},
		"no such mailbox":         {smtpsim.NoMailbox, domain.KindPermanent, "name the recipient: the mail server answered 550", 0},
		"data refused":            {smtpsim.RefuseData, domain.KindPermanent, "hear that the message was taken: the mail server answered 554", 0},
		"no room":                 {smtpsim.LaterData, domain.KindUnavailable, "hear that the message was taken: the mail server answered 452", 0},
		"cut at the beginning":    {smtpsim.CutGreeting, domain.KindUnavailable, "read the mail server's greeting: the connection broke off", 0},
		"cut in the data":         {smtpsim.CutInData, domain.KindUnavailable, "", 0},
		"answer lost":             {smtpsim.LostAnswer, domain.KindUnavailable, "hear that the message was taken: the connection broke off", 1},
		"wrong credentials":       {smtpsim.BadAuth, domain.KindUnavailable, "authenticate at the mail server: the mail server answered 535", 0},
		"sender refused":          {smtpsim.RefuseSender, domain.KindUnavailable, "name the sender: the mail server answered 553", 0},
		"a server without an end": {smtpsim.Chatty, domain.KindUnavailable, "", 0},
	} {
		sim := start(t, smtpsim.Options{STARTTLS: true, Username: "user-name", Password: "geheim"})
		sim.Fail(c.fault)
		m := newMailer(t, sim, func(o *Options) { o.Username, o.Password = "user-name", "geheim" })
		err := m.Send(t.Context(), message)
		if domain.KindOf(err) != c.kind || c.text != "" && err.Error() != c.text {
			t.Errorf("%s: %s %v", name, domain.KindOf(err), err)
			continue
		}
		for _, secret := range []string{"ann@", "example.com", "user-name", "geheim"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error holds %q: %v", name, secret, err)
			}
		}
		if got := len(sim.Mails()); got != c.kept {
			t.Errorf("%s: %d mails kept, want %d", name, got, c.kept)
		}
		if err := m.Send(t.Context(), message); err != nil {
			t.Errorf("%s: the next time: %v", name, err)
		}
	}
}

func TestASilentServerAndACallerWhoGivesUpEndTheExchange(t *testing.T) {
	t.Parallel()
	sim := start(t, smtpsim.Options{})
	sim.Fail(smtpsim.Slow, smtpsim.Slow)
	m := newMailer(t, sim, func(o *Options) { o.Mode, o.Total = Plain, 100*time.Millisecond })
	if err := m.Send(t.Context(), message); domain.KindOf(err) != domain.KindUnavailable || !strings.HasSuffix(err.Error(), "the mail server took too long") {
		t.Errorf("a silent server: %v", err)
	}
	m = newMailer(t, sim, func(o *Options) { o.Mode = Plain })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Send(ctx, message) }()
	for sim.Connections() < 2 {
		select {
		case err := <-done:
			t.Fatalf("ended before it was told to: %v", err)
		default:
		}
	}
	cancel()
	if err := <-done; domain.KindOf(err) != domain.KindUnavailable || !strings.HasSuffix(err.Error(), "given up") {
		t.Errorf("given up by the caller: %v", err)
	}
}

func TestNothingGoesOverAConnectionThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sim    smtpsim.Options
		change func(*Options)
		text   string
	}{
		"no STARTTLS":          {smtpsim.Options{}, nil, "the mail server offers no STARTTLS, so nothing was sent"},
		"another certificate":  {smtpsim.Options{STARTTLS: true}, func(o *Options) { o.RootCAs = nil }, "protect the connection to the mail server: the mail server's certificate is not trusted"},
		"the same from byte 1": {smtpsim.Options{TLS: true}, func(o *Options) { o.RootCAs, o.Mode = nil, TLS }, "connect to the mail server: the mail server's certificate is not trusted"},
		"a private address":    {smtpsim.Options{STARTTLS: true}, func(o *Options) { o.Allow = httpx.PublicOnly }, "connect to the mail server: address not allowed"},
		"no way to authenticate": {smtpsim.Options{STARTTLS: true}, func(o *Options) { o.Username, o.Password = "u", "p" },
			"the mail server offers neither AUTH PLAIN nor AUTH LOGIN"},
	} {
		sim := start(t, c.sim)
		err := newMailer(t, sim, c.change).Send(t.Context(), message)
		if domain.KindOf(err) != domain.KindUnavailable || err.Error() != c.text || len(sim.Mails()) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoTextBecomesAHeaderOrAnotherRecipient(t *testing.T) {
	t.Parallel()
	sim := start(t, smtpsim.Options{})
	m := newMailer(t, sim, func(o *Options) { o.Mode = Plain })
	evil := message
	evil.Subject = "Hello\r\nBcc: all@example.com\r\n\r\nbody" + strings.Repeat(" ü", 300)
	if err := m.Send(t.Context(), evil); err != nil {
		t.Fatal(err)
	}
	got, err := mail.ReadMessage(bytes.NewReader(sim.Mails()[0].Data))
	if err != nil || got.Header.Get("Bcc") != "" {
		t.Errorf("%v %v", got.Header, err)
	}
	for _, to := range []string{"", "ann", "ann@example.com\r\nRCPT TO:<b@example.com>", "Ann <ann@example.com>", "a@example.com, b@example.com", "änn@example.com"} {
		evil := message
		evil.To = to
		if err := m.Send(t.Context(), evil); domain.KindOf(err) != domain.KindInvalid || strings.Contains(err.Error(), "example") {
			t.Errorf("to %q: %v", to, err)
		}
	}
	for _, id := range []string{"", "a b", "a>", "a@b", "a\r\nX: y"} {
		evil := message
		evil.ID = id
		if err := m.Send(t.Context(), evil); domain.KindOf(err) != domain.KindInternal {
			t.Errorf("id %q: %v", id, err)
		}
	}
	if n := sim.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	good := Options{Addr: "smtp.example.com:587", From: "notify@example.com"}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*Options){
		"addr":     func(o *Options) { o.Addr = "smtp.example.com" },
		"from":     func(o *Options) { o.From = "WedSync" },
		"mode":     func(o *Options) { o.Mode = Plain },
		"username": func(o *Options) { o.Password = "p" },
		"hello":    func(o *Options) { o.Hello = "a b" },
	} {
		o := good
		change(&o)
		if _, err := New(o); domain.FieldOf(err) != field || domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("Subject", "text", "<p>html</p>")
	f.Add("a\r\nB: c", ".\r\n.\r\n", "\x00\xff")
	m, err := New(Options{Addr: "smtp.example.com:587", From: "WedSync <notify@example.com>"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, subject, text, html string) {
		raw, err := m.compose(Message{ID: "x", To: "ann@example.com", Subject: subject, Text: text, HTML: html})
		if err != nil {
			t.Fatal(err)
		}
		got, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%v in %q", err, raw)
		}
		for name := range got.Header {
			switch name {
			case "From", "To", "Subject", "Date", "Message-Id", "Auto-Submitted", "Mime-Version", "Content-Type", "Content-Transfer-Encoding":
			default:
				t.Errorf("a header %q came out of a text", name)
			}
		}
	})
}
