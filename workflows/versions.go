package workflows

// Changes to running workflows, oldest first. Each has a recorded history of the code before it in testdata; the
// replay test fails for a workflow without one.
//
//	1  the first release of Integration, Sync and Conflict
//	2  Subscription is new; nothing changed for the others
//	3  Replay is new; nothing changed for the others
//	4  Integration keeps watches (changeWatches) and follows their messages by a pull; only for connections whose settings,
//	   as read by a step, ask for it, so earlier histories take the way they took
//	5  Timeline is new; nothing changed for the others
//	6  Hold is new; nothing changed for the others
//	7  Conflict asks policies, escalates by a deadline, comes back when it was ignored until a time, and takes decisions back
//	   system by system; only where the view of the conflict, as read by a step, tells of it, so earlier histories take the
//	   way they took
//	8  Notify is new; nothing changed for the others
//	9  Onboard is new; nothing changed for the others
//	10 Probe is new; nothing changed for the others
//	11 Alerts is new; nothing changed for the others
//	12 Wedding is new; nothing changed for the others
//	13 Maintenance is new; Integration rests while its row, as read by a step, says so, so earlier histories take the way they took
//	14 Integration has failing over judged, sends a connection over by a message (Failover), and lets deliveries lie during a
//	   drill; only where the settings, as read by a step, tell of a failover, and where the message came, so earlier histories
//	   take the way they took
//	15 Integration pulls what is new by an activity where its row, as read by a step, says that its position is known, so earlier
//	   histories take the way they took
