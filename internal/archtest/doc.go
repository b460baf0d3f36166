// Package archtest holds the checks that keep WedSync's packages on their floors. It has no code of its own, only tests.
//
// A package imports only what lies below it, so each can be read, tested and replaced without knowing what stands on
// it. The one list of floors, with the reason for each, is in floors_test.go; a new package must be put there, and the
// test says what is wrong with an import and why the floor exists. Test files may import anything.
//
// The checks read source files and need no build: go test ./internal/archtest.
package archtest
