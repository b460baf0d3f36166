package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const replayColumns = `id, org_id, filter, dry_run, rate, state, coalesce(total, 0), seen, replayed, skipped, tally, samples, requested_by, reason,
	error, created_at, updated_at, ended_at, overrides_freeze`

func scanReplayWith(row pgx.Row, more ...any) (r domain.Replay, err error) {
	var filter, tally, samples []byte
	err = row.Scan(append([]any{&r.ID, &r.OrgID, &filter, &r.DryRun, &r.Rate, &r.State, &r.Total, &r.Seen, &r.Replayed, &r.Skipped, &tally, &samples,
		&r.RequestedBy, &r.Reason, &r.Error, &r.CreatedAt, &r.UpdatedAt, &r.EndedAt, &r.OverridesFreeze}, more...)...)
	if err != nil {
		return r, err
	}
	r.CreatedAt, r.UpdatedAt, r.EndedAt = r.CreatedAt.UTC(), r.UpdatedAt.UTC(), utc(r.EndedAt)
	return r, errors.Join(json.Unmarshal(filter, &r.Filter), json.Unmarshal(tally, &r.Tally), json.Unmarshal(samples, &r.Samples))
}

func scanReplay(row pgx.Row) (domain.Replay, error) { return scanReplayWith(row) }

// checkReplayFilter refuses what chooses nothing or waits on its own.
func checkReplayFilter(f domain.ReplayFilter) error {
	switch f.State {
	case "", domain.DeliveryApplied, domain.DeliveryIgnored, domain.DeliveryDead:
	default:
		return domain.Invalid("filter.state", "must be applied, ignored or dead: others are still to be tried")
	}
	return searchOf(f).validate()
}

func searchOf(f domain.ReplayFilter) DeliveryFilter {
	out := DeliveryFilter{Integration: f.Integration, State: f.State, EventType: f.EventType, Entity: f.Entity}
	if f.From != nil {
		out.From = *f.From
	}
	if f.To != nil {
		out.To = *f.To
	}
	return out
}

// CreateReplay stores a replay as running and puts the start of its workflow into the outbox. An id that is stored already
// is returned as it is, with made false. Filter, rate and texts out of bounds are KindInvalid.
func (tx *Tx) CreateReplay(ctx context.Context, r domain.Replay) (out domain.Replay, made bool, err error) {
	if out, made, err = tx.insertReplay(ctx, r, domain.ReplayRunning); err != nil || !made {
		return out, made, err
	}
	return out, true, tx.Enqueue(ctx, OutboxReplayStart, string(r.ID), "", tx.Now)
}

func (tx *Tx) insertReplay(ctx context.Context, r domain.Replay, state domain.ReplayState) (out domain.Replay, made bool, err error) {
	if _, err := domain.ParseID[domain.ReplayID]("id", string(r.ID)); err != nil {
		return r, false, err
	}
	if r.Rate < 1 || r.Rate > domain.MaxReplayRate {
		return r, false, domain.Invalid("rate", "must be 1 to %d deliveries a second, is %d", domain.MaxReplayRate, r.Rate)
	}
	if err := errors.Join(checkReplayFilter(r.Filter), checkText("requested_by", r.RequestedBy, 200), checkText("reason", r.Reason, maxReason)); err != nil {
		return r, false, err
	}
	filter, err := json.Marshal(r.Filter)
	if err != nil {
		return r, false, domain.E(domain.KindInvalid, "encode filter: %w", err)
	}
	tag, err := tx.Exec(ctx, `INSERT INTO replays (id, org_id, filter, dry_run, rate, state, requested_by, reason, created_at, updated_at, overrides_freeze)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10) ON CONFLICT DO NOTHING`,
		r.ID, tx.Org, filter, r.DryRun, r.Rate, string(state), r.RequestedBy, r.Reason, tx.Now, r.OverridesFreeze)
	if err != nil {
		return r, false, fault("create replay", err)
	}
	out, err = tx.Replay(ctx, r.ID)
	return out, tag.RowsAffected() == 1, err
}

// Replay reads one replay; KindNotFound when the tenant has no such.
func (tx *Tx) Replay(ctx context.Context, id domain.ReplayID) (domain.Replay, error) {
	r, err := scanReplay(tx.QueryRow(ctx, "SELECT "+replayColumns+" FROM replays WHERE org_id = $1 AND id = $2", tx.Org, id))
	return r, missing("replay", "read replay", err)
}

// ReplayPlace is where a replay stands between two pages.
type ReplayPlace struct {
	After    domain.DeliveryID // the last one looked at
	LastCopy domain.DeliveryID // the last one made
	Counted  bool              // Total is known
}

// LockReplay reads a replay for its next page and keeps others from working on it.
func (tx *Tx) LockReplay(ctx context.Context, id domain.ReplayID) (domain.Replay, ReplayPlace, error) {
	var at ReplayPlace
	r, err := scanReplayWith(tx.QueryRow(ctx, "SELECT "+replayColumns+", position, last_copy, total IS NOT NULL FROM replays WHERE org_id = $1 AND id = $2 FOR UPDATE",
		tx.Org, id), &at.After, &at.LastCopy, &at.Counted)
	return r, at, missing("replay", "read replay", err)
}

// Replays lists replays, newest first.
func (tx *Tx) Replays(ctx context.Context, p Page) ([]domain.Replay, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	before, id := tx.Now.Add(time.Hour), lastUUID
	if p.After != "" {
		if before, id, err = parseTimeCursor(p.After); err != nil {
			return nil, "", err
		}
	}
	rows, err := tx.Query(ctx, "SELECT "+replayColumns+" FROM replays WHERE org_id = $1 AND (created_at, id) < ($2, $3) ORDER BY created_at DESC, id DESC LIMIT $4",
		tx.Org, before, rowID(id), limit+1)
	all, err := collect(rows, err, scanReplay)
	if err != nil {
		return nil, "", fault("list replays", err)
	}
	all, next := cut(all, limit, func(r domain.Replay) string { return timeCursor(r.CreatedAt, string(r.ID)) })
	return all, next, nil
}

// replayQuery chooses what a replay looks at, oldest first: what was made up to its request and is not to be tried anyway.
func replayQuery(head string, org domain.OrgID, r domain.Replay, after domain.DeliveryID) *query {
	f := searchOf(r.Filter)
	from, before := f.span()
	before = min(before, idFloor(r.CreatedAt.Add(time.Millisecond)))
	q := newQuery(head + " FROM deliveries")
	f.apply(q, org, from, before)
	if f.State == "" {
		q.where("state <> 'received' AND state <> 'retrying'")
	}
	if r.Filter.Delivery != "" {
		q.where("id = %s", r.Filter.Delivery)
	}
	if after != "" {
		q.where("id > %s", after)
	}
	return q
}

// maxReplayCount bounds how far the matches of a replay are counted.
const maxReplayCount = 100_000

// CountReplay stores how many deliveries the filter chooses, counted up to 100,000.
func (tx *Tx) CountReplay(ctx context.Context, r domain.Replay) (int, error) {
	q := &query{word: " WHERE "}
	inner := replayQuery("SELECT 1", tx.Org, r, "")
	q.args = inner.args
	q.add("SELECT count(*) FROM (" + inner.text())
	q.add(" LIMIT %s) x", maxReplayCount)
	var total int
	if err := tx.QueryRow(ctx, q.text(), q.args...).Scan(&total); err != nil {
		return 0, fault("count deliveries to replay", err)
	}
	_, err := tx.Exec(ctx, "UPDATE replays SET total = $3, updated_at = $4 WHERE org_id = $1 AND id = $2", tx.Org, r.ID, total, tx.Now)
	return total, fault("store count of replay", err)
}

// ReplayCandidate is a delivery that a replay comes to. Erased says that its content is gone, and Unreadable that it cannot be
// opened; then Raw has none.
type ReplayCandidate struct {
	Raw                domain.RawDelivery
	Erased, Unreadable bool
}

// ReplayCandidates reads the next deliveries of a replay, oldest first.
func (tx *Tx) ReplayCandidates(ctx context.Context, r domain.Replay, after domain.DeliveryID, limit int) ([]ReplayCandidate, error) {
	q := replayQuery("SELECT "+deliveryColumns+", content", tx.Org, r, after)
	q.add(" ORDER BY id LIMIT %s", limit)
	rows, err := tx.Query(ctx, q.text(), q.args...)
	out, err := collect(rows, err, func(row pgx.Row) (c ReplayCandidate, err error) {
		var sealed []byte
		if c.Raw.Delivery, err = scanDeliveryWith(row, &sealed); err != nil {
			return c, err
		}
		if c.Erased = len(sealed) == 0; c.Erased {
			return c, nil
		}
		if raw, err := tx.OpenDelivery(c.Raw.Delivery, sealed); err == nil {
			c.Raw = raw
		} else {
			c.Unreadable = true
		}
		return c, nil
	})
	return out, fault("read deliveries to replay", err)
}

// ReplayCopy is a delivery made by a replay.
type ReplayCopy struct {
	ID     domain.DeliveryID
	From   domain.DeliveryID // the one that was looked at
	Origin domain.DeliveryID // the one that the vendor sent
}

// CopyDeliveries hands deliveries in anew, in their order, behind the copies made before and, by their priority, behind what
// vendors send now. A replay makes one copy of an
// origin, so that running it again adds nothing; what is left out has no entry in the result. Dead letters that were copied
// become ignored with a note: the copy stands for them from now on. Their integrations are told through the outbox.
func (tx *Tx) CopyDeliveries(ctx context.Context, replay domain.ReplayID, lastCopy domain.DeliveryID, from []domain.RawDelivery) ([]ReplayCopy, error) {
	if len(from) == 0 {
		return nil, nil
	}
	at := tx.Now
	if last := idTime(string(lastCopy)); last != nil && !at.After(*last) {
		at = last.Add(time.Millisecond)
	}
	ids := make([]domain.DeliveryID, len(from))
	for i := range ids {
		ids[i] = domain.NewID[domain.DeliveryID](at)
	}
	slices.Sort(ids) // one millisecond's ids are random, and deliveries are applied in the order of their ids
	index := make(map[domain.DeliveryID]int, len(from))
	sealed := make([][]byte, len(from))
	for i, d := range from {
		index[ids[i]] = i
		sealed[i] = sealContent(tx.sealer, ids[i], d.Headers, d.Body)
	}
	rows, err := tx.Query(ctx, `INSERT INTO deliveries (id, org_id, integration_id, dedupe, size, received_at, content, origin_id, routed_from, replay_id, priority, trace)
		SELECT v.id, $1, v.integration_id, v.dedupe, v.size, v.received_at, v.content, v.origin_id, v.routed_from, $2, $11, v.trace
		FROM unnest($3::uuid[], $4::uuid[], $5::bytea[], $6::int[], $7::timestamptz[], $8::bytea[], $9::uuid[], $10::uuid[], $12::bytea[])
			v(id, integration_id, dedupe, size, received_at, content, origin_id, routed_from, trace)
		ON CONFLICT (integration_id, dedupe) DO NOTHING RETURNING id`, tx.Org, replay, arrayOf(ids),
		column(from, func(d domain.RawDelivery) domain.IntegrationID { return d.IntegrationID }),
		column(from, func(d domain.RawDelivery) []byte { return replayKey(replay, d.Position()) }),
		column(from, func(d domain.RawDelivery) int32 { return int32(d.Size) }),
		column(from, func(d domain.RawDelivery) time.Time { return d.ReceivedAt }), arrayOf(sealed),
		column(from, func(d domain.RawDelivery) domain.DeliveryID { return d.Position() }),
		column(from, func(d domain.RawDelivery) domain.DeliveryID { return d.RoutedFrom }), domain.PriorityBulk,
		column(from, func(d domain.RawDelivery) []byte { return d.Trace.Bytes() }))
	made, err := collect(rows, err, func(row pgx.Row) (id domain.DeliveryID, err error) { return id, row.Scan(&id) })
	if err != nil {
		return nil, fault("insert replayed deliveries", err)
	}
	slices.Sort(made)
	out := make([]ReplayCopy, len(made))
	for n, id := range made {
		d := from[index[id]]
		out[n] = ReplayCopy{ID: id, From: d.ID, Origin: d.Position()}
		if err := tx.Enqueue(ctx, OutboxDeliveries, string(d.IntegrationID), "", tx.Now); err != nil {
			return nil, err
		}
	}
	_, err = tx.Exec(ctx, `UPDATE deliveries d SET state = 'ignored', applied_at = $4, reason = 'replayed as delivery ' || v.copy::text
		FROM unnest($2::uuid[], $3::uuid[]) v(id, copy) WHERE d.org_id = $1 AND d.id = v.id AND d.state = 'dead'`, tx.Org,
		column(out, func(c ReplayCopy) domain.DeliveryID { return c.From }), column(out, func(c ReplayCopy) domain.DeliveryID { return c.ID }), tx.Now)
	return out, fault("settle replayed dead letters", err)
}

// ReplayStep is what one page of a replay did.
type ReplayStep struct {
	ReplayPlace
	Seen, Replayed, Skipped int
	Tally                   domain.ReplayTally
	Samples                 []domain.ReplaySample
}

// AdvanceReplay adds a page to a locked replay, in the transaction that did what it counts.
func (tx *Tx) AdvanceReplay(ctx context.Context, r domain.Replay, s ReplayStep) (domain.Replay, error) {
	tally, err := json.Marshal(addTally(r.Tally, s.Tally))
	if err != nil {
		return r, domain.E(domain.KindInternal, "encode tally: %w", err)
	}
	samples := slices.Concat(r.Samples, s.Samples)
	shown, err := json.Marshal(append([]domain.ReplaySample{}, samples[:min(len(samples), domain.MaxReplaySamples)]...))
	if err != nil {
		return r, domain.E(domain.KindInternal, "encode samples: %w", err)
	}
	r, err = scanReplay(tx.QueryRow(ctx, `UPDATE replays SET seen = seen + $3, replayed = replayed + $4, skipped = skipped + $5, tally = $6, samples = $7,
			position = coalesce($8, position), last_copy = coalesce($9, last_copy), updated_at = $10
		WHERE org_id = $1 AND id = $2 RETURNING `+replayColumns, tx.Org, r.ID, s.Seen, s.Replayed, s.Skipped, tally, shown, s.After, s.LastCopy, tx.Now))
	return r, fault("advance replay", err)
}

func addTally(a, b domain.ReplayTally) domain.ReplayTally {
	return domain.ReplayTally{Skipped: addCounts(a.Skipped, b.Skipped), Outcomes: addCounts(a.Outcomes, b.Outcomes), Effects: addCounts(a.Effects, b.Effects)}
}

func addCounts[K comparable](a, b map[K]int) map[K]int {
	out := make(map[K]int, len(a)+len(b))
	for _, m := range []map[K]int{a, b} {
		for k, n := range m {
			out[k] += n
		}
	}
	return out
}

// SetReplayState moves a replay on. One that has ended stays as it is, and is returned so; changed tells which it was.
func (tx *Tx) SetReplayState(ctx context.Context, id domain.ReplayID, state domain.ReplayState, reason string) (r domain.Replay, changed bool, err error) {
	r, _, err = tx.LockReplay(ctx, id)
	if err != nil || r.State.Ended() || r.State == state {
		return r, false, err
	}
	r, err = scanReplay(tx.QueryRow(ctx, `UPDATE replays SET state = $3, error = $4, updated_at = $5, ended_at = CASE WHEN $6 THEN $5::timestamptz END
		WHERE org_id = $1 AND id = $2 RETURNING `+replayColumns, tx.Org, id, string(state), clip(reason, maxReason), tx.Now, state.Ended()))
	return r, err == nil, fault("set state of replay", err)
}

// OverrideReplay notes that an admin lets a replay go on through a freeze.
func (tx *Tx) OverrideReplay(ctx context.Context, id domain.ReplayID) error {
	tag, err := tx.Exec(ctx, "UPDATE replays SET overrides_freeze = true, updated_at = $3 WHERE org_id = $1 AND id = $2", tx.Org, id, tx.Now)
	if err == nil && tag.RowsAffected() == 0 {
		return notFound("replay")
	}
	return fault("let a replay go on through a freeze", err)
}

// ReplayOutcomes counts what has become of a replay's deliveries, the first 10,000 of them.
func (tx *Tx) ReplayOutcomes(ctx context.Context, id domain.ReplayID) (map[domain.DeliveryState]int, error) {
	rows, err := tx.Query(ctx, replayOutcomesQuery, tx.Org, id, maxWaiting)
	out, err := collectMap[domain.DeliveryState, int](rows, err)
	return out, fault("count outcomes of replay", err)
}

const replayOutcomesQuery = `SELECT state, count(*) FROM (SELECT state FROM deliveries WHERE org_id = $1 AND replay_id = $2 ORDER BY id LIMIT $3) d GROUP BY state`
