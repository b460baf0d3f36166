package ingest

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/domain"
)

// check holds the generator's log of acknowledgements against the table and adds to what is lost and duplicated.
func (b *bed) check(ctx context.Context, sum load.Summary, r *Result) error {
	acks, err := load.ReadLog(sum.Log)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, b.servers.DatabaseURL())
	if err != nil {
		return fmt.Errorf("connect to count what is stored: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	type row struct{ integration, dedupe [16]byte }               // the first half of a SHA-256 tells messages apart
	stored := make(map[[16]byte]row, len(acks))
	perMessage := make(map[row]int, len(acks))
	duplicated := 0
	rows, err := conn.Query(ctx, "SELECT id, integration_id, dedupe FROM deliveries")
	if err != nil {
		return fmt.Errorf("read what is stored: %w", err)
	}
	var id, integration [16]byte
	var dedupe []byte
	if _, err := pgx.ForEachRow(rows, []any{&id, &integration, &dedupe}, func() error {
		v := row{integration: integration}
		copy(v.dedupe[:], dedupe)
		stored[id] = v
		if perMessage[v]++; perMessage[v] > 1 {
			duplicated++
		}
		return nil
	}); err != nil {
		return fmt.Errorf("read what is stored: %w", err)
	}
	lost := 0
	told := make(map[[16]byte]bool, len(acks))
	for _, a := range acks {
		if told[a.Delivery] {
			duplicated++
		}
		told[a.Delivery] = true
		have, ok := stored[a.Delivery]
		want, key := b.targets[a.Target].Integration, load.DedupeKey(a.Message)
		// Only a signed message id makes a key that is known here.
		known := b.o.Scheme.Name == "" || b.o.Scheme.IDSigned
		if !ok || domain.FormatUUID(have.integration) != string(want) || known && !bytes.Equal(have.dedupe[:], key[:16]) {
			lost++
		}
	}
	b.o.Say(fmt.Sprintf("%d acknowledged ids held against %d rows: %d lost, %d duplicated", len(acks), len(stored), lost, duplicated))
	r.Lost += lost
	r.Duplicated += duplicated
	if len(acks) == 0 {
		return fmt.Errorf("nothing was acknowledged: answers %v", sum.Statuses)
	}
	return nil
}

// applied counts the deliveries that took effect so far.
func (b *bed) applied(ctx context.Context) (n int, err error) {
	conn, err := pgx.Connect(ctx, b.servers.DatabaseURL())
	if err != nil {
		return 0, fmt.Errorf("connect to count what is applied: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM deliveries WHERE state = 'applied'").Scan(&n); err != nil {
		return 0, fmt.Errorf("count what is applied: %w", err)
	}
	return n, nil
}

func meanBatch(metrics *prometheus.Registry) float64 {
	families, err := metrics.Gather()
	if err != nil {
		return 0
	}
	for _, f := range families {
		if f.GetName() == "wedsync_inbox_batch_rows" && len(f.GetMetric()) == 1 {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleSum() / float64(max(1, h.GetSampleCount()))
		}
	}
	return 0
}

func counters(metrics *prometheus.Registry, name string) string {
	families, err := metrics.Gather()
	if err != nil {
		return err.Error()
	}
	var parts []string
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			parts = append(parts, fmt.Sprintf("%s %.0f", strings.Join(labels, " "), m.GetCounter().GetValue()))
		}
	}
	return "signals: " + strings.Join(parts, ", ")
}
