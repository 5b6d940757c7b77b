#!/usr/bin/env bash
# Runs the Autobahn|Testsuite that autobahn-setup.sh put into DIR against the echo server at URL. Compression (sections 12
# and 13) is left out: the server does not offer it.
#
#   autobahn.sh DIR URL
set -euo pipefail
dir=$(cd "$1" && pwd)
url=$2

rm -rf "$dir/report"
cat >"$dir/autobahn.json" <<JSON
{
  "outdir": "$dir/report",
  "servers": [{"agent": "rookery", "url": "$url"}],
  "cases": ["*"],
  "exclude-cases": ["12.*", "13.*"],
  "exclude-agent-cases": {}
}
JSON
(
    cd "$dir"
    PYTHONPATH=$dir/autobahn "$dir/python2.7" -c '
import sys
sys.argv = ["wstest", "-m", "fuzzingclient", "-s", "autobahn.json"]
from autobahntestsuite import wstest
wstest.run()
' >"$dir/autobahn.log" 2>&1
)
"$dir/python2.7" - "$dir/report/index.json" <<'PYTHON'
from __future__ import print_function
import json
import sys

cases = json.load(open(sys.argv[1]))["rookery"]
# OK, and for three cases that have no right answer INFORMATIONAL; NON-STRICT counts as failed.
good = ("OK", "INFORMATIONAL")
failed = [name for name, case in cases.items() if case["behavior"] not in good or case["behaviorClose"] not in good]
for name in sorted(failed):
    print("Autobahn case", name, cases[name]["behavior"], cases[name]["behaviorClose"])
informational = [name for name, case in cases.items() if case["behavior"] == "INFORMATIONAL"]
print("Autobahn|Testsuite: %d cases, informational: %s" % (len(cases), ", ".join(sorted(informational))))
print("%d passed, %d failed" % (len(cases) - len(failed), len(failed)))
sys.exit(1 if failed or len(cases) < 300 else 0)
PYTHON
