package lightblue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

const (
	// ourSource makes an ID unique together with it. It never changes: Light Blue would take a repeat for news.
	ourSource        = "WedSync"
	sourceAPIVersion = "1"
	dateFormat       = "yyyy/mm/dd"

	inboxPrefix = "inbox:"
	maxWriteKey = 100 // bytes
)

// inbox writes to Light Blue.
type inbox struct {
	client client
	types  map[domain.Category]string
	zone   *time.Location
}

func newInbox(c provider.Connection, s settings) (*inbox, error) {
	key := c.Secrets[secretKey]
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return &inbox{client: client{http: c.HTTP, base: s.base(), key: key}, types: s.ShootTypes, zone: c.Zone}, nil
}

// Probe asks whether the key is accepted.
func (b *inbox) Probe(ctx context.Context) error {
	if err := b.client.checkKey(ctx); err != nil {
		return domain.E(domain.KindOf(err), "probe Light Blue: %w", err)
	}
	return nil
}

// Identity is the account whose key it is.
func (b *inbox) Identity() string {
	return provider.IdentityOf("lightblue", b.client.base, b.client.key)
}

// Unlisted reports whether an entry lies in the Inbox, which nobody can read.
func (b *inbox) Unlisted(externalID string) bool { return strings.HasPrefix(externalID, inboxPrefix) }

// Foretold is the id that the messages about a booking have, whichever of them arrived.
func (b *inbox) Foretold(key string) string { return inboxPrefix + key }

// Put sends a message, unless the last one says the same; see the package comment.
func (b *inbox) Put(ctx context.Context, w provider.Write) (provider.Written, error) {
	done, err := b.put(ctx, w)
	if err != nil {
		return provider.Written{}, domain.E(domain.KindOf(err), "write to Light Blue: %w", err)
	}
	return done, nil
}

func (b *inbox) put(ctx context.Context, w provider.Write) (provider.Written, error) {
	if w.Source {
		return provider.Written{}, domain.E(domain.KindPermanent, "Light Blue lets nobody change its records from outside; a person has to do it there")
	}
	if w.Key == "" || len(w.Key) > maxWriteKey {
		return provider.Written{}, domain.Invalid("key", "must have 1 to %d bytes, has %d", maxWriteKey, len(w.Key))
	}
	if err := w.When.Validate("when"); err != nil {
		return provider.Written{}, err
	}
	id := inboxPrefix + w.Key
	if w.ExternalID != "" && w.ExternalID != id {
		if !b.Unlisted(w.ExternalID) || w.Revision == "" {
			return provider.Written{}, domain.E(domain.KindConflict, "the entry is not a message of ours")
		}
		id = w.ExternalID
	}
	form := b.form(w)
	says := digestOf(form.Encode())
	out := provider.Written{ExternalID: id, Revision: w.Revision, ReadBack: domain.Change{Op: domain.OpUpsert, ExternalID: id, Revision: w.Revision,
		Category: w.Category, Status: w.Status, When: w.When, Details: w.Details, Origin: w.BookingID}}
	if said, _, _ := strings.Cut(w.Revision, "."); said == says && !w.Unsure {
		return out, nil
	}
	// What was said before counts too: a booking that is changed back is news, and its message must not be a repeat.
	message := digestOf(w.Revision + "\n" + says)
	out.Revision = says + "." + message
	out.ReadBack.Revision = out.Revision
	kind := "New booking from WedSync"
	switch {
	case w.ExternalID != "":
		kind = "WedSync: this booking was CHANGED. Please bring its record up to date."
	case w.Unsure:
		kind = "New booking from WedSync. If there is a message with the same reference already, this one counts."
	}
	form.Set("Message", kind+"\n"+form.Get("Message"))
	if err := b.message(ctx, form, id, message); err != nil {
		return provider.Written{}, err
	}
	return out, nil
}

// Remove sends a message that says that a booking is gone. Nothing can be taken out of an Inbox.
func (b *inbox) Remove(ctx context.Context, externalID, _ string) error {
	if !b.Unlisted(externalID) || len(externalID) > len(inboxPrefix)+maxWriteKey {
		return domain.E(domain.KindConflict, "remove from Light Blue: the entry is not a message of ours")
	}
	form := url.Values{"Message": {"WedSync: a booking that was sent before is CANCELLED or belongs here no more. Please take its record out. If there is none, nothing is to be done.\n" + reference(externalID)}}
	if err := b.message(ctx, form, externalID, "removed"); err != nil {
		return domain.E(domain.KindOf(err), "remove from Light Blue: %w", err)
	}
	return nil
}

// message sends a form under an ID that only a repeat of it has.
func (b *inbox) message(ctx context.Context, form url.Values, externalID, what string) error {
	form.Set("ID", strings.TrimPrefix(externalID, inboxPrefix)+"."+what)
	form.Set("Source", ourSource)
	form.Set("SourceAPIVersion", sourceAPIVersion)
	return b.client.send(ctx, form)
}

// reference is by what a person finds the messages that belong together.
func reference(externalID string) string {
	return "Reference: " + strings.TrimPrefix(externalID, inboxPrefix)
}

// form says what a booking is. Times are local to the resource: offsets are ignored there.
func (b *inbox) form(w provider.Write) url.Values {
	title := strings.TrimSpace(w.Details.Title)
	if title == "" {
		title = "Busy"
	}
	id := w.ExternalID
	if id == "" {
		id = inboxPrefix + w.Key
	}
	start, end := calendartime.WallOf(w.When.Start, b.zone), calendartime.WallOf(w.When.End, b.zone)
	form := url.Values{"DateFormat": {dateFormat}, "ShootTitle": {title}, "ShootDate": {strings.ReplaceAll(start.Date().String(), "-", "/")}}
	span := start.String()[:16] + " to " + end.String()[:16] + " (" + b.zone.String() + ")"
	if first, after, ok := calendartime.WholeDays(w.When.Span, b.zone); ok && w.When.Kind == domain.TimeAllDay {
		span = first.String() + ", all day"
		if last := after.AddDays(-1); last != first {
			span = first.String() + " to " + last.String() + ", all day"
		}
	} else {
		form.Set("ShootTimeStart", start.String()[11:16])
		if start.Date() == end.Date() {
			form.Set("ShootTimeEnd", end.String()[11:16])
		}
	}
	lines := []string{title, "When: " + strings.ReplaceAll(span, "T", " ")}
	if at := strings.TrimSpace(w.Details.Location); at != "" {
		form.Set("ShootLocation", at)
		lines = append(lines, "Where: "+at)
	}
	if kind := b.types[w.Category]; kind != "" {
		form.Set("ShootType", kind)
	}
	if who := strings.TrimSpace(w.Details.Contact); who != "" {
		form.Set("ContactNameFull", who)
	}
	if notes := strings.TrimSpace(w.Details.Notes); notes != "" {
		lines = append(lines, notes)
	}
	lines = append(lines, "Status: "+string(w.Status), reference(id))
	form.Set("Message", strings.Join(lines, "\n"))
	return form
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
