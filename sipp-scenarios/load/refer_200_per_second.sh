#!/usr/bin/env bash
# An INVITE and then a REFER, 200 times a second for a minute, over UDP and then over TCP: what load/run.sh asks of any load
# holds here too. No call may fail, every transfer must be complete, and nothing may be left: calls, legs, transactions,
# sessions and ports are what they were, and the second round may not have made the gateway grow.
#
#   sipp-scenarios/load/refer_200_per_second.sh
#   SECONDS_LONG=10 PER_SECOND=100 METHODS="REFER INVITE" sipp-scenarios/load/refer_200_per_second.sh
set -euo pipefail
rate=${PER_SECOND:-200}
CALLS=$((rate * ${SECONDS_LONG:-60})) RATE=$rate METHODS=${METHODS:-REFER} \
  exec "$(dirname "${BASH_SOURCE[0]}")/run.sh"
