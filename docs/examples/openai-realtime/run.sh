#!/usr/bin/env bash
# Starts the bridge on ws://127.0.0.1:${PORT:-8768}/; OPENAI_API_KEY, and OPENAI_REALTIME_URL for another server than OpenAI's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
venv="${HANDBACK_VENVS:-${XDG_CACHE_HOME:-$HOME/.cache}/handback/venvs}/openai-realtime"
. ../venv.sh
ensure_venv "$venv" requirements.txt
exec "$venv/bin/python" "${1:-bridge.py}"
