#!/usr/bin/env bash
# Makes sure that the Debian packages named are there: installs them as root, else says what to install.
set -eu

declare -A program=([redis-server]=redis-server [chromium]=chromium [haproxy]=haproxy [nginx]=nginx [postgresql]=pg_lsclusters [prometheus]=promtool)
missing=()
for package in "$@"; do
  command -v "${program[$package]}" >/dev/null || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "the tests need ${missing[*]}; install them (Debian: apt-get install ${missing[*]}) and try again" >&2
  exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# No service is started by it where policy-rc.d forbids; the tests start their own servers on free ports.
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
