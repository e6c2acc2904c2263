#!/usr/bin/env bash
# Starts the bot on ws://127.0.0.1:${PORT:-8765}/ws; makes its environment of Python outside the repository the first time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
venv="${HANDBACK_VENVS:-${XDG_CACHE_HOME:-$HOME/.cache}/handback/venvs}/pipecat"
. ../venv.sh
ensure_venv "$venv" requirements.txt
exec "$venv/bin/python" bot.py
