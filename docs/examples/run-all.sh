#!/usr/bin/env bash
# Every example's smoke test, and the measurement of pipecat's echo. Needs flite, sox and python3 with venv; packages of 1.1 GB come from PyPI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
missing=()
for pair in flite:flite sox:sox python3:python3-venv; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
for script in pipecat/smoke.sh pipecat/measure.sh local-voice-agent/smoke.sh openai-realtime/smoke.sh; do
  echo "-- $script"
  "./$script"
done
