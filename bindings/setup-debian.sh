#!/usr/bin/env bash
# usage: setup-debian.sh PACKAGE…
# Installs the missing Debian packages, as root or with sudo. Without either, prints the command to run as root, and
# fails. Prints nothing if no package is missing.
set -euo pipefail

missing=()
for package in "$@"; do
    if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2> /dev/null)" != installed ]; then
        missing+=("$package")
    fi
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=(env)
elif command -v sudo > /dev/null && sudo -n true 2> /dev/null; then
    as_root=(sudo -n env)
elif command -v sudo > /dev/null && [ -t 0 ]; then
    as_root=(sudo env)
else
    echo "These packages are missing; as root, run:" >&2
    echo "    apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
echo "installing ${missing[*]}"
install=("${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}")
# The package lists may be absent or stale: update them only if the first attempt fails.
if ! "${install[@]}" > /dev/null 2>&1; then
    "${as_root[@]}" apt-get -qq update
    "${install[@]}" > /dev/null
fi
