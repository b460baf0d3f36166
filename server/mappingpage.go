package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/trial"
)

// maxPageSample bounds the sample that is typed into the page, in bytes.
const maxPageSample = 64 << 10

// trialLast is over how many of the newest webhooks a mapping is tried unless somebody says otherwise, shownTried how many of a
// kind of outcome are listed.
const (
	trialLast  = 50
	maxTrials  = 1000
	shownTried = 100
)

type mappingPageData struct {
	Notice, Fault string
	Freeze        *freezeNotice
	Insist        bool   // saving needs a reason in spite of a freeze
	Override      string // that reason, as it was typed
	Reason        string // of the change, as it was typed
	Last          string // over how many webhooks it is tried
	Tried         *triedView
	ID            domain.IntegrationID
	Name, Title   string
	Limits        []string
	Version       int64
	Kinds         []provider.DeliveryKind
	Kind          provider.DeliveryKind
	Sample        string
	Fields        []fieldLine
	Result        *resultView
}

// fieldLine is one field of a mapping.
type fieldLine struct {
	Name, Word, Expression, Own string
	Changed, Wrong              bool
	Rows                        int
}

// resultView is what a mapping makes of a sample.
type resultView struct {
	Outcome trial.Outcome
	Reason  string
	Steps   []provider.ExplainStep
	Entries []entryLines
	More    int
}

// triedView is what another mapping makes of stored webhooks.
type triedView struct {
	Tried, Erased  int
	Same, Others   int
	Complete       bool
	NewHeaders     []string
	Differs, Alike []triedLine
	MoreDiffers    int
	MoreAlike      int
}

type triedLine struct {
	backtestLine
	What string // in words
}

// entryLines are the fields of a change, in words.
type entryLines []struct{ Word, Value string }

func (s *Server) mappingPage(c echo.Context) error {
	notice := ""
	if c.QueryParam("done") == "save" {
		notice = "The mapping is saved. Webhooks are read by it from now on; those that failed can be replayed."
	}
	return s.showMapping(c, http.StatusOK, c.Param("id"), c.QueryParam("kind"), nil, notice, nil)
}

// doMapping tries what the form says, or saves it.
func (s *Server) doMapping(c echo.Context) error {
	form := c.Request().PostForm
	kind := form.Get("kind")
	if form.Get("do") != "save" {
		return s.showMapping(c, http.StatusOK, c.Param("id"), kind, form, "", nil)
	}
	version, err := strconv.ParseInt(form.Get("version"), 10, 64)
	if err != nil || version < 1 {
		return s.showMapping(c, http.StatusBadRequest, c.Param("id"), kind, form, "", malformed("version", "must be a number"))
	}
	in := &setMappingInput{IDParam: IDParam{ID: c.Param("id")}, Kind: kind}
	in.OverrideFreeze = form.Get(overrideField)
	in.Body.Version, in.Body.Mapping, in.Body.Reason = version, expressionsOf(form), form.Get("reason")
	if _, err := s.setMapping(c.Request().Context(), in); err != nil {
		status, _ := statusOf(err)
		if status == http.StatusInternalServerError || status == http.StatusNotFound {
			return err
		}
		return s.showMapping(c, status, c.Param("id"), kind, form, "", err)
	}
	return c.Redirect(http.StatusSeeOther, "/integrations/"+c.Param("id")+"/mapping?kind="+kind+"&done=save")
}

const fieldPrefix = "field."

// expressionsOf reads the fields of the form. Browsers write line ends as CRLF; expressions count lines by LF.
func expressionsOf(form map[string][]string) map[string]string {
	out := map[string]string{}
	for name, values := range form {
		if field, is := strings.CutPrefix(name, fieldPrefix); is && len(values) > 0 {
			out[field] = strings.TrimSpace(strings.ReplaceAll(values[0], "\r\n", "\n"))
		}
	}
	return out
}

// showMapping shows sample, mapping and result. form is what was posted, nil for the stored mapping over the provider's own
// sample; wrong is why that was not saved.
func (s *Server) showMapping(c echo.Context, status int, rawID, kind string, form map[string][]string, notice string, wrong error) error {
	ctx := c.Request().Context()
	id, err := parseID[domain.IntegrationID]("integration", rawID)
	if err != nil {
		return err
	}
	var ground trialGround
	var frozen *freezeNotice
	if err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if ground, err = s.trialGround(ctx, tx, id); err != nil {
			return err
		}
		frozen, err = freezeOn(ctx, tx, callerOf(ctx))
		return err
	}); err != nil {
		return err
	}
	i := ground.integration
	m, err := s.mappingsOf(i.Provider)
	if err != nil {
		return err
	}
	n := 0
	if kind != "" {
		if n = slices.IndexFunc(m.Kinds, func(k provider.DeliveryKind) bool { return k.Name == kind }); n < 0 {
			return domain.E(domain.KindNotFound, "no such kind of webhook")
		}
	}
	d := mappingPageData{Notice: notice, Freeze: frozen, Insist: frozen != nil && i.State != domain.IntegrationConnecting, Last: strconv.Itoa(trialLast), ID: id, Name: i.Name, Title: s.providers[i.Provider].Title, Limits: s.providers[i.Provider].Limits,
		Version: i.Version, Kinds: m.Kinds, Kind: m.Kinds[n], Sample: string(m.Kinds[n].Sample)}
	have, err := m.Read(i.Settings, d.Kind.Name)
	if err != nil {
		return err
	}
	shown := have.InEffect
	if form != nil {
		shown = expressionsOf(form)
		typed := func(name string, to *string) {
			if len(form[name]) > 0 {
				*to = form[name][0]
			}
		}
		typed("sample", &d.Sample)
		typed("reason", &d.Reason)
		typed(overrideField, &d.Override)
		typed("last", &d.Last)
		if ground.integration.Settings, err = m.Change(i.Settings, d.Kind.Name, shown); err != nil && wrong == nil {
			wrong, status = err, http.StatusUnprocessableEntity
		}
	}
	// What a freeze refused to save is well-formed, and is shown as when it is tried.
	if wrong == nil || errors.As(wrong, new(*freeze.Refusal)) {
		if d.Result, err = s.readSample(ctx, ground, d); err != nil && wrong == nil {
			if status, _ = statusOf(err); status == http.StatusInternalServerError {
				return err
			}
			wrong = err
		}
	}
	if wrong == nil && len(form["do"]) > 0 && form["do"][0] == "backtest" {
		if d.Tried, err = s.tryStored(ctx, i, ground.integration.Settings, d.Last); err != nil {
			if status, _ = statusOf(err); status == http.StatusInternalServerError {
				return err
			}
			wrong = err
		}
	}
	if wrong != nil {
		d.Fault = plain(wrong)
	}
	for _, f := range m.Fields {
		src := shown[f]
		if src == "" {
			src = have.Own[f]
		}
		d.Fields = append(d.Fields, fieldLine{Name: f, Word: sentence(f), Expression: src, Own: have.Own[f], Changed: src != have.Own[f], Rows: 1 + len(src)/48 + strings.Count(src, "\n"),
			Wrong: wrong != nil && strings.HasSuffix(domain.FieldOf(wrong), ".mapping."+f)})
	}
	return s.show(c, status, "mapping.html", s.frame(c, "Mapping", d))
}

// tryStored reads the last webhooks of an integration by other settings, whole ones, and tells what would change.
func (s *Server) tryStored(ctx context.Context, i domain.Integration, settings json.RawMessage, last string) (*triedView, error) {
	n, err := strconv.Atoi(strings.TrimSpace(last))
	if err != nil || n < 1 || n > maxTrials {
		return nil, domain.Invalid("body.last", "must be 1 to %d", maxTrials)
	}
	got, err := s.backtest(ctx, i.ID, n, func(ground trialGround) (reading, error) {
		ground.integration.Settings = settings
		if validate := s.providers[i.Provider].Validate; validate != nil {
			if err := validate(settings, ground.secrets); err != nil {
				return reading{}, err
			}
		}
		return s.tryOut(ground.integration, ground.zone, ground.secrets, nil)
	})
	if err != nil {
		return nil, err
	}
	b := &got.Body
	out := &triedView{Tried: b.Tried, Erased: b.Erased, Same: b.Counts[trial.Same], Complete: b.Complete, NewHeaders: b.NewHeaders}
	out.Others = out.Tried - out.Same
	for _, line := range b.Deliveries {
		to, more := &out.Differs, &out.MoreDiffers
		if line.Kind == trial.Same {
			to, more = &out.Alike, &out.MoreAlike
		}
		if len(*to) == shownTried {
			*more++
			continue
		}
		*to = append(*to, triedLine{line, triedText(line)})
	}
	return out, nil
}

// triedText says what would change for a webhook.
func triedText(l backtestLine) string {
	switch l.Kind {
	case trial.NewlyApplied:
		return "It would be applied; now it is not."
	case trial.NewlyIgnored:
		return "It would be left alone; now it is not."
	case trial.NewlyDead:
		return "It could not be understood any more."
	case trial.Changed:
		words := make([]string, len(l.Fields))
		for n, f := range l.Fields {
			words[n] = strings.ReplaceAll(f, "_", " ")
		}
		return "Other than now: " + strings.Join(words, ", ") + "."
	case trial.Same:
	}
	switch l.Outcome {
	case trial.Ignored:
		return "As now: left alone."
	case trial.Dead:
		return "As now: not understood."
	case trial.Applied:
	}
	return "As now: applied."
}

// readSample reads the sample of the page by the settings of ground.
func (s *Server) readSample(ctx context.Context, ground trialGround, d mappingPageData) (*resultView, error) {
	if len(d.Sample) > maxPageSample {
		return nil, domain.Invalid("sample", "at most %d bytes, has %d", maxPageSample, len(d.Sample))
	}
	if validate := s.providers[ground.integration.Provider].Validate; validate != nil {
		if err := validate(ground.integration.Settings, ground.secrets); err != nil {
			return nil, err
		}
	}
	try, err := s.tryOut(ground.integration, ground.zone, ground.secrets, nil)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(d.Sample)
	if err != nil {
		return nil, domain.Invalid("sample", "must be text")
	}
	w, err := sampleWebhook(&trySample{Body: body, ContentType: d.Kind.ContentType}, s.now())
	if err != nil {
		return nil, err
	}
	got := trialResult(try.explain(ctx, w)).Body
	out := &resultView{Outcome: got.Outcome, Reason: got.Reason, Steps: got.Steps, More: got.ChangesTotal - len(got.Changes)}
	for _, change := range got.Changes {
		out.Entries = append(out.Entries, linesOf(change))
	}
	return out, nil
}

// linesOf spells a change out.
func linesOf(c domain.Change) (out entryLines) {
	add := func(word, value string) {
		if value != "" {
			out = append(out, struct{ Word, Value string }{word, value})
		}
	}
	add("External id", c.ExternalID)
	if c.Op == domain.OpRemove {
		add("What happens", "The entry is removed")
		return out
	}
	add("What happens", sentence(string(c.Category))+", "+string(c.Status))
	if !c.When.Start.IsZero() {
		add("When", whenText(c.When))
	}
	add("Title", c.Details.Title)
	add("Location", c.Details.Location)
	add("Notes", c.Details.Notes)
	add("Contact", c.Details.Contact)
	if c.Private {
		add("Private", "Shown elsewhere as Busy")
	}
	if c.Free {
		add("Free", "Known, and does not block")
	}
	if c.RemoteVersion > 0 {
		add("Order", strconv.FormatInt(c.RemoteVersion, 10))
	}
	return out
}
