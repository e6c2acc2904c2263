#!/usr/bin/env bash
# kill -9 with a standing call, SIPp as the SBC: the next process of the same name refreshes the target, refers, and ends the call.
#
#   tests/faults/kill.sh
#   HANDBACK=path/to/binary KEEP=1 tests/faults/kill.sh
set -euo pipefail
self=$(realpath "${BASH_SOURCE[0]}")
# shellcheck source=../../sipp-scenarios/lib.sh
source "$(dirname "$self")/../../sipp-scenarios/lib.sh"
handback=$(realpath "$handback")
need
build
new_key
free_port && sip=$port
free_port && api=$port
free_port && admin=$port
free_port && caller=$port
cat >"$work/kill.toml" <<T
[node]
name = "kill"
[sip]
listen = ["udp://127.0.0.1:$sip"]
[media]
listen = "127.0.0.1"
ports = "40000-40999"
[api]
listen = "127.0.0.1:$api"
[admin]
listen = "127.0.0.1:$admin"
[store]
url = "sqlite://$work/kill.db"
[limits]
calls = 100
[agent]
hook = "builtin:silence"
[[account]]
id = "kill"
[[account.api_key]]
id = "kill"
secret_hash = '$key_hash'
[[account.trunk]]
name = "sbc"
allow = ["127.0.0.0/8"]
T
start_gateway kill
register "$api" kill "$key_secret" t-1 REFER "sip:back@127.0.0.1:5099" "" ""
printf 'SEQUENTIAL\nt-1;\n' >"$work/calls.csv"
(cd "$work" && exec timeout 60 sipp -sf "$(dirname "$self")/call_of_a_killed_process_is_referred.xml" -inf calls.csv -s agent -m 1 \
  -t u1 -i 127.0.0.1 -p "$caller" -nostdin -trace_err -error_file "$work/errors" -trace_msg -message_file "$work/messages" \
  "127.0.0.1:$sip") >"$work/sipp.screen" 2>&1 </dev/null &
sipp=$!
pids+=("$sipp")
for _ in $(seq 100); do
  grep -q 'call started' "$work/kill.log" && break
  sleep 0.1
done
sleep 1
kill -KILL "$gateway_pid"
wait "$gateway_pid" 2>/dev/null || true
start_gateway kill
wait "$sipp" || { echo "FAIL: the caller was not handed back" >&2; cat "$work/errors" "$work/kill.log" >&2; exit 1; }
sleep 1
transfer=$(fetch "$api" kill "$key_secret" t-1)
outcome=$(curl -sS "http://127.0.0.1:$admin/transfers/kill/t-1")
jq -e '.status == "COMPLETED" and .outputContext.transferType == "AGENT"' <<<"$transfer" >/dev/null || { echo "FAIL: $transfer" >&2; exit 1; }
grep -q node_lost <<<"$outcome" || { echo "FAIL: $outcome" >&2; exit 1; }
echo "killed and handed back: $(jq -c '.outputContext' <<<"$transfer")"
