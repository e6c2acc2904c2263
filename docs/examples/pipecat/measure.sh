#!/usr/bin/env bash
# RTP into a gateway, over a WebSocket to pipecat's echo, and back: correlation ≥ 0.99, no break, and a share of the gateway
# in the delay of at most 140 ms (median) and 200 ms (99th percentile). The packages are large, so that this is a job of its own.
# usage: measure.sh [SECONDS]; HANDBACK names the program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../../.. && pwd)
handback=${HANDBACK:-$root/target/release/handback}
venv="${HANDBACK_VENVS:-${XDG_CACHE_HOME:-$HOME/.cache}/handback/venvs}/pipecat"
export PORT=${PORT:-18771}
sip=${SIP_PORT:-18772} api=${API_PORT:-18773} admin=${ADMIN_PORT:-18774}
work=$(mktemp -d)
pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$work"; }
trap stop EXIT
./run.sh >"$work/bot.log" 2>&1 & pids+=($!)
. ../wait.sh
wait_for "$PORT" 600
HANDBACK__SIP__LISTEN="[\"udp://127.0.0.1:$sip\"]" HANDBACK__API__LISTEN="127.0.0.1:$api" HANDBACK__ADMIN__LISTEN="127.0.0.1:$admin" \
  HANDBACK__STORE__URL=memory:// HANDBACK__MEDIA__PORTS="${MEDIA_PORTS:-31000-31999}" HANDBACK__LIMITS__CALLS=100 \
  HANDBACK__AGENT__HOOK="ws://127.0.0.1:$PORT/ws" "$handback" serve --log warn >"$work/gateway.log" 2>&1 & pids+=($!)
wait_for "$api" || { cat "$work/gateway.log"; exit 1; }
# The first call of a bot compiles what it needs, and all audio of that call is late by as long: it is not the one measured.
"$handback" call --hook "ws://127.0.0.1:$PORT/ws" --play "$root/crates/handback/assets/speech.wav" --hangup-after 5 \
  --expect 'heard.ms>0' >"$work/first.log" 2>&1 || { cat "$work/first.log"; exit 1; }
"$venv/bin/python" measure.py --sip "127.0.0.1:$sip" --api "http://127.0.0.1:$api" \
  --speech "$root/crates/handback/assets/speech.wav" --seconds "${1:-30}" || { status=$?; tail -n 5 "$work"/*.log; exit "$status"; }
