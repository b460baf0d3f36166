// Package schedulers connects to the schedulers with which clients book appointments themselves: Calendly, Acuity
// Scheduling and Cal.com. The three are read in one way, and differ in how they are asked; each is a provider of its own.
//
// They own their appointments: WedSync reads them and writes nothing there. To keep a scheduler from offering time that
// is taken, let it read a calendar to which WedSync writes; all three do that.
//
// # Reading
//
// Pull lists the appointments of a window, cancelled ones too, page by page. A cancelled appointment is a removal that the
// scheduler itself told. A pull after a cursor lists the same and leaves out what was not changed since, where the
// scheduler says when that was; once its clock was set back behind the newest change the cursor is a gone token. A rescheduled appointment is a removal and a new one at Calendly and Cal.com, which come
// in one page or in two, and the same appointment at another time at Acuity.
//
// # Hearing of changes
//
// Watch makes one webhook at the scheduler. What it posts is a hint to pull, and its content is not looked at: bodies are
// thin (Acuity), reshaped by templates (Cal.com), or lack what a listing has. Calendly and Cal.com sign with the secret
// of the watch. Acuity signs with the account's API key, and no message to a watch can be checked with that, so the
// secret is a part of the address there. A webhook has no end; it is looked at once a day, and one that the scheduler
// disabled or lost is made anew. Calendly disables one after a day without a 2xx. Before one is made the account's webhooks are
// listed: one of the same address is taken over, since the answer to its making was lost, and those of watches that are over
// are removed.
//
// # Limits
//
// Calendly's listing does not say who booked; its title is the name of the kind of event. Calendly offers webhooks with
// paid plans only, and is polled otherwise. All three limit requests: a pull takes one for each hundred appointments
// (Acuity: five hundred).
//
// # Testing
//
// The suite in providertest runs over all three against sim/schedulersim, whose comment says what is documented and what
// is assumed.
package schedulers
