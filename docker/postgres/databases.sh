#!/bin/bash
# Makes a database for each service, owned by a role that sees no other. PostgreSQL's image runs this once, when it has
# made the cluster, with the server reachable by its own socket alone.
set -euo pipefail

for name in auth cameras analytics; do
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set name="$name" --set password="$(cat "/secrets/$name-password")" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" TEMPLATE template0;
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done

# Where the server has TimescaleDB, counts lie in hypertables; where it has not, analytics keeps rollup tables itself.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname analytics <<'SQL'
SELECT 'CREATE EXTENSION IF NOT EXISTS timescaledb' FROM pg_available_extensions WHERE name = 'timescaledb' \gexec
SQL
