package reconcile

import (
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Join is a person's word that two bookings are one event. Keep goes on; Drop is cancelled, remembers Keep, and gives it the
// entries that systems have of their own. Its copies that WedSync wrote go away, as Keep has its own.
type Join struct {
	Keep, Drop domain.BookingID
	Along      []domain.BookingID // merged into Drop before, at any depth
}

// Part is a person's word that a booking is two events. Either Back, which was merged into From, becomes a booking of its own
// again with its entries, or Entries of From become a new booking.
type Part struct {
	From    domain.BookingID
	Back    domain.BookingID
	Was     domain.BookingStatus // of Back before it was merged
	Had     bool                 // Back had entries that were there when it was merged, so without any it is over
	Along   []domain.BookingID   // merged into Back before; they go with it
	Entries []domain.LinkID
}

// HadEntries reports whether a system had a booking as an entry of its own when a choice was made about it.
func HadEntries(c domain.LinkChoice, id domain.BookingID) bool {
	return slices.ContainsFunc(c.Entries, func(e domain.ChosenEntry) bool { return e.BookingID == id && e.Live })
}

// Family tells of a booking that was merged into another, together with the bookings merged, by which choice it was and which
// of them were merged into it before, so that they go with it when it is parted. choices are those about any of them.
func Family(back domain.BookingID, merged []domain.BookingID, choices []domain.LinkChoice) (by domain.LinkChoice, along []domain.BookingID) {
	under := map[domain.BookingID]domain.LinkChoice{}
	for _, c := range choices {
		// The newest of several counts: a booking that was parted and linked again belongs where it was linked last.
		if had, known := under[c.BookingID]; c.Decision == domain.DecidedLinked && slices.Contains(merged, c.BookingID) && (!known || c.At.After(had.At)) {
			under[c.BookingID] = c
		}
	}
	for grown := true; grown; {
		grown = false
		for _, id := range merged {
			at := under[id].OtherID
			if id != back && !slices.Contains(along, id) && (at == back || slices.Contains(along, at)) {
				along, grown = append(along, id), true
			}
		}
	}
	return under[back], along
}

// ChosenEntries notes the entries of systems' own among links, by which a person's word about their bookings is known again.
func ChosenEntries(links []domain.Link) []domain.ChosenEntry {
	var out []domain.ChosenEntry
	for _, l := range links {
		if !l.Mirror {
			out = append(out, domain.ChosenEntry{BookingID: l.BookingID, IntegrationID: l.IntegrationID, UID: l.UID, Texts: l.Agreed.ThereTexts,
				Live: l.RemovedAt == nil})
		}
	}
	return out
}

func refuse(why string) Outcome { return Outcome{Effect: EffectRejected, Reason: why} }

func (w *world) applyJoin(j Join) Outcome {
	keep, drop := w.bookings[j.Keep], w.bookings[j.Drop]
	switch {
	case keep == nil || drop == nil:
		return refuse("booking_id: no such booking")
	case j.Keep == j.Drop:
		return refuse("booking_id: a booking is always the same as itself")
	case keep.MergedInto != "" || drop.MergedInto != "":
		return refuse("booking_id: is linked with another booking already")
	case keep.Status == domain.StatusCancelled || drop.Status == domain.StatusCancelled:
		return refuse("booking_id: a cancelled booking takes no time and cannot be linked")
	case keep.ResourceID != drop.ResourceID:
		return refuse("booking_id: the bookings are of two resources; give one of them the other's first")
	}
	for _, l := range w.linksOf(drop.ID) {
		if !l.Mirror && l.RemovedAt == nil && w.ownIn(keep.ID, l.IntegrationID) {
			return refuse("booking_id: one system has both as entries of its own, and so holds them for two events; remove one of them there")
		}
	}
	w.put(*keep)
	now := *w.bookings[keep.ID]
	for _, l := range slices.Clone(w.linksOf(drop.ID)) {
		w.unask(l)
		if l.Mirror {
			continue
		}
		if l.HomeID == "" {
			l.HomeID = drop.ID
		}
		w.rebook(l, keep.ID)
		rebase(l, now)
		w.touchLink(l)
	}
	for _, id := range append([]domain.BookingID{drop.ID}, j.Along...) {
		if b := w.bookings[id]; b != nil {
			gone := *b
			gone.Status, gone.MergedInto = domain.StatusCancelled, keep.ID
			w.put(gone)
		}
	}
	return Outcome{Effect: EffectLinked, BookingID: keep.ID, Reason: "the same event, by a person's decision"}
}

// ownIn reports whether a system has a booking as a live entry of its own.
func (w *world) ownIn(id domain.BookingID, in domain.IntegrationID) bool {
	return slices.ContainsFunc(w.linksOf(id), func(l *domain.Link) bool { return l.IntegrationID == in && !l.Mirror && l.RemovedAt == nil })
}

// rebook gives an entry to another booking.
func (w *world) rebook(l *domain.Link, id domain.BookingID) {
	w.byBooking[l.BookingID] = slices.DeleteFunc(slices.Clone(w.byBooking[l.BookingID]), func(o *domain.Link) bool { return o == l })
	l.BookingID, w.gained[l] = id, true
	w.byBooking[id] = append(w.byBooking[id], l)
}

// rebase makes a booking the one that an entry's later news is compared with; what the entry says stays known.
func rebase(l *domain.Link, b domain.Booking) {
	l.Agreed.Version, l.Agreed.Shape, l.Agreed.Since, l.Agreed.Texts, l.Agreed.Told, l.Agreed.Writing = b.Version, shapeOf(b), b.Version, textsOfBooking(b), false, ""
}

func (w *world) applyPart(p Part) Outcome {
	from := w.bookings[p.From]
	if from == nil || from.MergedInto != "" {
		return refuse("id: no such booking, or one that is linked with another")
	}
	var (
		b     domain.Booking
		moved []*domain.Link
	)
	if p.Back != "" {
		had := w.bookings[p.Back]
		if had == nil || had.MergedInto != p.From {
			return refuse("booking_id: is not linked with this booking")
		}
		family := append([]domain.BookingID{p.Back}, p.Along...)
		for _, l := range w.linksOf(p.From) {
			if !l.Mirror && slices.Contains(family, l.HomeID) {
				moved = append(moved, l)
			}
		}
		b = *had
		b.MergedInto, b.Status = "", p.Was
		if b.Status == "" {
			b.Status = domain.StatusConfirmed
		}
	} else {
		for _, l := range w.linksOf(p.From) {
			if slices.Contains(p.Entries, l.ID) {
				if l.Mirror || l.RemovedAt != nil {
					return refuse("link_id: only an entry of the system's own that is there can be parted")
				}
				moved = append(moved, l)
			}
		}
		if len(moved) == 0 || len(moved) != len(p.Entries) {
			return refuse("link_id: no such entry of this booking")
		}
		stays := from.SourceID == ""
		for _, l := range w.linksOf(p.From) {
			stays = stays || !l.Mirror && l.RemovedAt == nil && !slices.Contains(moved, l)
		}
		if !stays {
			return refuse("link_id: the booking has no other entry, so there is nothing to part")
		}
		b = *from
		b.ID, b.SourceID, b.BesideID, b.CreatedAt = newID[domain.BookingID](w), moved[0].IntegrationID, "", w.in.Now
	}
	w.depart(&b, p, moved)
	w.put(b)
	b = *w.bookings[b.ID]
	for _, l := range moved {
		rebase(l, b)
		w.touchLink(l)
	}
	for _, id := range p.Along {
		if c := w.bookings[id]; c != nil {
			under := *c
			under.MergedInto = b.ID
			w.put(under)
		}
	}
	w.stayBehind(*from, moved)
	return Outcome{Effect: EffectUpdated, BookingID: b.ID, Reason: "an event of its own, by a person's decision"}
}

// depart gives entries to the booking that is parted, with the time that they were last seen to have. What else they say
// was not kept, so their next reading counts as news.
func (w *world) depart(b *domain.Booking, p Part, moved []*domain.Link) {
	live := false
	for _, l := range moved {
		w.unask(l)
		w.rebook(l, b.ID)
		if !slices.Contains(p.Along, l.HomeID) {
			l.HomeID = ""
		}
		if l.RemovedAt == nil && !live {
			live = true
			if span, status, ok := lastSeen(l); ok {
				b.When.Start, b.When.End, b.Status = span.Start, span.End, status
			}
		}
		l.Hash, l.Agreed.ThereTexts = "", ""
	}
	if p.Had && !live {
		// They went, or were parted from it one by one, while it was part of the other.
		b.Status = domain.StatusCancelled
	}
}

// stayBehind is the other side: a booking that lived through the parted entries only is over, unless a person made it.
func (w *world) stayBehind(from domain.Booking, moved []*domain.Link) {
	var live []*domain.Link
	for _, l := range w.linksOf(from.ID) {
		if !l.Mirror && l.RemovedAt == nil {
			live = append(live, l)
		}
	}
	if from.SourceID != "" {
		if len(live) == 0 && slices.ContainsFunc(moved, func(l *domain.Link) bool { return l.RemovedAt == nil }) {
			from.Status = domain.StatusCancelled
		}
		if len(live) > 0 && !slices.ContainsFunc(live, func(l *domain.Link) bool { return l.IntegrationID == from.SourceID }) {
			from.SourceID = live[0].IntegrationID
		}
	}
	w.put(from)
}

// lastSeen is when an entry of the system's own took place when it was last read.
func lastSeen(l *domain.Link) (domain.Span, domain.BookingStatus, bool) {
	text, status, ok := strings.Cut(l.Agreed.There, " ")
	start, end, also := strings.Cut(text, "/")
	if !ok || !also {
		return domain.Span{}, "", false
	}
	from, errFrom := time.Parse(time.RFC3339, start)
	to, errTo := time.Parse(time.RFC3339, end)
	s := domain.Span{Start: from.UTC(), End: to.UTC()}
	switch domain.BookingStatus(status) {
	case domain.StatusConfirmed, domain.StatusTentative:
		return s, domain.BookingStatus(status), errFrom == nil && errTo == nil && s.Valid()
	case domain.StatusCancelled:
	}
	return s, "", false
}

// rejudge looks at a booking anew.
func (w *world) rejudge(id domain.BookingID) Outcome {
	if _, ok := w.bookings[id]; !ok {
		return Outcome{Effect: EffectUnknown, Reason: "no such booking"}
	}
	w.rejudged = append(w.rejudged, id)
	return Outcome{Effect: EffectUnchanged, BookingID: id}
}

// sameEntry reports whether a new entry is one that a person decided about, under another id: in the same system the shared
// id or the very words, in another one, such as the same calendar connected anew, both.
func (w *world) sameEntry(e domain.ChosenEntry, c domain.Change, texts string) bool {
	uid, words := e.UID != "" && e.UID == c.UID, e.Texts != "" && e.Texts == texts
	if e.IntegrationID == w.in.From.ID {
		return uid || words
	}
	return uid && words
}

// sides tells of which bookings of a choice a new entry is.
func (w *world) sides(choice domain.LinkChoice, c domain.Change, texts string) (of map[domain.BookingID]bool) {
	of = map[domain.BookingID]bool{}
	for _, e := range choice.Entries {
		if w.sameEntry(e, c, texts) {
			of[e.BookingID] = true
		}
	}
	return of
}

// parted reports whether a person said that the entry is another event than a booking.
func (w *world) parted(c domain.Change, id domain.BookingID) bool {
	if len(w.in.Choices) == 0 {
		return false
	}
	texts := textsOfEntry(c)
	for _, choice := range w.in.Choices {
		if choice.Decision != domain.DecidedUnlinked || choice.BookingID != id && choice.OtherID != id {
			continue
		}
		if of := w.sides(choice, c, texts); len(of) > 0 && !of[id] {
			return true
		}
	}
	return false
}

// chosen finds the booking that a person said the entry belongs to.
func (w *world) chosen(c domain.Change) domain.BookingID {
	if len(w.in.Choices) == 0 {
		return ""
	}
	texts := textsOfEntry(c)
	for _, choice := range w.in.Choices {
		if choice.Decision != domain.DecidedLinked || len(w.sides(choice, c, texts)) == 0 {
			continue
		}
		b := w.bookings[choice.OtherID]
		if b != nil && b.MergedInto != "" {
			b = w.bookings[b.MergedInto]
		}
		if b != nil && b.Status != domain.StatusCancelled && b.ResourceID == w.in.From.ResourceID && !w.hasOwnLink(b.ID) && !w.parted(c, b.ID) {
			return b.ID
		}
	}
	return ""
}
