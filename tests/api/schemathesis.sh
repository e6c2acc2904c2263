#!/usr/bin/env bash
# The transfer API held to its own OpenAPI document by Schemathesis: what the document allows is taken, what it does not is
# refused, every answer is one that it names, and nothing is a 5xx.
#
#   tests/api/schemathesis.sh
#   EXAMPLES=1000 HANDBACK=path/to/binary KEEP=1 tests/api/schemathesis.sh
#
# Schemathesis comes from PyPI into a virtual environment of its own (VENV, kept between runs).
set -euo pipefail
self=$(realpath "${BASH_SOURCE[0]}")
# shellcheck source=../../sipp-scenarios/lib.sh
source "$(dirname "$self")/../../sipp-scenarios/lib.sh"
handback=$(realpath "$handback")
need
build
venv=${VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/handback-schemathesis}
if [ ! -x "$venv/bin/schemathesis" ]; then
  python3 -m venv "$venv" || { echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; }
  "$venv/bin/pip" install -q 'schemathesis==4.32.5'
fi
new_key
free_port && sip=$port
free_port && api=$port
free_port && admin=$port
cat >"$work/api.toml" <<T
[node]
name = "api"
[sip]
listen = ["udp://127.0.0.1:$sip"]
[media]
listen = "127.0.0.1"
ports = "40000-40999"
[api]
listen = "127.0.0.1:$api"
rate_limit = 1000000
[admin]
listen = "127.0.0.1:$admin"
[store]
url = "memory://"
[limits]
calls = 100
[agent]
hook = "builtin:lab"
[[account]]
id = "api"
[[account.api_key]]
id = "api"
secret_hash = '$key_hash'
T
start_gateway api
# Its own checks of the method and of what is accepted stay out: TRACE and friends are the HTTP library's, and some rules
# (a return URI must be there for a REFER) are beyond a schema; they are answered 422, which the document names.
cd "$work"
"$venv/bin/schemathesis" run "http://127.0.0.1:$api/openapi.json" --url "http://127.0.0.1:$api" \
  --include-path-regex '^/generativeagent/' -H "asapp-api-id: api" -H "asapp-api-secret: $key_secret" \
  --max-examples "${EXAMPLES:-200}" --request-timeout 10 --generation-deterministic --no-color \
  --exclude-checks unsupported_method,positive_data_acceptance,ignored_auth
