#!/bin/bash
# What compose relies on in the official image: a cluster is made at the first start, by whatever user the container has;
# the superuser's password comes from a file; programs in /docker-entrypoint-initdb.d run once, against a server that
# answers on its socket alone; after that the server listens for everybody who has a password.
set -euo pipefail
export POSTGRES_USER=postgres

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # initdb asks who runs it, and nobody has that number in this image.
    names=$(mktemp)
    echo "postgres:x:$(id -u):$(id -g)::$PGDATA:/bin/false" >"$names"
    # shellcheck disable=SC2086  # several arguments
    LD_PRELOAD=libnss_wrapper.so NSS_WRAPPER_PASSWD=$names NSS_WRAPPER_GROUP=/dev/null \
        initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" ${POSTGRES_INITDB_ARGS:-}
    rm "$names"
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    pg_ctl --wait -o "-c listen_addresses=''" start
    for program in /docker-entrypoint-initdb.d/*.sh; do
        "$program"
    done
    pg_ctl --wait --mode=fast stop
fi
exec "$@"
