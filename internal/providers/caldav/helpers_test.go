package caldav

import (
	"fmt"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

func when(start string, d time.Duration) domain.When {
	at, err := time.Parse(time.RFC3339, start)
	if err != nil {
		panic(err)
	}
	return domain.When{Span: domain.Span{Start: at, End: at.Add(d)}, Zone: "UTC", Kind: domain.TimeZoned}
}

func write(n int) provider.Write {
	return provider.Write{
		Key:       fmt.Sprintf("0193c000-0000-7000-8000-%012x", n),
		BookingID: domain.BookingID(fmt.Sprintf("0193b000-0000-7000-8000-%012x", n)),
		Category:  domain.CategoryWedding, Status: domain.StatusConfirmed,
		When:    when("2027-06-01T12:00:00Z", 8*time.Hour),
		Details: domain.Details{Title: "Wedding", Location: "Old barn; gate 2, left", Notes: "First line\nSecond line"},
	}
}

// pullAll reads all pages after a cursor into one.
func pullAll(t testing.TB, c *connection, cursor string) provider.Page {
	t.Helper()
	var all provider.Page
	for range 100 {
		page, err := c.Pull(t.Context(), cursor)
		if err != nil {
			t.Fatalf("pull: %v", err)
		}
		all.Changes = append(all.Changes, page.Changes...)
		all.Problems = append(all.Problems, page.Problems...)
		all.Next, all.Complete = page.Next, page.Complete
		if !page.More {
			return all
		}
		cursor = page.Next
	}
	t.Fatal("a listing of more than 100 pages")
	return all
}

// byID finds the change of an entry.
func byID(t testing.TB, page provider.Page, id string) domain.Change {
	t.Helper()
	for _, c := range page.Changes {
		if c.ExternalID == id {
			return c
		}
	}
	t.Fatalf("no change of %s among %d, problems %v", id, len(page.Changes), page.Problems)
	return domain.Change{}
}
