#!/usr/bin/env bash
# usage: setup-debian.sh PACKAGE…
# Installs those of the Debian packages that are missing, as root or with sudo; without either it prints the one line
# that does, and fails. Says nothing when there is nothing to install.
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
# A fresh image has no package lists, and an old one has stale ones: fetch them only if they turn out to be needed.
if ! "${install[@]}" > /dev/null 2>&1; then
    "${as_root[@]}" apt-get -qq update
    "${install[@]}" > /dev/null
fi
