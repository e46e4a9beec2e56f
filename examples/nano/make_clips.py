#!/usr/bin/env python3
"""Makes the recordings and the picture of examples/media, from voices and a scene that training never has.

    make_clips.py examples/media
"""

import argparse
import sys
from pathlib import Path

from world import acoustics, evaluation, examples, files, pictures, voices
from world.wav import write_wav

# By file: who asks, and what.
RECORDINGS = {
    "sky.wav": ("espeak:en-us+Annie", "What colour is the sky?"),
    "where.wav": ("espeak:en-gb-x-rp+linda", "Where is the red star?"),
    "kitchen.wav": ("espeak:en-gb+Hugo", "Turn on the light in the kitchen."),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    rng = examples.rng_of(0, "clips", 0)
    for name, (voice, text) in RECORDINGS.items():
        said = voices.say(text, voice, seed=1)
        write_wav(folder / name, acoustics.recorded(said, acoustics.clean(rng), rng).samples)
    scene = evaluation.scene(evaluation.read("scenes")[0])
    drawn, _ = pictures.scene(examples.numpy_rng(rng), scene)
    (folder / "shapes.png").write_bytes(files.png(drawn))
    return 0


if __name__ == "__main__":
    sys.exit(main())
