#!/bin/sh
# Creates the namespace of WedSync and its search attributes in Temporal, and waits until they are there. Safe to run again.
set -eu
: "${TEMPORAL_ADDRESS:?}"
namespace=${TEMPORAL_NAMESPACE:-default}
retention=${RETENTION:-30d}
attributes="WedsyncOrg WedsyncIntegration WedsyncProvider WedsyncState WedsyncWeddingDate"

tries=0
until temporal operator cluster health >/dev/null 2>&1; do
	tries=$((tries + 1))
	if [ "$tries" -ge 60 ]; then
		echo "namespace: Temporal at $TEMPORAL_ADDRESS does not answer" >&2
		exit 1
	fi
	sleep 2
done

if ! temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1; then
	temporal operator namespace create --namespace "$namespace" --retention "$retention" \
		--description "WedSync: histories hold ids only"
fi

# A new namespace is known to every part of the server a few seconds later, so both steps are repeated until they hold.
tries=0
while :; do
	have=$(temporal operator search-attribute list --namespace "$namespace" 2>/dev/null || true)
	missing=""
	for name in $attributes; do
		case "$have" in
		*"$name"*) ;;
		*) missing="$missing $name" ;;
		esac
	done
	[ -n "$missing" ] || break
	tries=$((tries + 1))
	if [ "$tries" -ge 30 ]; then
		echo "namespace: search attributes are missing:$missing" >&2
		exit 1
	fi
	for name in $missing; do
		temporal operator search-attribute create --namespace "$namespace" --name "$name" --type Keyword || true
	done
	sleep 2
done
echo "namespace $namespace is ready"
