#!/usr/bin/env python3
"""Fails unless the loss of a run falls: its mean over the last epoch is under that over the first, whose examples are
the same. Of less than two epochs the quarters are compared.

    check_loss.py RUN/log.jsonl
"""

import json
import sys
from pathlib import Path


def main() -> int:
    path = Path(sys.argv[1])
    updates = [line for line in map(json.loads, path.read_text().splitlines()) if "loss" in line]
    losses = [line["loss"] for line in updates]
    count = sum(line["epoch"] <= 1 for line in updates)
    if count == 0 or 2 * count > len(losses):
        count = max(1, len(losses) // 4)
    first, last = (sum(part) / count for part in (losses[:count], losses[-count:]))
    print(f"{path}: the loss goes from {first:.3f} to {last:.3f}")
    return 0 if last < first else 1


if __name__ == "__main__":
    sys.exit(main())
