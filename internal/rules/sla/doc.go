// Package sla measures connections against what was promised of them.
//
//	burns := sla.Burns(targets.Budget(), series.Count)          // is the error budget burning too fast?
//	report := sla.Build(period, now, sources)                   // a month or a year, of every connection and all together
//
// # Error budget
//
// A target of 99.9 % allows 0.1 % of probes to fail: the budget. A burn of 1 spends it in exactly 30 days. An alert fires when a
// long window and a short one both burn faster than the window's factor. Windows and factors are the parameters that the Site
// Reliability Workbook recommends for 30 days (chapter 5), in the four rows that Sloth uses.
//
// A connection is probed 120 times an hour, so two failures would exceed the fastest window. Therefore the lower Wilson bound of
// the long window must exceed the factor, not the plain share, and the short window must hold a failure of its own. The bound is
// one-sided with 99.5 % (z = 2.576): with it six of 120 probes must fail in an hour, with 98 % five would do, which is a
// false page every nine months for 5,000 connections whose probes fail by chance in 0.05 % of all cases; with six it is one in
// sixty years.
//
// # Reports
//
// What is not known is never up. A report shows availability of the time that is known without maintenance, the same with
// maintenance counted as down, and the lowest value it can have: unknown time counted as down. A target is met when the lowest
// value meets it, missed when the known downtime alone exceeds the budget, and not known otherwise.
//
// Everything is pure; the time is an argument. Test with go test ./internal/rules/sla.
package sla
