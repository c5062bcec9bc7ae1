#!/bin/sh
# As in the official image: options alone mean redis-server, root gives up its rights, and a server without a password still answers
# other containers (Docker's network is the protection there).
set -e
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
    set -- redis-server "$@"
fi
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . \! -user redis -exec chown redis '{}' +
    exec setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
fi
[ "$(umask)" != 0022 ] || umask 0077
if [ "$1" = redis-server ]; then
    # The official build answers without protected mode unless it is told otherwise, by option or in the configuration file.
    named=no
    for argument in "$@"; do [ "$argument" != --protected-mode ] || named=yes; done
    if [ -f "${2:-}" ] && grep -Eq '^[[:space:]]*protected-mode' "$2"; then named=yes; fi
    if [ "$named" = no ]; then set -- "$@" --protected-mode no; fi
fi
exec "$@"
