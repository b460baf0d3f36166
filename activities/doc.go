// Package activities holds the steps that workflows are made of, one struct per noun with what its methods need. Names
// are unique across the module, because Temporal registers methods by their bare names.
//
// Every step is safe to run twice: Temporal may run it again after a lost answer. Each says why it is. Inputs and
// results carry ids, states and counts only, because they end up in histories; a step reads the rest from Postgres.
//
// Errors leave through fail (errors.go), which decides once what is worth another try.
package activities
