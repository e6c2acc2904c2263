#!/usr/bin/env bash
# A caller who asks for a person must be understood and get one. HANDBACK names the program. Needs flite and sox.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../../.. && pwd)
handback=${HANDBACK:-$root/target/release/handback}
export PORT=${PORT:-18780} STT_PORT=${STT_PORT:-18781}
work=$(mktemp -d)
flite -voice rms -t "My account number is four five two." -o "$work/number.wav"
flite -voice rms -t "I would like to talk to a person please." -o "$work/person.wav"
./run.sh >"$work/agent.log" 2>&1 & agent=$!
trap 'kill "$agent" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
. ../wait.sh
wait_for "$PORT" 900
wait_for "$STT_PORT" 900
"$handback" call --hook "ws://127.0.0.1:$PORT/ws" --log "$work/messages.jsonl" \
  --say "$work/number.wav@after-silence:700" --say "$work/person.wav@after-silence:700" \
  --expect complete.transferType=AGENT --expect 'heard.ms>2000' --max-first-audio 6s || { tail -30 "$work/agent.log"; exit 1; }
