#!/bin/sh
# Run by the postgres image when it makes its data folder: the databases and roles of WedSync and of Temporal.
set -eu
: "${OWNER_PASSWORD:?}" "${LOGIN_PASSWORD:?}" "${TEMPORAL_PASSWORD:?}"

psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
	-v owner_password="$OWNER_PASSWORD" -v login_password="$LOGIN_PASSWORD" -f /deploy/roles.sql

psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres -v password="$TEMPORAL_PASSWORD" <<'SQL'
CREATE ROLE temporal LOGIN PASSWORD :'password';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
REVOKE ALL ON DATABASE temporal, temporal_visibility FROM PUBLIC;
SQL
