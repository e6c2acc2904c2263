# Shared by run.sh and load/run.sh: free ports, a gateway of its own, the two API calls.
# Sourced after `set -euo pipefail`.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
handback=${HANDBACK:-${CARGO_TARGET_DIR:-$root/target}/release/handback}
work=$(mktemp -d)
pids=()
taken=" "

stop_all() {
  local pid
  for pid in "${pids[@]:-}"; do
    [ -n "$pid" ] && kill "$pid" 2>/dev/null || true
  done
  wait 2>/dev/null || true
  [ -n "${KEEP:-}" ] && echo "kept: $work" || rm -rf "$work"
}
trap stop_all EXIT

need() {
  local missing=()
  command -v sipp >/dev/null || missing+=(sip-tester)
  command -v curl >/dev/null || missing+=(curl)
  command -v jq >/dev/null || missing+=(jq)
  if [ ${#missing[@]} -gt 0 ]; then
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
  fi
}

build() {
  [ -n "${HANDBACK:-}" ] || (cd "$root" && cargo build --release -q -p handback)
}

# Sets `port` to one that nothing uses, for UDP and TCP, with the three after it: SIPp takes its media port and the
# next ones. Below the ports that the system hands out, and below those of the gateways' media.
free_port() {
  local used offset
  while :; do
    port=$((10000 + RANDOM % 5000 * 4))
    case "$taken" in *" $port "*) continue ;; esac
    used=$(cat /proc/net/{udp,udp6,tcp,tcp6} 2>/dev/null | awk '{print $2}')
    for offset in 0 1 2 3; do
      ! grep -q ":$(printf %04X $((port + offset)))$" <<<"$used" || continue 2
    done
    taken="$taken$port "
    return
  done
}

# start_gateway NAME: runs the configuration $work/NAME.toml, waits until it says `ready`.
start_gateway() {
  local log=$work/$1.log
  (cd "$work" && exec "$handback" serve --config "$work/$1.toml") >"$log" 2>&1 &
  pids+=($!)
  gateway_pid=$!
  for _ in $(seq 100); do
    grep -qw ready "$log" && return
    kill -0 "$gateway_pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "the gateway $1 does not start:" >&2
  cat "$log" >&2
  exit 1
}

# new_key: sets `key_hash` and `key_secret` to those of a fresh API key.
new_key() {
  local printed
  printed=$("$handback" secret)
  key_secret=$(sed -n 's/^secret: //p' <<<"$printed")
  key_hash=$(sed -n 's/^secret_hash: //p' <<<"$printed")
}

# register API KEY SECRET ID TYPE URI COMPLETE_AFTER_MS AUTH: a transfer; an empty field is left out.
register() {
  jq -nc --arg id "$4" --arg type "$5" --arg uri "$6" --arg after "$7" --arg auth "$8" '
    {id: $id, externalConversationId: ("conversation-" + $id), type: "SIP",
     sip: ({returnTransferType: $type}
       + (if $uri == "" then {} else {returnURI: $uri} end)
       + (if $auth == "" then {} else {returnInviteAuthentication: {username: "back", password: "return-secret"}} end)),
     inputContext: {taskName: "scenario", inputVariables: ({color: "blue"}
       + (if $after == "" then {} else {lab_complete_after_ms: ($after | tonumber)} end))}}' |
    curl -sS --fail-with-body -o "$work/registered.json" -H "asapp-api-id: $2" -H "asapp-api-secret: $3" \
      -H 'content-type: application/json' --data-binary @- "http://127.0.0.1:$1/generativeagent/v1/call-transfers"
}

# fetch API KEY SECRET ID: prints the transfer.
fetch() {
  curl -sS -H "asapp-api-id: $2" -H "asapp-api-secret: $3" "http://127.0.0.1:$1/generativeagent/v1/call-transfers/$4"
}
