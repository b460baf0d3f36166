// Package doccheck keeps the documents at the top of the repository and in docs/ true where a program can: links between
// files, names of tests, make targets, routes and metrics that they mention. It holds tests only:
//
//	go test ./tools/doccheck
package doccheck
