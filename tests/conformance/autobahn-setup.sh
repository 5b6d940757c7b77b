#!/usr/bin/env bash
# Installs the original Autobahn|Testsuite into DIR. It is written in Python 2.7, so it can be had where that is installed
# (as python2.7, or by pyenv); elsewhere this says so and fails.
#
#   autobahn-setup.sh DIR
set -euo pipefail
dir=$1
version=25.10.1

if [ -e "$dir/autobahn-$version" ]; then
    exit 0
fi
for python in python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python; do
    if "$python" -c 'import pip' 2>/dev/null; then
        mkdir -p "$dir"
        echo "installing autobahntestsuite $version" >&2
        rm -rf "$dir/autobahn"
        if ! "$python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --target "$dir/autobahn" \
            "autobahntestsuite==$version" >"$dir/autobahn.log" 2>&1; then
            echo "Autobahn is left out: it could not be installed, see $dir/autobahn.log" >&2
            exit 1
        fi
        # pip --target does not make the namespace package that Twisted needs.
        touch "$dir/autobahn/zope/__init__.py"
        ln -sfn "$(command -v "$python")" "$dir/python2.7"
        touch "$dir/autobahn-$version"
        exit 0
    fi
done
echo 'Autobahn is left out: it needs a Python 2.7 with pip' >&2
exit 1
