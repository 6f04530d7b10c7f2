#!/bin/sh
# What the public image's entrypoint does, as far as docker-compose.yml needs it: makes the database at the first start.
set -eu
data=/var/lib/postgresql/data
bin=/usr/lib/postgresql/15/bin
export PATH="$bin:$PATH"
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
mkdir -p -m 1777 /tmp
mkdir -p /var/run/postgresql "$data"
chown postgres:postgres /var/run/postgresql "$data"
chmod 0700 "$data"
if [ ! -s "$data/PG_VERSION" ]; then
  printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
  chown postgres /tmp/password
  as_postgres initdb -D "$data" -U "$POSTGRES_USER" --pwfile=/tmp/password --encoding=UTF8 --locale=C \
    --auth-local=trust --auth-host=scram-sha-256
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
  as_postgres pg_ctl -D "$data" -o "-c listen_addresses=''" -w start
  as_postgres createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
  as_postgres pg_ctl -D "$data" -m fast -w stop
fi
exec setpriv --reuid postgres --regid postgres --clear-groups postgres -D "$data" -c "listen_addresses=*"
