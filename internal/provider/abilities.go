package provider

// Ability is something that a connection can do, or cannot, with how or why in words.
type Ability struct {
	Name AbilityName `json:"name"`
	Has  bool        `json:"has"` // false: no connection of this kind can
	// How is one sentence: by which of the system's interfaces it is done, or why it cannot be.
	How string `json:"how"`
}

// AbilityName names an ability of Registration.Abilities.
type AbilityName string

// The abilities of which every provider says whether it has them.
const (
	CanList  AbilityName = "list"  // Puller: everything is listed, and what changed since
	CanRead  AbilityName = "read"  // Reader: one entry is asked for, so that a removal is proved
	CanHear  AbilityName = "hear"  // WebhookSource or Watcher: the system tells of changes as they happen
	CanWrite AbilityName = "write" // Writer: copies of bookings are written and removed
	CanMove  AbilityName = "move"  // Writer for entries of the system's own: a decision about a conflict is carried out there
	CanCheck AbilityName = "check" // Prober: reachability and credentials are checked
	CanLead  AbilityName = "lead"  // LeadSender: an enquiry is handed in
)

// AbilityNames lists them in the order in which people see them.
func AbilityNames() []AbilityName {
	return []AbilityName{CanList, CanRead, CanHear, CanWrite, CanMove, CanCheck, CanLead}
}

// AbilitiesOf finds by type which abilities an opened value has. What it may do with entries of others is not seen by type,
// so CanMove is left out.
func AbilitiesOf(opened any) map[AbilityName]bool {
	out := map[AbilityName]bool{}
	_, out[CanList] = As[Puller](opened)
	_, out[CanRead] = As[Reader](opened)
	_, hooks := As[WebhookSource](opened)
	_, watches := As[Watcher](opened)
	out[CanHear] = hooks || watches
	_, out[CanWrite] = As[Writer](opened)
	_, out[CanCheck] = As[Prober](opened)
	_, out[CanLead] = As[LeadSender](opened)
	return out
}
