#!/usr/bin/env bash
# Plays the peers of hand-backs, each script of peers/ over UDP and TCP, and asserts what the gateway recorded of the
# call, read from its admin API. Prints `N passed, N failed`.
#
#   sipp-scenarios/peers.sh [PATTERN]   only the scripts whose name contains PATTERN
#   HANDBACK=path/to/binary             instead of building one;   KEEP=1 keeps logs and configurations
#   JOBS=N                              so many at the same time; 8 without it
#
# A script is a scenario of SIPp with parts (expand.awk). Its comments say how it is run and what must be recorded:
#   <!-- handback: key=value ... -->
#     trunk=NAME              the trunk of `trunks` below that calls; generic without it
#     return=BYE|INVITE       instead of REFER                 complete_after=MS  the agent completes by itself; 200
#     uri=URI                 the return URI, without blanks   register=no        the context comes in headers
#     target=NAME             peers/targets/NAME takes the return
#     auth=yes                with credentials for the return
#     rtp=echo                the caller is heard: what it hears comes back    transports=udp  only over this one
#     log=TEXT                stands in a log line of the call
#     expect=STATUS[+|-output]  what the customer reads at the end; COMPLETED+output
#   <!-- record: EXPRESSION -->  of jq, true of the call's record; with the definitions of record.jq; any number of them
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need
build
pattern=${1:-}
jobs=${JOBS:-8}

new_key
secret=$key_secret hash=$key_hash
free_port; sip=$port; free_port; api=$port; free_port; admin=$port

cat >"$work/gateway.toml" <<T
[sip]
listen = ["udp://127.0.0.1:$sip", "tcp://127.0.0.1:$sip"]
[media]
ports = "40000-43999"
[api]
listen = "127.0.0.1:$api"
rate_limit = 1000
[admin]
listen = "127.0.0.1:$admin"
[store]
url = "sqlite://$work/gateway.db"
[limits]
calls = 200
[handback]
fallback = ["BYE"]
T

# An agent of its own process, that asks for a key and gives it back: again, when a hand-back has failed.
free_port; agent=$port
cat >"$work/agent.yaml" <<T
version: 1
start: ask
prompts: {dir: "$root/docs/examples/flow/prompts"}
states:
  ask:
    say: menu.wav
    bargein: [dtmf]
    collect: {dtmf: {max: 1, timeout_ms: 9000}, into: transferVariables.choice}
    next: chosen
  chosen: {complete: {transferType: SYSTEM, currentTaskName: chosen}}
T
"$handback" agent --listen "127.0.0.1:$agent" --flow "$work/agent.yaml" >"$work/agent.log" 2>&1 &
pids+=($!)

declare -A account_of address_of ga_target
last=0

# account NAME KEYS: a customer; the trunks that follow are his.
account() {
  account=$1
  printf '[[account]]\nid = "%s"\n%s\n[[account.api_key]]\nid = "%s"\nsecret_hash = '"'%s'"'\n' "$1" "$2" "$1" "$hash" >>"$work/gateway.toml"
}

# trunk NAME KEYS: a trunk at an address of its own.
trunk() {
  last=$((last + 1))
  account_of[$1]=$account address_of[$1]=127.0.13.$last
  printf '[[account.trunk]]\nname = "%s"\nallow = ["127.0.13.%s/32"]\n%s\n' "$1" "$last" "$2" >>"$work/gateway.toml"
}

account main 'return_targets = ["127.0.0.1"]'
for profile in generic twilio genesys cisco-cube oracle ribbon audiocodes avaya teams asterisk freeswitch; do
  trunk "$profile" "profile = \"$profile\"
outbound_auth = { realm = \"sbc-realm\", username = \"gw\", password = \"out-secret\" }"
done
trunk dials 'fallback = ["INVITE", "BYE"]'
trunk ribbon-dials 'profile = "ribbon"
fallback = ["INVITE", "BYE"]'
trunk freeswitch-dials 'profile = "freeswitch"
fallback = ["INVITE", "BYE"]'
trunk hasty 'refer_timeout = "3s"'
trunk rings-shortly 'invite_timeout = "1s"'
trunk tells-who-calls "return_headers = ['P-Asserted-Identity: \"{display}\" <sip:{user}@{host}>', 'Diversion: <sip:{called}@{host}>;reason=deflection', 'History-Info: <{to}>;index=1, <sip:{called}@{host}>;index=1.1']"
trunk hasty-dials 'refer_timeout = "3s"
fallback = ["INVITE", "BYE"]'
trunk twilio-host 'profile = "twilio"
peer = { refer_to_host = "acme.pstn.twilio.com" }'
trunk by-nobody 'peer = { referred_by = false }'
trunk by-caller 'peer = { referred_by = "caller" }'
trunk by-name 'peer = { referred_by = "<sip:ivr@acme.example>" }'
trunk passes 'peer = { refer_passes = ["X-Ticket"], bye_passes = ["X-Q*"] }'
trunk uui-parameter 'peer = { uui = ["refer_to_parameter"] }'
trunk slow-bye 'peer = { bye_after_ms = 3000 }'
trunk mute 'peer = { notifies = "never", first_notify_ms = 1000 }'
trunk tel 'tel_host = "sbc.acme.example"'
account again "hook = \"ws://127.0.0.1:$agent/\"
fallback = [\"AGENT\"]"
trunk again ''
trunk again-hasty 'refer_timeout = "3s"'
account ga-refer 'return_transfer_type = "REFER"
return_uri = "sip:back@127.0.0.1:9;x=%41"'
trunk ga-refer 'header_transfers = true'
account ga-bye ''
trunk ga-bye 'header_transfers = true'
for transport in udp tcp; do
  free_port; ga_target[$transport]=$port
  account "ga-invite-$transport" "return_transfer_type = \"INVITE\"
return_uri = \"sip:back@127.0.0.1:$port;transport=$transport\"
return_targets = [\"127.0.0.1\"]"
  trunk "ga-invite-$transport" 'header_transfers = true'
done
start_gateway gateway

# plain: XML's entities as what they stand for.
plain() { sed 's/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g'; }

# words KEY FILE: its value in the script's comments, or nothing.
words() { sed -n "s/.*<!-- handback:.* $1=\([^ ]*\).*/\1/p" "$2" | plain; }

expand() { awk -v parts="$here/parts" -f "$here/expand.awk" "$1"; }

# brought ACCOUNT CALL_ID: the id of the transfer that a call brought in its headers.
brought() {
  curl -sS "http://127.0.0.1:$admin/records?account=$1" | jq -r --arg id "$2" '.records[] | select(.record.sipCallId == $id) | .transfer'
}

# recorded ACCOUNT ID: the record of the transfer's last call, once there is one.
recorded() {
  local found
  for _ in $(seq 50); do
    if found=$(curl -sS "http://127.0.0.1:$admin/transfers/$1/$2" | jq -e '[.calls[]? | .record // empty] | last // empty'); then
      echo "$found"
      return
    fi
    sleep 0.1
  done
  echo "there is no record of the call"
  return 1
}

# one FILE TRANSPORT PORT...: a script, to its end; what went wrong on standard output.
one() {
  local file=$1 transport=$2 own=$3 media=$4 target_port=$5 target_media=$6 name id log trunk account uri target target_pid="" verdict=0
  name=$(basename "$file" .xml)
  id="$name-$transport-$own" log="$work/$name.$transport"
  trunk=$(words trunk "$file"); trunk=${trunk:-generic}
  if [ "$trunk" = ga-invite ]; then trunk=ga-invite-$transport target_port=${ga_target[$transport]}; fi
  account=${account_of[$trunk]}
  uri=$(words uri "$file"); uri=${uri:-"sip:back@127.0.0.1:$target_port;User-to-User=UUI%2D12345;X-Case=%7b%7D$([ "$transport" = udp ] || echo ";transport=tcp")"}
  local return after
  return=$(words return "$file") after=$(words complete_after "$file")
  if [ "$(words register "$file")" != no ]; then
    register "$api" "$account" "$secret" "$id" "${return:-REFER}" "$uri" "${after:-200}" "$(words auth "$file")" ||
      { echo "registration refused"; return 1; }
  fi
  expand "$file" >"$log.xml"
  printf 'SEQUENTIAL\n%s;\n' "$id" >"$log.csv"
  target=$(words target "$file")
  if [ -n "$target" ]; then
    expand "$here/peers/targets/$target.xml" >"$log.target.xml"
    (cd "$work" && exec timeout 70 sipp -sf "$log.target.xml" -m 1 -t "${transport:0:1}1" -i 127.0.0.1 -p "$target_port" \
      -mp "$target_media" -timeout 60 -timeout_error -nostdin -trace_err -error_file "$log.target.errors" \
      -trace_msg -message_file "$log.target.messages") >"$log.target.screen" 2>&1 </dev/null &
    target_pid=$!
    sleep 0.3
  fi
  local echoes=()
  [ "$(words rtp "$file")" != echo ] || echoes=(-rtp_echo)
  (cd "$work" && timeout 70 sipp -sf "$log.xml" -inf "$log.csv" -m 1 -t "${transport:0:1}1" -i "${address_of[$trunk]}" -p "$own" -mp "$media" \
    "${echoes[@]}" -timeout 60 -timeout_error -nostdin -trace_err -error_file "$log.errors" -trace_msg -message_file "$log.messages" \
    "127.0.0.1:$sip") >"$log.screen" 2>&1 </dev/null || { echo "the peer failed"; verdict=1; }
  if [ -n "$target_pid" ]; then wait "$target_pid" || { echo "the return target failed"; verdict=1; }; fi
  if [ "$(words register "$file")" = no ]; then
    sleep 0.3
    id=$(brought "$account" "$(sed -n 's/^Call-ID: *\([^ \r]*\).*/\1/p' "$log.messages" | head -n 1)")
  fi
  judge "$file" "$account" "$id" || verdict=1
  [ $verdict = 0 ] || tail -n 6 "$log.errors" "$log.target.errors" 2>/dev/null || true
  return $verdict
}

# judge FILE ACCOUNT ID: whether record and transfer are as the script says.
judge() {
  local record expected got verdict=0
  record=$(recorded "$2" "$3") || { echo "$record"; return 1; }
  while read -r expected; do
    jq -e -L "$here" "include \"record\"; $expected" <<<"$record" >/dev/null || { echo "not so: $expected"; verdict=1; }
  done < <(sed -n 's/^ *<!-- record: \(.*\) -->$/\1/p' "$1" | plain)
  [ $verdict = 0 ] || jq -c . <<<"$record"
  expected=$(words log "$1")
  if [ -n "$expected" ] && ! grep -F "transfer=\"$3\"" "$work/gateway.log" | grep -qF "$expected"; then
    echo "no log line of the call has $expected"; verdict=1
  fi
  expected=$(words expect "$1")
  got=$(fetch "$api" "$2" "$secret" "$3" | jq -r '.status + (if .outputContext then "+output" else "-output" end)')
  [ "$got" = "${expected:-COMPLETED+output}" ] || { echo "the API says $got"; verdict=1; }
  return $verdict
}

# A telephone number is refused where no trunk of the account calls it.
if [ -z "$pattern" ]; then
  if register "$api" ga-bye "$secret" refused REFER tel:+15550100 "" "" 2>/dev/null; then
    printf 'FAIL\nthe API took a tel URI\n' >"$work/tel_uri_is_refused_at_registration.http.result"
  else
    echo ok >"$work/tel_uri_is_refused_at_registration.http.result"
  fi
fi

for file in "$here"/peers/*"$pattern"*.xml; do
  for transport in udp tcp; do
    only=$(words transports "$file")
    [ -z "$only" ] || [ "$only" = "$transport" ] || continue
    while [ "$(jobs -rp | wc -l)" -gt "$jobs" ]; do sleep 0.1; done
    ports=()
    for _ in 1 2 3 4; do free_port; ports+=("$port"); done
    (
      trap - EXIT
      result=$work/$(basename "$file" .xml).$transport.result
      if said=$(one "$file" "$transport" "${ports[@]}"); then echo ok >"$result"; else printf 'FAIL\n%s\n' "$said" >"$result"; fi
    ) &
    running+=($!)
  done
done
wait "${running[@]}" || true

# What the command line says of the last call that was returned by INVITE.
if [ -z "$pattern" ]; then
  call=$(curl -sS "http://127.0.0.1:$admin/records?trunk=dials" | jq -r '.records[0].call')
  shown=$("$handback" ladder --admin "127.0.0.1:$admin" "$call" 2>&1) || true
  missing=""
  for word in caller handback target "REFER <sip:back@" "603 Decline REFER" "200 OK INVITE (SDP)" "agent completed" BYE; do
    grep -qF "$word" <<<"$shown" || missing="$missing $word"
  done
  "$handback" calls --admin "127.0.0.1:$admin" | grep -qx "no call is up" || missing="$missing no-call-is-up"
  if [ -z "$missing" ]; then echo ok; else printf 'FAIL\nnot shown:%s\n%s\n' "$missing" "$shown"; fi >"$work/ladder_and_calls_are_shown.cli.result"
fi

passed=0 failed=0
for result in "$work"/*.result; do
  name=$(basename "$result" .result)
  if [ "$(head -n 1 "$result")" = ok ]; then
    passed=$((passed + 1))
    echo "ok   ${name##*.} ${name%.*}"
  else
    failed=$((failed + 1))
    echo "FAIL ${name##*.} ${name%.*}"
    sed '1d; s/^/     /' "$result"
  fi
done
if grep -E ' ERROR |panicked' "$work/gateway.log" | head -5; then :; fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
