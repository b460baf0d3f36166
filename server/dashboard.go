package server

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// How much the one page shows. Everything is in the API.
const (
	shownConflicts    = 20
	shownIntegrations = 100
	shownDeliveries   = 12
	shownResources    = 200
)

type dashboardData struct {
	Notice, Fault string
	Insist        *insistForm   // after a refusal by a freeze, for admins
	Freeze        *freezeNotice // nil while none is on
	CanOperate    bool
	CanConnect    bool
	Conflicts     []conflictCard
	MoreConflicts bool
	Integrations  []integrationRow
	MoreSystems   bool
	Deliveries    []deliveryRow
	Quarantines   []quarantineCard
}

type conflictCard struct {
	domain.Conflict
	Resource       string
	Title          string
	GivesWay, Stay *bookingLine
	Ways           []way
	Steps          []string // where the systems stand with a decision, in words
	Hours          []offset // by which it may be put off
	WorkflowURL    string
}

// offset is a choice of how long a conflict is put off.
type offset struct {
	Hours int
	Word  string
}

type bookingLine struct {
	What   string // category and status
	When   string
	Detail string // title, for people who may read bookings anyway
}

type way struct {
	Index   int
	What    string
	Score   int
	Reasons []string
}

type integrationRow struct {
	domain.Integration
	Resource    string
	WorkflowURL string
	Connect     bool   // by a person's consent, which is missing
	Mapping     bool   // its mappings can be changed by the one who looks
	Lag         string // how far behind it is, in words; "" when nothing was measured
	Late        string // why it is later than it should be
	Syncing     string // how far a first or full reading is, in words
	Health      healthMark

	Onboarding   string // how far connecting it is, in words
	OnboardFault string // why that waits
	Waiting      bool   // for somebody to mend it
}

type deliveryRow struct {
	domain.Delivery
	System string
}

// doneWords say what a button did, on the page that is shown next.
var doneWords = map[string]string{
	"pause": "The integration is paused. What arrives is kept.", "resume": "The integration goes on.",
	"resync": "The resync was accepted. Its progress is shown beside the integration.", "withdraw": "The decision is called off and is being taken back in every system.", "resolve": "Your decision was accepted and is being carried out.",
	"onboard": "Connecting goes on with its first step.", "cancel-onboarding": "Connecting is being undone.",
	"approve": "The held removals are carried out. Entries that are there after all stay.",
	"restore": "The bookings stay, and are written back where the connection writes.",
	"drill":   "The drill has begun. Reload the page to see how far it is; it takes some minutes.",
	"polling": "Quick polls stand in until somebody says otherwise.", "webhooks": "It goes back to what the system posts, after a closing poll.",
}

func (s *Server) dashboard(c echo.Context) error {
	return s.showDashboard(c, http.StatusOK, dashboardData{Notice: doneWords[c.QueryParam("done")]})
}

// showDashboard fills the page around what d says already.
func (s *Server) showDashboard(c echo.Context, status int, d dashboardData) error {
	ctx := c.Request().Context()
	who := callerOf(ctx)
	d.CanOperate, d.CanConnect = canOperate(who), isAdmin(who)
	org, err := s.deps.Store.Organization(ctx, who.Org)
	if err != nil && domain.KindOf(err) != domain.KindNotFound {
		return err
	}
	if err := s.deps.Store.TenantRead(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		return s.fill(ctx, tx, &d)
	}); err != nil {
		return err
	}
	f := s.frame(c, "Dashboard", d)
	f.Org, f.Live = org.Name, true
	return s.show(c, status, "dashboard.html", f)
}

func (s *Server) fill(ctx context.Context, tx *store.Tx, d *dashboardData) error {
	var err error
	if d.Freeze, err = freezeOn(ctx, tx, callerOf(ctx)); err != nil {
		return err
	}
	resources, _, err := tx.Resources(ctx, store.Page{Limit: shownResources})
	if err != nil {
		return err
	}
	names := make(map[domain.ResourceID]string, len(resources))
	for _, r := range resources {
		names[r.ID] = r.Name
	}
	systems, more, err := tx.Integrations(ctx, store.Page{Limit: shownIntegrations})
	if err != nil {
		return err
	}
	d.MoreSystems, d.Integrations = more != "", nil
	labels := make(map[domain.IntegrationID]string, len(systems))
	for _, i := range systems {
		labels[i.ID] = i.Name
		d.Integrations = append(d.Integrations, s.integrationRow(i, names[i.ResourceID], d.CanConnect))
	}
	if err := s.fillFreshness(ctx, tx, d.Integrations); err != nil {
		return err
	}
	if err := s.fillOnboarding(ctx, tx, d.Integrations); err != nil {
		return err
	}
	d.Conflicts, d.MoreConflicts = nil, false
	for _, state := range []domain.ConflictState{domain.ConflictOpen, domain.ConflictStuck, domain.ConflictUndoing, domain.ConflictResolving, domain.ConflictIgnored} {
		list, more, err := tx.Conflicts(ctx, store.ConflictFilter{State: state}, store.Page{Limit: shownConflicts})
		if err != nil {
			return err
		}
		d.MoreConflicts = d.MoreConflicts || more != ""
		for _, x := range list {
			card, err := s.card(ctx, tx, x, names)
			if err != nil {
				return err
			}
			card.Steps = stepLines(x, labels)
			d.Conflicts = append(d.Conflicts, card)
		}
	}
	// The worst first, and the nearest among equals.
	slices.SortStableFunc(d.Conflicts, func(a, b conflictCard) int {
		if n := b.Severity.Level() - a.Severity.Level(); n != 0 {
			return n
		}
		return a.Overlap.Start.Compare(b.Overlap.Start)
	})
	if d.Quarantines, err = quarantineCards(ctx, tx, labels); err != nil {
		return err
	}
	deliveries, _, err := tx.Deliveries(ctx, store.DeliveryFilter{}, store.Page{Limit: shownDeliveries})
	if err != nil {
		return err
	}
	d.Deliveries = nil
	for _, x := range deliveries {
		name := labels[x.IntegrationID]
		if name == "" {
			name = "a deleted integration"
		}
		d.Deliveries = append(d.Deliveries, deliveryRow{Delivery: x, System: name})
	}
	return nil
}

// integrationRow is an integration as pages show it; admin says that the one who looks may connect it and change its mapping.
func (s *Server) integrationRow(i domain.Integration, resource string, admin bool) integrationRow {
	return integrationRow{Integration: i, Resource: resource, WorkflowURL: s.workflowURL(contract.IntegrationWorkflowID(i.ID)),
		Connect: admin && (i.State == domain.IntegrationNeedsReconnect || i.State == domain.IntegrationConnecting) && s.byConsent(i),
		Mapping: admin && s.providers[i.Provider].Mappings != nil}
}

// rowActs are the buttons of an integration. From says to which page they lead back: "" or "integration".
type rowActs struct {
	Row        integrationRow
	CSRF, From string
	CanConnect bool
}

func actsOf(row integrationRow, csrf string, canConnect bool, from string) rowActs {
	return rowActs{row, csrf, from, canConnect}
}

func (s *Server) card(ctx context.Context, tx *store.Tx, x domain.Conflict, names map[domain.ResourceID]string) (conflictCard, error) {
	card := conflictCard{Conflict: x, Resource: names[x.ResourceID], Title: kindTitle(x.Kind), WorkflowURL: s.workflowURL(contract.ConflictWorkflowID(x.ID))}
	line := func(id domain.BookingID) (*bookingLine, error) {
		if id == "" {
			return nil, nil
		}
		b, err := tx.Booking(ctx, id)
		if domain.KindOf(err) == domain.KindNotFound {
			return nil, nil // erased since
		}
		if err != nil {
			return nil, err
		}
		detail := b.Details.Title
		if b.Private {
			detail = "Private"
		}
		return &bookingLine{What: sentence(string(b.Category)) + ", " + string(b.Status), When: whenText(b.When), Detail: detail}, nil
	}
	var err error
	if card.GivesWay, err = line(x.BookingID); err != nil {
		return card, err
	}
	if card.Stay, err = line(x.OtherID); err != nil {
		return card, err
	}
	for _, o := range []offset{{4, "4 hours"}, {24, "a day"}, {7 * 24, "a week"}} {
		if s.now().Add(time.Duration(o.Hours) * time.Hour).Before(x.Overlap.Start) {
			card.Hours = append(card.Hours, o)
		}
	}
	for i, a := range x.Alternatives {
		w := way{Index: i, Score: a.Score, Reasons: a.Reasons}
		switch a.Action {
		case domain.ActionReassign:
			w.What = "Give it to " + orUnknown(names[a.ResourceID])
		default:
			w.What = "Move to " + whenText(a.When)
		}
		card.Ways = append(card.Ways, w)
	}
	return card, nil
}

// stepLines says where each system stands with the decision that is being carried out or taken back.
func stepLines(c domain.Conflict, labels map[domain.IntegrationID]string) []string {
	if !c.State.Carrying() || c.Resolution == nil {
		return nil
	}
	words := map[domain.StepState]string{domain.StepWaiting: "has yet to take the change", domain.StepWritten: "took the change", domain.StepVerified: "shows it",
		domain.StepRefused: "refused", domain.StepByHand: "must be changed by hand", domain.StepToUndo: "waits for its turn to take it back",
		domain.StepUndoing: "is taking it back", domain.StepUndone: "is as before", domain.StepStuck: "does not take it back"}
	var out []string
	for _, st := range c.Resolution.Steps {
		name := labels[st.IntegrationID]
		if name == "" {
			name = "A system"
		}
		line := name + " " + words[st.State]
		if st.Reason != "" {
			line += ": " + st.Reason
		}
		out = append(out, line)
	}
	return out
}

func orUnknown(name string) string {
	if name == "" {
		return "another resource"
	}
	return name
}

func (s *Server) workflowURL(id string) string {
	if s.o.TemporalUI == "" {
		return ""
	}
	return s.o.TemporalUI + "/namespaces/default/workflows/" + strings.ReplaceAll(id, "/", "%2F")
}

func kindTitle(k domain.ConflictKind) string {
	switch k {
	case domain.ConflictOverlap:
		return "Double booking"
	case domain.ConflictBuffer:
		return "Too close together"
	case domain.ConflictSameDay:
		return "Two weddings on one day"
	case domain.ConflictCapacity:
		return "Over capacity"
	case domain.ConflictOffHours:
		return "Outside working hours"
	case domain.ConflictTravel:
		return "Too far apart"
	case domain.ConflictBlackout:
		return "On a day without clients"
	case domain.ConflictTimeline:
		return "Timeline cannot be kept"
	}
	return sentence(string(k))
}

func sentence(s string) string { return firstUpper(strings.ReplaceAll(s, "_", " ")) }

// whenText spells a time out in its own zone.
func whenText(w domain.When) string {
	loc, err := time.LoadLocation(w.Zone)
	if err != nil {
		loc = time.UTC
	}
	start, end := w.Start.In(loc), w.End.In(loc)
	const day = "Mon 2 Jan 2006"
	if w.Kind == domain.TimeAllDay {
		last := end.Add(-time.Second)
		if start.Format(day) == last.Format(day) {
			return start.Format(day) + ", all day (" + loc.String() + ")"
		}
		return start.Format(day) + " to " + last.Format(day) + ", all day (" + loc.String() + ")"
	}
	if start.Format(day) == end.Format(day) {
		return start.Format(day+", 15:04") + "–" + end.Format("15:04") + " (" + loc.String() + ")"
	}
	return start.Format(day+", 15:04") + " to " + end.Format(day+", 15:04") + " (" + loc.String() + ")"
}

// mark is a shape and a word: nothing is told by colour alone.
type mark struct{ Shape, Word, Class string }

func severityMark(s domain.Severity) mark {
	switch s {
	case domain.SeverityCritical:
		return mark{"▲", "Critical", "critical"}
	case domain.SeverityHigh:
		return mark{"◆", "High", "high"}
	case domain.SeverityMedium:
		return mark{"■", "Medium", "medium"}
	case domain.SeverityLow:
	}
	return mark{"●", "Low", "low"}
}

func stateMark(s any) mark {
	switch v := s.(type) {
	case domain.IntegrationState:
		switch v {
		case domain.IntegrationActive:
			return mark{"✓", "Active", "good"}
		case domain.IntegrationPaused:
			return mark{"‖", "Paused", "medium"}
		case domain.IntegrationNeedsReconnect:
			return mark{"✕", "Needs reconnecting", "critical"}
		case domain.IntegrationConnecting:
			return mark{"…", "Being connected", "low"}
		case domain.IntegrationDeleted:
		}
	case domain.DeliveryState:
		switch v {
		case domain.DeliveryApplied:
			return mark{"✓", "Applied", "good"}
		case domain.DeliveryReceived:
			return mark{"…", "Received", "low"}
		case domain.DeliveryRetrying:
			return mark{"↻", "Retrying", "medium"}
		case domain.DeliveryIgnored:
			return mark{"–", "Nothing for us", "low"}
		case domain.DeliveryDead:
			return mark{"✕", "Needs a person", "critical"}
		}
	case domain.ConflictState:
		switch v {
		case domain.ConflictResolving:
			return mark{"↻", "Being carried out", "medium"}
		case domain.ConflictUndoing:
			return mark{"↺", "Being taken back", "high"}
		case domain.ConflictStuck:
			return mark{"✕", "Stuck: a system does not take it back", "critical"}
		case domain.ConflictIgnored:
			return mark{"‖", "Put off", "low"}
		case domain.ConflictOpen, domain.ConflictResolved, domain.ConflictDismissed, domain.ConflictCleared:
		}
		return mark{"●", sentence(string(v)), "low"}
	}
	return mark{"●", "Unknown", "low"}
}

func utcText(t any) string {
	switch v := t.(type) {
	case time.Time:
		return v.UTC().Format("2 Jan 2006, 15:04:05 UTC")
	case *time.Time:
		if v != nil {
			return v.UTC().Format("2 Jan 2006, 15:04:05 UTC")
		}
	}
	return "never"
}

func stampText(t any) string {
	switch v := t.(type) {
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case *time.Time:
		if v != nil {
			return v.UTC().Format(time.RFC3339)
		}
	}
	return ""
}

// done goes back to the page, or shows it with what went wrong.
func (s *Server) done(c echo.Context, what string, err error) error {
	if err == nil {
		return c.Redirect(http.StatusSeeOther, "/?done="+what)
	}
	status, _ := statusOf(err)
	if status == http.StatusInternalServerError {
		return err
	}
	return s.showDashboard(c, status, dashboardData{Fault: plain(err)})
}

func (s *Server) doIntegration(c echo.Context) error {
	ctx, form := c.Request().Context(), c.Request().PostForm
	in := &actionInput{IDParam: IDParam{ID: c.Param("id")}, Body: &reasonBody{Reason: form.Get("reason")}}
	var err error
	var again *insistForm
	action := c.Param("action")
	switch action {
	case "connect":
		return s.doConnect(c)
	case "onboard", "cancel-onboarding":
		if !isAdmin(callerOf(ctx)) {
			err = domain.E(domain.KindForbidden, "only an admin can connect a system")
		} else if action == "onboard" {
			_, err = s.resumeOnboarding(ctx, &beginOnboardingInput{IDParam: in.IDParam})
		} else {
			_, err = s.cancelOnboarding(ctx, in)
		}
	case "pause":
		_, err = s.pauseIntegration(ctx, in)
	case "resume":
		_, err = s.resumeIntegration(ctx, in)
	case "resync":
		full := form.Get("full") != ""
		anew := &resyncInput{IDParam: in.IDParam, FreezeHeader: FreezeHeader{OverrideFreeze: form.Get(overrideField)}}
		anew.Body = &struct {
			Full   bool   `json:"full,omitempty" doc:"Read everything instead of what changed"`
			Reason string `json:"reason,omitempty" maxLength:"500"`
		}{Full: full, Reason: form.Get("reason")}
		_, err = s.resyncIntegration(ctx, anew)
		again = s.insist(c, err, "Read everything anew", "/do/integrations/"+in.ID+"/resync", hiddenField{"full", form.Get("full")},
			hiddenField{"reason", form.Get("reason")}, hiddenField{"from", form.Get("from")})
	case "drill":
		_, err = s.beginDrill(ctx, in)
	case "failover":
		action, err = s.sendOver(ctx, in, form.Get("to"))
	default:
		err = domain.E(domain.KindNotFound, "no such action")
	}
	return s.doneIntegration(c, action, err, again)
}

// doneIntegration goes back to the page from which a button was pressed, or shows that with what went wrong.
func (s *Server) doneIntegration(c echo.Context, what string, err error, again *insistForm) error {
	of := c.Request().PostForm.Get("from") == "integration"
	if err == nil {
		if of {
			return c.Redirect(http.StatusSeeOther, "/integrations/"+c.Param("id")+"?done="+what)
		}
		return s.done(c, what, nil)
	}
	status, _ := statusOf(err)
	switch {
	case status == http.StatusInternalServerError:
		return err
	case of && status != http.StatusNotFound:
		return s.showIntegration(c, status, integrationPage{Fault: plain(err), Insist: again})
	}
	return s.showDashboard(c, status, dashboardData{Fault: plain(err), Insist: again})
}

func (s *Server) doConflict(c echo.Context) error {
	form := c.Request().PostForm
	in := &resolveInput{IDParam: IDParam{ID: c.Param("id")}, Body: resolveBody{Reason: form.Get("reason")}}
	version, err := strconv.ParseInt(form.Get("version"), 10, 64)
	if err != nil {
		return s.done(c, "", malformed("version", "must be a number"))
	}
	in.Body.Version = version
	if form.Get("choice") == "withdraw" {
		off := &withdrawInput{IDParam: in.IDParam}
		off.Body.Version, off.Body.Reason = version, in.Body.Reason
		_, err = s.withdrawDecision(c.Request().Context(), off)
		return s.done(c, "withdraw", err)
	}
	switch choice := form.Get("choice"); choice {
	case string(domain.ActionKeepBoth), string(domain.ActionCancel), string(domain.ActionTentative):
		in.Body.Action = domain.ResolveAction(choice)
	case string(domain.ActionIgnore):
		hours, err := strconv.Atoi(form.Get("hours"))
		if err != nil || hours < 1 || hours > 24*90 {
			return s.done(c, "", malformed("hours", "must be a number of hours from 1 to 2160"))
		}
		until := s.now().Add(time.Duration(hours) * time.Hour)
		in.Body.Action, in.Body.Until = domain.ActionIgnore, &until
	default:
		n, err := strconv.Atoi(choice)
		if err != nil || n < 0 {
			return s.done(c, "", malformed("choice", "must be one of the buttons"))
		}
		in.Body.Alternative = &n
	}
	_, err = s.resolveConflict(c.Request().Context(), in)
	return s.done(c, "resolve", err)
}
