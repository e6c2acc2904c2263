#!/usr/bin/env bash
# Speaks the prompts that are compiled in: 8 kHz, mono, µ-law. Needs flite and sox (Debian packages); the voice is named in NOTICE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# speak NAME TEXT: a fifth of a second of quiet is left at the end, what flite adds to it is cut.
speak() {
  local spoken
  spoken=$(mktemp --suffix .wav)
  flite -voice slt -t "$2" -o "$spoken"
  sox -D "$spoken" -r 8000 -c 1 -e mu-law -b 8 "$1.wav" norm -6 \
    silence 1 0.02 0.5% reverse silence 1 0.02 0.5% reverse pad 0 0.2
  rm -f "$spoken"
}

speak one_moment "One moment, please."
