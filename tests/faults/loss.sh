#!/usr/bin/env bash
# Calls over a network that loses a fifth of all SIP packets each way: every transfer is handed back, and none twice.
#
#   tests/faults/loss.sh              1,000 calls, BYE and REFER by turns
#   CALLS=100 tests/faults/loss.sh    the short form
#   LOSS=0.3 RATE=10 HANDBACK=path/to/binary KEEP=1 tests/faults/loss.sh
#
# Everything runs in a network namespace made for it, whose loopback alone loses packets. Needs root (or sudo) for that.
# Fails when fewer than 99 % of the transfers are COMPLETED with their outputContext, when a transfer was taken by two
# calls, when a caller got two REFERs, or when calls or legs are left at the end.
set -euo pipefail
self=$(realpath "${BASH_SOURCE[0]}")
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo

if [ "${1:-}" != inside ]; then
  missing=()
  for pair in ip:iproute2 iptables:iptables sipp:sip-tester curl:curl jq:jq; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
  fi
  if [ -z "${HANDBACK:-}" ]; then
    root=$(realpath "$(dirname "$self")/../..")
    (cd "$root" && cargo build --release -q -p handback)
    HANDBACK=${CARGO_TARGET_DIR:-$root/target}/release/handback
  fi
  HANDBACK=$(realpath "$HANDBACK")
  space=handback-loss-$$
  $sudo ip netns add "$space" || { echo "loss.sh: no network namespace can be made here" >&2; exit 1; }
  trap '$sudo ip netns delete "$space"' EXIT
  $sudo ip -n "$space" link set lo up
  $sudo ip netns exec "$space" env HANDBACK="$HANDBACK" CALLS="${CALLS:-1000}" RATE="${RATE:-20}" LOSS="${LOSS:-0.2}" \
    KEEP="${KEEP:-}" PATH="$PATH" "$self" inside
  exit
fi

# shellcheck source=../../sipp-scenarios/lib.sh
source "$(dirname "$self")/../../sipp-scenarios/lib.sh"
here=$(dirname "$self")
sip=5060 api=8080 admin=9090
new_key
secret=$key_secret
cat >"$work/loss.toml" <<T
[node]
name = "loss"
[sip]
listen = ["udp://127.0.0.1:$sip"]
[media]
listen = "127.0.0.1"
ports = "40000-47999"
[api]
listen = "127.0.0.1:$api"
rate_limit = 100000
[admin]
listen = "127.0.0.1:$admin"
[store]
url = "sqlite://$work/loss.db"
[transfer]
time_to_live = "30m"
[limits]
calls = 1500
[agent]
hook = "builtin:lab"
[[account]]
id = "loss"
return_transfer_type = "BYE"
[[account.api_key]]
id = "loss"
secret_hash = '$key_hash'
[[account.trunk]]
name = "sbc"
allow = ["127.0.0.0/8"]
max_calls = 1500
T
start_gateway loss

# The 200 is repeated at 0.5, 1.5, 3.5, 7.5 and 11.5 s: by 12 s its ACK has come, but for two calls in a thousand.
register_all() { # METHOD
  jq -nc --arg type "$1" '{externalConversationId: "loss", type: "SIP",
    sip: ({returnTransferType: $type} + (if $type == "REFER" then {returnURI: "sip:back@127.0.0.1:5099"} else {} end)),
    inputContext: {taskName: "loss", inputVariables: {lab_complete_after_ms: 12000}}}' >"$work/$1.json"
  local n
  for n in $(seq "$each"); do
    [ "$n" = 1 ] || echo next
    printf 'url = "http://127.0.0.1:%s/generativeagent/v1/call-transfers"\nheader = "asapp-api-id: loss"\nheader = "asapp-api-secret: %s"\n' "$api" "$secret"
    printf 'header = "content-type: application/json"\noutput = "/dev/null"\nwrite-out = "%%{http_code}\\n"\nsilent\ndata-binary = "%s"\n' \
      "$(jq -c --arg id "$1-$n" '{id: $id} + .' "$work/$1.json" | sed 's/"/\\"/g')"
  done >"$work/$1.curl"
  [ "$(curl -K "$work/$1.curl" | sort | uniq -c | awk '{print $1, $2}')" = "$each 200" ] ||
    { echo "FAIL: not every transfer was registered" >&2; exit 1; }
}

# place METHOD SCENARIO PORT: that many calls, in the background.
place() {
  { echo SEQUENTIAL; for n in $(seq "$each"); do echo "$1-$n;"; done; } >"$work/$1.csv"
  (cd "$work" && exec timeout 600 sipp -sf "$here/$2.xml" -inf "$1.csv" -s agent -m "$each" -r "$RATE" -rp 2000 -l 3000 \
    -t u1 -i 127.0.0.1 -p "$3" -mp $(($3 + 10000)) -nostdin -max_invite_retrans 7 -max_non_invite_retrans 11 \
    -default_behaviors all,-bye,-abortunexp -trace_stat -fd 1 -stf "$work/$1.stat" -trace_msg -message_file "$work/$1.messages" \
    -trace_err -error_file "$work/$1.errors" "127.0.0.1:$sip") >"$work/$1.screen" 2>&1 </dev/null &
  pids+=($!)
  placed+=($!)
}

column() { awk -F';' -v name="$1" 'NR==1 {for (i=1;i<=NF;i++) if ($i==name) at=i} END {print $at}' "$2"; }

each=$((CALLS / 2)) verdict=0 placed=()
fail() { echo "FAIL: $*"; verdict=1; }
register_all BYE
register_all REFER
for way in dport sport; do
  iptables -A INPUT -p udp --"$way" "$sip" -m statistic --mode random --probability "$LOSS" -j DROP ||
    { echo "FAIL: iptables cannot drop packets at random here (xt_statistic)" >&2; exit 1; }
done
began=$(date +%s)
place BYE call_ended_by_bye 15060
place REFER call_handed_back_by_refer 16060
for pid in "${placed[@]}"; do wait "$pid" || true; done

# What the gateway still has to repeat or to give up: 64·T1.
for _ in $(seq 80); do
  live=$(curl -sS "http://127.0.0.1:$admin/metrics" | awk '/^handback_calls(_live)?(\{[^}]*\})? / {sum += $2} END {print sum + 0}')
  [ "$live" = 0 ] && break
  sleep 0.5
done
took=$(($(date +%s) - began))

completed=0
for method in BYE REFER; do
  for n in $(seq "$each"); do
    [ "$n" = 1 ] || echo next
    printf 'url = "http://127.0.0.1:%s/generativeagent/v1/call-transfers/%s-%s"\nheader = "asapp-api-id: loss"\nheader = "asapp-api-secret: %s"\nsilent\n' \
      "$api" "$method" "$n" "$secret"
  done >"$work/$method.fetch"
  states=$(curl -K "$work/$method.fetch" | jq -r '.status + (if .outputContext then "+output" else "-output" end)' | sort | uniq -c | awk '{print $1, $2}')
  done_now=$(awk '$2 == "COMPLETED+output" {print $1}' <<<"$states")
  completed=$((completed + ${done_now:-0}))
  echo "$method: transfers: $(paste -sd, <<<"$states" | sed 's/,/, /g'); callers: $(column 'SuccessfulCall(C)' "$work/$method.stat") done," \
    "$(column 'FailedCall(C)' "$work/$method.stat") failed, $(column 'Retransmissions(C)' "$work/$method.stat") repetitions"
done
plain() { sed 's/\x1b\[[0-9;]*m//g' "$work/loss.log"; }
# One transfer, one call: the transfer's name stands in the span of every line of its call.
taken_twice=$(plain | grep 'call started' | grep -o 'transfer="*[A-Z]*-[0-9]*' | sort | uniq -d | wc -l)
ended=$(plain | grep -c 'call ended' || true)
started=$(plain | grep -c 'call started' || true)
# One caller, one REFER: repetitions have the same CSeq.
referred_twice=$(tr -d '\r' <"$work/REFER.messages" | awk '
  /^UDP message received/ {mine = 1; refer = 0; id = ""; next}
  /^UDP message sent/ {mine = 0; next}
  mine && /^REFER / {refer = 1}
  mine && refer && /^Call-ID:/ {id = $2}
  mine && refer && /^CSeq:/ {cseq = $2; if (id != "") seen[id " " cseq] = 1}
  END {for (key in seen) {split(key, part, " "); if (count[part[1]]++) twice++}; print twice + 0}')
dropped=$(iptables -nvxL INPUT | awk '/DROP/ {sum += $1} END {print sum}')
[ "$((completed * 100))" -ge "$((each * 2 * 99))" ] || fail "only $completed of $((each * 2)) transfers are completed"
[ "$taken_twice" = 0 ] || fail "$taken_twice transfers were taken by two calls"
[ "$referred_twice" = 0 ] || fail "$referred_twice callers got two REFERs"
[ "$started" = "$ended" ] || fail "$started calls started and $ended ended"
[ "$live" = 0 ] || fail "$live calls are left"
grep -q 'call started' <(plain) || fail "no call started"
echo "loss $LOSS each way, $dropped packets dropped: $completed of $((each * 2)) completed, $started calls, $((taken_twice + referred_twice)) transferred twice, ${took}s"
exit "$verdict"
