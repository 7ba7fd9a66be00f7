#!/usr/bin/env bash
# Creates the database cluster on the first start, then becomes the server.
# Arguments that begin with a dash are the server's: `-c max_wal_senders=20`.
set -euo pipefail

[[ ${1:-} != -* ]] || set -- postgres "$@"
[[ ${1:-} == postgres ]] || exec "$@"

if [[ $(id -u) == 0 ]]; then
  mkdir -p "$PGDATA"
  chown -R postgres:postgres "$PGDATA"
  chmod 700 "$PGDATA"
  exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi

create_cluster() {
  local user=${POSTGRES_USER:-postgres} database method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  database=${POSTGRES_DB:-$user}
  if [[ -z ${POSTGRES_PASSWORD:-} && $method != trust ]]; then
    echo "postgres: POSTGRES_PASSWORD must be set (or POSTGRES_HOST_AUTH_METHOD=trust)" >&2
    exit 1
  fi
  # No sync: a container can be killed, but its machine's page cache survives that.
  initdb --no-sync --username "$user" --pwfile <(echo "${POSTGRES_PASSWORD:-unused}") \
    --encoding UTF8 --locale C.UTF-8 --auth-local trust --auth-host "$method"
  echo "host all all all $method" >>"$PGDATA/pg_hba.conf"
  printf "listen_addresses = '*'\nwal_level = logical\n" >>"$PGDATA/postgresql.conf"

  # A first server, over the socket alone, so that nobody takes it for the real one.
  # Its log is on stdout, the real one's on stderr: testcontainers waits for both.
  pg_ctl --wait start --options "-c listen_addresses=''"
  [[ $database == postgres ]] || createdb --username "$user" --maintenance-db postgres "$database"
  pg_ctl --wait --mode fast stop
}

[[ -s $PGDATA/PG_VERSION ]] || create_cluster
exec "$@"
