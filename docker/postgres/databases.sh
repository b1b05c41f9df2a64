#!/bin/bash
# Creates a database for each service, owned by a role that cannot connect to the others. The PostgreSQL image runs this
# once, after it has created the cluster, while the server is reachable only by its socket.
set -euo pipefail

for name in auth cameras analytics; do
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set name="$name" --set password="$(cat "/secrets/$name-password")" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" TEMPLATE template0;
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done

# With TimescaleDB, counts are in hypertables. Without it, analytics maintains rollup tables.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname analytics <<'SQL'
SELECT 'CREATE EXTENSION IF NOT EXISTS timescaledb' FROM pg_available_extensions WHERE name = 'timescaledb' \gexec
SQL

# Owns the tables of the audit once they are protected; a restored database names it.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE countline_audit NOLOGIN;
SQL
