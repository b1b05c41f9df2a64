#!/bin/sh
# Restores a backup of backup.sh into volumes without a database, then starts everything.
#
#   sh docker/restore.sh FOLDER
set -eu
folder=${1:?missing argument: the folder that backup.sh wrote}
COMPOSE=${COMPOSE:-$(docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)}
compose() { $COMPOSE -f "$(dirname -- "$0")/compose.yaml" "$@"; }
query() { compose exec -T postgres psql --no-psqlrc -U postgres -d "$1" -At -v ON_ERROR_STOP=1 -c "$2" </dev/null; }
WAIT_S=180

for file in auth.dump cameras.dump analytics.dump volumes.tar; do
    [ -s "$folder/$file" ] || { echo "error: $folder/$file is missing or empty" >&2; exit 1; }
done
if ! compose run --rm -T --entrypoint sh init -c '[ -z "$(ls -A /volumes/postgres)" ]' </dev/null; then
    echo "error: the project already has a database; restoring would overwrite it" >&2
    echo "hint: restore into another project (COMPOSE_PROJECT_NAME), or delete this one: compose down --volumes" >&2
    exit 1
fi
compose run --rm -T --entrypoint tar init -C /volumes -x <"$folder/volumes.tar"
compose up -d postgres </dev/null
deadline=$(($(date +%s) + WAIT_S))
until compose exec -T postgres pg_isready --quiet --host=127.0.0.1 --username=postgres </dev/null; do
    [ "$(date +%s)" -lt "$deadline" ] || { echo "error: the database did not start within $WAIT_S s; see: compose logs postgres" >&2; exit 1; }
    sleep 1
done
for database in auth cameras analytics; do
    timescale=$(query "$database" "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'")
    [ "$timescale" = 0 ] || query "$database" "SELECT timescaledb_pre_restore()"
    compose exec -T postgres pg_restore --username=postgres --dbname="$database" --exit-on-error <"$folder/$database.dump"
    [ "$timescale" = 0 ] || query "$database" "SELECT timescaledb_post_restore()"
done
compose up -d </dev/null
