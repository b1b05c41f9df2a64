#!/bin/sh
# Backs up the databases, the credentials and the models into a folder, while the system runs. The backup does not contain
# records that are still in a worker's spool or in NATS: the last seconds of counts.
#
#   sh docker/backup.sh FOLDER
set -eu
umask 077
folder=${1:?missing argument: the folder to write to}
COMPOSE=${COMPOSE:-$(docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)}
compose() { $COMPOSE -f "$(dirname -- "$0")/compose.yaml" "$@"; }

mkdir -p "$folder"
for database in auth cameras analytics; do
    compose exec -T postgres pg_dump --username=postgres --format=custom "$database" >"$folder/$database.partial"
    mv "$folder/$database.partial" "$folder/$database.dump"
done
compose run --rm -T --entrypoint tar init -C /volumes -c credentials models >"$folder/volumes.partial"
mv "$folder/volumes.partial" "$folder/volumes.tar"
echo "Backup written to $folder. It contains all passwords: keep it secret."
