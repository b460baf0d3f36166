package server

import (
	"context"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Access says who may use a route.
type Access string

// The kinds of access. A role includes the roles below it.
const (
	AccessPublic   Access = "public"
	AccessWebhook  Access = "webhook" // whoever signs with the integration's secret
	AccessViewer   Access = "viewer"
	AccessOperator Access = "operator"
	AccessAdmin    Access = "admin"
	AccessMetrics  Access = "metrics" // the metrics token, or the same machine
	AccessOwn      Access = "own"     // the handler was given to the server and checks by itself
)

func (a Access) level() int { return domain.Role(a).Level() }

// Route is one row of the table.
type Route struct {
	Method, Path string // Path as OpenAPI writes it: /v1/conflicts/{id}
	Access       Access
	ID           string // operation id in the OpenAPI document
	Tag          string
	Summary      string

	mount    func(s *Server, r Route)
	optional func(s *Server) bool // present only when it says so
	status   int                  // of success; 200 if 0
	page     bool                 // for browsers: the session cookie counts, and a missing one leads to the sign-in page
	endless  bool                 // a stream: no time limit
	quiet    bool                 // asked every few seconds by machines
	ownBody  bool                 // the handler bounds the body itself
}

const (
	tagIntegrations = "Integrations"
	tagBookings     = "Resources and bookings"
	tagConflicts    = "Conflicts"
	tagDeliveries   = "Deliveries and audit"
	tagLive         = "Live stream"
	tagSubscription = "Subscriptions"

	tagNotifications = "Notifications"
	tagAlerts        = "Alerts and service levels"
	tagMaintenance   = "Maintenance"
	tagWeddings      = "Weddings"

	tagOperation = "Operation"
	tagPages     = "Pages"
)

// Routes returns the table of everything that can be reached.
func Routes() []Route {
	return []Route{
		{Method: "POST", Path: webhookPath, Access: AccessWebhook, ID: "receive-webhook", Tag: tagDeliveries, Summary: "Take a webhook of an integration", mount: raw((*Server).webhook)},
		{Method: "GET", Path: webhookPath, Access: AccessWebhook, ID: "answer-webhook-handshake", Tag: tagDeliveries, Summary: "Answer the handshake by which a sender tests the address", mount: raw((*Server).webhook)},
		{Method: "POST", Path: webhookTokenPath, Access: AccessWebhook, ID: "receive-webhook-token", Tag: tagDeliveries, Summary: "Take a webhook of an integration whose address holds the secret", mount: raw((*Server).webhook)},
		{Method: "POST", Path: notifyPath, Access: AccessWebhook, ID: "receive-notice", Tag: tagIntegrations, Summary: "Take a message of a system that something changed there", status: 202, mount: raw((*Server).notify)},

		{Method: "GET", Path: "/v1/providers", Access: AccessViewer, ID: "list-providers", Tag: tagIntegrations, Summary: "List the kinds of systems that can be connected", mount: typed((*Server).listProviders)},
		{Method: "GET", Path: "/v1/providers/{name}/samples", Access: AccessViewer, ID: "list-samples", Tag: tagIntegrations, Summary: "List the kinds of webhooks of a provider, each with a sample and the mapping that reads it", mount: typed((*Server).listSamples)},
		{Method: "POST", Path: "/v1/integrations", Access: AccessAdmin, ID: "create-integration", Tag: tagIntegrations, Summary: "Connect a system", status: 201, mount: typed((*Server).createIntegration)},
		{Method: "GET", Path: "/v1/integrations", Access: AccessViewer, ID: "list-integrations", Tag: tagIntegrations, Summary: "List integrations", mount: typed((*Server).listIntegrations)},
		{Method: "POST", Path: "/v1/integrations:batch", Access: AccessOperator, ID: "batch-integrations", Tag: tagIntegrations, Summary: "Act on all integrations at once; the answer says of each what became of it", mount: typed((*Server).batchIntegrations)},
		{Method: "GET", Path: "/v1/integrations/{id}", Access: AccessViewer, ID: "get-integration", Tag: tagIntegrations, Summary: "Read an integration", mount: typed((*Server).getIntegration)},
		{Method: "GET", Path: "/v1/health", Access: AccessViewer, ID: "list-health", Tag: tagIntegrations, Summary: "List how integrations do, with the reason of each state", mount: typed((*Server).listHealth)},
		{Method: "GET", Path: "/v1/integrations/{id}/health", Access: AccessViewer, ID: "get-integration-health", Tag: tagIntegrations, Summary: "Read how an integration does: state and reason, signals, the last day and the newest moves", mount: typed((*Server).getIntegrationHealth)},
		{Method: "PATCH", Path: "/v1/integrations/{id}", Access: AccessAdmin, ID: "update-integration", Tag: tagIntegrations, Summary: "Change an integration", mount: typed((*Server).updateIntegration)},
		{Method: "DELETE", Path: "/v1/integrations/{id}", Access: AccessAdmin, ID: "delete-integration", Tag: tagIntegrations, Summary: "Disconnect an integration for good", status: 204, mount: typed((*Server).deleteIntegration)},
		{Method: "POST", Path: "/v1/integrations/{id}/connect", Access: AccessAdmin, ID: "connect-integration", Tag: tagIntegrations, Summary: "Make the link by which a person lets WedSync into the system", mount: typed((*Server).connectIntegration)},
		{Method: "POST", Path: "/v1/integrations/{id}/onboarding", Access: AccessAdmin, ID: "begin-onboarding", Tag: tagIntegrations, Summary: "Bring an integration that does not run to work, step by step", status: 202, mount: typed((*Server).beginOnboarding)},
		{Method: "GET", Path: "/v1/integrations/{id}/onboarding", Access: AccessViewer, ID: "get-onboarding", Tag: tagIntegrations, Summary: "Read how far the onboarding of an integration is, step by step", mount: typed((*Server).getOnboarding)},
		{Method: "POST", Path: "/v1/integrations/{id}/onboarding/resume", Access: AccessAdmin, ID: "resume-onboarding", Tag: tagIntegrations, Summary: "Go on with an onboarding that waits, once its cause is mended", mount: typed((*Server).resumeOnboarding)},
		{Method: "POST", Path: "/v1/integrations/{id}/onboarding/cancel", Access: AccessAdmin, ID: "cancel-onboarding", Tag: tagIntegrations, Summary: "End an onboarding and undo what it did", mount: typed((*Server).cancelOnboarding)},
		{Method: "POST", Path: "/v1/integrations/{id}/pause", Access: AccessOperator, ID: "pause-integration", Tag: tagIntegrations, Summary: "Stop applying and writing; what arrives is kept", mount: typed((*Server).pauseIntegration)},
		{Method: "POST", Path: "/v1/integrations/{id}/resume", Access: AccessOperator, ID: "resume-integration", Tag: tagIntegrations, Summary: "Go on after a pause or a reconnect", mount: typed((*Server).resumeIntegration)},
		{Method: "POST", Path: "/v1/integrations/{id}/resync", Access: AccessOperator, ID: "resync-integration", Tag: tagIntegrations, Summary: "Read the system anew", status: 202, mount: typed((*Server).resyncIntegration)},
		{Method: "GET", Path: "/v1/integrations/{id}/failover", Access: AccessViewer, ID: "get-failover", Tag: tagIntegrations, Summary: "Read how news of an integration come, by webhooks or by polls that stand in, and when they did", mount: typed((*Server).getFailover)},
		{Method: "POST", Path: "/v1/integrations/{id}/failover", Access: AccessOperator, ID: "set-failover", Tag: tagIntegrations, Summary: "Send an integration over to quick polls, or back to webhooks", mount: typed((*Server).setFailover)},
		{Method: "POST", Path: "/v1/integrations/{id}/drill", Access: AccessOperator, ID: "begin-drill", Tag: tagIntegrations, Summary: "Exercise failing over: let webhooks lie for a while, and report", status: 202, mount: typed((*Server).beginDrill)},
		{Method: "GET", Path: "/v1/drills", Access: AccessViewer, ID: "list-drills", Tag: tagIntegrations, Summary: "List recovery drills with their reports, newest first", mount: typed((*Server).listDrills)},
		{Method: "GET", Path: "/v1/drills/{id}", Access: AccessViewer, ID: "get-drill", Tag: tagIntegrations, Summary: "Read how far a recovery drill is, and its report", mount: typed((*Server).getDrill)},
		{Method: "GET", Path: "/v1/drill-schedule", Access: AccessViewer, ID: "get-drill-schedule", Tag: tagIntegrations, Summary: "Read how often connections are exercised", mount: typed((*Server).getDrillSchedule)},
		{Method: "PUT", Path: "/v1/drill-schedule", Access: AccessAdmin, ID: "put-drill-schedule", Tag: tagIntegrations, Summary: "Set how often connections are exercised", mount: typed((*Server).putDrillSchedule)},
		{Method: "GET", Path: "/v1/integrations/{id}/scrape-consents", Access: AccessViewer, ID: "list-scrape-consents", Tag: tagIntegrations, Summary: "List who agreed that pages are read for an integration, and when", mount: typed((*Server).listScrapeConsents)},
		{Method: "POST", Path: "/v1/integrations/{id}/scrape-consents", Access: AccessAdmin, ID: "give-scrape-consent", Tag: tagIntegrations, Summary: "Record the customer's consent that pages of an origin are read", status: 201, mount: typed((*Server).giveScrapeConsent)},
		{Method: "DELETE", Path: "/v1/integrations/{id}/scrape-consents/{consent}", Access: AccessAdmin, ID: "withdraw-scrape-consent", Tag: tagIntegrations, Summary: "Withdraw a consent; nothing is read from then on", status: 204, mount: typed((*Server).withdrawScrapeConsent)},
		{Method: "GET", Path: "/v1/integrations/{id}/snapshots", Access: AccessAdmin, ID: "list-snapshots", Tag: tagIntegrations, Summary: "List kept pages that could not be read any more, newest first", mount: typed((*Server).listSnapshots)},
		{Method: "GET", Path: "/v1/integrations/{id}/snapshots/{snapshot}", Access: AccessAdmin, ID: "get-snapshot", Tag: tagIntegrations, Summary: "Read a kept page; its values are masked", mount: typed((*Server).getSnapshot)},
		{Method: "POST", Path: "/v1/integrations/{id}/mapping:test", Access: AccessOperator, ID: "test-mapping", Tag: tagIntegrations, Summary: "Show how a sample or a stored webhook is read, step by step", mount: typed((*Server).testMapping)},
		{Method: "POST", Path: "/v1/integrations/{id}/mapping:backtest", Access: AccessOperator, ID: "backtest-mapping", Tag: tagIntegrations, Summary: "Try a new mapping over stored webhooks before it is switched on", mount: typed((*Server).backtestMapping)},
		{Method: "GET", Path: "/v1/integrations/{id}/mappings", Access: AccessOperator, ID: "list-mappings", Tag: tagIntegrations, Summary: "List by which expressions each kind of webhook is read, with a sample", mount: typed((*Server).listMappings)},
		{Method: "PUT", Path: "/v1/integrations/{id}/mappings/{kind}", Access: AccessAdmin, ID: "set-mapping", Tag: tagIntegrations, Summary: "Change by which expressions a kind of webhook is read", mount: typed((*Server).setMapping)},
		{Method: "POST", Path: "/v1/integrations/{id}/leads", Access: AccessOperator, ID: "send-lead", Tag: tagIntegrations, Summary: "Hand an enquiry in at a system that takes them and confirms nothing; once for a key", status: 201, mount: typed((*Server).sendLead)},
		{Method: "GET", Path: "/v1/integrations/{id}/leads", Access: AccessViewer, ID: "list-leads", Tag: tagIntegrations, Summary: "List the enquiries that were handed in, without what they said", mount: typed((*Server).listLeads)},
		{Method: "GET", Path: "/v1/integrations/{id}/credentials", Access: AccessAdmin, ID: "list-credentials", Tag: tagIntegrations, Summary: "List the webhook credentials that were added to an integration", mount: typed((*Server).listCredentials)},
		{Method: "POST", Path: "/v1/integrations/{id}/credentials", Access: AccessAdmin, ID: "add-credential", Tag: tagIntegrations, Summary: "Add a webhook credential; one generated here is shown this once", status: 201, mount: typed((*Server).addCredential)},
		{Method: "PATCH", Path: "/v1/integrations/{id}/credentials/{credential}", Access: AccessAdmin, ID: "update-credential", Tag: tagIntegrations, Summary: "Rename a webhook credential or set its end", mount: typed((*Server).updateCredential)},
		{Method: "DELETE", Path: "/v1/integrations/{id}/credentials/{credential}", Access: AccessAdmin, ID: "remove-credential", Tag: tagIntegrations, Summary: "Remove a webhook credential for good", status: 204, mount: typed((*Server).removeCredential)},
		{Method: "POST", Path: "/v1/integrations/{id}/plan", Access: AccessOperator, ID: "plan-integration", Tag: tagIntegrations, Summary: "Find out what reading the system now would do; nothing is stored", mount: typed((*Server).planIntegration)},
		{Method: "POST", Path: "/v1/integrations/{id}/purge", Access: AccessAdmin, ID: "purge-integration", Tag: tagIntegrations, Summary: "Take every copy that WedSync wrote out of the system", status: 202, mount: typed((*Server).purgeIntegration)},
		{Method: "GET", Path: "/v1/integrations/{id}/purge", Access: AccessViewer, ID: "get-purge", Tag: tagIntegrations, Summary: "Read how far the last purge is", mount: typed((*Server).getPurge)},
		{Method: "POST", Path: "/v1/integrations/{id}/disconnect", Access: AccessAdmin, ID: "disconnect-integration", Tag: tagIntegrations, Summary: "End a connection: take hooks back, and copies where that is wished; a dry run tells how many", status: 202, mount: typed((*Server).disconnectIntegration)},
		{Method: "GET", Path: "/v1/integrations/{id}/disconnect", Access: AccessViewer, ID: "get-disconnect", Tag: tagIntegrations, Summary: "Read how far disconnecting is", mount: typed((*Server).getDisconnect)},
		{Method: "GET", Path: "/v1/integrations/{id}/explain", Access: AccessViewer, ID: "explain-entry", Tag: tagIntegrations, Summary: "Explain an entry of the system: whether it is known, what it is, and what became of it", mount: typed((*Server).explainEntry)},
		{Method: "GET", Path: "/v1/integrations/{id}/syncs", Access: AccessViewer, ID: "list-syncs", Tag: tagIntegrations, Summary: "List the sync runs of an integration", mount: typed((*Server).listSyncs)},
		{Method: "GET", Path: "/v1/integrations/{id}/refusals", Access: AccessOperator, ID: "list-refusals", Tag: tagIntegrations, Summary: "List a sample of the webhooks of an integration that were refused, newest first", mount: typed((*Server).listRefusals)},
		{Method: "GET", Path: "/v1/syncs/{id}", Access: AccessViewer, ID: "get-sync", Tag: tagIntegrations, Summary: "Read a sync run and its progress", mount: typed((*Server).getSync)},

		{Method: "POST", Path: "/v1/resources", Access: AccessAdmin, ID: "create-resource", Tag: tagBookings, Summary: "Add a resource", status: 201, mount: typed((*Server).createResource)},
		{Method: "GET", Path: "/v1/resources", Access: AccessViewer, ID: "list-resources", Tag: tagBookings, Summary: "List resources", mount: typed((*Server).listResources)},
		{Method: "GET", Path: "/v1/resources/{id}", Access: AccessViewer, ID: "get-resource", Tag: tagBookings, Summary: "Read a resource", mount: typed((*Server).getResource)},
		{Method: "PATCH", Path: "/v1/resources/{id}", Access: AccessAdmin, ID: "update-resource", Tag: tagBookings, Summary: "Change a resource", mount: typed((*Server).updateResource)},

		{Method: "POST", Path: "/v1/resources/{id}/blackouts", Access: AccessOperator, ID: "add-blackout", Tag: tagBookings, Summary: "Keep days of a resource free of clients", status: 201, mount: typed((*Server).addBlackout)},
		{Method: "GET", Path: "/v1/resources/{id}/blackouts", Access: AccessViewer, ID: "list-blackouts", Tag: tagBookings, Summary: "List the days that a resource keeps free of clients", mount: typed((*Server).listBlackouts)},
		{Method: "DELETE", Path: "/v1/resources/{id}/blackouts/{blackout}", Access: AccessOperator, ID: "remove-blackout", Tag: tagBookings, Summary: "Open days of a resource for clients again", status: 204, mount: typed((*Server).removeBlackout)},

		{Method: "POST", Path: "/v1/venues", Access: AccessOperator, ID: "create-venue", Tag: tagBookings, Summary: "Make a place known", status: 201, mount: typed((*Server).createVenue)},
		{Method: "GET", Path: "/v1/venues", Access: AccessViewer, ID: "list-venues", Tag: tagBookings, Summary: "List the known venues, 500 at most", mount: typed((*Server).listVenues)},
		{Method: "GET", Path: "/v1/venues/{id}", Access: AccessViewer, ID: "get-venue", Tag: tagBookings, Summary: "Read a known venue", mount: typed((*Server).getVenue)},
		{Method: "PATCH", Path: "/v1/venues/{id}", Access: AccessOperator, ID: "update-venue", Tag: tagBookings, Summary: "Change a known venue", mount: typed((*Server).updateVenue)},
		{Method: "DELETE", Path: "/v1/venues/{id}", Access: AccessOperator, ID: "delete-venue", Tag: tagBookings, Summary: "Forget a venue", status: 204, mount: typed((*Server).deleteVenue)},

		{Method: "POST", Path: "/v1/resources/{id}/feeds", Access: AccessAdmin, ID: "create-feed", Tag: tagBookings, Summary: "Publish the calendar of a resource; its address is shown this once", status: 201, mount: typed((*Server).createFeed)},
		{Method: "GET", Path: "/v1/resources/{id}/feeds", Access: AccessAdmin, ID: "list-feeds", Tag: tagBookings, Summary: "List the published calendars of a resource", mount: typed((*Server).listFeeds)},
		{Method: "DELETE", Path: "/v1/resources/{id}/feeds/{feed}", Access: AccessAdmin, ID: "revoke-feed", Tag: tagBookings, Summary: "End a published calendar for good", status: 204, mount: typed((*Server).revokeFeed)},
		{Method: "GET", Path: feedPath, Access: AccessPublic, ID: "read-feed", Tag: tagBookings, Summary: "Subscribe to a published calendar", mount: raw((*Server).readFeed)},
		{Method: "HEAD", Path: feedPath, Access: AccessPublic, ID: "look-at-feed", Tag: tagBookings, Summary: "Learn whether a published calendar is there and has changed", mount: raw((*Server).readFeed)},

		{Method: "POST", Path: "/v1/bookings", Access: AccessOperator, ID: "create-booking", Tag: tagBookings, Summary: "Make a booking by hand", status: 201, mount: typed((*Server).createBooking)},
		{Method: "GET", Path: "/v1/bookings", Access: AccessViewer, ID: "list-bookings", Tag: tagBookings, Summary: "List bookings by their start", mount: typed((*Server).listBookings)},
		{Method: "GET", Path: "/v1/bookings/{id}", Access: AccessViewer, ID: "get-booking", Tag: tagBookings, Summary: "Read a booking and its copies", mount: typed((*Server).getBooking)},
		{Method: "PATCH", Path: "/v1/bookings/{id}", Access: AccessOperator, ID: "update-booking", Tag: tagBookings, Summary: "Change or cancel a booking by hand", mount: typed((*Server).updateBooking)},
		{Method: "GET", Path: "/v1/bookings/{id}/timeline", Access: AccessViewer, ID: "get-timeline", Tag: tagBookings, Summary: "Read the timeline of a wedding, with times and clashes", mount: typed((*Server).getTimeline)},
		{Method: "PUT", Path: "/v1/bookings/{id}/timeline", Access: AccessOperator, ID: "set-timeline", Tag: tagBookings, Summary: "Set the timeline of a wedding", mount: typed((*Server).setTimeline)},
		{Method: "DELETE", Path: "/v1/bookings/{id}/timeline", Access: AccessOperator, ID: "delete-timeline", Tag: tagBookings, Summary: "Remove the timeline of a wedding and what it exported", status: 204, mount: typed((*Server).deleteTimeline)},
		{Method: "POST", Path: "/v1/bookings/{id}/shares", Access: AccessOperator, ID: "create-share", Tag: tagBookings, Summary: "Make a link to a wedding's live view for the couple or a vendor; its address is shown this once", status: 201, mount: typed((*Server).createShare)},
		{Method: "GET", Path: "/v1/bookings/{id}/shares", Access: AccessOperator, ID: "list-shares", Tag: tagBookings, Summary: "List the links to a wedding, with how often they were opened", mount: typed((*Server).listShares)},
		{Method: "DELETE", Path: "/v1/bookings/{id}/shares/{share}", Access: AccessOperator, ID: "revoke-share", Tag: tagBookings, Summary: "End a link to a wedding for good", status: 204, mount: typed((*Server).revokeShare)},
		{Method: "GET", Path: "/s/{token}", Access: AccessPublic, ID: "open-share", Tag: tagBookings, Summary: "See a wedding by a link: a page, or JSON where Accept asks for it", mount: raw((*Server).openShare)},
		{Method: "POST", Path: "/s/{token}/confirm", Access: AccessPublic, ID: "confirm-share", Tag: tagBookings, Summary: "Confirm an item of the timeline by a vendor's link", mount: raw((*Server).confirmShare)},
		{Method: "GET", Path: "/s/{token}/live", Access: AccessPublic, ID: "follow-share", Tag: tagBookings, Summary: "Hear that a shared wedding changed", endless: true, mount: raw((*Server).followShare)},
		{Method: "GET", Path: "/v1/bookings/{id}/explain", Access: AccessViewer, ID: "explain-booking", Tag: tagBookings, Summary: "Explain a booking: where it came from, which systems show it and why, and every change", mount: typed((*Server).explainBooking)},
		{Method: "POST", Path: "/v1/bookings/{id}/link", Access: AccessOperator, ID: "link-bookings", Tag: tagBookings, Summary: "Say that another booking is the same event", mount: typed((*Server).linkBookings)},
		{Method: "POST", Path: "/v1/bookings/{id}/unlink", Access: AccessOperator, ID: "unlink-bookings", Tag: tagBookings, Summary: "Say that a linked booking, or an entry of a system, is another event", mount: typed((*Server).unlinkBookings)},
		{Method: "GET", Path: "/v1/link-suggestions", Access: AccessViewer, ID: "list-link-suggestions", Tag: tagBookings, Summary: "List pairs of bookings that are probably one event, likeliest first", mount: typed((*Server).listLinkSuggestions)},
		{Method: "GET", Path: "/v1/availability", Access: AccessViewer, ID: "get-availability", Tag: tagBookings, Summary: "Find out when a resource is free, and why not at other times", mount: typed((*Server).getAvailability)},
		{Method: "GET", Path: "/v1/availability/search", Access: AccessViewer, ID: "search-availability", Tag: tagBookings, Summary: "Find out who is free on a date", mount: typed((*Server).searchAvailability)},
		{Method: "GET", Path: "/v1/suggestions", Access: AccessViewer, ID: "get-suggestions", Tag: tagBookings, Summary: "Find other times, other resources and exchanges for a booking", mount: typed((*Server).getSuggestions)},
		{Method: "POST", Path: "/v1/holds", Access: AccessOperator, ID: "create-hold", Tag: tagBookings, Summary: "Keep a time for somebody who has not decided yet", status: 201, mount: typed((*Server).createHold)},
		{Method: "GET", Path: "/v1/holds", Access: AccessViewer, ID: "list-holds", Tag: tagBookings, Summary: "List holds, newest first", mount: typed((*Server).listHolds)},
		{Method: "GET", Path: "/v1/holds/{id}", Access: AccessViewer, ID: "get-hold", Tag: tagBookings, Summary: "Read a hold, and which systems show it since when", mount: typed((*Server).getHold)},
		{Method: "POST", Path: "/v1/holds/{id}/extend", Access: AccessOperator, ID: "extend-hold", Tag: tagBookings, Summary: "Keep the time of a hold for longer", mount: typed((*Server).extendHold)},
		{Method: "POST", Path: "/v1/holds/{id}/confirm", Access: AccessOperator, ID: "confirm-hold", Tag: tagBookings, Summary: "Make a hold a confirmed booking", mount: typed((*Server).confirmHold)},
		{Method: "POST", Path: "/v1/holds/{id}/release", Access: AccessOperator, ID: "release-hold", Tag: tagBookings, Summary: "Give the time of a hold back", mount: typed((*Server).releaseHold)},

		{Method: "GET", Path: "/v1/freeze", Access: AccessViewer, ID: "get-freeze", Tag: tagBookings, Summary: "Read whether a wedding is near or on, until when that freezes what is risky, and which freezes come", mount: typed((*Server).getFreeze)},
		{Method: "PUT", Path: "/v1/freeze", Access: AccessAdmin, ID: "put-freeze", Tag: tagBookings, Summary: "Set how long before a wedding its freeze begins, and what waits for a person meanwhile", mount: typed((*Server).putFreeze)},

		{Method: "GET", Path: "/v1/conflicts", Access: AccessViewer, ID: "list-conflicts", Tag: tagConflicts, Summary: "List conflicts, newest first", mount: typed((*Server).listConflicts)},
		{Method: "GET", Path: "/v1/conflicts/{id}", Access: AccessViewer, ID: "get-conflict", Tag: tagConflicts, Summary: "Read a conflict with its ways out", mount: typed((*Server).getConflict)},
		{Method: "POST", Path: "/v1/conflicts/{id}/resolve", Access: AccessOperator, ID: "resolve-conflict", Tag: tagConflicts, Summary: "Decide a conflict", status: 202, mount: typed((*Server).resolveConflict)},
		{Method: "POST", Path: "/v1/conflicts/{id}/withdraw", Access: AccessOperator, ID: "withdraw-decision", Tag: tagConflicts, Summary: "Call off a decision that is being carried out", status: 202, mount: typed((*Server).withdrawDecision)},
		{Method: "GET", Path: "/v1/conflict-policies", Access: AccessAdmin, ID: "list-conflict-policies", Tag: tagConflicts, Summary: "List what is decided without asking each time", mount: typed((*Server).listConflictPolicies)},
		{Method: "PUT", Path: "/v1/conflict-policies/{category}/{other}", Access: AccessAdmin, ID: "put-conflict-policy", Tag: tagConflicts, Summary: "Decide ahead what becomes of conflicts of two categories", mount: typed((*Server).putConflictPolicy)},
		{Method: "DELETE", Path: "/v1/conflict-policies/{category}/{other}", Access: AccessAdmin, ID: "delete-conflict-policy", Tag: tagConflicts, Summary: "Leave conflicts of two categories to people again", status: 204, mount: typed((*Server).deleteConflictPolicy)},
		{Method: "POST", Path: "/v1/conflict-policies/preview", Access: AccessAdmin, ID: "preview-conflict-policies", Tag: tagConflicts, Summary: "Find out what policies would do with the open conflicts; nothing is stored", mount: typed((*Server).previewConflictPolicies)},
		{Method: "POST", Path: "/v1/conflict-policies/apply", Access: AccessAdmin, ID: "apply-conflict-policies", Tag: tagConflicts, Summary: "Let the policies look at the conflicts that are open already", status: 202, mount: typed((*Server).applyConflictPolicies)},
		{Method: "GET", Path: "/v1/edit-conflicts", Access: AccessViewer, ID: "list-edit-conflicts", Tag: tagConflicts, Summary: "List edits on both sides that a person decides, newest first", mount: typed((*Server).listEditConflicts)},
		{Method: "GET", Path: "/v1/edit-conflicts/{id}", Access: AccessViewer, ID: "get-edit-conflict", Tag: tagConflicts, Summary: "Read both versions of an edit conflict", mount: typed((*Server).getEditConflict)},
		{Method: "POST", Path: "/v1/edit-conflicts/{id}/resolve", Access: AccessOperator, ID: "resolve-edit-conflict", Tag: tagConflicts, Summary: "Choose a version, or keep both as two bookings", mount: typed((*Server).resolveEditConflict)},

		{Method: "GET", Path: "/v1/quarantines", Access: AccessViewer, ID: "list-quarantines", Tag: tagConflicts, Summary: "List sets of removals that were too many at once, newest first", mount: typed((*Server).listQuarantines)},
		{Method: "GET", Path: "/v1/quarantines/{id}", Access: AccessViewer, ID: "get-quarantine", Tag: tagConflicts, Summary: "Read held removals with the bookings that would go", mount: typed((*Server).getQuarantine)},
		{Method: "POST", Path: "/v1/quarantines/{id}/approve", Access: AccessOperator, ID: "approve-quarantine", Tag: tagConflicts, Summary: "Carry held removals out; each is proved once more", mount: typed((*Server).approveQuarantine)},
		{Method: "POST", Path: "/v1/quarantines/{id}/restore", Access: AccessOperator, ID: "restore-quarantine", Tag: tagConflicts, Summary: "Keep the bookings, and write them back where the connection writes", mount: typed((*Server).restoreQuarantine)},

		{Method: "GET", Path: "/v1/deliveries", Access: AccessViewer, ID: "list-deliveries", Tag: tagDeliveries, Summary: "Search received webhooks, newest first", mount: typed((*Server).listDeliveries)},
		{Method: "GET", Path: "/v1/deliveries/schedule", Access: AccessViewer, ID: "get-retry-schedule", Tag: tagDeliveries, Summary: "Read when deliveries are tried again", mount: typed((*Server).getSchedule)},
		{Method: "GET", Path: "/v1/deliveries/{id}", Access: AccessViewer, ID: "get-delivery", Tag: tagDeliveries, Summary: "Read a received webhook and its tries", mount: typed((*Server).getDelivery)},
		{Method: "GET", Path: "/v1/deliveries/{id}/content", Access: AccessAdmin, ID: "get-delivery-content", Tag: tagDeliveries, Summary: "Read what a webhook said; leaves a line in the audit trail", mount: typed((*Server).getDeliveryContent)},
		{Method: "POST", Path: "/v1/deliveries/{id}/replay", Access: AccessOperator, ID: "replay-delivery", Tag: tagDeliveries, Summary: "Hand a webhook in once more", status: 202, mount: typed((*Server).replayDelivery)},
		{Method: "POST", Path: "/v1/deliveries/{id}/discard", Access: AccessOperator, ID: "discard-delivery", Tag: tagDeliveries, Summary: "Settle a dead webhook that is not to be applied", mount: typed((*Server).discardDelivery)},
		{Method: "POST", Path: "/v1/replays", Access: AccessOperator, ID: "create-replay", Tag: tagDeliveries, Summary: "Hand many webhooks in once more, or find out what that would do", status: 202, mount: typed((*Server).createReplay)},
		{Method: "GET", Path: "/v1/replays", Access: AccessViewer, ID: "list-replays", Tag: tagDeliveries, Summary: "List replays, newest first", mount: typed((*Server).listReplays)},
		{Method: "GET", Path: "/v1/replays/{id}", Access: AccessViewer, ID: "get-replay", Tag: tagDeliveries, Summary: "Read a replay and its progress", mount: typed((*Server).getReplay)},
		{Method: "POST", Path: "/v1/replays/{id}/pause", Access: AccessOperator, ID: "pause-replay", Tag: tagDeliveries, Summary: "Stop a replay for a while", mount: typed((*Server).pauseReplay)},
		{Method: "POST", Path: "/v1/replays/{id}/resume", Access: AccessOperator, ID: "resume-replay", Tag: tagDeliveries, Summary: "Let a paused replay go on", mount: typed((*Server).resumeReplay)},
		{Method: "POST", Path: "/v1/replays/{id}/cancel", Access: AccessOperator, ID: "cancel-replay", Tag: tagDeliveries, Summary: "End a replay where it is; what it handed in stays", mount: typed((*Server).cancelReplay)},
		{Method: "GET", Path: "/v1/audit", Access: AccessAdmin, ID: "list-audit", Tag: tagDeliveries, Summary: "List the audit trail, newest first", mount: typed((*Server).listAudit)},

		{Method: "GET", Path: "/v1/stream", Access: AccessViewer, ID: "stream-events", Tag: tagLive, Summary: "Follow live events", endless: true, mount: raw((*Server).streamEvents)},

		{Method: "POST", Path: "/v1/subscriptions", Access: AccessAdmin, ID: "create-subscription", Tag: tagSubscription, Summary: "Have webhooks sent to a receiver", status: 201, mount: typed((*Server).createSubscription)},
		{Method: "GET", Path: "/v1/subscriptions", Access: AccessViewer, ID: "list-subscriptions", Tag: tagSubscription, Summary: "List subscriptions", mount: typed((*Server).listSubscriptions)},
		{Method: "GET", Path: "/v1/subscriptions/{id}", Access: AccessViewer, ID: "get-subscription", Tag: tagSubscription, Summary: "Read a subscription", mount: typed((*Server).getSubscription)},
		{Method: "PATCH", Path: "/v1/subscriptions/{id}", Access: AccessAdmin, ID: "update-subscription", Tag: tagSubscription, Summary: "Change a subscription; what waits is tried at once", mount: typed((*Server).updateSubscription)},
		{Method: "DELETE", Path: "/v1/subscriptions/{id}", Access: AccessAdmin, ID: "delete-subscription", Tag: tagSubscription, Summary: "End a subscription for good", status: 204, mount: typed((*Server).deleteSubscription)},
		{Method: "POST", Path: "/v1/subscriptions/{id}/pause", Access: AccessAdmin, ID: "pause-subscription", Tag: tagSubscription, Summary: "Stop sending; the position is kept", mount: typed((*Server).pauseSubscription)},
		{Method: "POST", Path: "/v1/subscriptions/{id}/resume", Access: AccessAdmin, ID: "resume-subscription", Tag: tagSubscription, Summary: "Go on after a pause or after it was disabled", mount: typed((*Server).resumeSubscription)},
		{Method: "POST", Path: "/v1/subscriptions/{id}/test", Access: AccessAdmin, ID: "test-subscription", Tag: tagSubscription, Summary: "Send a test message and see the answer", mount: typed((*Server).testSubscription)},
		{Method: "POST", Path: "/v1/subscriptions/{id}/secrets", Access: AccessAdmin, ID: "rotate-subscription", Tag: tagSubscription, Summary: "Add a signing secret and let the others end", status: 201, mount: typed((*Server).rotateSubscription)},
		{Method: "GET", Path: "/v1/subscriptions/{id}/attempts", Access: AccessViewer, ID: "list-attempts", Tag: tagSubscription, Summary: "List the last attempts, newest first", mount: typed((*Server).listAttempts)},

		{Method: "POST", Path: "/v1/recipients", Access: AccessAdmin, ID: "create-recipient", Tag: tagNotifications, Summary: "Have a person told of what concerns them", status: 201, mount: typed((*Server).createRecipient)},
		{Method: "GET", Path: "/v1/recipients", Access: AccessAdmin, ID: "list-recipients", Tag: tagNotifications, Summary: "List the people who are told", mount: typed((*Server).listRecipients)},
		{Method: "GET", Path: "/v1/recipients/{id}", Access: AccessAdmin, ID: "get-recipient", Tag: tagNotifications, Summary: "Read a person's addresses and preferences", mount: typed((*Server).getRecipient)},
		{Method: "PATCH", Path: "/v1/recipients/{id}", Access: AccessAdmin, ID: "update-recipient", Tag: tagNotifications, Summary: "Change, pause or resume a person", mount: typed((*Server).updateRecipient)},
		{Method: "DELETE", Path: "/v1/recipients/{id}", Access: AccessAdmin, ID: "delete-recipient", Tag: tagNotifications, Summary: "End a person's notifications and wipe name and addresses", status: 204, mount: typed((*Server).deleteRecipient)},
		{Method: "POST", Path: "/v1/recipients/{id}/test", Access: AccessAdmin, ID: "test-recipient", Tag: tagNotifications, Summary: "Send a person a sample message, to see whether it arrives", status: 202, mount: typed((*Server).testRecipient)},
		{Method: "GET", Path: "/v1/notifications", Access: AccessViewer, ID: "list-notifications", Tag: tagNotifications, Summary: "List who was told of what, and what became of it, newest first", mount: typed((*Server).listNotifications)},
		{Method: "GET", Path: "/v1/notifications/{id}", Access: AccessViewer, ID: "get-notification", Tag: tagNotifications, Summary: "Read where a notification stands", mount: typed((*Server).getNotification)},
		{Method: "POST", Path: "/v1/notifications/{id}/acknowledge", Access: AccessOperator, ID: "acknowledge-notification", Tag: tagNotifications, Summary: "Say that somebody knows; reminders about it stop", mount: typed((*Server).acknowledgeNotification)},
		{Method: "POST", Path: "/v1/notifications/{id}/resend", Access: AccessOperator, ID: "resend-notification", Tag: tagNotifications, Summary: "Send a notification once more, at once", mount: typed((*Server).resendNotification)},
		{Method: "POST", Path: "/v1/notifications:preview", Access: AccessOperator, ID: "preview-notification", Tag: tagNotifications, Summary: "See what a message would say; nothing is sent", mount: typed((*Server).previewNotification)},

		{Method: "GET", Path: "/v1/alerts", Access: AccessViewer, ID: "list-alerts", Tag: tagAlerts, Summary: "List what is wrong with connections, newest first", mount: typed((*Server).listAlerts)},
		{Method: "GET", Path: "/v1/alerts/{id}", Access: AccessViewer, ID: "get-alert", Tag: tagAlerts, Summary: "Read an alert", mount: typed((*Server).getAlert)},
		{Method: "POST", Path: "/v1/alerts/{id}/acknowledge", Access: AccessOperator, ID: "acknowledge-alert", Tag: tagAlerts, Summary: "Say that somebody looks after an alert; reminders and escalation stop", mount: typed((*Server).acknowledgeAlert)},
		{Method: "GET", Path: "/v1/alert-rules", Access: AccessViewer, ID: "list-alert-rules", Tag: tagAlerts, Summary: "List what rules do otherwise than usual", mount: typed((*Server).listAlertRules)},
		{Method: "PUT", Path: "/v1/alert-rules", Access: AccessAdmin, ID: "put-alert-rule", Tag: tagAlerts, Summary: "Switch a rule on or off, or change it, for some connections", mount: typed((*Server).putAlertRule)},
		{Method: "DELETE", Path: "/v1/alert-rules/{id}", Access: AccessAdmin, ID: "delete-alert-rule", Tag: tagAlerts, Summary: "Let a rule do as usual again", status: 204, mount: typed((*Server).deleteAlertRule)},
		{Method: "GET", Path: "/v1/alert-policy", Access: AccessViewer, ID: "get-alert-policy", Tag: tagAlerts, Summary: "Read when people are told again, and who else", mount: typed((*Server).getAlertPolicy)},
		{Method: "PUT", Path: "/v1/alert-policy", Access: AccessAdmin, ID: "put-alert-policy", Tag: tagAlerts, Summary: "Set reminders and escalation", mount: typed((*Server).putAlertPolicy)},
		{Method: "POST", Path: "/v1/silences", Access: AccessOperator, ID: "create-silence", Tag: tagAlerts, Summary: "Note alerts without telling anybody, once or again and again", status: 201, mount: typed((*Server).createSilence)},
		{Method: "GET", Path: "/v1/silences", Access: AccessViewer, ID: "list-silences", Tag: tagAlerts, Summary: "List silences, newest first", mount: typed((*Server).listSilences)},
		{Method: "GET", Path: "/v1/silences/{id}", Access: AccessViewer, ID: "get-silence", Tag: tagAlerts, Summary: "Read a silence", mount: typed((*Server).getSilence)},
		{Method: "PATCH", Path: "/v1/silences/{id}", Access: AccessOperator, ID: "update-silence", Tag: tagAlerts, Summary: "Change a silence", mount: typed((*Server).updateSilence)},
		{Method: "DELETE", Path: "/v1/silences/{id}", Access: AccessOperator, ID: "end-silence", Tag: tagAlerts, Summary: "End a silence; it stays in the list", status: 204, mount: typed((*Server).endSilence)},
		{Method: "GET", Path: "/v1/objectives", Access: AccessViewer, ID: "list-objectives", Tag: tagAlerts, Summary: "List what is promised of connections", mount: typed((*Server).listObjectives)},
		{Method: "PUT", Path: "/v1/objectives", Access: AccessAdmin, ID: "put-objective", Tag: tagAlerts, Summary: "Promise something of some connections", mount: typed((*Server).putObjective)},
		{Method: "DELETE", Path: "/v1/objectives/{id}", Access: AccessAdmin, ID: "delete-objective", Tag: tagAlerts, Summary: "Take a promise back; the wider one counts again", status: 204, mount: typed((*Server).deleteObjective)},
		{Method: "GET", Path: "/v1/sla/{period}", Access: AccessViewer, ID: "get-sla", Tag: tagAlerts, Summary: "Read what became of what was promised in a month or a year", mount: typed((*Server).getReport)},
		{Method: "GET", Path: "/v1/sla/{period}/csv", Access: AccessViewer, ID: "get-sla-csv", Tag: tagAlerts, Summary: "Read the same report as CSV", mount: raw((*Server).reportCSV)},
		{Method: "GET", Path: "/v1/scores", Access: AccessViewer, ID: "list-scores", Tag: tagAlerts, Summary: "List how far connections can be relied on", mount: typed((*Server).listScores)},

		{Method: "GET", Path: "/v1/maintenance-proposals", Access: AccessViewer, ID: "propose-maintenance", Tag: tagMaintenance, Summary: "Rank times for maintenance that weddings, settings and other windows leave free", mount: typed((*Server).proposeMaintenance)},
		{Method: "GET", Path: "/v1/maintenance-state", Access: AccessViewer, ID: "get-maintenance-state", Tag: tagMaintenance, Summary: "Read whether maintenance may be at a time, why not, and when that changes", mount: typed((*Server).maintenanceState)},
		{Method: "POST", Path: "/v1/maintenance", Access: AccessOperator, ID: "create-maintenance", Tag: tagMaintenance, Summary: "Propose a window in which connections rest", status: 201, mount: typed((*Server).createMaintenance)},
		{Method: "GET", Path: "/v1/maintenance", Access: AccessViewer, ID: "list-maintenance", Tag: tagMaintenance, Summary: "List windows of maintenance, newest first", mount: typed((*Server).listMaintenance)},
		{Method: "GET", Path: "/v1/maintenance/{id}", Access: AccessViewer, ID: "get-maintenance", Tag: tagMaintenance, Summary: "Read a window, its connections, and what waits of each", mount: typed((*Server).getMaintenance)},
		{Method: "POST", Path: "/v1/maintenance/{id}/approve", Access: AccessAdmin, ID: "approve-maintenance", Tag: tagMaintenance, Summary: "Let a proposed window take place", mount: typed((*Server).approveMaintenance)},
		{Method: "POST", Path: "/v1/maintenance/{id}/cancel", Access: AccessOperator, ID: "cancel-maintenance", Tag: tagMaintenance, Summary: "End a window; one that has begun lets its connections go on at once", mount: typed((*Server).cancelMaintenance)},
		{Method: "POST", Path: "/v1/maintenance/{id}/reschedule", Access: AccessAdmin, ID: "reschedule-maintenance", Tag: tagMaintenance, Summary: "Move a window, or make it longer or shorter", mount: typed((*Server).rescheduleMaintenance)},
		{Method: "GET", Path: "/v1/maintenance-settings", Access: AccessViewer, ID: "get-maintenance-settings", Tag: tagMaintenance, Summary: "Read what the organisation wants of maintenance", mount: typed((*Server).getMaintenanceSettings)},
		{Method: "PUT", Path: "/v1/maintenance-settings", Access: AccessAdmin, ID: "put-maintenance-settings", Tag: tagMaintenance, Summary: "Set who approves maintenance, notice, days, hours and seasons", mount: typed((*Server).putMaintenanceSettings)},
		{Method: "POST", Path: "/v1/provider-windows", Access: AccessOperator, ID: "create-provider-window", Tag: tagMaintenance, Summary: "Note maintenance that a provider announced", status: 201, mount: typed((*Server).createProviderWindow)},
		{Method: "GET", Path: "/v1/provider-windows", Access: AccessViewer, ID: "list-provider-windows", Tag: tagMaintenance, Summary: "List maintenance that providers announced", mount: typed((*Server).listProviderWindows)},
		{Method: "DELETE", Path: "/v1/provider-windows/{id}", Access: AccessOperator, ID: "delete-provider-window", Tag: tagMaintenance, Summary: "Forget maintenance that a provider announced", status: 204, mount: typed((*Server).deleteProviderWindow)},
		{Method: "GET", Path: "/v1/weddings", Access: AccessViewer, ID: "list-weddings", Tag: tagWeddings, Summary: "List weddings that are or were looked after, by their day", mount: typed((*Server).listWeddings)},
		{Method: "GET", Path: "/v1/weddings/{id}", Access: AccessViewer, ID: "get-wedding", Tag: tagWeddings, Summary: "Read where the care for a wedding stands: its times, the newest preflight and the report of its day", mount: typed((*Server).getWedding)},
		{Method: "POST", Path: "/v1/weddings/{id}/preflight", Access: AccessOperator, ID: "ask-preflight", Tag: tagWeddings, Summary: "Have everything checked now that a wedding rests on", status: 202, mount: typed((*Server).wantPreflight)},
		{Method: "GET", Path: "/v1/weddings/{id}/preflights", Access: AccessViewer, ID: "list-preflights", Tag: tagWeddings, Summary: "List the preflights of a wedding, newest first", mount: typed((*Server).listPreflights)},
		{Method: "GET", Path: "/v1/weddings/{id}/log", Access: AccessViewer, ID: "get-wedding-log", Tag: tagWeddings, Summary: "Read what happened on the day so far, the oldest first", mount: typed((*Server).getWeddingLog)},
		{Method: "GET", Path: "/v1/weddings/{id}/handover", Access: AccessViewer, ID: "get-handover", Tag: tagWeddings, Summary: "Read the report of a wedding day", mount: typed((*Server).getHandOver)},
		{Method: "GET", Path: "/v1/integrations/{id}/score", Access: AccessViewer, ID: "get-score", Tag: tagAlerts, Summary: "Read how far a connection can be relied on, and why", mount: typed((*Server).getScore)},

		{Method: "GET", Path: "/healthz", Access: AccessPublic, ID: "health", Tag: tagOperation, Summary: "Is the process alive?", quiet: true, mount: raw((*Server).healthz)},
		{Method: "GET", Path: "/readyz", Access: AccessPublic, ID: "ready", Tag: tagOperation, Summary: "Can this server do its work?", quiet: true, mount: raw((*Server).readyz)},
		{Method: "GET", Path: "/metrics", Access: AccessMetrics, ID: "metrics", Tag: tagOperation, Summary: "Metrics for Prometheus", quiet: true, mount: raw((*Server).showMetrics),
			optional: func(s *Server) bool { return !s.o.MetricsElsewhere }},
		{Method: "GET", Path: "/openapi.json", Access: AccessPublic, ID: "openapi-json", Tag: tagOperation, Summary: "This document as JSON", mount: raw((*Server).openapiJSON)},
		{Method: "GET", Path: "/openapi.yaml", Access: AccessPublic, ID: "openapi-yaml", Tag: tagOperation, Summary: "This document as YAML", mount: raw((*Server).openapiYAML)},
		{Method: "GET", Path: "/docs", Access: AccessPublic, ID: "docs", Tag: tagOperation, Summary: "This document for people", mount: raw((*Server).docs)},
		{Method: "POST", Path: "/codec/decode", Access: AccessOwn, ID: "codec-decode", Tag: tagOperation, Summary: "Decode payloads for Temporal UI", ownBody: true, mount: raw((*Server).codec), optional: (*Server).hasCodec},
		{Method: "POST", Path: "/codec/encode", Access: AccessOwn, ID: "codec-encode", Tag: tagOperation, Summary: "Encode payloads for Temporal UI", ownBody: true, mount: raw((*Server).codec), optional: (*Server).hasCodec},
		{Method: "OPTIONS", Path: "/codec/decode", Access: AccessOwn, ID: "codec-decode-preflight", Tag: tagPages, Summary: "Ask whether a page may decode", mount: raw((*Server).codec), optional: (*Server).hasCodec},
		{Method: "OPTIONS", Path: "/codec/encode", Access: AccessOwn, ID: "codec-encode-preflight", Tag: tagPages, Summary: "Ask whether a page may encode", mount: raw((*Server).codec), optional: (*Server).hasCodec},

		{Method: "GET", Path: "/assets/{file}", Access: AccessPublic, ID: "asset", Tag: tagPages, Summary: "Style sheet, script and icon of the pages", quiet: true, mount: raw((*Server).asset)},
		{Method: "GET", Path: "/sign-in", Access: AccessPublic, ID: "sign-in-page", Tag: tagPages, Summary: "Page to sign in with a token", mount: raw((*Server).signInPage)},
		{Method: "POST", Path: "/sign-in", Access: AccessPublic, ID: "sign-in", Tag: tagPages, Summary: "Sign in with a token", mount: raw((*Server).signIn)},
		{Method: "GET", Path: CallbackPath, Access: AccessPublic, ID: "oauth-callback", Tag: tagPages, Summary: "Where a system sends the browser back to after a consent; the link counts once", mount: raw((*Server).callback)},
		{Method: "POST", Path: CallbackPath, Access: AccessPublic, ID: "oauth-confirm", Tag: tagPages, Summary: "Confirm a consent that was asked for by the API", mount: raw((*Server).confirm)},
		{Method: "POST", Path: "/sign-out", Access: AccessViewer, ID: "sign-out", Tag: tagPages, Summary: "Sign out", page: true, mount: raw((*Server).signOut)},
		{Method: "GET", Path: "/", Access: AccessViewer, ID: "dashboard", Tag: tagPages, Summary: "Dashboard", page: true, mount: raw((*Server).dashboard)},
		{Method: "GET", Path: "/alerts", Access: AccessViewer, ID: "alerts-page", Tag: tagPages, Summary: "Alerts, silences and scores", page: true, mount: raw((*Server).alertsPage)},
		{Method: "POST", Path: "/do/alerts/{id}/acknowledge", Access: AccessOperator, ID: "dashboard-alert", Tag: tagPages, Summary: "Button of an alert", page: true, mount: raw((*Server).doAlert)},
		{Method: "GET", Path: "/sla/{period}", Access: AccessViewer, ID: "sla-page", Tag: tagPages, Summary: "What became of what was promised, for people", page: true, mount: raw((*Server).reportPage)},
		{Method: "GET", Path: "/weddings", Access: AccessViewer, ID: "weddings-page", Tag: tagPages, Summary: "Weddings to come and what was checked", page: true, mount: raw((*Server).weddingsPage)},
		{Method: "GET", Path: "/weddings/{id}", Access: AccessViewer, ID: "wedding-page", Tag: tagPages, Summary: "The care for one wedding, for planners", page: true, mount: raw((*Server).weddingPage)},
		{Method: "POST", Path: "/do/weddings/{id}/preflight", Access: AccessOperator, ID: "dashboard-wedding", Tag: tagPages, Summary: "Button of a wedding", page: true, mount: raw((*Server).doWedding)},
		{Method: "GET", Path: "/live", Access: AccessViewer, ID: "dashboard-live", Tag: tagPages, Summary: "Live events of the dashboard", page: true, endless: true, mount: raw((*Server).streamEvents)},
		{Method: "POST", Path: "/do/integrations/{id}/{action}", Access: AccessOperator, ID: "dashboard-integration", Tag: tagPages, Summary: "Buttons of an integration", page: true, mount: raw((*Server).doIntegration)},
		{Method: "GET", Path: "/integrations/{id}", Access: AccessViewer, ID: "integration-page", Tag: tagPages, Summary: "One integration: how it does, its drills and when quick polls stood in", page: true, mount: raw((*Server).integrationPage)},
		{Method: "GET", Path: "/maintenance", Access: AccessViewer, ID: "maintenance-page", Tag: tagPages, Summary: "Windows of maintenance, and good times for one", page: true, mount: raw((*Server).maintenancePage)},
		{Method: "POST", Path: "/do/maintenance", Access: AccessOperator, ID: "dashboard-propose", Tag: tagPages, Summary: "Form that proposes a window of maintenance", page: true, mount: raw((*Server).doPropose)},
		{Method: "POST", Path: "/do/maintenance/{id}/approve", Access: AccessAdmin, ID: "dashboard-approve", Tag: tagPages, Summary: "Button that approves a window of maintenance", page: true, mount: raw((*Server).doApproveWindow)},
		{Method: "POST", Path: "/do/maintenance/{id}/cancel", Access: AccessOperator, ID: "dashboard-cancel", Tag: tagPages, Summary: "Button that refuses, cancels or ends a window of maintenance", page: true, mount: raw((*Server).doCancelWindow)},
		{Method: "GET", Path: "/integrations/{id}/mapping", Access: AccessAdmin, ID: "mapping-page", Tag: tagPages, Summary: "Mapping of an integration beside a sample and what it makes of it", page: true, mount: raw((*Server).mappingPage)},
		{Method: "POST", Path: "/do/integrations/{id}/mapping", Access: AccessAdmin, ID: "dashboard-mapping", Tag: tagPages, Summary: "Buttons of a mapping", page: true, mount: raw((*Server).doMapping)},
		{Method: "POST", Path: "/do/conflicts/{id}", Access: AccessOperator, ID: "dashboard-conflict", Tag: tagPages, Summary: "Buttons of a conflict", page: true, mount: raw((*Server).doConflict)},
		{Method: "POST", Path: "/do/quarantines/{id}/{action}", Access: AccessOperator, ID: "dashboard-quarantine", Tag: tagPages, Summary: "Buttons of held removals", page: true, mount: raw((*Server).doQuarantine)},
	}
}

const (
	webhookPath      = "/v1/webhooks/{integration}"
	webhookTokenPath = webhookPath + "/{token}"
	notifyPath       = provider.NotifyPath + "{watch}"
)

var echoWebhookPath, echoTokenPath, echoNotifyPath = echoPath(webhookPath), echoPath(webhookTokenPath), echoPath(notifyPath)

// echoPath turns {id} into :id. A colon of the path itself, as in mapping:test, begins no parameter.
func echoPath(p string) string { return strings.NewReplacer(":", `\:`, "{", ":", "}", "").Replace(p) }

func (r Route) success() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

// typed mounts a handler whose input and output are structs: it is validated and documented from them.
func typed[I, O any](h func(*Server, context.Context, *I) (*O, error)) func(*Server, Route) {
	return func(s *Server, r Route) { register(s, r, h) }
}

// raw mounts a handler that reads and writes HTTP itself, and documents it as far as the table knows.
func raw(h func(*Server, echo.Context) error) func(*Server, Route) {
	return func(s *Server, r Route) {
		s.echo.Add(r.Method, echoPath(r.Path), func(c echo.Context) error { return h(s, c) })
	}
}
