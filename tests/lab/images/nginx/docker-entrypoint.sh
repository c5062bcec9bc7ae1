#!/bin/sh
# Start-up hooks run only before the server itself, as in the official image.
set -e
if [ "$1" = nginx ]; then
    for hook in /docker-entrypoint.d/*; do
        case "$hook" in
            *.envsh) [ ! -x "$hook" ] || . "$hook" ;;
            *.sh) [ ! -x "$hook" ] || "$hook" ;;
        esac
    done
fi
exec "$@"
