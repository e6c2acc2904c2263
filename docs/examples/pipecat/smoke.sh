#!/usr/bin/env bash
# The bot on its own, played to by handback from a file: it must say again what it heard. HANDBACK names the program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../../.. && pwd)
handback=${HANDBACK:-$root/target/release/handback}
export PORT=${PORT:-18770}
./run.sh & bot=$!
trap 'kill "$bot" 2>/dev/null || true' EXIT
. ../wait.sh
wait_for "$PORT"
"$handback" call --hook "ws://127.0.0.1:$PORT/ws" --play "$root/crates/handback/assets/speech.wav" \
  --hangup-after 5 --max-first-audio 3s --expect 'heard.ms>1500'
