package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// Longest silence on a listening connection before the server is asked whether it is still there, and the bounds of the
// pause before a new connection is tried.
const (
	listenCheck    = 30 * time.Second
	listenPauseMin = 100 * time.Millisecond
	listenPauseMax = 5 * time.Second
)

// Listen calls fn after every notification of channel ([ChannelStream] or [ChannelOutbox]), several of them counting as
// one when fn is slow, and once at the start and after every break of the connection, because notifications may have
// been missed then. A notification says only that it is worth looking; readers should look now and then without one too.
//
// It keeps one connection of its own, opens a new one by itself after a break, and returns when ctx ends, with the
// context's error. fn runs in Listen's goroutine.
func (s *Store) Listen(ctx context.Context, channel string, fn func()) error {
	if channel != ChannelStream && channel != ChannelOutbox {
		return domain.Invalid("channel", "must be %s or %s", ChannelStream, ChannelOutbox)
	}
	wait := listenPauseMin
	for {
		heard := s.listenOnce(ctx, channel, fn)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if heard {
			wait = listenPauseMin
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, listenPauseMax)
	}
}

// listenOnce listens until the connection breaks, and reports whether it ever stood.
func (s *Store) listenOnce(ctx context.Context, channel string, fn func()) bool {
	conn, err := pgx.ConnectConfig(ctx, s.listen.Copy())
	if err != nil {
		return false
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(end) // nothing is pending on a connection that only listens
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return false
	}
	fn()
	for {
		quiet, cancel := context.WithTimeout(ctx, listenCheck)
		_, err := conn.WaitForNotification(quiet)
		timedOut := quiet.Err() != nil
		cancel()
		switch {
		case err == nil:
			drain(ctx, conn)
			fn()
		case ctx.Err() != nil, !timedOut:
			return true
		default:
			ask, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := conn.Ping(ask)
			cancel()
			if err != nil {
				return true
			}
		}
	}
}

// drain takes the notifications that have arrived already, so that a burst is one call.
func drain(ctx context.Context, conn *pgx.Conn) {
	done, cancel := context.WithCancel(ctx)
	cancel()
	for {
		// An ended context still hands out what is buffered, and nothing else.
		if n, err := conn.WaitForNotification(done); err != nil || n == nil {
			return
		}
	}
}
