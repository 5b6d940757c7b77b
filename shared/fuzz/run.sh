#!/usr/bin/env bash
# Fuzzes each target for a bounded time: FUZZ_SECONDS (60) seconds each, or only the targets named.
# What it finds is written to target/fuzz/artifacts; run again with that file's path to see it once more:
#   shared/fuzz/run.sh fen target/fuzz/artifacts/fen/crash-…
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-60}
# The sanitizer is an unstable option of the compiler; a stable one takes it when told so.
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR=$PWD/target/fuzz

if ! command -v cargo-fuzz >/dev/null; then
  echo 'installing cargo-fuzz'
  env -u CARGO_TARGET_DIR cargo install --quiet --locked cargo-fuzz --version '^0.13'
fi

fuzz() {
  local target=$1
  shift
  mkdir -p "target/fuzz/corpus/$target" "target/fuzz/artifacts/$target"
  cargo fuzz run --fuzz-dir shared/fuzz "$target" "$@"
}

if [ $# -eq 2 ] && [ -f "$2" ]; then
  fuzz "$1" "$2"
  exit
fi
[ $# -gt 0 ] || set -- fen san pgn fold protocol
for target in "$@"; do
  echo "== $target, $seconds s"
  fuzz "$target" "target/fuzz/corpus/$target" "shared/fuzz/seeds/$target" -- \
    -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=2048 -timeout=10 -print_final_stats=0 -verbosity=1 \
    -artifact_prefix="target/fuzz/artifacts/$target/" 2>&1 | grep -vE '^#|NEW_FUNC|^INFO|^"|###'
done
