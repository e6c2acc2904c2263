#!/usr/bin/env bash
# Starts the release binary (or HANDBACK) and plays the torture messages to it, over UDP and TCP:
#   tests/torture/run.sh            those of this folder, each against its verdict
#   tests/torture/run.sh FOLDER...  every file of other folders, for any user part: prints what came of each
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source sipp-scenarios/lib.sh
build
new_key
free_port; sip=$port
free_port; api=$port
users='"agent"'
[ $# -eq 0 ] || users='"*"'
cat > "$work/torture.toml" <<CONFIG
[sip]
listen = ["udp://127.0.0.1:$sip", "tcp://127.0.0.1:$sip"]
users = [$users]
[media]
listen = "127.0.0.1"
[api]
listen = "127.0.0.1:$api"
[admin]
listen = "127.0.0.1:$((api + 1))"
[agent]
hook = "builtin:silence"
[store]
url = "sqlite://$work/store.db"
[[account]]
id = "torture"
  [[account.api_key]]
  id = "torture"
  secret_hash = "$key_hash"
  [[account.trunk]]
  name = "sbc"
  allow = ["127.0.0.0/8"]
CONFIG
start_gateway torture
cargo run -q -p stories --bin torture -- "127.0.0.1:$sip" "127.0.0.1:$sip" "$@"
if grep -E 'panicked|ERROR' "$work/torture.log"; then
  echo "torture: the gateway's log says so" >&2
  exit 1
fi
