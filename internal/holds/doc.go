// Package holds keeps time for somebody who has not decided yet, and turns it into a booking, at most once.
//
// A hold is a tentative booking that ends by itself. Place makes one, under the lock of its resource, if nothing is in the
// way; Extend and Release change it; Confirm makes it a confirmed booking, in one transaction that looks once more at
// everything that is taken. Of any number of simultaneous confirmations of one time, one wins; behind the lock stands the
// exclusion constraint of the database. Shared holds of a resource that serves one at a time may have the same time; the
// first that is confirmed gets it, and the others are lost.
//
// Before a confirmation the systems that bring bookings to the resource and are not fresh are read, at the same time and
// within a bound. One that cannot be read is unknown since some time, which is never taken for free: the confirmation is
// refused with a [Refusal] that names it, unless the caller overrides it with a reason, which goes into the audit trail.
//
// Every change goes through package apply: it is checked for conflicts, told to the live stream and the audit trail, and
// pushed to the other connected systems at once; View shows which of them have it since when. What is over takes no time in
// any query from its last moment on; the workflow hold/<id> (Expire) cancels it then and takes it out of the systems.
//
// Place with the same id and the same content gives the same answer; another content is KindInvalid with the field. All the
// rest may be repeated. Errors have a domain kind; those of a refusal are a *Refusal around one. Test it on real Postgres
// (go test ./internal/holds).
package holds
