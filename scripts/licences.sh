#!/usr/bin/env bash
# Fails if a dependency has a licence that deny.toml does not allow. `cargo deny check` checks more,
# and takes minutes to build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

allowed=$(sed -n '/^allow = \[/,/^\]/s/^ *"\(.*\)",$/\1/p' deny.toml)

# Each part of an AND needs one option of an OR that is allowed.
cargo tree --workspace --all-features --target all --prefix none --format '{p}|{l}' |
  sed 's, (\*)$,,' | sort -u |
  awk -F'|' -v allowed="$allowed" '
    BEGIN { count = split(allowed, names, "\n"); for (i in names) ok[names[i]] = 1 }
    {
      expression = $2
      gsub(/[()]/, "", expression)
      gsub(/ *\/ */, " OR ", expression)
      clauses = split(expression, all, " AND ")
      for (i = 1; i <= clauses; i++) {
        good = 0
        options = split(all[i], any, " OR ")
        for (j = 1; j <= options; j++) if (any[j] in ok) good = 1
        if (!good) { print $1 ": " $2; bad = 1 }
      }
      checked++
    }
    END { if (bad || checked < 50 || count < 1) exit 1; print checked " packages have licences that are allowed" }
  '
