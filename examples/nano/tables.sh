#!/usr/bin/env bash
# Makes RESULTS.md, the paper's tables with Nano, from the directory of train.sh. Takes hours; can be interrupted at any
# time. Options go to tables.py.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/tables.py" --results "$here/RESULTS.md" "$@"
