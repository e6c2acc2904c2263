#!/usr/bin/env bash
# The bridge between handback and a stand-in for the model: greeting, interruption with its truncation, tool call, result.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../../.. && pwd)
handback=${HANDBACK:-$root/target/release/handback}
export PORT=${PORT:-18790} STUB_PORT=${STUB_PORT:-18791}
export OPENAI_REALTIME_URL="ws://127.0.0.1:$STUB_PORT/v1/realtime?model=stub" OPENAI_API_KEY=none
work=$(mktemp -d)
./run.sh stub.py >"$work/stub.log" 2>&1 & stub=$!
. ../wait.sh
trap 'kill "$stub" ${bridge:-} 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
wait_for "$STUB_PORT"
./run.sh >"$work/bridge.log" 2>&1 & bridge=$!
wait_for "$PORT"
speech="$root/crates/handback/assets/speech.wav"
"$handback" call --hook "ws://127.0.0.1:$PORT/" --barge "$speech@play:1500ms" --say "$speech@after-silence:700" \
  --expect complete.transferType=AGENT --expect complete.transferVariables.reason=asked --expect 'clears>0' \
  --expect transcripts.0='sentence 1' --max-first-audio 2s || { cat "$work"/*.log; exit 1; }
grep -q "truncated item_1 1[0-9][0-9][0-9]" "$work/stub.log" || { echo "the model was not told how far it was heard:"; cat "$work/stub.log"; exit 1; }
