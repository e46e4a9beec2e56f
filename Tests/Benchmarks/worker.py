"""A peer's side of the pipe: a JSON object per line on stdin, and one per line on stdout."""

import json
import os
import sys
import time


def timed(body):
    """→ the seconds that `body` takes"""
    start = time.perf_counter()
    body()
    return time.perf_counter() - start


def serve(handlers):
    """Answers {"do": NAME, …} with the result of handlers[NAME](…), or with {"error": MESSAGE}, until stdin ends."""
    # Output of libraries must not be mixed with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = handlers[request.pop("do")](**request)
        except Exception as error:  # Reported, so that the comparison continues without this peer.
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)
