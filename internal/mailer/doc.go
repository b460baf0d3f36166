// Package mailer hands mail to one SMTP server.
//
//	m, err := mailer.New(mailer.Options{Addr: "smtp.example.com:587", From: "WedSync <notify@example.com>", Username: "u", Password: "p"})
//	err = m.Send(ctx, mailer.Message{ID: "ntf-1", To: "ann@example.com", Subject: "…", Text: "…", HTML: "…", Date: now})
//
// # Promises
//
//   - STARTTLS (RFC 3207) or TLS from the first byte (RFC 8314), TLS 1.2 at least, the certificate checked against the name in
//     Addr. A server that does not offer STARTTLS gets neither credentials nor mail. Plain needs AllowPrivate.
//   - Connections obey the same address rules as [httpx.Client]: the address is checked after resolving, when it is made.
//   - Dialling and the whole exchange have time limits, and what the server says has a size limit.
//   - A message is handed over once per Send. If the connection breaks between the end of the data and the answer, nobody can
//     know whether it was taken (RFC 5321 section 4.5.5, RFC 1047); it counts as unavailable, and another Send of the same
//     Message has the same Message-ID, boundary and headers, by which a duplicate is known.
//   - Errors hold the step and the reply code, and never an address, a credential, or what the server said: servers quote
//     recipients. Nothing is logged.
//
// # Errors
//
// 4xx replies, timeouts, refused or broken connections, and faults that an operator mends (credentials, STARTTLS missing, an
// untrusted certificate, a sender refused) are unavailable: the same call may work later. 5xx replies to the recipient or
// the data are permanent. A recipient that is no address is invalid.
//
// # Testing
//
// Tests run against internal/sim/smtpsim.
package mailer
