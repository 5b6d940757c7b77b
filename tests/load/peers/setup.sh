#!/usr/bin/env bash
# Builds the programs that Rookery is measured beside, from their public packages.
set -euo pipefail
cd "$(dirname "$0")"
command -v npm >/dev/null || { echo 'npm is missing: install Node 20 or newer' >&2; exit 1; }
(cd node && npm ci --no-audit --no-fund --silent)
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../../target}/peers cargo build --quiet --release --manifest-path rust/Cargo.toml
