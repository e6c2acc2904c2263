#!/usr/bin/env bash
# Runs every scenario of calls/ against the release binary, over UDP and TCP, and prints `N passed, N failed`.
#
#   sipp-scenarios/run.sh [PATTERN]     only the scenarios whose name contains PATTERN
#   HANDBACK=path/to/binary             instead of building one;   KEEP=1 keeps logs and configurations
#
# The second comment of a scenario says how it is run, by words `key=value`:
#   return=BYE|REFER|INVITE  the transfer is registered so         register=no     there is no transfer
#   complete_after=MS        the agent completes by itself         auth=yes        with credentials for the return
#   expect=STATUS[+|-output] what the API says at the end          account=silent  the account whose agent never answers
#   from=ADDRESS user=NAME   the caller's address, the called user gateway=closed  the gateway without a digest trunk
#   target=NAME              return-targets/NAME takes the return  transports=udp  only over this one
#   meanwhile=NAME           background/NAME holds a call          same=yes        on the same transfer
#   before=NAME              calls/NAME is run first, on the same transfer
#   wait=SECONDS             between registration and call
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need
build
pattern=${1:-}

new_key
secret=$key_secret hash=$key_hash
free_port; main_sip=$port; free_port; main_api=$port; free_port; main_admin=$port
free_port; closed_sip=$port; free_port; closed_api=$port; free_port; closed_admin=$port
free_port; silent_hook=$port

# configuration NAME SIP API ADMIN FIRST_MEDIA_PORT TIME_TO_LIVE
configuration() {
  cat >"$work/$1.toml" <<T
[node]
name = "$1"
[sip]
listen = ["udp://127.0.0.1:$2", "tcp://127.0.0.1:$2"]
realm = "handback"
[media]
listen = "127.0.0.1"
ports = "$5-$(($5 + 3999))"
[api]
listen = "127.0.0.1:$3"
rate_limit = 1000
[admin]
listen = "127.0.0.1:$4"
[store]
url = "sqlite://$work/$1.db"
[transfer]
time_to_live = "$6"
[limits]
calls = 200
[agent]
hook = "builtin:lab"
connect_timeout = "2s"
[[account]]
id = "main"
return_transfer_type = "BYE"
[[account.api_key]]
id = "main"
secret_hash = '$hash'
[[account.trunk]]
name = "sbc"
allow = ["127.0.0.1/32"]
outbound_auth = { realm = "sbc-realm", username = "gw", password = "out-secret" }
T
}
configuration main "$main_sip" "$main_api" "$main_admin" 40000 10m
cat >>"$work/main.toml" <<T
[[account.trunk]]
name = "narrow"
allow = ["127.0.0.3/32"]
max_calls = 1
[[account.trunk]]
name = "digest"
allow = []
digest = { username = "sbc", password = "trunk-secret", algorithms = ["MD5"] }
[[account]]
id = "silent"
return_transfer_type = "BYE"
hook = "ws://127.0.0.1:$silent_hook/"
[[account.api_key]]
id = "silent"
secret_hash = '$hash'
[[account.trunk]]
name = "silent-sbc"
allow = ["127.0.0.4/32"]
T
configuration closed "$closed_sip" "$closed_api" "$closed_admin" 44000 2s
cat >>"$work/closed.toml" <<T
[[account.trunk]]
name = "reliable"
allow = ["127.0.0.5/32"]
reliable_provisional = "supported"
T

# An agent that takes the connection and never says a word: any listening socket does.
free_port
sipp -sf "$here/return-targets/refuses_with_486.xml" -t t1 -i 127.0.0.1 -p "$silent_hook" -mp "$port" -bg -m 1 -nostdin \
  >"$work/silent.out" 2>&1 </dev/null || true
silent_pid=$(sed -n 's/.*PID=\[\([0-9]*\)\].*/\1/p' "$work/silent.out")
[ -n "$silent_pid" ] && pids+=("$silent_pid")
start_gateway main
# The closed one also rings.
HANDBACK__AGENT__RINGING=true start_gateway closed

# call TRANSPORT FROM SIP_PORT USER ID SCENARIO LOG: one caller, to its end.
call() {
  local own media
  free_port; own=$port
  free_port; media=$port
  printf 'SEQUENTIAL\n%s;\n' "$5" >"$7.csv"
  (cd "$work" && timeout 40 sipp -sf "$here/$6" -inf "$7.csv" -s "$4" -m 1 -t "${1:0:1}1" -i "$2" -p "$own" -mp "$media" \
    -timeout 30 -timeout_error -nostdin -trace_err -error_file "$7.errors" -trace_msg -message_file "$7.messages" \
    "127.0.0.1:$3") >"$7.screen" 2>&1 </dev/null
}

# directive KEY FILE: its value in the second comment, or nothing.
directive() { sed -n "s/.*<!-- handback:.* $1=\([^ ]*\).*/\1/p" "$2"; }

# settled API KEY ID EXPECTED: waits up to 3 s for the transfer to look so.
settled() {
  local got=""
  for _ in $(seq 30); do
    got=$(fetch "$1" "$2" "$secret" "$3" |
      jq -r '.status + (if .status == "COMPLETED" then (if .outputContext then "+output" else "-output" end) else "" end)')
    [ "$got" = "$4" ] && return 0
    sleep 0.1
  done
  echo "the API says $got, not $4"
  return 1
}

# one FILE TRANSPORT: everything that a scenario asks for; what went wrong on standard output.
one() {
  local file=$1 transport=$2 name id log account from sip api key uri="" target_pid="" background_pid="" type
  name=$(basename "$file" .xml)
  id="$name-$transport-$RANDOM"
  log="$work/$name.$transport"
  account=$(directive account "$file"); from=$(directive from "$file")
  [ "$account" = silent ] && key=silent || key=main
  [ -n "$from" ] || { [ "$key" = silent ] && from=127.0.0.4 || from=127.0.0.1; }
  sip=$main_sip api=$main_api
  if [ "$(directive gateway "$file")" = closed ]; then sip=$closed_sip api=$closed_api; fi
  free_port
  local target_port=$port target target_media
  free_port; target_media=$port
  target=$(directive target "$file")
  type=$(directive return "$file")
  if [ "$type" = REFER ] || [ "$type" = INVITE ]; then
    uri="sip:back@127.0.0.1:$target_port;User-to-User=UUI%2D12345;X-Case=%7b%7D"
    [ "$transport" = tcp ] && uri="$uri;transport=tcp"
  fi
  if [ "$(directive register "$file")" != no ]; then
    register "$api" "$key" "$secret" "$id" "$type" "$uri" "$(directive complete_after "$file")" "$(directive auth "$file")" ||
      { echo "registration refused: $(cat "$work/registered.json")"; return 1; }
  fi
  if [ -n "$target" ]; then
    (cd "$work" && exec timeout 40 sipp -sf "$here/return-targets/$target.xml" -m 1 -t "${transport:0:1}1" -i 127.0.0.1 -p "$target_port" -mp "$target_media" \
      -timeout 25 -timeout_error -nostdin -trace_err -error_file "$log.target.errors" \
      -trace_msg -message_file "$log.target.messages") >"$log.target.screen" 2>&1 </dev/null &
    target_pid=$!
    sleep 0.3
  fi
  local other=$id
  if [ -n "$(directive meanwhile "$file")" ]; then
    if [ "$(directive same "$file")" != yes ]; then
      other="held-$id"
      register "$api" "$key" "$secret" "$other" BYE "" "" "" || return 1
    fi
    call "$transport" "$from" "$sip" agent "$other" "calls/background/$(directive meanwhile "$file").xml" "$log.held" &
    background_pid=$!
    sleep 0.7
  fi
  if [ -n "$(directive before "$file")" ]; then
    call "$transport" "$from" "$sip" agent "$id" "calls/$(directive before "$file").xml" "$log.before" || { echo "the call before it failed"; return 1; }
  fi
  [ -z "$(directive wait "$file")" ] || sleep "$(directive wait "$file")"
  local user verdict=0
  user=$(directive user "$file")
  call "$transport" "$from" "$sip" "${user:-agent}" "$id" "calls/$name.xml" "$log" || { echo "the caller failed"; verdict=1; }
  if [ -n "$target_pid" ]; then wait "$target_pid" || { echo "the return target failed"; verdict=1; }; fi
  if [ -n "$background_pid" ]; then wait "$background_pid" || { echo "the call meanwhile failed"; verdict=1; }; fi
  local expected
  expected=$(directive expect "$file")
  if [ "$expected" != none ]; then settled "$api" "$key" "$id" "$expected" || verdict=1; fi
  [ $verdict = 0 ] || tail -n 6 "$log.errors" "$log.target.errors" 2>/dev/null || true
  return $verdict
}

passed=0 failed=0
for file in "$here"/calls/*"$pattern"*.xml; do
  for transport in udp tcp; do
    only=$(directive transports "$file")
    [ -z "$only" ] || [ "$only" = "$transport" ] || continue
    if said=$(one "$file" "$transport"); then
      passed=$((passed + 1))
      echo "ok   $transport $(basename "$file" .xml)"
    else
      failed=$((failed + 1))
      echo "FAIL $transport $(basename "$file" .xml)"
      sed 's/^/     /' <<<"$said"
    fi
  done
done
if grep -E ' (WARN|ERROR) ' "$work"/{main,closed}.log | head -5; then :; fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
