#!/bin/sh
# Writes what cannot be made anew into a folder, while the system runs: the databases, the credentials, the models.
# What a worker has spooled, or NATS holds, and ingest has not written yet is not in it; that is seconds, not hours.
#
#   sh docker/backup.sh FOLDER
set -eu
umask 077
folder=${1:?give a folder to write to}
COMPOSE=${COMPOSE:-$(docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)}
compose() { $COMPOSE -f "$(dirname -- "$0")/compose.yaml" "$@"; }

mkdir -p "$folder"
for database in auth cameras analytics; do
    compose exec -T postgres pg_dump --username=postgres --format=custom "$database" >"$folder/$database.partial"
    mv "$folder/$database.partial" "$folder/$database.dump"
done
compose run --rm -T --entrypoint tar init -C /volumes -c credentials models >"$folder/volumes.partial"
mv "$folder/volumes.partial" "$folder/volumes.tar"
echo "written to $folder; it holds every password, so keep it as you keep those"
