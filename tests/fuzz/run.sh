#!/usr/bin/env bash
# run.sh TARGET [ARGUMENTS OF LIBFUZZER...]: fuzzes one target with the stable toolchain.
# What is found goes to tests/fuzz/artifacts; the growing corpus stays out of the repository, in target/fuzz-corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${1:?a target: $(ls tests/fuzz/corpus | tr '\n' ' ')}
shift
[ -d "tests/fuzz/corpus/$target" ] || { echo "no target $target; there are: $(ls tests/fuzz/corpus | tr '\n' ' ')" >&2; exit 2; }
command -v cargo-fuzz >/dev/null || cargo install -q --locked cargo-fuzz
grown=target/fuzz-corpus/$target
mkdir -p "$grown"
# No sanitizer: no code here is unsafe, and the sanitizers need the nightly toolchain. Panics, overflows and time are what is looked for.
cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none "$target" "$grown" "tests/fuzz/corpus/$target" -- \
  -timeout=5 -rss_limit_mb=2048 -max_len=4096 "${@:--max_total_time=60}"
