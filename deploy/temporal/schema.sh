#!/bin/sh
# Brings Temporal's two databases to the schema of this image. Safe to run again; run it before a newer server starts.
# SQL_HOST, SQL_USER and SQL_PASSWORD say where; temporal-sql-tool reads the last two by itself.
set -eu
: "${SQL_HOST:?}" "${SQL_USER:?}" "${SQL_PASSWORD:?}"
schema=${TEMPORAL_SCHEMA_DIR:-/etc/temporal/schema/postgresql/v12}

migrate() { # database, folder
	tool="temporal-sql-tool --plugin postgres12 --endpoint $SQL_HOST --port ${SQL_PORT:-5432} --database $1"
	$tool setup-schema --version 0.0 # leaves a database that has a version alone
	$tool update-schema --schema-dir "$schema/$2/versioned"
}

migrate temporal temporal
migrate temporal_visibility visibility
