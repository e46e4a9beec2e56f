#!/usr/bin/env python3
"""Fails unless the loss of a run falls: the mean of its last quarter is under that of its first.

    check_loss.py RUN/log.jsonl
"""

import json
import sys
from pathlib import Path


def main() -> int:
    path = Path(sys.argv[1])
    losses = [
        line["loss"] for line in map(json.loads, path.read_text().splitlines()) if "loss" in line]
    quarter = max(1, len(losses) // 4)
    first, last = (sum(part) / quarter for part in (losses[:quarter], losses[-quarter:]))
    print(f"{path}: the loss goes from {first:.3f} to {last:.3f}")
    return 0 if last < first else 1


if __name__ == "__main__":
    sys.exit(main())
