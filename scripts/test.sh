#!/usr/bin/env bash
# Runs every test. Installs redis-server, nginx and Varnish (Debian, Ubuntu) when they are missing; the
# tests start their own servers on free loopback ports and stop them again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

missing=()
PATH=$PATH:/usr/sbin
command -v redis-server >/dev/null || missing+=(redis-server)
command -v nginx >/dev/null || missing+=(nginx-light)
command -v varnishd >/dev/null || missing+=(varnish)
if [ ${#missing[@]} -gt 0 ]; then
  as_root apt-get update -q
  # RUNLEVEL=1 keeps the packages from starting servers of their own.
  as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

cargo test --workspace --all-features "$@"
