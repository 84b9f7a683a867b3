#!/usr/bin/env bash
# Runs the tests of the store protocol, of deployments, of failovers and of basic use on Redis 6.2 and 8.2
# and on Valkey 9.1. scripts/test.sh uses the `redis-server` of the distribution.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/redis_servers.sh
servers=(redis-6.2 redis-8.2 valkey-9.1)
status=0
for server in "${servers[@]}"; do
  # The tests wait most of the time, so all servers are tested at the same time.
  TEST_REDIS_SERVER=$PWD/target/servers/$server \
    cargo test --workspace --all-features --lib --test http -- \
    store::conformance deployments:: failover:: seed:: >"target/servers/$server.log" 2>&1 &
done
for server in "${servers[@]}"; do
  wait -n || status=1
done
for server in "${servers[@]}"; do
  echo "== $server"
  cat "target/servers/$server.log"
done
exit "$status"
