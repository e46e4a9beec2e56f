#!/usr/bin/env python3
"""Makes a data set of Nano's world: JSON lines for `lyra train` and `lyra eval`, with media files.

    make_data.py text --count 50000 --seed 1 --out data/text
    make_data.py pictures --count 20000 --seed 1 --out data/pictures
    make_data.py pictures --held-out --out data/held-out
    make_data.py questions --count 20000 --seed 1 --processes 2 --out data/questions
    make_data.py questions --held-out --voices synthesizer --snr 20 --out data/held-out
    make_data.py vocoded --manifest vocoded.jsonl --count 8000 --out data/vocoded

Training sets hold nothing of what is held out. With --held-out, the set is the fixed one of the
files in heldout/. The set is OUT/KIND.jsonl, its media are in OUT/media. The names of the
labels in `row_labels` and `sequence_labels` are in OUT/labels.json. The set vocoded is of the
voice in which Nano answers: recordings of `lyra data units decode`. Other speech needs the Debian
packages of packages.txt; a synthesizer that is not installed is named and left out.
"""

import argparse
import json
import sys
from pathlib import Path

from world import evaluation, examples, labels, pictures, speech_sets, vocoded, voices
from world.utterance import SpeechError


def read_arguments(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], epilog="See the top of this file for examples.")
    parser.add_argument("kind", choices=(*examples.KINDS, *speech_sets.KINDS, "vocoded"))
    parser.add_argument("--count", type=int, default=1000, help="items of a training set")
    parser.add_argument("--seed", type=int, default=1, help="of a training set")
    parser.add_argument("--held-out", action="store_true", help="the fixed set that is held out")
    parser.add_argument(
        "--voices", choices=("voices", "synthesizer", "trained"), default="voices",
        help="who speaks in a held-out set of speech: held-out voices of known synthesizers (the "
        "default), the held-out synthesizer, or voices of training")
    parser.add_argument(
        "--snr", type=float, help="dB of speech over held-out noise in a held-out set of speech")
    parser.add_argument("--manifest", type=Path, help="the recordings of a set vocoded")
    parser.add_argument("--processes", type=int, default=1, help="for speech that is read aloud")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parsed = parser.parse_args(arguments)
    if parsed.count < 1:
        parser.error(f"--count {parsed.count}: must be at least 1")
    if (parsed.kind == "vocoded") != (parsed.manifest is not None) or (parsed.manifest and parsed.held_out):
        parser.error("--manifest FILE belongs to the kind vocoded, of which there is only a training set")
    if not 1 <= parsed.processes <= 256:
        parser.error(f"--processes {parsed.processes}: must be 1 to 256")
    return parsed


def main(arguments=None) -> int:
    options = read_arguments(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        if options.kind == "vocoded":
            items = vocoded.items(options.manifest, options.count, options.seed, options.out)
        elif options.kind in speech_sets.KINDS:
            for sentence in voices.missing():
                print(f"make_data.py: {sentence}", file=sys.stderr)
            items = speech_sets.items(
                options.kind, options.count, options.seed, options.out, options.processes,
                options.voices if options.held_out else None, options.snr)
        elif options.held_out:
            if options.kind not in evaluation.FILES:
                raise SpeechError(f"{options.kind}: there is no held-out set of this kind")
            items = evaluation.items(options.kind, options.out)
        else:
            items = (
                examples.item(options.seed, options.kind, index, options.out)
                for index in range(options.count))
        path = options.out / f"{options.kind}.jsonl"
        count = examples.write(path, items)
        names = labels.names() if options.kind == "tower" else pictures.LABELS
        if options.kind not in ("text", "drills", "vocoded", *speech_sets.KINDS) or options.kind == "tower":
            (options.out / "labels.json").write_text(json.dumps(names, indent=1) + "\n")
    except (OSError, SpeechError) as error:
        print(f"make_data.py: {error}", file=sys.stderr)
        return 1
    print(f"{path}: {count} items")
    return 0


if __name__ == "__main__":
    sys.exit(main())
