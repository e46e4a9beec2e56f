"""The fixed sets that training never sees, from the files in heldout/."""

import json
from pathlib import Path

from . import examples, scenes
from .text import Exchange

FOLDER = Path(__file__).resolve().parents[1] / "heldout"
# The files of each kind of set; a set is in the order of its files.
FILES = {
    "text": ("questions", "commands", "sentences", "stories"), "pictures": ("scenes",),
    "videos": ("movements",), "refusals": ("refusals", "other_pictures"),
}
SEED = 0


def read(name) -> list:
    """The objects of a file, one on each line."""
    with open(FOLDER / f"{name}.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def exchange(stored) -> Exchange:
    return Exchange(
        stored["kind"], stored["question"], stored["answer"], context=stored.get("context", ""))


def scene(stored):
    """A digit, or shapes in reading order."""
    if "digit" in stored:
        return scenes.Digit(*stored["digit"])
    return tuple(scenes.Shape(*each) for each in stored["shapes"])


def text_item(stored) -> dict:
    if "sentence" in stored:
        found = Exchange("repeat", f"Repeat: {stored['sentence']}", stored["sentence"])
    else:
        found = exchange(stored)
    asked = f"{found.context}\n{found.question}" if found.context else found.question
    return {"conversations": examples.turns((asked, found.answer)), "kind": found.kind}


def media_item(file, stored, index, name, folder) -> dict:
    rng = examples.rng_of(SEED, file, index)
    if file == "other_pictures":
        return examples.other_picture_item(rng, name, folder, stored["kind"], stored["question"])
    asked = [exchange(stored)]
    if file == "scenes":
        return examples.picture_item(rng, name, folder, scene(stored), asked)
    moving = scenes.Shape(*stored["shape"]), stored["direction"]
    return examples.video_item(rng, name, folder, moving, asked)


def items(kind, folder):
    """The items of a held-out set; their media are written to a folder."""
    for file in FILES[kind]:
        for index, stored in enumerate(read(file)):
            name = f"held-out-{file}-{index}"
            if file in ("scenes", "movements", "other_pictures"):
                made = media_item(file, stored, index, name, folder)
            else:
                made = text_item(stored)
            yield {"id": name} | made
