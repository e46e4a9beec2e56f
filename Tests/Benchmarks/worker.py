"""A peer's side of the pipe: one JSON object a line comes in on stdin, and one goes back on stdout."""

import json
import os
import sys
import time


def timed(body):
    """→ seconds that it took."""
    start = time.perf_counter()
    body()
    return time.perf_counter() - start


def serve(handlers):
    """Answers {"do": NAME, …} with what handlers[NAME](…) gives, or with {"error": SENTENCE}, until stdin ends."""
    # Libraries print; what they print must not land between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = handlers[request.pop("do")](**request)
        except Exception as error:  # Whatever a library raises is an answer too: the comparison goes on without it.
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)
