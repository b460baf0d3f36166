#!/bin/sh
# Runs the CalDAV provider against servers that are not ours, Radicale and Xandikos, on loopback ports, and has what we write
# and publish read by programs that are not ours, vdirsyncer and khal. Missing ones
# are installed from the distribution's packages when this runs as root. The last line is "N passed, N failed", and the
# exit status is 0 only if nothing failed.
set -eu
cd "$(dirname "$0")/.."

missing=""
for program in radicale xandikos vdirsyncer khal; do
	if command -v "$program" >/dev/null 2>&1; then
		echo "interop: $program is installed"
	else
		missing="$missing $program"
	fi
done

if [ -n "$missing" ]; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
		echo "interop: missing:$missing. Install these packages, or run this as root on a Debian system." >&2
		echo "0 passed, 1 failed"
		exit 1
	fi
	echo "interop: installing from Debian packages:$missing"
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086 # a list of names
	if ! { apt-get update -q && apt-get install -q -y --no-install-recommends $missing; }; then
		echo "interop: apt-get could not install:$missing" >&2
		echo "0 passed, 1 failed"
		exit 1
	fi
	# The packages may start a service of their own; the tests start private servers instead.
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
echo "interop: go test -run Interop ./internal/providers/caldav"
{ WEDSYNC_INTEROP=1 go test -run Interop -count=1 -v ./internal/providers/caldav 2>&1 || echo "interop: go test ended with an error"; } | tee "$log"

count() { grep -c "^ *--- $1:" "$log" || true; }
passed=$(count PASS)
failed=$(count FAIL)
skipped=$(count SKIP)
if [ "$skipped" != 0 ]; then
	echo "interop: skipped, with the reason behind each:"
	grep -A1 '^ *--- SKIP:' "$log" || true
fi
if grep -q '^interop: go test ended with an error' "$log" && [ "$failed" = 0 ]; then
	failed=1
fi
if [ "$passed" = 0 ] && [ "$failed" = 0 ]; then
	echo "interop: no test ran" >&2
	failed=1
fi
[ "$failed" = 0 ] || status=1
echo "$passed passed, $failed failed"
exit $status
