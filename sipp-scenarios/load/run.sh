#!/usr/bin/env bash
# Calls at a steady rate with each return method over UDP and TCP, then says what came of it.
#
#   sipp-scenarios/load/run.sh            1,000 calls at 50/s each
#   CALLS=200 RATE=20 METHODS="BYE REFER" TRANSPORTS=udp sipp-scenarios/load/run.sh
#
# Fails when a call failed, when 0.1 % of the calls or more had a retransmission, when a transfer is not COMPLETED with
# its outputContext, when ports or calls are still held, when memory has grown by more than a tenth after one round of each
# method (the first rounds fill pools and caches: that part is printed, not judged), or at a WARN in the log.
set -euo pipefail
# shellcheck source=../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need
build
calls=${CALLS:-1000} rate=${RATE:-50}

new_key
secret=$key_secret
free_port; sip=$port; free_port; api=$port; free_port; admin=$port
cat >"$work/load.toml" <<T
[node]
name = "load"
[sip]
listen = ["udp://127.0.0.1:$sip", "tcp://127.0.0.1:$sip"]
[media]
listen = "127.0.0.1"
ports = "40000-47999"
[api]
listen = "127.0.0.1:$api"
rate_limit = 100000
[admin]
listen = "127.0.0.1:$admin"
[store]
url = "sqlite://$work/load.db"
[transfer]
time_to_live = "30m"
[limits]
calls = 1500
# SIPp makes up for a stall of its own with a burst.
calls_per_second = 5000
[agent]
hook = "builtin:lab"
[[account]]
id = "load"
return_transfer_type = "BYE"
[[account.api_key]]
id = "load"
secret_hash = '$key_hash'
[[account.trunk]]
name = "sbc"
allow = ["127.0.0.0/8"]
max_calls = 1500
T
start_gateway load

# Resident memory of the gateway in kB.
memory() { awk '/^VmRSS/ {print $2}' "/proc/$gateway_pid/status"; }
# Gauges of what is held now, as the admin listener says.
held() {
  curl -sS "http://127.0.0.1:$admin/metrics" | grep -E '^handback_[a-z_]*(calls|legs|dialogs|sessions|ports|in_use|transactions)[a-z_]*(\{[^}]*\})? ' |
    grep -vE '_total|_limit|_free|_available' | sort
}
# column NAME FILE: the last value of a column of SIPp's statistics.
column() { awk -F';' -v name="$1" 'NR==1 {for (i=1;i<=NF;i++) if ($i==name) at=i} END {print $at}' "$2"; }

register_all() { # PREFIX METHOD URI
  local body
  body=$(jq -nc --arg type "$2" --arg uri "$3" '{type: "SIP",
    sip: ({returnTransferType: $type} + (if $uri == "" then {} else {returnURI: $uri} end)),
    inputContext: {taskName: "load", inputVariables: {lab_complete_after_ms: 500}}}')
  jq -nr --arg prefix "$1" --argjson body "$body" --argjson calls "$calls" --arg secret "$secret" \
    --arg url "http://127.0.0.1:$api/generativeagent/v1/call-transfers" '
    range(1; $calls + 1) | (if . == 1 then empty else "next" end),
      "url = \($url | tojson)", "header = \"asapp-api-id: load\"", "header = \"asapp-api-secret: \($secret)\"",
      "header = \"content-type: application/json\"", "output = \"/dev/null\"", "write-out = \"%{http_code}\\n\"", "silent",
      "data-binary = \({id: "\($prefix)-\(.)", externalConversationId: "\($prefix)-\(.)"} + $body | tojson | tojson)"' >"$work/$1.curl"
  curl -K "$work/$1.curl" | sort | uniq -c | sed 's/^ */registered: /'
}

fetch_all() { # PREFIX -> states with counts
  for n in $(seq "$calls"); do
    [ "$n" = 1 ] || echo next
    printf 'url = "http://127.0.0.1:%s/generativeagent/v1/call-transfers/%s-%s"\nheader = "asapp-api-id: load"\nheader = "asapp-api-secret: %s"\nsilent\n' \
      "$api" "$1" "$n" "$secret"
  done >"$work/$1.fetch"
  curl -K "$work/$1.fetch" |
    jq -r '.status + (if .outputContext then "+output" else "-output" end)' | sort | uniq -c | awk '{print $1, $2}'
}

verdict=0
fail() { echo "FAIL: $*"; verdict=1; }

one_round() { # METHOD TRANSPORT
  local method=$1 transport=$2 prefix="$1-$2" scenario uri="" target_pid=""
  local t=${transport:0:1}1
  free_port; local target=$port
  free_port; local caller=$port
  free_port; local media=$port
  free_port; local target_media=$port
  case $method in
    BYE) scenario=call_ended_by_bye ;;
    REFER) scenario=call_handed_back_by_refer; uri="sip:back@127.0.0.1:$target" ;;
    INVITE) scenario=call_handed_back_by_invite; uri="sip:back@127.0.0.1:$target" ;;
  esac
  [ "$transport" = tcp ] && [ -n "$uri" ] && uri="$uri;transport=tcp"
  register_all "$prefix" "$method" "$uri"
  { echo SEQUENTIAL; for n in $(seq "$calls"); do echo "$prefix-$n;"; done; } >"$work/$prefix.csv"
  if [ "$method" = INVITE ]; then
    (cd "$work" && exec timeout 300 sipp -sf "$here/load/return_target.xml" -m "$calls" -t "$t" -i 127.0.0.1 -p "$target" -mp "$target_media" \
      -nostdin -trace_err -error_file "$work/$prefix.target.errors" -trace_stat -fd 1 -stf "$work/$prefix.target.stat") \
      >"$work/$prefix.target.screen" 2>&1 </dev/null &
    target_pid=$!
    pids+=("$target_pid")
    sleep 0.5
  fi
  (cd "$work" && timeout 300 sipp -sf "$here/load/$scenario.xml" -inf "$work/$prefix.csv" -s agent -m "$calls" -r "$rate" -l 1200 -t "$t" \
    -i 127.0.0.1 -p "$caller" -mp "$media" -nostdin -trace_err -error_file "$work/$prefix.errors" -trace_stat -fd 1 -stf "$work/$prefix.stat" \
    "127.0.0.1:$sip") >"$work/$prefix.screen" 2>&1 </dev/null || fail "$prefix: SIPp reports failed calls"
  if [ -n "$target_pid" ]; then wait "$target_pid" || fail "$prefix: the return target reports failed calls"; fi
  local good bad again target_again=0 states
  good=$(column 'SuccessfulCall(C)' "$work/$prefix.stat")
  bad=$(column 'FailedCall(C)' "$work/$prefix.stat")
  again=$(column 'Retransmissions(C)' "$work/$prefix.stat")
  [ "$method" != INVITE ] || target_again=$(column 'Retransmissions(C)' "$work/$prefix.target.stat")
  sleep 1
  states=$(fetch_all "$prefix")
  echo "$method $transport: $good good, $bad failed, $again+$target_again retransmissions; $states; memory $(memory) kB"
  [ "$good" = "$calls" ] && [ "$bad" = 0 ] || fail "$prefix: calls failed"
  [ $(((again + target_again) * 1000)) -lt "$calls" ] || [ $((again + target_again)) = 0 ] || fail "$prefix: too many retransmissions"
  [ "$states" = "$calls COMPLETED+output" ] || fail "$prefix: not every transfer is complete"
  [ "$verdict" = 0 ] || tail -n 5 "$work/$prefix.errors" "$work/$prefix.target.errors" 2>/dev/null || true
}

start_memory=$(memory)
start_held=$(held)
warm_memory=""
for transport in ${TRANSPORTS:-udp tcp}; do
  for method in ${METHODS:-BYE REFER INVITE}; do
    one_round "$method" "$transport"
  done
  # The methods hold different amounts while their calls are up: growth is judged from one round of each.
  [ -n "$warm_memory" ] || warm_memory=$(memory)
done
# Transactions and closed dialogs are remembered for 64·T1 (32 s).
sleep 36
end_held=$(held)
end_memory=$(memory)
echo "memory: $start_memory kB at the start, $warm_memory kB after one round of each method, $end_memory kB at the end"
echo "held at the end:"
echo "$end_held"
[ "$end_held" = "$start_held" ] || { fail "something is still held; at the start it was:"; echo "$start_held"; }
[ "$end_memory" -le $((warm_memory + warm_memory / 10)) ] || fail "memory has grown"
warnings=$(grep -cE ' (WARN|ERROR) ' "$work/load.log" || true)
echo "lines at WARN or above in the log: $warnings"
[ "$warnings" = 0 ] || { fail "warnings in the log"; grep -E ' (WARN|ERROR) ' "$work/load.log" | head -5; }
[ $verdict = 0 ] && echo "load: passed" || echo "load: failed"
exit $verdict
