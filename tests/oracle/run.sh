#!/usr/bin/env bash
# Compares the rules with python-chess. Usage: run.sh PYTHON [--positions N] [--seed N]; PYTHON has the chess package.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$1
shift
cargo build --quiet -p shared --example oracle
exec "$python" tests/oracle/oracle.py target/debug/examples/oracle "$@"
