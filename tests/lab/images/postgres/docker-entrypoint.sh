#!/bin/bash
# The contract of the official image's entrypoint, written anew: what it takes from the environment, what it refuses, when it runs what.
set -Eeuo pipefail

die() { printf 'Error: %s\n' "$*" >&2; exit 1; }

# NAME or NAME_FILE, never both; a file's content replaces the value.
from_file() {
    local name="$1" fallback="${2:-}" file="$1_FILE"
    [ -z "${!name:-}" ] || [ -z "${!file:-}" ] || die "$name and $file are both set, but are exclusive"
    if [ -n "${!name:-}" ]; then export "$name=${!name}"
    elif [ -n "${!file:-}" ]; then export "$name=$(< "${!file}")"
    else export "$name=$fallback"; fi
    unset "$file"
}

temporary_server() {
    # No TCP until the initialisation is over: nobody outside may take a half-made database for a ready one.
    PGUSER="${PGUSER:-$POSTGRES_USER}" pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w "$1" "${@:2}"
}

in_database() { PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password --dbname "$POSTGRES_DB" "$@"; }

run_init_files() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh) if [ -x "$file" ]; then printf '%s: running %s\n' "$0" "$file"; "$file"
                  else printf '%s: sourcing %s\n' "$0" "$file"; . "$file"; fi ;;
            *.sql) printf '%s: running %s\n' "$0" "$file"; in_database -f "$file"; printf '\n' ;;
            *.sql.gz) printf '%s: running %s\n' "$0" "$file"; gunzip -c "$file" | in_database; printf '\n' ;;
            /docker-entrypoint-initdb.d/\*) ;;
            *) printf '%s: ignoring %s\n' "$0" "$file" ;;
        esac
    done
}

initialise() {
    if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        die "Database is uninitialized and superuser password is not specified. You must specify POSTGRES_PASSWORD to a non-empty value for the superuser."
    fi
    local arguments=(--username="$POSTGRES_USER")
    [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || arguments+=(--waldir "$POSTGRES_INITDB_WALDIR")
    # The password goes through a pipe, never an argument or a file; `eval` because POSTGRES_INITDB_ARGS is a piece of a command line.
    eval 'initdb "${arguments[@]}" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") '"${POSTGRES_INITDB_ARGS:-}"
    { printf '\n'; printf 'host all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}"; } >> "$PGDATA/pg_hba.conf"
    export PGPASSWORD="${PGPASSWORD:-$POSTGRES_PASSWORD}"
    temporary_server start
    if [ "$(POSTGRES_DB='' in_database --dbname postgres --tuples-only --set db="$POSTGRES_DB" <<< "SELECT 1 FROM pg_database WHERE datname = :'db';" | tr -d '[:space:]')" != 1 ]; then
        POSTGRES_DB='' in_database --dbname postgres --set db="$POSTGRES_DB" <<< 'CREATE DATABASE :"db";'
    fi
    run_init_files
    temporary_server stop -m fast
    unset PGPASSWORD
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

[ "${1:0:1}" != '-' ] || set -- postgres "$@"

only_asks() {
    local argument
    for argument in "$@"; do
        case "$argument" in -'?' | --help | --describe-config | -V | --version) return 0 ;; esac
    done
    return 1
}

if [ "$1" = postgres ] && ! only_asks "$@"; then
    mkdir -p "$PGDATA" && chmod 00700 "$PGDATA" || true
    mkdir -p /var/run/postgresql && chmod 03775 /var/run/postgresql 2>/dev/null || true
    if [ "$(id -u)" = 0 ]; then
        find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
        find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
        exec setpriv --reuid=postgres --regid=postgres --init-groups "${BASH_SOURCE[0]}" "$@"
    fi
    from_file POSTGRES_PASSWORD
    from_file POSTGRES_USER postgres
    from_file POSTGRES_DB "$POSTGRES_USER"
    from_file POSTGRES_INITDB_ARGS
    if [ -s "$PGDATA/PG_VERSION" ]; then
        printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
    else
        ls /docker-entrypoint-initdb.d/ > /dev/null
        initialise
    fi
fi

exec "$@"
