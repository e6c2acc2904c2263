#!/usr/bin/env bash
# The agent hook from outside: a gateway, an agent that shares no code with it (agent.py), a caller, and the customer's
# curl. For each way to reach an agent, with the proofs that it wants: the caller hears the agent and the agent the caller,
# bit for bit, and the result is what the agent said. A proof that does not hold leaves the caller with his SBC.
#
#   tests/hook/run.sh            all, with target/release/handback, which is built if HANDBACK names no other
#   tests/hook/run.sh audiohook  those whose name has this in it
#   KEEP=1 …                     keeps the folder with logs, recordings and messages
#
# Needs curl, jq, sox, openssl, python3.
set -euo pipefail
# shellcheck source=../../sipp-scenarios/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../sipp-scenarios/lib.sh"
tests=$root/tests/hook
only=${1:-}
missing=()
for pair in curl:curl jq:jq sox:sox openssl:openssl python3:python3; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
build
handback=$(realpath "$handback")
cd "$work"
ulaw() { sox -D "$1" -t raw -e u-law -b 8 -r 8000 -c 1 "$2" "${@:3}"; }
ulaw "$root/crates/handback/assets/speech.wav" caller.ul
ulaw "$root/crates/handback/assets/speech.wav" agent.ul reverse
# of 16 bits that mean exactly these bytes, whoever makes them u-law again
speech=$work/caller.wav
sox -D -t raw -e u-law -b 8 -r 8000 -c 1 caller.ul -e signed-integer -b 16 "$speech"
new_key
failed=0 passed=0
complete='{"transferType":"SYSTEM","currentTaskName":"paid","referenceVariables":{"order":{"id":7}},"transferVariables":{"amount":"12.50"}}'

# Secrets, and a small PKI: an authority, a server's and a client's certificate, and a client's of somebody else.
printf 'bearer-secret' >bearer
printf 'twilio-secret' >twilio
printf 'hmac-secret' >hmac
printf 'audiohook-key' >api-key
printf 'audiohook client secret' | base64 >client-secret
authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout "$1.key" -out "$1.pem" 2>/dev/null; }
certificate() { # NAME AUTHORITY
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -days 2 -out "$1.pem" \
    -extfile <(printf 'subjectAltName=IP:127.0.0.1,DNS:localhost') 2>/dev/null
}
authority house
authority strangers
certificate server house
certificate client house
certificate stranger strangers

agent_pid=""
# agent NAME OPTIONS…: starts agent.py; sets `agent_port`.
agent() {
  local name=$1
  python3 "$tests/agent.py" --log "$name.jsonl" --heard "$name.heard.ul" --say agent.ul --complete "$complete" "${@:2}" \
    >"$name.agent.out" 2>&1 &
  agent_pid=$!
  pids+=("$agent_pid")
  for _ in $(seq 100); do
    agent_port=$(sed -n 's/^ready //p' "$name.agent.out")
    [ -n "$agent_port" ] && return
    sleep 0.1
  done
  cat "$name.agent.out" >&2
  return 1
}

# gateway NAME HOOK: with the lines of [agent] from stdin; sets `sip` and `api`.
gateway() {
  free_port; sip=$port
  free_port; api=$port
  free_port; admin=$port
  free_port; media=$((30000 + port % 1000 * 4))
  cat >"$1.toml" <<T
[sip]
listen = ["udp://127.0.0.1:$sip"]
[media]
listen = "127.0.0.1"
ports = "$media-$((media + 79))"
[api]
listen = "127.0.0.1:$api"
[admin]
listen = "127.0.0.1:$admin"
[store]
url = "memory://"
[limits]
calls = 10
[agent]
hook = "$2"
$(cat)
[[account]]
id = "acme"
return_transfer_type = "BYE"
  [[account.api_key]]
  id = "acme"
  secret_hash = "$key_hash"
  [[account.trunk]]
  name = "sbc"
  allow = ["127.0.0.0/8"]
T
  start_gateway "$1"
}

# place NAME: registers, calls, and says what the caller said; the agent completes at the key 1.
place() {
  register "$api" acme "$key_secret" "$1" BYE "" "" ""
  "$handback" call --to "sip:agent@127.0.0.1:$sip" --transfer "$1" --play "$speech" --dtmf 1 --record "$1.wav" >"$1.call" 2>&1
}

saw() { jq -es --arg saw "$2" "map(select(.saw == \$saw)) | ${3:-length > 0}" "$1.jsonl" >/dev/null || { echo "the agent did not see: $2 ${3:-}"; return 1; }; }

# conversation NAME: the whole story, as each side has it.
conversation() {
  local name=$1 result
  place "$name" || { cat "$name.call"; return 1; }
  result=$(fetch "$api" acme "$key_secret" "$name")
  jq -e --argjson want "$complete" '.status == "COMPLETED" and .outputContext == $want' <<<"$result" >/dev/null ||
    { echo "the result is $result"; return 1; }
  ulaw "$name.wav" "$name.caller.ul"
  python3 "$tests/contains.py" "$name.caller.ul" agent.ul 1000
  for _ in $(seq 50); do
    [ -s "$name.heard.ul" ] && break
    sleep 0.1
  done
  python3 "$tests/contains.py" "$name.heard.ul" caller.ul 400
}

# refused NAME: the call is refused with 503, and the transfer waits for its call as before.
refused() {
  if place "$1"; then
    echo "the call was taken"
    return 1
  fi
  grep -q 503 "$1.call" || { cat "$1.call"; return 1; }
  [ "$(fetch "$api" acme "$key_secret" "$1" | jq -r .status)" = ACTIVE ] || { echo "the transfer is not ACTIVE"; return 1; }
}

run() { # CASE
  local name=$1 begun=$SECONDS
  case $name in *"$only"*) ;; *) return 0 ;; esac
  # not in the condition of an if: there, set -e means nothing
  local status
  set +e
  (set -e; "case_$name" "$name") >"$name.out" 2>&1
  status=$?
  set -e
  if [ "$status" = 0 ]; then
    passed=$((passed + 1))
    echo "ok    $name ($((SECONDS - begun)) s)"
  else
    failed=$((failed + 1))
    echo "FAIL  $name"
    tail -20 "$name.out" | sed 's/^/      /'
    tail -5 "$name.log" "$name.jsonl" 2>/dev/null | cut -c1-300 | sed 's/^/      /' || true
  fi
}

# What a case starts ends with it.
ending() { trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true' EXIT; pids=(); }

case_webhook_and_stream_with_every_header() {
  ending
  agent "$1" --bearer bearer-secret --twilio-token twilio-secret --hmac hmac-secret
  gateway "$1" "http://127.0.0.1:$agent_port/twiml?tenant=7" <<<'
token_file = "bearer"
twilio_token_file = "twilio"
hmac_secret_file = "hmac"'
  conversation "$1"
  saw "$1" webhook '.[0].fields | .Direction == "inbound" and .Hook_taskName == "scenario" and .Hook_color == "blue" and (.CallSid | test("^CA[0-9a-f]{32}$"))'
  saw "$1" start '.[0].parameters | .by == "webhook & TwiML" and .taskName == "scenario" and .resume == "0"'
  saw "$1" mark '.[0].message.mark | .name == "said" and .played'
  saw "$1" stop
}

case_wrong_secret_leaves_the_caller_with_his_sbc() {
  ending
  agent "$1" --hmac another-secret
  gateway "$1" "ws://127.0.0.1:$agent_port/" <<<'
hmac_secret_file = "hmac"
connect_timeout = "1s"'
  refused "$1"
  saw "$1" refused '.[0].why == "X-Hook-Signature"'
}

case_wss_with_a_client_certificate() {
  ending
  agent "$1" --certificate server.pem --key server.key --client-ca house.pem --bearer bearer-secret
  gateway "$1" "wss://127.0.0.1:$agent_port/" <<<'
token_file = "bearer"
ca_file = "house.pem"
client_cert_file = "client.pem"
client_key_file = "client.key"'
  conversation "$1"
  saw "$1" tls '.[0] | .version == "TLSv1.3" and (.client | contains("client"))'
}

case_wss_with_a_strangers_certificate_is_refused() {
  ending
  agent "$1" --certificate server.pem --key server.key --client-ca house.pem
  gateway "$1" "wss://127.0.0.1:$agent_port/" <<<'
ca_file = "house.pem"
client_cert_file = "stranger.pem"
client_key_file = "stranger.key"
connect_timeout = "1s"'
  refused "$1"
}

case_wss_server_of_an_unknown_authority_is_not_trusted() {
  ending
  agent "$1" --certificate server.pem --key server.key
  gateway "$1" "wss://127.0.0.1:$agent_port/" <<<'
ca_file = "strangers.pem"
connect_timeout = "1s"'
  refused "$1"
  grep -q "certificate" "$1.log"
}

case_audiohook_with_its_signature() {
  ending
  agent "$1" --protocol audiohook --api-key audiohook-key --client-secret "$(cat client-secret)"
  gateway "$1" "ws://127.0.0.1:$agent_port/audiohook/v2" <<<'
protocol = "audiohook"
[agent.audiohook]
api_key_file = "api-key"
client_secret_file = "client-secret"'
  conversation "$1"
  saw "$1" open '.[0] | .variables.taskName == "scenario" and .variables.color == "blue"'
  saw "$1" playback_started
  saw "$1" playback_completed
  saw "$1" close
}

case_audiohook_stereo_over_tls() {
  ending
  agent "$1" --protocol audiohook --stereo --api-key audiohook-key --client-secret "$(cat client-secret)" \
    --certificate server.pem --key server.key --client-ca house.pem
  gateway "$1" "wss://localhost:$agent_port/audiohook/v2" <<<'
protocol = "audiohook"
ca_file = "house.pem"
client_cert_file = "client.pem"
client_key_file = "client.key"
[agent.audiohook]
stereo = true
api_key_file = "api-key"
client_secret_file = "client-secret"'
  conversation "$1"
}

# `handback call --hook` plays the gateway's part with the same proofs.
case_test_caller_gives_every_proof() {
  ending
  agent "$1" --bearer bearer-secret --twilio-token twilio-secret --hmac hmac-secret \
    --certificate server.pem --key server.key --client-ca house.pem
  "$handback" call --hook "wss://127.0.0.1:$agent_port/x" --token-file bearer --twilio-token-file twilio --hmac-secret-file hmac \
    --ca house.pem --certificate client.pem --key client.key --say "$speech@after-silence:300" --dtmf 1@8s \
    --record heard.wav --stereo both.wav --log "$1.messages.jsonl" --max-first-audio 1s \
    --expect complete.transferType=SYSTEM --expect complete.referenceVariables.order.id=7 --expect marks.played=1
  "$handback" lint "$1.messages.jsonl"
  ulaw heard.wav heard.ul
  python3 "$tests/contains.py" heard.ul agent.ul 1000
  [ "$(soxi -c both.wav)" = 2 ]
  ! "$handback" call --hook "wss://127.0.0.1:$agent_port/x" --ca house.pem --connect-timeout 500ms || return 1
}

case_test_caller_speaks_audiohook() {
  ending
  agent "$1" --protocol audiohook --api-key audiohook-key --client-secret "$(cat client-secret)"
  "$handback" call --hook "ws://127.0.0.1:$agent_port/x" --protocol audiohook --api-key-file api-key --client-secret-file client-secret \
    --play "$speech" --dtmf 1@4s --expect complete.transferVariables.amount=12.50 --expect 'heard.ms>1000'
  saw "$1" close
}

case_test_caller_lets_a_plain_agent_listen_on_a_second_socket() {
  ending
  agent "$1" --far far.ul
  "$handback" call --hook "ws://127.0.0.1:$agent_port/x" --dtmf 1@1s --both-tracks --far "$speech" --log "$1.messages.jsonl" \
    --expect complete.transferType=SYSTEM
  "$handback" lint "$1.messages.jsonl"
  saw "$1" start 'length == 2 and .[1].tracks == ["inbound", "outbound"] and .[1].parameters.phase == "bridged"'
  for _ in $(seq 50); do [ -s far.ul ] && break; sleep 0.1; done
  python3 "$tests/contains.py" far.ul caller.ul 1000
}

case_test_caller_keeps_one_socket_where_the_agent_wants_tracks() {
  ending
  agent "$1" --far far.ul --hello
  "$handback" call --hook "ws://127.0.0.1:$agent_port/x" --dtmf 1@1s --both-tracks --far "$speech" --expect complete
  saw "$1" start 'length == 1'
  saw "$1" hook.phase 'map(.message.phase) | . == ["handing_back", "bridged", "ended"]'
}

for name in $(declare -F | sed -n 's/^declare -f case_//p'); do
  run "$name"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
