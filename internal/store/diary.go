package store

import (
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// This file holds the reads of package diary: what is taken of one or of many resources, and how fresh the systems are that
// it is known from.

// Resources reads those of the resources that exist, among other reads, in the order of their ids.
func (r *Reads) Resources(ids []domain.ResourceID, out *[]domain.Resource) {
	if len(ids) == 0 {
		return
	}
	read(r, "read resources", out, "SELECT "+resourceColumns+" FROM resources WHERE org_id = $1 AND id = ANY($2::uuid[]) ORDER BY id", r.tx.scanResource,
		r.tx.Org, arrayOf(ids))
}

// SourceRow is a connection that brings bookings to a resource, with what there is to be known about its freshness.
type SourceRow struct {
	domain.Integration
	Watched bool       // the system posts to an active watch
	Wanted  *time.Time // a notice since which nothing was read
	Waiting *time.Time // since when a delivery waits to be applied, among the first few hundred that do
}

// Sources reads the connections that bring bookings to the resources, deleted ones left out, in the order of their ids.
func (r *Reads) Sources(resources []domain.ResourceID, out *[]SourceRow) {
	if len(resources) == 0 {
		return
	}
	read(r, "read sources", out, sourcesQuery, func(row pgx.Row) (s SourceRow, err error) {
		s.Integration, err = scanIntegration(row, &s.Watched, &s.Wanted, &s.Waiting)
		s.Wanted, s.Waiting = utc(s.Wanted), utc(s.Waiting)
		return s, err
	}, r.tx.Org, arrayOf(resources))
}

const sourcesQuery = "SELECT " + integrationColumns + `, coalesce(w.watched, false), w.wanted, d.waiting
	FROM integrations i
	LEFT JOIN LATERAL (SELECT bool_or(state = 'active') AS watched, min(pull_wanted_at) AS wanted FROM watches
		WHERE org_id = $1 AND integration_id = i.id) w ON true
	LEFT JOIN LATERAL (SELECT min(received_at) AS waiting FROM (
		(SELECT received_at FROM deliveries WHERE org_id = $1 AND integration_id = i.id AND state = 'received' LIMIT 200)
		UNION ALL (SELECT received_at FROM deliveries WHERE org_id = $1 AND integration_id = i.id AND state = 'retrying' LIMIT 200)) x) d ON true
	WHERE i.org_id = $1 AND i.resource_id = ANY($2::uuid[]) AND i.state <> 'deleted' AND i.direction IN ('import', 'bidirectional') ORDER BY i.id`

// LookedThrough is how many resources one search looks at. It is part of the statements, because the planner takes an
// unknown limit for a share of the table.
const LookedThrough = 1000

const lookedThrough = "1000"

// ResourceAsk names the resources that a search looks through, in the order of their ids; empty fields do not narrow it.
type ResourceAsk struct {
	After  domain.ResourceID
	Kind   domain.ResourceKind
	Skills []string // all of them, whatever the case of their letters
}

// ShutResource is a resource whose name was not opened yet: a search reads many and shows a few.
type ShutResource struct {
	domain.Resource
	sealed []byte
}

// OpenName opens the name of a resource.
func (tx *Tx) OpenName(r ShutResource) (domain.Resource, error) {
	name, err := tx.openName(r.ID, r.sealed)
	r.Name = name
	return r.Resource, err
}

// Searched reads up to LookedThrough resources and what is taken of them in span and the resource's own buffers around
// it, holds that are over left out.
func (r *Reads) Searched(ask ResourceAsk, span domain.Span, resources *[]ShutResource, near *[]BusyAllocation) {
	after := ask.After
	if after == "" {
		after = firstUUID
	}
	skills := make([]string, len(ask.Skills))
	for i, s := range ask.Skills {
		skills[i] = strings.ToLower(s)
	}
	read(r, "search resources", resources, searchedQuery, scanShut, r.tx.Org, after, string(ask.Kind), arrayOf(skills))
	read(r, "read allocations of a search", near, searchedNearQuery, r.tx.scanBusy, r.tx.Org, after, string(ask.Kind), arrayOf(skills),
		span.Start, span.End, r.tx.Now)
}

const searchedWhere = ` FROM resources WHERE org_id = $1 AND id > $2::uuid AND ($3 = '' OR kind = $3)
		AND NOT EXISTS (SELECT FROM unnest($4::text[]) want WHERE NOT EXISTS (SELECT FROM unnest(skills) have WHERE lower(have) = want))
		ORDER BY id LIMIT ` + lookedThrough

const searchedQuery = "SELECT " + resourceColumns + searchedWhere

var searchedNearQuery = `WITH near AS MATERIALIZED (SELECT id AS resource_id, $5::timestamptz - make_interval(secs => buffer_before_seconds) AS f,
			$6::timestamptz + make_interval(secs => buffer_after_seconds) AS t,
			$5::timestamptz - make_interval(secs => buffer_before_seconds) - interval '3 days' AS since` + searchedWhere + `)
		` + nearSelect("UNION ALL", "$7", "OFFSET 0")

func scanShut(row pgx.Row) (r ShutResource, err error) {
	var before, after int64
	err = row.Scan(&r.ID, &r.OrgID, &r.sealed, &r.Kind, &r.Zone, &r.Capacity, &before, &after, &r.Hours, &r.Skills,
		&r.OneWeddingADay, &r.CreatedAt, &r.UpdatedAt, &r.Version, &r.Travel.SpeedKmh, &r.Travel.MinMinutes, &r.Travel.FixedMinutes, &r.Blackouts, &r.LeadMinutes)
	r.BufferBefore, r.BufferAfter = time.Duration(before)*time.Second, time.Duration(after)*time.Second
	return r, err
}
