#!/usr/bin/env bash
# Runs every test. Installs redis-server (Debian, Ubuntu) when it is missing; the tests start their
# own servers on free loopback ports and stop them again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

if ! command -v redis-server >/dev/null; then
  as_root apt-get update -q
  # RUNLEVEL=1 keeps the package from starting a server of its own.
  as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends redis-server
fi

cargo test --workspace --all-features "$@"
