#!/bin/sh
# Reads settings that hold a password from files, as the official images do: COUNTLINE_NATS_URL_FILE names the file of
# COUNTLINE_NATS_URL. So no password stands in an image, a compose file or `docker inspect`.
set -eu
for name in AUTH_DSN CAMERAS_DSN WORKERS_DSN MODELS_DSN ANALYTICS_DSN NATS_URL; do
    eval "file=\${COUNTLINE_${name}_FILE:-}"
    # shellcheck disable=SC2154  # set by eval
    if [ -n "$file" ]; then
        if [ ! -r "$file" ]; then
            echo "error: COUNTLINE_${name}_FILE names $file, which cannot be read" >&2
            echo "hint: let the service \`init\` make it, or mount it readable for user $(id -u)" >&2
            exit 1
        fi
        value=$(cat "$file")
        export "COUNTLINE_$name=$value"
    fi
done
exec "$@"
