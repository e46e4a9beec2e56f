#!/usr/bin/env python3
"""What the token extractor keeps of a recording when it is asked about one part of it.

    kept.py nano-q8_0.gguf

Asks about each fact of recordings of several facts. Prints the share of the speech tokens that are left after the last
pruning: of the fact that is asked about, of the other facts, and of the pauses. Pictures of Nano have 16 tokens, of
which the extractor keeps all when the question is typed, since it keeps at least 32 media tokens of a prompt. Needs
the Python package lyra (bindings/python) and the packages of packages.txt.
"""

import argparse
import random
import sys
from collections import Counter

import numpy as np

import lyra
from world import stories, voices
from world.utterance import RATE

# The paper's n. Nano's 5 layers become blocks of one, so four prunings leave 24 % of the tokens.
EXTRACTOR = (4, 0.7)
RECORDINGS, FACTS, PAUSE = 20, 5, 0.3
KINDS = {"asked": "the fact that is asked about", "other": "the other facts", "pause": "pauses"}
WINDOW_SECONDS = 6


class Tally:
    """How many tokens of each kind were kept, of how many."""

    def __init__(self):
        self.kept, self.all = Counter(), Counter()

    def add(self, kind: str, is_kept: bool) -> None:
        self.kept[kind] += is_kept
        self.all[kind] += 1

    def percent(self, kind: str) -> float:
        return 100 * self.kept[kind] / max(1, self.all[kind])


def kept_tokens(model, feed, question: str):
    """→ the first medium, and the indices of its kept tokens in it"""
    with model.session(sampling="greedy", max_new_tokens=1, extractor=EXTRACTOR) as session:
        feed(session)
        session.feed_text(question)
        list(session.answer())
        medium = session.media()[0]
        kept = session.kept(session.usage.extractor_blocks - 1)
    return medium, {token - medium.first for token in kept if 0 <= token - medium.first < medium.tokens}


def recordings(model) -> Tally:
    tally, rng = Tally(), random.Random("kept")
    for _ in range(RECORDINGS):
        facts = stories.facts(rng, FACTS)
        pieces, places, time = [], [], 0.0
        for index, (text, _, _) in enumerate(facts):
            said = voices.say(text, "flite:rms", index).samples
            pieces += [said, np.zeros(round(PAUSE * RATE))]
            places.append((time, time + len(said) / RATE))
            time += len(said) / RATE + PAUSE
        samples = np.concatenate(pieces).astype(np.float32)
        for asked, (_, kind, slots) in enumerate(facts):
            question = stories.FACTS[kind][1][0][0].format(**slots)
            medium, kept = kept_tokens(model, lambda session: session.feed_audio(samples, rate=RATE), question)
            windows = -(-len(samples) // (WINDOW_SECONDS * RATE))
            seconds = WINDOW_SECONDS * windows / medium.tokens
            for index in range(medium.tokens):
                at = (index + 0.5) * seconds
                if at >= len(samples) / RATE:
                    break  # what fills the last window
                told = next((fact for fact, (start, end) in enumerate(places) if start <= at < end), None)
                tally.add("pause" if told is None else "asked" if told == asked else "other", index in kept)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default="lyra:nano", help="a checkpoint or a file")
    with lyra.Model(parser.parse_args().model) as model:
        tally = recordings(model)
    for kind, what in KINDS.items():
        print(f"{what}: {tally.percent(kind):.0f} % of the tokens kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
