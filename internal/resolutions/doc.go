// Package resolutions carries decisions about conflicts out, step by step, and takes them back.
//
// A decision changes the booking here at once, in the transaction that checks that nothing would clash (Begin, or
// ApplyPolicy for a policy of the organisation); the wishes for the outside systems are stored with it. From then on a
// conflict moves by Look and Settle, in turns: Look says in a read which systems must be asked what they show, the caller
// asks them, and Settle takes the answers in one transaction. Nothing is held between the two, so a crash anywhere repeats a
// question and no more. Settle ignores answers to what has changed since.
//
// A conflict closes when every system that has the booking shows what was decided and the two no longer clash. A system
// that refuses for good turns it round: the booking is put back here, and the systems take it back one by one, the last
// written first, each read back before the next. When all have, the conflict is open again with new proposals. One that
// does not take it back is shown as stuck and tried again, at last every six hours; the others are not held up by it. A person may call a decision off while it is carried out (Withdraw), which
// goes the same way. Where somebody else changed the booking meanwhile, that change stands and the conflict is judged anew.
//
// Every step leaves a line in the audit trail with who and why. Test it on real Postgres (go test ./internal/resolutions
// ./activities).
package resolutions
