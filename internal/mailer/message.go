package mailer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Message is a mail to one person, in plain text and, where it is there, HTML.
type Message struct {
	// ID is the left part of the Message-ID: letters, digits, dots and hyphens. The same ID says that it is the same message.
	ID      string
	To      string // bare address
	Subject string // one line, at most 200 characters are kept
	Text    string
	HTML    string // "" = plain text only
	Date    time.Time
}

const maxSubject = 200

// compose writes a message after RFC 5322 and RFC 2045. The same message comes out the same, byte for byte.
func (m *Mailer) compose(msg Message) ([]byte, error) {
	if msg.ID == "" || len(msg.ID) > 120 || strings.Trim(msg.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
		return nil, domain.E(domain.KindInternal, "a message needs an id of letters, digits, dots and hyphens")
	}
	var b bytes.Buffer
	header := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	header("From", m.from.String())
	header("To", (&mail.Address{Address: msg.To}).String())
	header("Subject", subject(msg.Subject))
	header("Date", msg.Date.UTC().Format(time.RFC1123Z))
	header("Message-ID", "<"+msg.ID+"@"+domainOf(m.from.Address)+">")
	// RFC 3834: no vacation notes in return.
	header("Auto-Submitted", "auto-generated")
	header("MIME-Version", "1.0")
	if msg.HTML == "" {
		part(&b, "text/plain", msg.Text)
		return b.Bytes(), nil
	}
	sum := sha256.Sum256([]byte(msg.ID + "\x00" + msg.Text + "\x00" + msg.HTML))
	boundary := "wedsync-" + hex.EncodeToString(sum[:16])
	header("Content-Type", `multipart/alternative; boundary="`+boundary+`"`)
	for _, p := range []struct{ kind, text string }{{"text/plain", msg.Text}, {"text/html", msg.HTML}} {
		b.WriteString("\r\n--" + boundary + "\r\n")
		part(&b, p.kind, p.text)
	}
	b.WriteString("\r\n--" + boundary + "--\r\n")
	return b.Bytes(), nil
}

// subject is one line, whatever the text holds, folded between its encoded words.
func subject(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxSubject {
		s = string(r[:maxSubject-1]) + "…"
	}
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", s), "?= =?", "?=\r\n =?")
}

func part(b *bytes.Buffer, kind, text string) {
	b.WriteString("Content-Type: " + kind + "; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(b)
	_, _ = w.Write([]byte(text)) // into a buffer
	_ = w.Close()
}
