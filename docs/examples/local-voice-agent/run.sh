#!/usr/bin/env bash
# Starts the recogniser and the bot, on ws://127.0.0.1:${PORT:-8766}/ws. Needs flite (Debian package); everything else comes from PyPI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
command -v flite >/dev/null || { echo "flite is missing: apt-get install flite" >&2; exit 1; }
venvs="${HANDBACK_VENVS:-${XDG_CACHE_HOME:-$HOME/.cache}/handback/venvs}"
export STT_PORT=${STT_PORT:-8767}
. ../venv.sh
. ../wait.sh
ensure_venv "$venvs/pipecat" ../pipecat/requirements.txt
ensure_venv "$venvs/whisper" requirements-stt.txt
"$venvs/whisper/bin/python" stt.py & stt=$!
"$venvs/pipecat/bin/python" bot.py & bot=$!
trap 'kill "$stt" "$bot" 2>/dev/null || true' EXIT
trap 'exit 0' TERM INT
wait_for "$STT_PORT"
wait -n
