#!/bin/sh
# Builds stand-ins for the images of others that compose names, where no registry can be reached: from Debian packages and
# wheels, tagged countline-test/NAME. Compose takes them by POSTGRES_IMAGE, NATS_IMAGE and NGINX_IMAGE.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$here/../../../..
docker build --quiet --tag countline-test/postgres "$here/postgres"
docker build --quiet --tag countline-test/nginx "$here/nginx"
docker build --quiet --tag countline-test/nats --file "$here/nats/Dockerfile" "$root"
