package ingest

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/chaos/rig"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
)

// target is an integration that senders post to.
type target struct {
	id     domain.IntegrationID
	secret []byte
}

// bed is the stack under test.
type bed struct {
	*rig.Rig
	o       Options
	control string // file that arms failpoints
	orders  int    // written to it so far
	targets []target
	stops   int // of Postgres, to take turns between its two ways
}

func newBed(ctx context.Context, o Options) (_ *bed, err error) {
	b := &bed{o: o}
	if b.Rig, err = rig.New(ctx, rig.Options{Binary: o.Binary, Dir: o.Dir, Say: o.Say}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.Close(err)
		}
	}()
	if err := b.seed(ctx); err != nil {
		return nil, err
	}
	b.control = filepath.Join(b.Dir, "failpoints")
	if err := os.WriteFile(b.control, nil, 0o600); err != nil {
		return nil, err
	}
	return b, b.Start("WEDSYNC_FAILPOINTS=" + b.control)
}

// seed makes the integrations, each in an organisation of its own.
func (b *bed) seed(ctx context.Context) error {
	db, err := b.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	for n := range b.o.Targets {
		now := time.Now()
		t := target{id: domain.NewID[domain.IntegrationID](now), secret: []byte(domain.NewID[domain.PushID](now))}
		_, err := rig.Connect(ctx, db, fmt.Sprintf("Studio %d", n+1), domain.Integration{ID: t.id, Name: "Studio system", Provider: "custom",
			State: domain.IntegrationActive, Direction: domain.DirectionImport, Settings: crmsim.MinimalWebhookSettings()},
			map[string]string{"webhook_secret": "whsec_" + base64.StdEncoding.EncodeToString(t.secret)})
		if err != nil {
			return err
		}
		b.targets = append(b.targets, t)
	}
	return nil
}

// settle waits until nothing waits any more, or ctx ends: what is left then is the checker's to report.
func (b *bed) settle(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, b.Stack.DatabaseURL())
	if err != nil {
		return fmt.Errorf("connect to see whether all is at rest: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	began := time.Now()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		var left int
		err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM deliveries WHERE state IN ('received', 'retrying')) + (SELECT count(*) FROM outbox)`).Scan(&left)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("see whether all is at rest: %w", err)
		}
		if held, err := b.dispatcherHolds(ctx); left == 0 && held == 0 && err == nil {
			b.o.Say(fmt.Sprintf("at rest after %v", time.Since(began).Round(100*time.Millisecond)))
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := b.Alive(); err != nil {
			return err
		}
	}
}

// dispatcherHolds asks the server how many workflows its dispatcher has yet to tell something.
func (b *bed) dispatcherHolds(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.Addr+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, fmt.Errorf("read the server's metrics: %w", err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 1<<20))
	for lines.Scan() {
		var n float64
		if rest, ok := strings.CutPrefix(lines.Text(), "wedsync_inbox_pending_targets "); ok {
			_, err := fmt.Sscan(rest, &n)
			return int(n), err
		}
	}
	return 0, errors.Join(lines.Err(), errors.New("read the server's metrics: wedsync_inbox_pending_targets is not among them"))
}
