#!/bin/bash
# Creates a database for each service, with a role that can neither connect to the others nor delete its own. The
# PostgreSQL image runs this once, after it has created the cluster, while the server is reachable only by its socket.
# It can be repeated, for a cluster of an earlier release: see "Upgrade" in docker/README.md.
set -euo pipefail
user=${POSTGRES_USER:-postgres}
secrets=${COUNTLINE_SECRETS:-/secrets}
run() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$user" "$@"; }

for name in auth cameras analytics; do
    run --dbname postgres --set name="$name" --set password="$(cat "$secrets/$name-password")" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'name') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I TEMPLATE template0', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
ALTER DATABASE :"name" OWNER TO CURRENT_USER;
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE :"name" TO :"name";
SQL
done

# With TimescaleDB, counts are in hypertables. Without it, analytics maintains rollup tables.
run --dbname analytics <<'SQL'
SELECT 'CREATE EXTENSION IF NOT EXISTS timescaledb' FROM pg_available_extensions WHERE name = 'timescaledb' \gexec
SQL

# Owns the tables of the audit once they are protected; a restored database names it.
run --dbname postgres <<'SQL'
SELECT 'CREATE ROLE countline_audit NOLOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'countline_audit') \gexec
SQL
