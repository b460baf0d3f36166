package crmsim

import (
	"encoding/json"
	"strings"
)

// Settings returns the settings of a complete custom integration for the simulator at a base URL: webhook, list, read,
// write and probe. The secrets that go with it are webhook_secret and api_key.
func Settings(baseURL string) json.RawMessage {
	quoted, err := json.Marshal(strings.TrimSuffix(baseURL, "/"))
	if err != nil {
		panic("marshal a text: " + err.Error())
	}
	return json.RawMessage(strings.Replace(settings, `"BASE"`, string(quoted), 1))
}

// MinimalWebhookSettings returns the settings of an integration that only takes webhooks of the common form
// {"id", "type", "data": {…}}, signed by Standard Webhooks. Its only secret is webhook_secret.
func MinimalWebhookSettings() json.RawMessage { return json.RawMessage(minimal) }

const settings = `{
  "base_url": "BASE",
  "auth": {"kind": "header", "header": "X-Api-Key"},
  "mapping": {
    "op": "has(item.deleted) && item.deleted ? 'remove' : 'upsert'",
    "external_id": "item.id",
    "revision": "item.rev",
    "remote_version": "item.seq",
    "category": "{'wedding': 'wedding', 'engagement': 'engagement', 'vendor': 'vendor', 'meeting': 'consultation', 'travel': 'travel', 'hold': 'hold', 'maintenance': 'maintenance', 'personal': 'personal'}[?item.kind].orValue('hold')",
    "status": "{'booked': 'confirmed', 'pencilled': 'tentative', 'cancelled': 'cancelled'}[item.state]",
    "start": "item.starts",
    "end": "item.ends",
    "all_day": "item.?all_day",
    "zone": "item.?zone",
    "title": "item.?title",
    "location": "item.?venue",
    "notes": "item.?notes",
    "contact": "item.?client",
    "private": "item.?private",
    "free": "item.?free",
    "origin": "item.?ref"
  },
  "webhook": {
    "verify": {"scheme": "standard-webhooks"},
    "items": "body.type.startsWith('event.') ? [body.data] : []"
  },
  "list": {
    "path": "/api/events",
    "query": {"limit": "${page_size}", "page": "${page}", "since": "${since}"},
    "page_size": 50,
    "items": "body.events",
    "next": "body.?next",
    "total": "body.total",
    "incremental": {"token": "body.sync", "from": "first"}
  },
  "read": {
    "path": "/api/events/${entry.external_id}"
  },
  "write": {
    "idempotency_header": "Idempotency-Key",
    "keys_outlive_entries": true,
    "create": {
      "method": "POST",
      "path": "/api/events",
      "body": {
        "kind": "${entry.category == 'consultation' ? 'meeting' : entry.category}",
        "state": "${{'confirmed': 'booked', 'tentative': 'pencilled', 'cancelled': 'cancelled'}[entry.status]}",
        "starts": "${entry.all_day ? entry.start_date : (entry.floating ? entry.start_local : string(entry.start))}",
        "ends": "${entry.all_day ? entry.end_date : (entry.floating ? entry.end_local : string(entry.end))}",
        "all_day": "${entry.all_day}",
        "zone": "${entry.floating ? '' : entry.zone}",
        "title": "${entry.title}",
        "venue": "${entry.location}",
        "notes": "${entry.notes}",
        "client": "${entry.contact}",
        "ref": "${entry.booking_id}"
      }
    },
    "update": {
      "method": "PATCH",
      "path": "/api/events/${entry.external_id}",
      "headers": {"If-Match": "${entry.revision}"},
      "body": {
        "kind": "${entry.source ? optional.none() : optional.of(entry.category == 'consultation' ? 'meeting' : entry.category)}",
        "state": "${{'confirmed': 'booked', 'tentative': 'pencilled', 'cancelled': 'cancelled'}[entry.status]}",
        "starts": "${entry.all_day ? entry.start_date : (entry.floating ? entry.start_local : string(entry.start))}",
        "ends": "${entry.all_day ? entry.end_date : (entry.floating ? entry.end_local : string(entry.end))}",
        "all_day": "${entry.all_day}",
        "zone": "${entry.floating ? '' : entry.zone}",
        "title": "${entry.source ? optional.ofNonZeroValue(entry.title) : optional.of(entry.title)}",
        "venue": "${entry.source ? optional.ofNonZeroValue(entry.location) : optional.of(entry.location)}",
        "notes": "${entry.source ? optional.ofNonZeroValue(entry.notes) : optional.of(entry.notes)}",
        "client": "${entry.source ? optional.ofNonZeroValue(entry.contact) : optional.of(entry.contact)}",
        "ref": "${entry.source ? optional.none() : optional.of(entry.booking_id)}"
      }
    },
    "remove": {
      "method": "DELETE",
      "path": "/api/events/${entry.external_id}",
      "headers": {"If-Match": "${entry.revision}"}
    }
  },
  "probe": {"path": "/api/me"}
}
`

const minimal = `{
  "webhook": {
    "verify": {"scheme": "standard-webhooks"},
    "mapping": {
      "op": "body.type.endsWith('.deleted') ? 'remove' : 'upsert'",
      "external_id": "body.data.id",
      "remote_version": "body.data.?version",
      "category": "body.data.?category.orValue('wedding')",
      "status": "body.data.?status.orValue('confirmed')",
      "start": "body.data.start",
      "end": "body.data.end",
      "zone": "body.data.?zone",
      "title": "body.data.?title",
      "location": "body.data.?location",
      "notes": "body.data.?notes",
      "contact": "body.data.?contact",
      "private": "body.data.?private"
    }
  }
}
`
