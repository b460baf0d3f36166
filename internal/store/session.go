package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// session is a transaction that costs no round trips of its own: it begins along with its first statements and commits
// along with its last. pgx's own transactions need one for each, which is a sixth of the time of applying a change.
//
// A transaction in which nothing was asked never reaches the server.
type session struct {
	conn  *pgxpool.Conn
	begin string // the statement that begins it
	org   string // of wedsync.org
	begun bool
	ended bool
}

const setOrg = "select set_config('wedsync.org', $1, true)"

// SendBatch is [pgx.Tx.SendBatch].
func (s *session) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if s.begun {
		return s.conn.SendBatch(ctx, b)
	}
	var all pgx.Batch
	s.queueBegin(&all)
	first := len(all.QueuedQueries)
	all.QueuedQueries = append(all.QueuedQueries, b.QueuedQueries...)
	results := s.conn.SendBatch(ctx, &all)
	for range first {
		// Its error comes again with the results that the caller reads.
		_, _ = results.Exec()
	}
	return results
}

func (s *session) queueBegin(b *pgx.Batch) {
	b.Queue(s.begin)
	b.Queue(setOrg, s.org)
	s.begun = true
}

// start begins before a statement that travels alone.
func (s *session) start(ctx context.Context) error {
	if s.begun {
		return nil
	}
	var b pgx.Batch
	s.queueBegin(&b)
	return s.conn.SendBatch(ctx, &b).Close()
}

// Exec is [pgx.Tx.Exec].
func (s *session) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := s.start(ctx); err != nil {
		return pgconn.CommandTag{}, err
	}
	return s.conn.Exec(ctx, sql, args...)
}

// Query is [pgx.Tx.Query].
func (s *session) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	return s.conn.Query(ctx, sql, args...)
}

// QueryRow is [pgx.Tx.QueryRow].
func (s *session) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := s.start(ctx); err != nil {
		return failedRow{err}
	}
	return s.conn.QueryRow(ctx, sql, args...)
}

type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

// commit sends the last statements and commits. After an error of any of them nothing is stored; after a broken
// connection that is not known.
func (s *session) commit(ctx context.Context, last *pgx.Batch) error {
	if !s.begun && last.Len() == 0 {
		s.ended = true
		return nil
	}
	last.Queue("commit").Exec(func(tag pgconn.CommandTag) error {
		if tag.String() == "ROLLBACK" {
			return pgx.ErrTxCommitRollback
		}
		s.ended = true
		return nil
	})
	return s.SendBatch(ctx, last).Close()
}

// end gives the connection back, and rolls back what was not committed. It must reach the server also when ctx has
// ended, else the connection is lost.
func (s *session) end(ctx context.Context) {
	if raw := s.conn.Conn(); !s.ended && !raw.IsClosed() && raw.PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// If this fails the pool throws the connection away, which rolls back too.
		_, _ = s.conn.Exec(ctx, "rollback")
	}
	s.conn.Release()
}
