#!/bin/sh
# Reads settings that contain a password from files, as the official images do: COUNTLINE_NATS_URL_FILE is the path of
# the file with COUNTLINE_NATS_URL. So no password is in an image, a compose file or the output of `docker inspect`.
set -eu
for name in AUTH_DSN CAMERAS_DSN WORKERS_DSN MODELS_DSN ANALYTICS_DSN NATS_URL; do
    eval "file=\${COUNTLINE_${name}_FILE:-}"
    # shellcheck disable=SC2154  # set by eval
    if [ -n "$file" ]; then
        if [ ! -r "$file" ]; then
            echo "error: COUNTLINE_${name}_FILE: cannot read $file" >&2
            echo "hint: run the service \`init\`, which creates it, or mount a file that user $(id -u) can read" >&2
            exit 1
        fi
        value=$(cat "$file")
        export "COUNTLINE_$name=$value"
    fi
done
exec "$@"
