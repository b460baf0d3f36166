// Package scrape reads lists out of web pages that have no API, by a declarative recipe: how to log in, which pages to ask
// for, which elements are the rows, what tells one row from another and which fields must be there.
//
//	recipe, err := scrape.Parse(text)           // YAML or JSON; recipe.schema.json is the published schema
//	program, err := recipe.Compile()
//	session := program.Session(scrape.Options{HTTP: client, Secrets: secrets, Zone: zone, Now: time.Now})
//	result, err := session.Run(ctx, scrape.Window{From: from, Until: until})
//
// # Promises
//
//   - Polite. One request at a time to a host in this process, with the recipe's pause and some jitter in between; with
//     Options.Once all processes together begin no request before the pause is over. At most so many pages, each at most so
//     large. robots.txt is asked first and obeyed, the log-in page included (RFC 9309); while it cannot be had, nothing is read.
//   - Bound to one origin. Requests, redirects, forms and links that lead to another are refused. Credentials go into the
//     form of the log-in and nowhere else, never into an address.
//   - Whole or nothing. Run returns every row of every page, or an error. A list that goes on behind the last allowed page
//     is too_large.
//   - Loud about drift. No rows where the page does not say that there are none, a container, form or input that is missing,
//     a required field that half of the rows lack, and a number of entries that does not fit are errors of kind drift. They
//     are never an empty or a short answer, so nobody can take them for removals. A [Drift] holds a snapshot of the page with
//     every value masked. A required field that fewer rows lack is a [Fault] of each.
//   - A session that ended is renewed once per page: whatever looks logged out leads to the form, and the page is asked for
//     again. Credentials that are refused are unauthenticated.
//   - A page that is the same as before, by ETag or by its bytes, is not read again.
//
// Errors hold paths of the recipe, selectors and numbers; never an address, a value of a page or a credential.
//
// Whose pages may be read is not decided here: callers ask for consent before they run a recipe.
//
// # Testing
//
// Time, waiting and jitter are given in Options, so that tests wait for nothing. The tests run over sim/lightbluesim, whose
// portal is invented. The parser of recipes, the reader of pages and the parser of robots.txt are fuzzed.
package scrape
