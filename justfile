# Tasks for people. Without `just`, run what stands under each name.

# Format, lints and layers.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    .ci/layers
    .ci/coverage

# Unit, property and story tests.
test:
    cargo nextest run --workspace
    cargo test --workspace --doc -q

# Who may depend on whom; prints nothing when all is well.
layers:
    .ci/layers

# Ten thousand races: one call that everything ends at the same time.
races *ARGS="--race --seeds 0..10000 --loss 0..31 --quiet":
    cargo run --release -p testbed -- {{ARGS}}

# Ten thousand simulated worlds; docs/testing.md says how to replay one.
worlds *ARGS="--seeds 0..10000 --loss 0..31 --quiet":
    cargo run --release -p testbed -- {{ARGS}}

# SIPp against the release binary, over UDP and TCP.
sipp *PATTERN:
    sipp-scenarios/run.sh {{PATTERN}}

# 1,000 calls at 50/s with each return method over UDP and TCP.
load:
    sipp-scenarios/load/run.sh

# CPU, memory and delay of calls with audio, by our own generator; docs/performance.md says what the options are for.
rtpload *ARGS:
    cargo build --release -p handback -p testbed
    target/release/rtpload {{ARGS}}

# Voice agents that are killed, stopped, slow or cut off under 50 calls.
agents:
    tests/faults/agents.sh

# Calls with baresip and through Kamailio.
interop:
    tests/interop/run.sh

# Processes killed and paused, stores away, disks full: the long form, or --short, or some by name (--list).
faults *ARGS:
    tests/faults/faults.py {{ARGS}}

# 1,000 calls over a network that loses a fifth of the packets each way.
loss:
    tests/faults/loss.sh

# Parse and media benchmarks.
bench:
    cargo bench --workspace

# Torture messages against the release binary: our own with their verdicts, or those of other folders.
torture *FOLDERS:
    tests/torture/run.sh {{FOLDERS}}

# Fuzzes a target of tests/fuzz for a minute, or as libFuzzer's arguments say; needs cargo-fuzz.
fuzz TARGET *ARGUMENTS='-max_total_time=60':
    tests/fuzz/run.sh {{TARGET}} {{ARGUMENTS}}

# Everything, as on a fresh machine.
all:
    .ci/run
