#!/usr/bin/env bash
# Speaks the prompts of ../ivr.yaml: 8 kHz, mono, µ-law. Needs flite and sox (Debian packages); the voice is named in NOTICE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

speak() {
  local spoken
  spoken=$(mktemp --suffix .wav)
  flite -voice slt -t "$2" -o "$spoken"
  sox -D "$spoken" -r 8000 -c 1 -e mu-law -b 8 "$1.wav" norm -6 \
    silence 1 0.02 0.5% reverse silence 1 0.02 0.5% reverse pad 0 0.2
  rm -f "$spoken"
}

speak greet   "Hello, and thank you for calling."
speak menu    "For billing, press one, or simply say something. For a person, press zero."
speak sorry   "Sorry, I did not hear anything."
speak wrong   "Sorry, that is not a choice."
speak account "Please enter the four digits of your account."
speak thanks  "Thank you. I will pass you on."
