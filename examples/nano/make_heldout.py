#!/usr/bin/env python3
"""Writes the files in heldout/. They were made once and stay as they are: run this script only to
begin a new world. Existing files are kept; remove a file to make it anew.

human.jsonl needs Debian's asterisk-core-sounds-en, whose recordings it names.
"""

import gzip
import json
import random
import re
import sys
from pathlib import Path

from world import examples, others, refusals, scenes, sentences, stories, words
from world.evaluation import FOLDER
from world.held_out import is_exchange_held_out
from world.questions import FAMILIES
from world.text import spoken

CLIPS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")


def different(count, make, key):
    """Objects that differ by a key."""
    found = {}
    while len(found) < count:
        made = make()
        found.setdefault(key(made), made)
    return list(found.values())


def stored(exchange) -> dict:
    kept = {"kind": exchange.kind, "question": exchange.question, "answer": exchange.answer}
    return kept | ({"context": exchange.context} if exchange.context else {})


def questions(rng):
    """Questions whose facts are trained; the voices that ask them are not. One of each pattern of
    each family, then others."""
    firsts = [
        stored(family.exchange(rng.choice(family.cases), ask))
        for family in FAMILIES if family.kind != "command" for ask in family.asks]
    known = [each["question"] for each in firsts]
    others_ = different(
        400, lambda: stored(examples.spoken_question(rng)), lambda each: each["question"])
    return (firsts + [
        each for each in others_ if each["kind"] != "command" and each["question"] not in known
    ])[:200]


def commands(rng):
    """All that are held out."""
    families = [family for family in FAMILIES if family.held_by]
    every = [
        found for family in families for found in family.exchanges()
        if is_exchange_held_out(family, found)]
    return [stored(each) for each in every]


def sentence_lines(rng):
    """As many of each pattern as there are, at most 12."""
    found = []
    for pattern in sentences.PATTERNS:
        every = [text for text in sentences.statements(pattern) if sentences.allowed(text, True)]
        found += [{"sentence": text} for text in rng.sample(every, min(12, len(every)))]
    return found


def story_lines(rng):
    return [stored(stories.story(rng, 2 + index % 7, held_out=True)) for index in range(100)]


def scene_lines(rng):
    def make():
        if rng.random() < 0.15:
            digit = scenes.digit(rng, held_out=True)
            return {"digit": [digit.number, digit.colour]} | stored(scenes.ask_digit(rng, digit))
        shapes = scenes.shapes(rng, held_out=True)
        return {
            "shapes": [[each.size, each.colour, each.shape, each.place] for each in shapes],
        } | stored(scenes.ask_shapes(rng, shapes))
    return [make() for _ in range(300)]


def movement_lines(rng):
    def make():
        shape, direction = scenes.movement(rng, held_out=True)
        return {
            "shape": [shape.size, shape.colour, shape.shape, shape.place], "direction": direction,
        } | stored(scenes.ask_video(rng, shape, direction))
    return [make() for _ in range(120)]


def refusal_lines(rng):
    return different(
        200, lambda: stored(refusals.held_out_refusal(rng)), lambda each: each["question"])


def other_picture_lines(rng):
    return [
        {"kind": others.HELD_OUT[index % len(others.HELD_OUT)], "question": rng.choice(others.ASKS)}
        for index in range(60)]


def human_lines(rng):
    """The clips of the package that are only words of the world.

    Left out are single words that sound like others, since only a sentence can tell them.
    """
    vocabulary, found = set(words.vocabulary()), []
    with gzip.open(CLIPS, "rt", encoding="utf-8") as file:
        for line in file:
            match = re.match(r"([\w/-]+): (.*)", line.strip())
            if not match or line.startswith(";"):
                continue
            clip, text = match.groups()
            # What is in brackets is no speech, or the sign that the word names.
            said = spoken(re.sub(r"\[.*?\]|<.*?>|\(.*?\)", " ", text))
            if said and said not in sentences.SOUND_ALIKES and set(said.split()) <= vocabulary:
                found.append({"clip": clip, "text": said})
    return found


MAKERS = {
    "questions": questions, "commands": commands, "sentences": sentence_lines,
    "stories": story_lines, "scenes": scene_lines, "movements": movement_lines,
    "refusals": refusal_lines, "other_pictures": other_picture_lines, "human": human_lines,
}


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        path = FOLDER / f"{name}.jsonl"
        if path.exists():
            print(f"{path.name}: kept")
            continue
        try:
            lines = make(random.Random(f"held out {name}"))
        except OSError as error:
            print(f"make_heldout.py: {error}; install asterisk-core-sounds-en", file=sys.stderr)
            return 1
        print(f"{path.name}: {examples.write(path, lines)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
