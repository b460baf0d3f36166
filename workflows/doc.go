// Package workflows holds WedSync's durable stories, one file each:
//
//	integration.go   lives as long as a connection: applies deliveries, writes copies, polls, pauses, resyncs
//	                 (integration_messages.go has what people ask of it, and the others of its name what goes
//	                 on beside: watches, failing over, rests)
//	sync.go          one pull or full resync, page by page
//	conflict.go      from a clash to its verified end
//	notify.go        tells people of what concerns them, each in their own time
//	replay.go        hands deliveries in once more, page by page and no faster than asked
//	hold.go          ends a hold when its time has come
//	wedding.go       looks after a wedding until its day is over
//	onboard.go       brings a connection from credentials to an integration that works, or to none (its steps are in
//	                 onboard_steps.go)
//	subscription.go  sends a subscriber the events that it wants, in order
//	timeline.go      moves what a wedding's timeline exported when the wedding moved
//	probe.go         keeps a shard of all connections under probes
//	alerts.go        looks for what is wrong with connections, and has people told
//	maintenance.go   brings a window of rest from its proposal to its end
//
// A workflow is a plain function of one input. It registers every handler first; handlers only note what arrived, and
// the loop acts. Everything that touches the outside is an activity. Postgres is the record of work; signals are
// hints, so losing or repeating one costs time and never data. Still, signals are drained before continue-as-new.
//
// Database steps are local activities: they run inside the workflow task and leave one event in the history instead
// of three. Calls to outside systems are ordinary activities on queues of their own. The options of both stand in
// policies.go, and every change to a running workflow in versions.go with a recorded history in testdata.
//
// Test with the time-skipping environment (go test ./workflows) and by replaying testdata/*.json.
package workflows
