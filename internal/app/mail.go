package app

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/mailer"
)

// SMTP is the mail server that notifications go through. Without Addr no mail is sent.
type SMTP struct {
	Addr         string // host:port
	Mode         string // of mailer.Mode
	From         string // mailbox
	Username     string
	Password     string // from the environment only: a flag would show it in the list of processes
	PasswordFile string // read instead of Password
	Private      bool   // it may have a private address
}

// mailer makes the way to the mail server, nil where there is none. Errors name the setting.
func (c Config) mailer() (*mailer.Mailer, error) {
	s := c.SMTP
	if s.Addr == "" {
		if s.From != "" || s.Username != "" || s.Password != "" || s.PasswordFile != "" {
			return nil, domain.Invalid("smtp-addr", "is required beside the other settings of mail")
		}
		return nil, nil
	}
	password, err := s.password()
	if err != nil {
		return nil, err
	}
	policy := httpx.PublicOnly
	if s.Private || c.AllowPrivate {
		policy = httpx.AllowPrivate
	}
	m, err := mailer.New(mailer.Options{Addr: s.Addr, Mode: mailer.Mode(s.Mode), Username: s.Username, Password: password, From: s.From, Allow: policy})
	if field := domain.FieldOf(err); field != "" {
		var known *domain.Error
		errors.As(err, &known)
		return nil, domain.Invalid("smtp-"+field, "%s", known.Text)
	}
	return m, err
}

func (s SMTP) password() (string, error) {
	switch {
	case s.Username == "" && (s.Password != "" || s.PasswordFile != ""):
		return "", domain.Invalid("smtp-username", "is required beside the password")
	case s.Username == "":
		return "", nil
	case s.Password != "" && s.PasswordFile != "":
		return "", domain.Invalid("smtp-password", "is given twice, in the environment and as a file")
	case s.Password != "":
		return s.Password, nil
	case s.PasswordFile == "":
		return "", domain.Invalid("smtp-password", "is required beside the user, in the environment variable or as a file")
	}
	f, err := os.Open(s.PasswordFile)
	if err != nil {
		return "", domain.Invalid("smtp-password-file", "cannot be opened: %s", errors.Unwrap(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if text = bytes.TrimSpace(text); err != nil || len(text) == 0 || len(text) > maxSecretFile {
		return "", domain.Invalid("smtp-password-file", "must hold the password, 1 to %d bytes", maxSecretFile)
	}
	return string(text), nil
}
