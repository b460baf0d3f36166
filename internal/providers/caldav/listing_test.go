package caldav

import (
	"container/list"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
)

func TestAListingIsHandedOutWholeAndInOrder(t *testing.T) {
	t.Parallel()
	var members []member
	for n := range 1000 {
		m := member{path: fmt.Sprintf("/home/%d%s.ics", n, strings.Repeat("x", n%300)), etag: fmt.Sprintf(`"%d"`, n), gone: n%7 == 0}
		switch n % 10 {
		case 0, 5:
			m.etag = ""
		case 1:
			m.etag = fmt.Sprintf(`"%064x"`, n)
		case 2:
			m.etag = fmt.Sprintf(`"%06X"`, n+0xabc0)
		case 3:
			m.etag = fmt.Sprintf(`W/"%04x"`, n)
		case 4:
			m.etag = fmt.Sprintf(`"%03x"`, n)
		case 6:
			m.path = fmt.Sprintf("/home/inner/%d.ics", n)
		case 7:
			m.path = fmt.Sprintf("/elsewhere/%d", n)
		}
		members = append(members, m)
	}
	want := slices.Clone(members)
	slices.SortFunc(want, func(a, b member) int { return strings.Compare(a.path, b.path) })
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	for _, limit := range []int{1, 7, 1000, 2000} {
		l, after := listingOf(members), ""
		var got []member
		for part := l.after("", limit); len(part) > 0; part = l.after(after, limit) {
			got = append(got, part...)
			after = part[len(part)-1].path
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(member{})); diff != "" {
			t.Errorf("in parts of %d (-want +got):\n%s", limit, diff)
		}
	}
	if got := listingOf(members).after("/home/2", 1); len(got) != 1 || got[0].path <= "/home/2" {
		t.Errorf("behind a path that is not there: %v", got)
	}
	if got := listingOf(nil).after("", 5); len(got) != 0 {
		t.Errorf("of an empty calendar: %v", got)
	}
}

func TestKeptListingsAreBoundedInRoomAndTime(t *testing.T) {
	t.Parallel()
	k := &listings{recent: list.New(), byKey: map[[32]byte]*list.Element{}}
	now := time.Unix(1, 0)
	big := func() *listing { return &listing{text: make([]byte, listingRoom/4)} }
	for n := range byte(6) {
		k.keep([32]byte{n}, big(), now)
		k.keep([32]byte{n}, big(), now) // the next page of the same
		k.get([32]byte{0}, now)
	}
	if k.bytes > listingRoom || len(k.byKey) != 4 || k.get([32]byte{0}, now) == nil || k.get([32]byte{1}, now) != nil {
		t.Errorf("%d bytes in %d listings; want four, the one in use among them", k.bytes, len(k.byKey))
	}
	if k.get([32]byte{0}, now.Add(listingLife)) == nil {
		t.Error("a listing is gone before its time")
	}
	if k.get([32]byte{5}, now.Add(listingLife+1)) != nil {
		t.Error("a listing that nobody asked for is there after its time")
	}
	k.forget([32]byte{0})
	k.forget([32]byte{0})
	if k.bytes != 0 || len(k.byKey) != 0 || k.recent.Len() != 0 {
		t.Errorf("%d bytes in %d listings are left", k.bytes, len(k.byKey))
	}
}

func TestALargeCalendarIsListedOnceForAllItsPages(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]caldavsim.Options{"sync tokens": {}, "ETags": {NoSyncCollection: true}} {
		b := setup(t, opt)
		seed(b, 3*pageSize)
		before := b.sim.Requests()
		page, all := provider.Page{More: true}, 0
		for n := 0; page.More; n++ {
			conn := connect(t, b.conn.settings) // as another version of the integration would be
			conn.now = b.conn.now
			var err error
			if page, err = conn.Pull(t.Context(), page.Next); err != nil {
				t.Fatalf("%s: page %d: %v", name, n, err)
			}
			all += len(page.Changes)
		}
		asks := 2 // what it can do, and the list
		if opt.NoSyncCollection {
			asks++ // for a token, too
		}
		if want := asks + 3*pageSize/chunkSize; all != 3*pageSize || !page.Complete || b.sim.Requests()-before != want {
			t.Errorf("%s: %d entries, complete %v, %d requests; want %d, true and %d", name, all, page.Complete, b.sim.Requests()-before, 3*pageSize, want)
		}
		before = b.sim.Requests()
		if page, err := b.conn.Pull(t.Context(), page.Next); err != nil || page.More || b.sim.Requests()-before != 1 {
			t.Errorf("%s: without news %d requests, more %v: %v; want one", name, b.sim.Requests()-before, page.More, err)
		}
	}
}

func TestAListingThatIsNotKeptIsMadeAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	seed(b, 2*pageSize+1)
	first, err := b.conn.Pull(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	cur, err := b.conn.parseCursor(first.Next)
	if err != nil {
		t.Fatal(err)
	}
	at, err := b.conn.chosen()
	if err != nil {
		t.Fatal(err)
	}
	keptListings.forget(b.conn.keyOf(at, cur)) // the process ended
	rest := pullAll(t, b.conn, first.Next)
	if !rest.Complete || len(first.Changes)+len(rest.Changes) != 2*pageSize+1 {
		t.Errorf("%d and %d entries, complete %v", len(first.Changes), len(rest.Changes), rest.Complete)
	}
}

func TestAnAnswerThatIsCutOffOrLongerThanItSaysIsNoList(t *testing.T) {
	t.Parallel()
	const entry = `<response><href>/home/a.ics</href><propstat><prop><getetag>"1"</getetag></prop><status>HTTP/1.1 200 OK</status></propstat></response>`
	for name, body := range map[string]string{
		"cut inside":     `<multistatus xmlns="DAV:">` + entry + `<response><href>/home/b.ics`,
		"cut between":    `<multistatus xmlns="DAV:">` + entry,
		"another root":   `<error xmlns="DAV:"/>`,
		"other space":    `<multistatus>` + entry + `<sync-token>t</sync-token></multistatus>`,
		"empty":          ``,
		"no XML":         `welcome to the guest network`,
		"token unclosed": `<multistatus xmlns="DAV:"><sync-token>t`,
	} {
		if token, err := readMultistatus(strings.NewReader(body), func(msResponse) error { return nil }); err == nil {
			t.Errorf("%s: taken for a whole answer with token %q", name, token)
		}
	}
	n := 0
	token, err := readMultistatus(strings.NewReader(`<?xml version="1.0"?><D:multistatus xmlns:D="DAV:" xmlns:x="urn:x"><x:other><D:response/></x:other><D:sync-token>t</D:sync-token>`+
		`<D:response><D:href>/home/a.ics</D:href></D:response></D:multistatus>`), func(msResponse) error { n++; return nil })
	if err != nil || token != "t" || n != 1 {
		t.Errorf("a whole answer: %d responses, token %q, %v", n, token, err)
	}
}
