package demo

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
)

type story struct {
	target Target
	o      Options
	api    *apiclient.Client

	day      time.Time // local midnight of the wedding
	loc      *time.Location
	resource string
	calendar *calendar
	crm      *crmsim.CRM
	crmHTTP  *http.Server

	calendarID, crmID string // integrations
	hook              string // where the customer system posts
	delivery          string
	message           crmsim.Message
	event             crmsim.Event // the consultation in the customer system
	booking           domain.Booking
	conflict          domain.Conflict
	moved             domain.When
	runID             string

	stopStream context.CancelFunc
	mu         sync.Mutex
	seen       []apiclient.Event
	streamErr  error
}

type step func(ctx context.Context) (string, error)

func (s *story) steps() []step {
	return []step{s.ready, s.addPhotographer, s.connectCalendar, s.firstSync, s.connectCRM, s.follow, s.forged, s.webhook, s.applied,
		s.conflictFound, s.busyWritten, s.again, s.fifty, s.resolve, s.resolved, s.readBack, s.resync, s.trail, s.visible}
}

func (s *story) clock(hour int) time.Time { return s.day.Add(time.Duration(hour) * time.Hour) }
