#!/usr/bin/env bash
# RFC 6455 conformance of the gateway's socket code, against gateway/examples/echo: first the cases of conformance.py, which
# need only Python 3; then, where a Python 2.7 is found that can install it, the original Autobahn|Testsuite.
#
#   tests/conformance/run.sh ECHO [PYTHON] [conformance.py's arguments]
#
# AUTOBAHN=no leaves the second part out, AUTOBAHN=yes fails if it cannot be run.
set -euo pipefail
cd "$(dirname "$0")/../.."

echo=$1
python=${2:-python3}
shift $(($# > 1 ? 2 : 1))
target=${CARGO_TARGET_DIR:-target}

mkdir -p "$target/conformance"
listening=$target/conformance/listening
"$echo" --listen 127.0.0.1:0 >"$listening" &
echo_pid=$!
trap 'kill "$echo_pid" 2>/dev/null || true' EXIT
for _ in $(seq 100); do
    grep -q '^listening http=' "$listening" && break
    sleep 0.1
done
address=$(sed -n 's/^listening http=//p' "$listening")

"$python" tests/conformance/conformance.py "ws://$address/" "$@"

autobahn=${AUTOBAHN:-auto}
if [ "$autobahn" = no ]; then
    exit 0
fi
if tests/conformance/autobahn-setup.sh "$target/conformance"; then
    tests/conformance/autobahn.sh "$target/conformance" "ws://$address/"
elif [ "$autobahn" = yes ]; then
    exit 1
fi
