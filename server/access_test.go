package server

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/token"
)

// expectation says how a row is called in the two tests below: with a path of the tenant's own things, a body that is
// accepted, and the statuses that prove that the caller was let in.
type expectation struct {
	path func(tenant) string // nil: the row's path as it is
	body string
	form url.Values // of a page
	ok   int        // status for the least role that may
}

func at(format string, id func(tenant) string) func(tenant) string {
	return func(x tenant) string { return strings.Replace(format, "{id}", id(x), 1) }
}

var (
	idIntegration = func(x tenant) string { return string(x.integration) }
	idResource    = func(x tenant) string { return string(x.resource) }
	idBooking     = func(x tenant) string { return string(x.booking) }
	idConflict    = func(x tenant) string { return string(x.conflict) }
	idEdit        = func(x tenant) string { return string(x.edit) }
	idDelivery    = func(x tenant) string { return string(x.delivery) }
	idRun         = func(x tenant) string { return string(x.run) }
	idSub         = func(x tenant) string { return string(x.sub) }
	idReplay      = func(x tenant) string { return string(x.replay) }
	idRecipient   = func(x tenant) string { return string(x.recipient) }

	idNotification = func(x tenant) string { return string(x.notification) }

	idQuarantine = func(x tenant) string { return string(x.quarantine) }
	idAlert      = func(x tenant) string { return string(x.alert) }
	idSilence    = func(x tenant) string { return string(x.silence) }
	idUpkeep     = func(x tenant) string { return string(x.maintenance) }
	idVenue      = func(x tenant) string { return string(x.venue) }
)

// expectations has an entry for every row of the table; a row without one fails the test.
func expectations() map[string]expectation {
	return map[string]expectation{
		"receive-webhook-token": {path: func(x tenant) string { return "/v1/webhooks/" + string(x.integration) + "/q7Zr3vXk9LmT2nWb5yHc8D" }, body: "{}", ok: 503},
		"list-credentials":      {path: at("/v1/integrations/{id}/credentials", idIntegration), ok: 200},
		"add-credential":        {path: at("/v1/integrations/{id}/credentials", idIntegration), body: `{"label":"x","generate":true}`, ok: 422},
		"update-credential":     {path: at("/v1/integrations/{id}/credentials/00000000-0000-7000-8000-000000000000", idIntegration), body: `{"label":"x"}`, ok: 404},
		"remove-credential":     {path: at("/v1/integrations/{id}/credentials/00000000-0000-7000-8000-000000000000", idIntegration), ok: 404},
		"receive-webhook":       {path: func(x tenant) string { return "/v1/webhooks/" + string(x.integration) }, body: "{}", ok: 503},
		"receive-notice":        {path: func(x tenant) string { return "/v1/notify/" + string(x.integration) }, body: "{}", ok: 503},
		"list-providers":        {ok: 200},
		"list-samples":          {path: func(tenant) string { return "/v1/providers/plain/samples" }, ok: 409},
		"list-mappings":         {path: at("/v1/integrations/{id}/mappings", idIntegration), ok: 409},
		"set-mapping":           {path: at("/v1/integrations/{id}/mappings/x", idIntegration), body: `{"mapping":{}}`, ok: 409},
		"mapping-page":          {path: at("/integrations/{id}/mapping", idIntegration), ok: 409},
		"integration-page":      {path: at("/integrations/{id}", idIntegration), ok: 200},
		"maintenance-page":      {ok: 200},
		"dashboard-propose":     {form: url.Values{}, ok: 422},
		"dashboard-approve":     {path: at("/do/maintenance/{id}/approve", idUpkeep), form: url.Values{}, ok: 409},
		"dashboard-cancel":      {path: at("/do/maintenance/{id}/cancel", idUpkeep), form: url.Values{}, ok: 409},
		"dashboard-mapping":     {path: at("/do/integrations/{id}/mapping", idIntegration), form: url.Values{}, ok: 409},
		"send-lead":             {path: at("/v1/integrations/{id}/leads", idIntegration), body: `{"full_name":"x","email":"x@example.com"}`, ok: 409},
		"list-leads":            {path: at("/v1/integrations/{id}/leads", idIntegration), ok: 200},

		"link-bookings":         {path: at("/v1/bookings/{id}/link", idBooking), body: `{"booking_id":"00000000-0000-7000-8000-000000000000"}`, ok: 422},
		"unlink-bookings":       {path: at("/v1/bookings/{id}/unlink", idBooking), body: `{}`, ok: 422},
		"list-link-suggestions": {ok: 200},
		"add-blackout":          {path: at("/v1/resources/{id}/blackouts", idResource), body: `{"from":"2031-12-24"}`, ok: 201},
		"list-blackouts":        {path: at("/v1/resources/{id}/blackouts", idResource), ok: 200},
		"remove-blackout":       {path: at("/v1/resources/{id}/blackouts/00000000-0000-7000-8000-000000000000", idResource), ok: 404},
		"create-venue":          {body: `{"name":"x","latitude":0,"longitude":0}`, ok: 422},
		"list-venues":           {ok: 200},
		"get-venue":             {path: at("/v1/venues/{id}", idVenue), ok: 200},
		"update-venue":          {path: at("/v1/venues/{id}", idVenue), body: `{"version":99}`, ok: 409},
		"delete-venue":          {path: at("/v1/venues/{id}?reason=%00", idVenue), ok: 422},

		"answer-webhook-handshake": {path: func(x tenant) string { return "/v1/webhooks/" + string(x.integration) }, ok: 503},

		"create-integration": {body: `{"name":""}`, ok: 422},
		"list-integrations":  {ok: 200},
		"get-integration":    {path: at("/v1/integrations/{id}", idIntegration), ok: 200},
		"list-health":        {ok: 200},

		"get-integration-health": {path: at("/v1/integrations/{id}/health", idIntegration), ok: 200},

		"update-integration":  {path: at("/v1/integrations/{id}", idIntegration), body: `{"version":99,"name":"x"}`, ok: 409},
		"delete-integration":  {path: at("/v1/integrations/{id}?reason=%00", idIntegration), ok: 422},
		"connect-integration": {path: at("/v1/integrations/{id}/connect", idIntegration), ok: 409},
		"oauth-callback":      {ok: 404},
		"oauth-confirm":       {form: url.Values{}, ok: 404},
		"pause-integration":   {path: at("/v1/integrations/{id}/pause", idIntegration), ok: 200},
		"resume-integration":  {path: at("/v1/integrations/{id}/resume", idIntegration), ok: 200},
		"get-failover":        {path: at("/v1/integrations/{id}/failover", idIntegration), ok: 200},
		"set-failover":        {path: at("/v1/integrations/{id}/failover", idIntegration), body: `{"to":"polling"}`, ok: 200},
		"begin-drill":         {path: func(tenant) string { return "/v1/integrations/00000000-0000-7000-8000-000000000000/drill" }, ok: 404},
		"list-drills":         {ok: 200},
		"get-drill":           {path: func(tenant) string { return "/v1/drills/00000000-0000-7000-8000-000000000000" }, ok: 404},
		"get-drill-schedule":  {ok: 200},
		"put-drill-schedule":  {body: `{"every_days":30}`, ok: 200},
		"resync-integration":  {path: at("/v1/integrations/{id}/resync", idIntegration), ok: 202},

		"list-scrape-consents":    {path: at("/v1/integrations/{id}/scrape-consents", idIntegration), ok: 200},
		"give-scrape-consent":     {path: at("/v1/integrations/{id}/scrape-consents", idIntegration), body: `{"origin":"https://portal.example.com","agreed":true}`, ok: 201},
		"withdraw-scrape-consent": {path: at("/v1/integrations/{id}/scrape-consents/00000000-0000-7000-8000-000000000000", idIntegration), ok: 404},
		"list-snapshots":          {path: at("/v1/integrations/{id}/snapshots", idIntegration), ok: 200},
		"get-snapshot":            {path: at("/v1/integrations/{id}/snapshots/00000000-0000-7000-8000-000000000000", idIntegration), ok: 404},

		"test-mapping":        {path: at("/v1/integrations/{id}/mapping:test", idIntegration), body: `{"sample":{"body":{}}}`, ok: 422},
		"backtest-mapping":    {path: at("/v1/integrations/{id}/mapping:backtest", idIntegration), body: `{"settings":{}}`, ok: 422},
		"list-syncs":          {path: at("/v1/integrations/{id}/syncs", idIntegration), ok: 200},
		"list-refusals":       {path: at("/v1/integrations/{id}/refusals", idIntegration), ok: 200},
		"get-sync":            {path: at("/v1/syncs/{id}", idRun), ok: 200},
		"create-resource":     {body: `{"name":"x","kind":"room","zone":"Mars/Olympus"}`, ok: 422},
		"list-resources":      {ok: 200},
		"get-resource":        {path: at("/v1/resources/{id}", idResource), ok: 200},
		"update-resource":     {path: at("/v1/resources/{id}", idResource), body: `{"version":99}`, ok: 409},
		"create-feed":         {path: at("/v1/resources/{id}/feeds", idResource), body: `{"label":"x"}`, ok: 201},
		"list-feeds":          {path: at("/v1/resources/{id}/feeds", idResource), ok: 200},
		"revoke-feed":         {path: at("/v1/resources/{id}/feeds/00000000-0000-7000-8000-000000000000", idResource), ok: 404},
		"read-feed":           {path: func(tenant) string { return "/feeds/nonsense.ics" }, ok: 404},
		"look-at-feed":        {path: func(tenant) string { return "/feeds/nonsense.ics" }, ok: 404},
		"create-booking":      {body: `{"category":"wedding"}`, ok: 422},
		"list-bookings":       {ok: 200},
		"get-booking":         {path: at("/v1/bookings/{id}", idBooking), ok: 200},
		"get-timeline":        {path: at("/v1/bookings/{id}/timeline", idBooking), ok: 404},
		"set-timeline":        {path: at("/v1/bookings/{id}/timeline", idBooking), body: `{"version":99,"items":[]}`, ok: 409},
		"delete-timeline":     {path: at("/v1/bookings/{id}/timeline", idBooking), ok: 404},
		"update-booking":      {path: at("/v1/bookings/{id}", idBooking), body: `{"version":99}`, ok: 409},
		"get-availability":    {path: at("/v1/availability?resource={id}&from=2027-01-01T00:00:00Z&to=2027-02-01T00:00:00Z&category=wedding&duration_minutes=60", idResource), ok: 200},
		"search-availability": {path: func(tenant) string { return "/v1/availability/search?date=2027-06-12&category=wedding&duration=8h" }, ok: 200},
		"get-suggestions":     {path: func(x tenant) string { return "/v1/suggestions?booking=" + string(x.booking) }, ok: 200},
		"create-hold":         {body: `{"category":"wedding"}`, ok: 422},
		"list-holds":          {ok: 200},
		"get-hold":            {path: at("/v1/holds/{id}", idBooking), ok: 404},
		"extend-hold":         {path: at("/v1/holds/{id}/extend", idBooking), body: `{"expires_in_minutes":60}`, ok: 404},
		"confirm-hold":        {path: at("/v1/holds/{id}/confirm", idBooking), ok: 404},
		"release-hold":        {path: at("/v1/holds/{id}/release", idBooking), ok: 404},
		"get-freeze":          {ok: 200},
		"put-freeze":          {body: `{"preflight_days":2,"freeze_hours":168,"version":0}`, ok: 422},
		"list-conflicts":      {ok: 200},
		"get-conflict":        {path: at("/v1/conflicts/{id}", idConflict), ok: 200},
		"resolve-conflict":    {path: at("/v1/conflicts/{id}/resolve", idConflict), body: `{"action":"keep_both","version":99}`, ok: 409},

		"batch-integrations":     {body: `{"action":"health"}`, ok: 200},
		"disconnect-integration": {path: at("/v1/integrations/{id}/disconnect", idIntegration), body: `{"copies":"keep","dry_run":true}`, ok: 202},
		"get-disconnect":         {path: at("/v1/integrations/{id}/disconnect", idIntegration), ok: 200},
		"begin-onboarding":       {path: at("/v1/integrations/{id}/onboarding", idIntegration), ok: 409},
		"get-onboarding":         {path: at("/v1/integrations/{id}/onboarding", idIntegration), ok: 404},
		"resume-onboarding":      {path: at("/v1/integrations/{id}/onboarding/resume", idIntegration), ok: 404},
		"cancel-onboarding":      {path: at("/v1/integrations/{id}/onboarding/cancel", idIntegration), ok: 404},

		"list-conflict-policies":    {ok: 200},
		"put-conflict-policy":       {path: func(tenant) string { return "/v1/conflict-policies/vendor/vendor" }, body: `{"rule":"higher_category"}`, ok: 422},
		"delete-conflict-policy":    {path: func(tenant) string { return "/v1/conflict-policies/vendor/vendor" }, ok: 404},
		"preview-conflict-policies": {ok: 200},
		"apply-conflict-policies":   {ok: 202},

		"withdraw-decision":     {path: at("/v1/conflicts/{id}/withdraw", idConflict), body: `{"version":99}`, ok: 409},
		"list-edit-conflicts":   {ok: 200},
		"get-edit-conflict":     {path: at("/v1/edit-conflicts/{id}", idEdit), ok: 200},
		"resolve-edit-conflict": {path: at("/v1/edit-conflicts/{id}/resolve", idEdit), body: `{"choice":"both","version":99}`, ok: 409},
		"list-deliveries":       {ok: 200},
		"get-delivery":          {path: at("/v1/deliveries/{id}", idDelivery), ok: 200},
		"get-delivery-content":  {path: at("/v1/deliveries/{id}/content", idDelivery), ok: 200},
		"replay-delivery":       {path: at("/v1/deliveries/{id}/replay", idDelivery), ok: 409},
		"discard-delivery":      {path: at("/v1/deliveries/{id}/discard", idDelivery), body: `{"reason":"a test"}`, ok: 409},
		"get-retry-schedule":    {ok: 200},
		"create-replay":         {body: `{"filter":{}}`, ok: 422},
		"list-replays":          {ok: 200},
		"get-replay":            {path: at("/v1/replays/{id}", idReplay), ok: 200},
		"pause-replay":          {path: at("/v1/replays/{id}/pause", idReplay), ok: 200},
		"resume-replay":         {path: at("/v1/replays/{id}/resume", idReplay), ok: 200},
		"cancel-replay":         {path: at("/v1/replays/{id}/cancel", idReplay), ok: 200},
		"list-audit":            {ok: 200},
		"stream-events":         {ok: 200},
		"create-subscription":   {body: `{"url":"ftp://x"}`, ok: 422},
		"list-subscriptions":    {ok: 200},
		"get-subscription":      {path: at("/v1/subscriptions/{id}", idSub), ok: 200},
		"update-subscription":   {path: at("/v1/subscriptions/{id}", idSub), body: `{"version":99}`, ok: 409},
		"delete-subscription":   {path: at("/v1/subscriptions/{id}?reason=%00", idSub), ok: 422},
		"pause-subscription":    {path: at("/v1/subscriptions/{id}/pause", idSub), ok: 200},
		"resume-subscription":   {path: at("/v1/subscriptions/{id}/resume", idSub), ok: 200},
		"test-subscription":     {path: at("/v1/subscriptions/{id}/test", idSub), ok: 200},
		"rotate-subscription":   {path: at("/v1/subscriptions/{id}/secrets", idSub), ok: 201},
		"list-attempts":         {path: at("/v1/subscriptions/{id}/attempts", idSub), ok: 200},
		"create-share":          {path: at("/v1/bookings/{id}/shares", idBooking), body: `{"role":"couple","label":"x"}`, ok: 422}, // no wedding
		"list-shares":           {path: at("/v1/bookings/{id}/shares", idBooking), ok: 200},
		"revoke-share":          {path: at("/v1/bookings/{id}/shares/00000000-0000-7000-8000-000000000000", idBooking), ok: 404},
		"open-share":            {path: func(tenant) string { return "/s/nonsense" }, ok: 404},
		"confirm-share":         {path: func(tenant) string { return "/s/nonsense/confirm" }, form: url.Values{}, ok: 404},
		"follow-share":          {path: func(tenant) string { return "/s/nonsense/live" }, ok: 404},

		"create-recipient":         {body: `{"name":"x","zone":"Mars/Olympus"}`, ok: 422},
		"list-recipients":          {ok: 200},
		"get-recipient":            {path: at("/v1/recipients/{id}", idRecipient), ok: 200},
		"update-recipient":         {path: at("/v1/recipients/{id}", idRecipient), body: `{"version":99}`, ok: 409},
		"delete-recipient":         {path: at("/v1/recipients/{id}?reason=%00", idRecipient), ok: 422},
		"test-recipient":           {path: at("/v1/recipients/{id}/test", idRecipient), ok: 202},
		"list-notifications":       {ok: 200},
		"get-notification":         {path: at("/v1/notifications/{id}", idNotification), ok: 200},
		"acknowledge-notification": {path: at("/v1/notifications/{id}/acknowledge", idNotification), ok: 200},
		"resend-notification":      {path: at("/v1/notifications/{id}/resend", idNotification), ok: 200},
		"preview-notification":     {body: `{"kind":"cake"}`, ok: 422},

		"propose-maintenance":      {ok: 200},
		"get-maintenance-state":    {ok: 200},
		"create-maintenance":       {body: `{"scopes":[{"kind":"platform","target":"nothing"}],"starts_at":"2031-01-01T00:00:00Z","ends_at":"2031-01-01T01:00:00Z","reason":"x"}`, ok: 422},
		"list-maintenance":         {ok: 200},
		"get-maintenance":          {path: at("/v1/maintenance/{id}", idUpkeep), ok: 200},
		"approve-maintenance":      {path: at("/v1/maintenance/{id}/approve", idUpkeep), body: `{"short_notice":true}`, ok: 409},
		"cancel-maintenance":       {path: at("/v1/maintenance/{id}/cancel", idUpkeep), ok: 409},
		"reschedule-maintenance":   {path: at("/v1/maintenance/{id}/reschedule", idUpkeep), body: `{"ends_at":"2031-01-01T00:00:00Z"}`, ok: 409},
		"get-maintenance-settings": {ok: 200},
		"put-maintenance-settings": {body: `{"approval":"person","notice_minutes":1,"announce_minutes":[1,2],"weekdays":[1],"from_minute":0,"until_minute":1440,"when_wedding":"cancel","version":0}`, ok: 422},
		"create-provider-window":   {body: `{"provider":"nothing","starts_at":"2031-01-01T00:00:00Z","ends_at":"2031-01-01T01:00:00Z","source":"mail"}`, ok: 422},
		"list-provider-windows":    {ok: 200},
		"delete-provider-window":   {path: at("/v1/provider-windows/{id}", idUpkeep), ok: 404},

		"list-alerts":       {ok: 200},
		"get-alert":         {path: at("/v1/alerts/{id}", idAlert), ok: 200},
		"acknowledge-alert": {path: at("/v1/alerts/{id}/acknowledge", idAlert), ok: 200},
		"list-alert-rules":  {ok: 200},
		"put-alert-rule":    {body: `{"scope":{"kind":"platform","target":"nothing"},"rule":"silence","enabled":true}`, ok: 422},
		"delete-alert-rule": {path: at("/v1/alert-rules/{id}?reason=%00", idAlert), ok: 404},
		"get-alert-policy":  {ok: 200},
		"put-alert-policy":  {body: `{"remind_every_minutes":60,"steps":[{"after_minutes":9},{"after_minutes":8}],"version":0}`, ok: 422},
		"create-silence":    {body: `{"scope":{"kind":"organization"},"starts_at":"2031-01-01T00:00:00Z","ends_at":"2031-01-01T00:00:00Z","reason":"x"}`, ok: 422},
		"list-silences":     {ok: 200},
		"get-silence":       {path: at("/v1/silences/{id}", idSilence), ok: 200},
		"update-silence":    {path: at("/v1/silences/{id}", idSilence), body: `{"version":99}`, ok: 409},
		"end-silence":       {path: at("/v1/silences/{id}?reason=%00", idSilence), ok: 422},
		"list-objectives":   {ok: 200},
		"put-objective":     {body: `{"scope":{"kind":"platform","target":"nothing"},"targets":{"availability_percent":99.9,"latency_ms":500,"errors_percent":1}}`, ok: 422},
		"delete-objective":  {path: at("/v1/objectives/{id}", idAlert), ok: 404},
		"get-sla":           {path: func(tenant) string { return "/v1/sla/2031-01" }, ok: 200},
		"get-sla-csv":       {path: func(tenant) string { return "/v1/sla/2031-01/csv" }, ok: 200},
		"list-scores":       {ok: 200},
		"get-score":         {path: at("/v1/integrations/{id}/score", idIntegration), ok: 200},
		"alerts-page":       {ok: 200},
		"dashboard-alert":   {path: at("/do/alerts/{id}/acknowledge", idAlert), form: url.Values{}, ok: 303},
		"sla-page":          {path: func(tenant) string { return "/sla/2031-01" }, ok: 200},

		"list-weddings":     {ok: 200},
		"get-wedding":       {path: at("/v1/weddings/{id}", idBooking), ok: 200},
		"ask-preflight":     {path: at("/v1/weddings/{id}/preflight", idBooking), ok: 202},
		"list-preflights":   {path: at("/v1/weddings/{id}/preflights", idBooking), ok: 200},
		"get-wedding-log":   {path: at("/v1/weddings/{id}/log", idBooking), ok: 200},
		"get-handover":      {path: at("/v1/weddings/{id}/handover", idBooking), ok: 200},
		"weddings-page":     {ok: 200},
		"wedding-page":      {path: at("/weddings/{id}", idBooking), ok: 200},
		"dashboard-wedding": {path: at("/do/weddings/{id}/preflight", idBooking), form: url.Values{}, ok: 303},

		"health": {ok: 200}, "ready": {ok: 200}, "metrics": {ok: 200}, "openapi-json": {ok: 200}, "openapi-yaml": {ok: 200}, "docs": {ok: 200},

		"plan-integration":     {path: at("/v1/integrations/{id}/plan", idIntegration), ok: 422},
		"purge-integration":    {path: at("/v1/integrations/{id}/purge", idIntegration), body: `{"dry_run":true}`, ok: 202},
		"get-purge":            {path: at("/v1/integrations/{id}/purge", idIntegration), ok: 404},
		"explain-entry":        {path: at("/v1/integrations/{id}/explain?external_id=x", idIntegration), ok: 200},
		"explain-booking":      {path: at("/v1/bookings/{id}/explain", idBooking), ok: 200},
		"list-quarantines":     {ok: 200},
		"get-quarantine":       {path: at("/v1/quarantines/{id}", idQuarantine), ok: 200},
		"approve-quarantine":   {path: at("/v1/quarantines/{id}/approve", idQuarantine), ok: 409},
		"restore-quarantine":   {path: at("/v1/quarantines/{id}/restore", idQuarantine), ok: 200},
		"dashboard-quarantine": {path: at("/do/quarantines/{id}/restore", idQuarantine), form: url.Values{}, ok: 303},

		"codec-decode": {body: "{}", ok: 200}, "codec-encode": {body: "{}", ok: 200}, "codec-decode-preflight": {ok: 401}, "codec-encode-preflight": {ok: 401},
		"asset":                 {path: func(tenant) string { return "/assets/app.css" }, ok: 200},
		"sign-in-page":          {ok: 200},
		"sign-in":               {form: url.Values{"token": {"nonsense"}}, ok: 401},
		"sign-out":              {form: url.Values{}, ok: 303},
		"dashboard":             {ok: 200},
		"dashboard-live":        {ok: 200},
		"dashboard-integration": {path: at("/do/integrations/{id}/pause", idIntegration), form: url.Values{}, ok: 303},
		"dashboard-conflict":    {path: at("/do/conflicts/{id}", idConflict), form: url.Values{"version": {"99"}, "choice": {"keep_both"}}, ok: 409},
	}
}

// call sends a row's request for the things of one tenant with a token.
func (b *bundle) call(r Route, e expectation, things tenant, raw string) reply {
	b.Helper()
	path := r.Path
	if e.path != nil {
		path = e.path(things)
	}
	var opts []option
	body := e.body
	if r.page && raw != "" {
		opts = append(opts, header("Cookie", "wedsync="+raw))
	}
	if e.form != nil {
		form := url.Values{"csrf": {csrfToken(raw)}}
		for k, v := range e.form {
			form[k] = v
		}
		body = form.Encode()
		opts = append(opts, header("Content-Type", "application/x-www-form-urlencoded"))
	}
	if r.page {
		raw = ""
	}
	return b.do(r.Method, path, raw, body, opts...)
}

func TestEveryRouteLetsInExactlyItsRoles(t *testing.T) {
	t.Parallel()
	// Guesses at public addresses would use up the allowance of one address.
	b := setup(t, func(d *Deps) { d.Options.FeedRate = 100 })
	want := expectations()
	mentioned := make(map[string]bool)
	for _, r := range Routes() {
		if mentioned[r.ID] {
			t.Errorf("two rows have the id %s", r.ID)
		}
		mentioned[r.ID] = true
		e, ok := want[r.ID]
		if !ok {
			t.Errorf("%s %s has no expectation: say in expectations() how it is called", r.Method, r.Path)
			continue
		}
		switch r.Access {
		case AccessPublic, AccessWebhook, AccessViewer, AccessOperator, AccessAdmin, AccessMetrics, AccessOwn:
		default:
			t.Errorf("%s %s has access %q", r.Method, r.Path, r.Access)
			continue
		}
		for _, role := range []domain.Role{"", domain.RoleViewer, domain.RoleOperator, domain.RoleAdmin} {
			raw := ""
			if role != "" {
				raw = b.token(b.a.org, role)
			}
			expect := e.ok
			switch {
			case r.Access == AccessOwn && r.Method == http.MethodPost:
				switch role {
				case "":
					expect = 401
				case domain.RoleViewer, domain.RoleOperator:
					expect = 403
				case domain.RoleAdmin:
				}
			case r.Access == AccessOwn:
				raw = ""
			case role == "" && r.Access.level() > 0:
				expect = 401
				if r.page && !r.endless {
					expect = 303
				}
			case role.Level() < r.Access.level():
				expect = 403
			}
			got := b.call(r, e, b.a, raw)
			if got.status != expect {
				t.Errorf("%s %s as %q: %d %s, want %d", r.Method, r.Path, role, got.status, got.body, expect)
			}
			if expect == 401 && !r.page && r.Access.level() > 0 && got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s: 401 without WWW-Authenticate", r.Method, r.Path)
			}
			if expect == 303 && role == "" && got.header.Get("Location") != "/sign-in" {
				t.Errorf("%s %s without a session leads to %q", r.Method, r.Path, got.header.Get("Location"))
			}
		}
	}
	for id := range want {
		if !mentioned[id] {
			t.Errorf("expectation %s is about no row", id)
		}
	}
}

func TestForeignIDsAreUnknown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	for _, r := range Routes() {
		if !strings.Contains(r.Path, "{id}") {
			continue
		}
		e := expectations()[r.ID]
		got := b.call(r, e, b.b, admin)
		if got.status != http.StatusNotFound {
			t.Errorf("%s %s with an id of another organisation: %d %s, want 404", r.Method, r.Path, got.status, got.body)
		}
		nothing := tenant{integration: "no-uuid", resource: "no-uuid", booking: "no-uuid", conflict: "no-uuid", edit: "no-uuid", delivery: "no-uuid", run: "no-uuid", sub: "no-uuid", replay: "no-uuid", quarantine: "no-uuid", venue: "no-uuid", recipient: "no-uuid", notification: "no-uuid", alert: "no-uuid", silence: "no-uuid", maintenance: "no-uuid"}
		if got := b.call(r, e, nothing, admin); got.status != http.StatusNotFound {
			t.Errorf("%s %s with what is no id: %d %s, want 404", r.Method, r.Path, got.status, got.body)
		}
		unknown := "00000000-0000-7000-8000-000000000000"
		nobody := tenant{maintenance: domain.MaintenanceID(unknown), alert: domain.AlertID(unknown), silence: domain.SilenceID(unknown), integration: domain.IntegrationID(unknown), resource: domain.ResourceID(unknown), booking: domain.BookingID(unknown),
			conflict: domain.ConflictID(unknown), edit: domain.EditConflictID(unknown), delivery: domain.DeliveryID(unknown), run: domain.SyncRunID(unknown), sub: domain.SubscriptionID(unknown),
			replay: domain.ReplayID(unknown), quarantine: domain.QuarantineID(unknown), venue: domain.VenueID(unknown), recipient: domain.RecipientID(unknown),
			notification: domain.NotificationID(unknown)}
		same := b.call(r, e, nobody, admin)
		if !r.page && !strings.EqualFold(withoutRequestID(string(same.body)), withoutRequestID(string(got.body))) {
			t.Errorf("%s %s: a foreign id and an unknown one are told apart:\n%s\n%s", r.Method, r.Path, got.body, same.body)
		}
	}
	// Ids inside queries and bodies.
	for _, path := range []string{
		"/v1/bookings?resource=" + string(b.b.resource), "/v1/conflicts?resource=" + string(b.b.resource), "/v1/deliveries?integration=" + string(b.b.integration),
	} {
		var got struct{ Items []any }
		b.do("GET", path, admin, "").into(t, &got)
		if len(got.Items) != 0 {
			t.Errorf("%s shows %d things of another organisation", path, len(got.Items))
		}
	}
	b.do("GET", "/v1/availability?resource="+string(b.b.resource)+"&from=2027-01-01T00:00:00Z&to=2027-02-01T00:00:00Z&category=wedding&duration_minutes=60", admin, "").problem(t, 404, "not_found")
	p := b.do("POST", "/v1/integrations", admin, `{"name":"x","provider":"plain","resource_id":"`+string(b.b.resource)+`","secrets":{"key":"k"}}`).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Field != "body.resource_id" {
		t.Errorf("an integration on a foreign resource: %+v", p)
	}
	when := `"when":{"start":"2027-08-01T10:00:00Z","end":"2027-08-01T11:00:00Z"}`
	b.do("POST", "/v1/bookings", admin, `{"resource_id":"`+string(b.b.resource)+`","category":"vendor",`+when+`}`).problem(t, 422, "invalid")
	b.do("PATCH", "/v1/bookings/"+string(b.a.booking), admin, `{"version":1,"resource_id":"`+string(b.b.resource)+`"}`).problem(t, 422, "invalid")
	b.do("POST", "/v1/conflicts/"+string(b.a.conflict)+"/resolve", admin, `{"version":1,"action":"reassign","resource_id":"`+string(b.b.resource)+`"}`).problem(t, 422, "invalid")
	b.do("POST", "/v1/conflicts/"+string(b.a.conflict)+"/resolve", admin, `{"version":1,"action":"cancel","booking_id":"`+string(b.b.booking)+`"}`).problem(t, 422, "invalid")
}

func withoutRequestID(s string) string {
	if i := strings.Index(s, `"request_id":"`); i >= 0 {
		return s[:i] + s[i+len(`"request_id":"`)+24:]
	}
	return s
}

func TestListsShowOnlyTheCallersOrganisation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	foreign := []string{string(b.b.org), string(b.b.resource), string(b.b.integration), string(b.b.booking), string(b.b.conflict), string(b.b.delivery), string(b.b.run), string(b.b.sub), string(b.b.replay), string(b.b.venue)}
	admin := b.token(b.a.org, domain.RoleAdmin)
	for _, r := range Routes() {
		if r.Method != http.MethodGet || strings.Contains(r.Path, "{") || r.endless || r.Access.level() == 0 || r.ID == "get-availability" {
			continue
		}
		got := b.call(r, expectations()[r.ID], b.a, admin)
		if got.status != 200 {
			t.Errorf("%s: %d %s", r.Path, got.status, got.body)
		}
		for _, id := range foreign {
			if strings.Contains(string(got.body), id) {
				t.Errorf("%s shows %s of another organisation", r.Path, id)
			}
		}
	}
}

func TestTokensAreChecked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	expired, err := b.issuer.Mint(token.Grant{Org: b.a.org, Role: domain.RoleAdmin, Subject: "x"}, time.Minute, time.Now().Add(-time.Hour))
	b.must(err)
	good := b.token(b.a.org, domain.RoleViewer)
	for name, opts := range map[string][]option{
		"nothing": nil, "another scheme": {header("Authorization", "Basic "+good)}, "no scheme": {header("Authorization", good)},
		"expired": {header("Authorization", "Bearer "+expired)}, "cut": {header("Authorization", "Bearer "+good[:len(good)-3])},
		"two headers":               {func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + good, "Bearer " + good} }},
		"in a cookie":               {header("Cookie", "wedsync="+good)},
		"a token in the query only": {func(r *http.Request) { r.URL.RawQuery = "access_token=" + good }},
	} {
		if got := b.do("GET", "/v1/integrations", "", "", opts...); got.status != 401 {
			t.Errorf("%s: %d %s, want 401", name, got.status, got.body)
		}
	}
	if got := b.do("GET", "/v1/integrations", "", "", header("Authorization", "bearer "+good)); got.status != 200 {
		t.Errorf("the scheme in lower case: %d, want 200", got.status)
	}
	if strings.Contains(b.log.String(), good) || strings.Contains(b.log.String(), "access_token") {
		t.Error("a token or a query string reached the log")
	}
}

func TestMetricsAreNotForEverybody(t *testing.T) {
	t.Parallel()
	b := setup(t, func(d *Deps) { d.Options.MetricsToken = "metrics-token" })
	b.do("GET", "/metrics", "", "").problem(t, 401, "unauthenticated")
	b.do("GET", "/metrics", b.token(b.a.org, domain.RoleAdmin), "").problem(t, 401, "unauthenticated")
	if got := b.do("GET", "/metrics", "metrics-token", ""); got.status != 200 || !strings.Contains(string(got.body), "wedsync_http_requests_total") {
		t.Errorf("with the metrics token: %d %.200s", got.status, got.body)
	}
	open := setup(t)
	open.do("GET", "/metrics", "", "", header("X-Forwarded-For", "203.0.113.9")).problem(t, 403, "forbidden")
	away := setup(t, func(d *Deps) { d.Options.MetricsElsewhere = true })
	away.do("GET", "/metrics", "", "").problem(t, 404, "not_found")
}

func TestUnknownRoutesAndMethodsAreProblems(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do("GET", "/v1/nothing", "", "").problem(t, 404, "not_found")
	got := b.do("PUT", "/v1/integrations", "", "")
	got.problem(t, 405, "method_not_allowed")
	if allow := got.header.Get("Allow"); !strings.Contains(allow, "GET") || !strings.Contains(allow, "POST") {
		t.Errorf("Allow is %q", allow)
	}
	if got.header.Get("Content-Security-Policy") == "" {
		t.Error("a refusal without security headers")
	}
	if _, err := strconv.Atoi(b.do("POST", "/v1/webhooks/"+string(b.a.integration), "", "{}").header.Get("Retry-After")); err != nil {
		t.Errorf("503 without Retry-After: %v", err)
	}
}
