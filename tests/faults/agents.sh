#!/usr/bin/env bash
# Voice agents that fail under 50 calls: killed, killed and started again, stopped, reading slowly, cut off from the network.
# Every caller of theirs is handed back with AGENT, or resumed, in the time of `agent.reconnect_timeout` and of the pings;
# every frame of the others comes back bit for bit, and the gateway's memory stays bounded.
#
#   tests/faults/agents.sh            all of it, about a minute, in a network namespace made for it (root or sudo)
#   SHORT=1 tests/faults/agents.sh    agents killed, and killed and started again: 20 s, no namespace
#   CALLS=10 HANDBACK=path/to/handback RTPLOAD=path/to/rtpload KEEP=1 tests/faults/agents.sh
set -euo pipefail
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
release=${CARGO_TARGET_DIR:-$root/target}/release
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
[ -n "${HANDBACK:-}" ] || (cd "$root" && cargo build --release -q -p handback)
[ -n "${RTPLOAD:-}" ] || (cd "$root" && cargo build --release -q -p testbed --bin rtpload)
command=("$(realpath "${RTPLOAD:-$release/rtpload}")" faults --handback "$(realpath "${HANDBACK:-$release/handback}")"
  --calls "${CALLS:-5}" ${KEEP:+--keep})

[ -z "${SHORT:-}" ] || exec "${command[@]}" --short

missing=()
for pair in ip:iproute2 iptables:iptables; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
space=handback-agents-$$
$sudo ip netns add "$space" || { echo "agents.sh: no network namespace can be made here" >&2; exit 1; }
trap '$sudo ip netns delete "$space"' EXIT
$sudo ip -n "$space" link set lo up
$sudo ip netns exec "$space" "${command[@]}" --half-open
