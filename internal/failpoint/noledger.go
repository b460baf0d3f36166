//go:build chaos && chaos_noledger

package failpoint

// NoLedger is a fault on purpose: what a reading shows is taken for something else than what a webhook told of.
const NoLedger = true
