// Package alert decides what is wrong with connections and who is to hear of it when.
//
//	series.Observe(sample, targets.Latency())          // each probe of a connection, in order
//	verdict := alert.Look(connection, rules, now)      // what is wrong with one connection
//	plan := alert.Decide(alert.Input{…})               // what becomes of the alerts of an organisation
//
// # Rules
//
//   - connection: the state of health is down or needs_reconnect (high), failing_over (medium) or polling (low). Down is three
//     confirmed failures in a row, which the prober sees within 90 seconds.
//   - error_rate: the error budget burns too fast in two windows, with a bound that keeps few probes from paging (package sla);
//     or surely more probes failed in six hours than the target of errors allows.
//   - response_time: surely more than 5 of 100 answers of half an hour took longer than promised.
//   - degradation: answers take longer than they used to. Two detectors must agree: a CUSUM of the logarithm of the time,
//     clipped at three deviations so that single slow answers do not add up, and a count of how many of the last 14 answers lie
//     above the 90 % quantile of before, which is learned by itself and assumes no shape.
//   - silence: a system that told of changes tells of none, against its usual rhythm.
//
// What is not known raises nothing and ends nothing. A paused connection, or one in maintenance, has no alerts.
//
// # From a finding to a person
//
// The severity of a finding is raised by one when the next wedding of the resource is within a week, by two within two days;
// a degradation with answers that are still as fast as promised becomes medium at most.
// When 30 of 100 connections of a platform, at least five, have the same finding, one alert tells of the platform and keeps
// those of its connections quiet. A connection that is down keeps its other alerts quiet. Silences keep alerts quiet for a time.
// What is quiet is noted and shown, and told when the quiet ends. Without acknowledgement people are told again, and more people
// by the steps of the escalation; on the day of a wedding that rests on the connection, the first step comes at once when the alert
// is critical. An alert is over when it was calm for five minutes. One that comes back within half an hour is
// the same; the third time within six hours it is said to be flapping and must be calm for half an hour.
//
// Everything is pure; the time is an argument. Test with go test ./internal/rules/alert. A twentieth of the
// month of 5,000 healthy connections is run by every test, all of it by make test-month.
package alert
