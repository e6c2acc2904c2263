#!/usr/bin/env bash
# The gateway with implementations that are not ours: baresip as telephone, Kamailio as proxy, both from Debian's packages.
#
#   tests/interop/run.sh                     everything, over UDP, TCP and TLS; some two minutes
#   HANDBACK=path/to/binary KEEP=1 tests/interop/run.sh
#
# Everything listens on loopback, on ports of its own, and only what was started here is ended.
set -euo pipefail
# shellcheck source=../../sipp-scenarios/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../sipp-scenarios/lib.sh"
interop=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=baresip.sh
source "$interop/baresip.sh"

missing=()
for pair in baresip:baresip-core kamailio:kamailio sox:sox openssl:openssl sipp:sip-tester curl:curl jq:jq; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
kamailio_modules=$(echo /usr/lib/*/kamailio/modules)
[ -e "$kamailio_modules/tls.so" ] || missing+=(kamailio-tls-modules)
if [ ${#missing[@]} -gt 0 ]; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
baresip_modules=/usr/lib/baresip/modules
build

new_key
secret=$key_secret
passed=0 failed=0

# An authority of our own, and one certificate that both the gateway and the proxy show.
certificates() {
  (cd "$work" && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=interop authority" -keyout ca.key -out ca.pem \
    -addext basicConstraints=critical,CA:TRUE &&
    openssl req -newkey rsa:2048 -nodes -subj "/CN=127.0.0.1" -keyout own.key -out own.csr &&
    printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\n' >own.ext &&
    openssl x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile own.ext -out own.pem &&
    cat own.key own.pem >both.pem) >"$work/openssl.out" 2>&1 ||
    { cat "$work/openssl.out" >&2; exit 1; }
}

# gateway NAME HOOK FIRST_MEDIA_PORT: sets `sip`, `sip_tls`, `api`, `admin`.
gateway() {
  free_port; sip=$port; free_port; sip_tls=$port; free_port; api=$port; free_port; admin=$port
  cat >"$work/$1.toml" <<T
[node]
name = "$1"
[sip]
listen = ["udp://127.0.0.1:$sip", "tcp://127.0.0.1:$sip", "tls://127.0.0.1:$sip_tls"]
[sip.tls]
certificate_file = "$work/own.pem"
key_file = "$work/own.key"
ca_file = "$work/ca.pem"
[media]
listen = "127.0.0.1"
ports = "$3-$(($3 + 999))"
[api]
listen = "127.0.0.1:$api"
[admin]
listen = "127.0.0.1:$admin"
[store]
url = "sqlite://$work/$1.db"
[limits]
calls = 50
[agent]
hook = "$2"
[[account]]
id = "main"
return_transfer_type = "BYE"
[[account.api_key]]
id = "main"
secret_hash = '$key_hash'
[[account.trunk]]
name = "sbc"
allow = ["127.0.0.1/32"]
outbound_proxy = "127.0.0.1:$proxy_recording"
T
  start_gateway "$1"
}

proxy() {
  cat >"$work/tls.cfg" <<T
[server:default]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
private_key = $work/own.key
certificate = $work/own.pem
[client:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
ca_list = $work/ca.pem
T
  sed -e "s#@RECORDING@#$proxy_recording#g; s#@PLAIN@#$proxy_plain#g; s#@TLS@#$proxy_tls#g; s#@WORK@#$work#g" \
    -e "s#@ECHO@#$echo_sip#g; s#@LAB@#$lab_sip#g; s#@LAB_TLS@#$lab_tls#g; s#@ECHO_TLS@#$echo_tls#g" \
    "$interop/kamailio.cfg" >"$work/kamailio.cfg"
  mkdir -p "$work/kamailio"
  (cd "$work" && exec timeout 600 kamailio -f "$work/kamailio.cfg" -DD -E -m 64 -M 8 -Y "$work/kamailio" \
    -P "$work/kamailio.pid" -L "$kamailio_modules") >"$work/kamailio.log" 2>&1 </dev/null &
  pids+=($!)
  for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$proxy_plain") 2>/dev/null && return
    sleep 0.1
  done
  echo "kamailio does not start:" >&2
  tail -20 "$work/kamailio.log" >&2
  exit 1
}

# state API ID: the transfer in a word, `COMPLETED+` with the agent's result.
state() { fetch "$1" main "$secret" "$2" | jq -r '.status + (if .outputContext then "+" else "" end)'; }
# becomes API ID STATE [SECONDS]
becomes() {
  local now=""
  for _ in $(seq $((${4:-5} * 10))); do
    now=$(state "$1" "$2")
    [ "$now" = "$3" ] && return
    sleep 0.1
  done
  echo "the transfer $2 is $now, not $3"
  return 1
}
# appears TEXT FILE [SECONDS]
appears() {
  for _ in $(seq $((${3:-5} * 10))); do
    grep -qa -- "$1" "$2" && return
    sleep 0.1
  done
  echo "$(basename "$2") has no \"$1\""
  return 1
}
# said TEXT FILE: how often a line of the file has the text.
said() { grep -ca -- "$1" "$2" || true; }

# check NAME COMMAND…: counts it.
check() {
  local name=$1 out
  shift
  if out=$("$@" 2>&1); then
    passed=$((passed + 1)); echo "ok    $name"
  else
    failed=$((failed + 1)); echo "FAIL  $name"; sed 's/^/      /' <<<"$out"
  fi
}

dial_uri() { # ID TRANSPORT PORT
  case $2 in udp) echo "sip:$1@127.0.0.1:$3" ;; *) echo "sip:$1@127.0.0.1:$3;transport=$2" ;; esac
}

# telephone NAME TRANSPORT [USER]
telephone() {
  local control
  free_port; control=$port
  free_port
  start_baresip "$1" "$2" "$port" "$control" "${3:-caller}"
}

# The tone comes back: the loudest second of what baresip heard, at 440 Hz alone.
heard_its_tone() {
  local file level
  file=$(find "$1/heard" -name '*-dec.wav' | head -1)
  [ -n "$file" ] || { echo "baresip recorded nothing"; return 1; }
  level=$(sox "$file" -n sinc 400-480 stat 2>&1 | awk '/^Maximum amplitude/ {print $3}')
  awk -v level="$level" 'BEGIN {exit !(level > 0.1)}' || { echo "440 Hz is heard at $level of 1"; return 1; }
}

caller_holds_resumes_hears_itself_and_hangs_up() { # TRANSPORT PROXY_PORT
  local id="echo-holds-$1-$2" open
  register "$echo_api" main "$secret" "$id" BYE "" "" ""
  telephone "$id" "$1"
  # shellcheck disable=SC2064
  trap "kill $baresip_pid 2>/dev/null || true" RETURN
  baresip_do dial "$(dial_uri "$id" "$1" "$2")" >/dev/null
  becomes "$echo_api" "$id" ONGOING || return 1
  sleep 1
  baresip_do hold >/dev/null
  appears "a=recvonly" "$baresip_folder/screen" || return 1
  open=$(said "^a=sendrecv" "$baresip_folder/screen")
  baresip_do resume >/dev/null
  # Its offer and our answer.
  for _ in $(seq 50); do
    [ "$(said "^a=sendrecv" "$baresip_folder/screen")" -ge $((open + 2)) ] && break
    sleep 0.1
  done
  [ "$(said "^a=sendrecv" "$baresip_folder/screen")" -ge $((open + 2)) ] || { echo "resume was not answered sendrecv"; return 1; }
  sleep 1.5
  baresip_do hangup >/dev/null
  becomes "$echo_api" "$id" COMPLETED || return 1
  sleep 0.3
  stop_baresip
  heard_its_tone "$baresip_folder"
}

gateway_hangs_up_on_baresip() { # TRANSPORT PROXY_PORT
  local id="lab-ends-$1-$2"
  register "$lab_api" main "$secret" "$id" BYE "" 1500 ""
  telephone "$id" "$1"
  # shellcheck disable=SC2064
  trap "kill $baresip_pid 2>/dev/null || true" RETURN
  baresip_do dial "$(dial_uri "$id" "$1" "$2")" >/dev/null
  becomes "$lab_api" "$id" COMPLETED+ 8 || return 1
  appears "^BYE sip:caller" "$baresip_folder/screen" || return 1
  appears "Reason: SIP;cause=200" "$baresip_folder/screen"
}

call_comes_back_to_another_baresip_through_the_proxy() { # WHO_HANGS_UP
  local id="lab-back-$1" caller_pid caller_control caller_folder callee_control callee_folder
  telephone "callee-$1" udp callee
  callee_control=$baresip_control callee_folder=$baresip_folder
  local callee_pid=$baresip_pid callee_port=$port
  register "$lab_api" main "$secret" "$id" INVITE "sip:callee@127.0.0.1:$callee_port" 1000 ""
  telephone "caller-$1" udp
  caller_pid=$baresip_pid caller_control=$baresip_control caller_folder=$baresip_folder
  # shellcheck disable=SC2064
  trap "kill $callee_pid $caller_pid 2>/dev/null || true" RETURN
  baresip_do dial "$(dial_uri "$id" udp "$proxy_recording")" >/dev/null
  appears "^INVITE sip:callee@" "$callee_folder/screen" 8 || return 1
  baresip_control=$callee_control
  baresip_do accept >/dev/null
  appears "^ACK sip:callee" "$callee_folder/screen" || return 1
  becomes "$lab_api" "$id" COMPLETED+ || return 1
  sleep 1
  if [ "$1" = caller ]; then
    baresip_control=$caller_control
    baresip_do hangup >/dev/null
    appears "^BYE sip:callee" "$callee_folder/screen" || return 1
  else
    baresip_do hangup >/dev/null
    appears "^BYE sip:caller" "$caller_folder/screen" || return 1
  fi
  [ "$(said "^Record-Route: <sip:127.0.0.1:$proxy_recording" "$callee_folder/screen")" -gt 0 ] ||
    { echo "the return did not come through the proxy"; return 1; }
}

through_proxy() { # SCENARIO TRANSPORT TYPE URI STATE COMPLETE_AFTER
  local id="lab-$1-$2" media before
  register "$lab_api" main "$secret" "$id" "$3" "$4" "$6" ""
  printf 'SEQUENTIAL\n%s;\n' "$id" >"$work/$id.csv"
  free_port; media=$port
  free_port
  before=$(said "interop: loose" "$work/kamailio.log")
  (cd "$work" && timeout 40 sipp -sf "$interop/$1.xml" -inf "$id.csv" -s agent -m 1 -t "${2:0:1}1" -i 127.0.0.1 -p "$port" -mp "$media" \
    -timeout 30 -timeout_error -nostdin -trace_err -error_file "$id.errors" "127.0.0.1:$proxy_recording") >"$work/$id.screen" 2>&1 </dev/null ||
    { echo "SIPp failed"; cat "$work/$id.errors" 2>/dev/null | head -30; return 1; }
  becomes "$lab_api" "$id" "$5" || return 1
  [ "$(said "interop: loose" "$work/kamailio.log")" -gt "$before" ] || { echo "no request went by the route set"; return 1; }
}

certificates
sox -n -r 8000 -c 1 -b 16 "$work/tone.wav" synth 60 sine 440 gain -6
free_port; proxy_recording=$port; free_port; proxy_plain=$port; free_port; proxy_tls=$port
gateway echo builtin:echo 41000
echo_sip=$sip echo_tls=$sip_tls echo_api=$api
gateway lab builtin:lab 42000
lab_sip=$sip lab_tls=$sip_tls lab_api=$api
proxy

for transport in udp tcp; do
  check "baresip over $transport: hold, resume, echo, caller hangs up" caller_holds_resumes_hears_itself_and_hangs_up "$transport" "$proxy_plain"
  # Over TCP the BYE goes by the connection of the INVITE, so that the proxy must be in the route set.
  check "baresip over $transport: gateway hangs up" gateway_hangs_up_on_baresip "$transport" \
    "$([ "$transport" = tcp ] && echo "$proxy_recording" || echo "$proxy_plain")"
  check "kamailio over $transport: hold, resume, caller hangs up" through_proxy caller_holds_resumes_and_hangs_up "$transport" BYE "" COMPLETED ""
  check "kamailio over $transport: gateway hangs up" through_proxy gateway_hangs_up "$transport" BYE "" COMPLETED+ 1000
  check "kamailio over $transport: REFER" through_proxy call_is_referred "$transport" REFER "sip:desk@127.0.0.1:5099" COMPLETED+ 1000
done
check "baresip and kamailio over tls: hold, resume, echo, caller hangs up" caller_holds_resumes_hears_itself_and_hangs_up tls "$proxy_tls"
check "baresip and kamailio over tls: gateway hangs up" gateway_hangs_up_on_baresip tls "$proxy_tls"
for who in caller target; do
  check "return by INVITE through kamailio to baresip: $who hangs up" call_comes_back_to_another_baresip_through_the_proxy "$who"
done
for log in echo lab; do
  if grep -a ' WARN ' "$work/$log.log"; then failed=$((failed + 1)); echo "FAIL  the gateway warned"; fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
