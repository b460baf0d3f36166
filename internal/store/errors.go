package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wedsync/wedsync/internal/domain"
)

// SQLFault is what the server said about a statement, reduced to what is safe to show: neither its message nor its
// detail is kept, because both can quote values.
type SQLFault struct {
	Code       string // SQLSTATE
	Constraint string // name of the broken constraint, or ""
	Table      string
}

// Error names the SQLSTATE and the constraint.
func (f *SQLFault) Error() string {
	if f.Constraint != "" {
		return fmt.Sprintf("constraint %s (SQLSTATE %s)", f.Constraint, f.Code)
	}
	return "SQLSTATE " + f.Code
}

// fault gives an error of pgx its kind. It is the only place where that is decided. doing says what was being done.
// Errors that have a kind already keep it.
func fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	var known *domain.Error
	if errors.As(err, &known) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return &domain.Error{Kind: kindOfState(server.Code), Text: doing,
			Err: &SQLFault{Code: server.Code, Constraint: server.ConstraintName, Table: server.TableName}}
	}
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return &domain.Error{Kind: domain.KindNotFound, Text: doing + ": no such row"}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		cause := context.Canceled
		if errors.Is(err, context.DeadlineExceeded) {
			cause = context.DeadlineExceeded
		}
		return &domain.Error{Kind: domain.KindUnavailable, Text: doing, Err: cause}
	case errors.As(err, &connect), errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed), pgconn.SafeToRetry(err), pgconn.Timeout(err),
		strings.Contains(err.Error(), "closed pool"), strings.Contains(err.Error(), "conn closed"):
		return &domain.Error{Kind: domain.KindUnavailable, Text: doing + ": connection to the database"}
	case errors.Is(err, errNotUUID):
		return &domain.Error{Kind: domain.KindInvalid, Text: doing, Err: errNotUUID}
	case strings.Contains(err.Error(), "encode"):
		// pgx quotes the value that it could not encode.
		return &domain.Error{Kind: domain.KindInternal, Text: doing + ": a parameter does not fit its type"}
	}
	return &domain.Error{Kind: domain.KindInternal, Text: doing, Err: err}
}

// kindOfState translates an SQLSTATE.
func kindOfState(code string) domain.ErrorKind {
	switch code {
	case "23505", "23P01":
		return domain.KindConflict
	case "40001", "40P01": // repeated by Tenant already
		return domain.KindUnavailable
	case "55P03", "57014": // lock or statement timeout
		return domain.KindUnavailable
	case "25006", "25P03": // read-only after a failover; idle in a transaction for too long
		return domain.KindUnavailable
	case "42501":
		return domain.KindForbidden
	}
	if len(code) != 5 {
		return domain.KindInternal
	}
	switch code[:2] {
	case "08", "53", "57", "58":
		return domain.KindUnavailable
	case "22", "23":
		return domain.KindInvalid
	}
	return domain.KindInternal
}

// repeatable reports whether the server asked for the whole transaction to be run again.
func repeatable(err error) bool {
	var f *SQLFault
	if errors.As(err, &f) {
		return f.Code == "40001" || f.Code == "40P01"
	}
	var server *pgconn.PgError
	return errors.As(err, &server) && (server.Code == "40001" || server.Code == "40P01")
}

// ConstraintOf returns the name of the constraint that err is about, or "".
func ConstraintOf(err error) string {
	var f *SQLFault
	if errors.As(err, &f) {
		return f.Constraint
	}
	return ""
}

func notFound(what string) error { return domain.E(domain.KindNotFound, "no such %s", what) }

// missing turns an absent row into a not_found that says what was looked for.
func missing(what, doing string, err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return notFound(what)
	}
	return fault(doing, err)
}
