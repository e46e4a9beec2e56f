#!/usr/bin/env python3
"""Describes each image of a folder on one line: the image's name, a tab, and the answer.

usage: describe_folder.py [--model MODEL] [--towers DIR] [--greedy] [--max-tokens N] FOLDER [PROMPT]

The model is lyra:nano, if lyra was built with it, unless another is named.
"""

import argparse
import sys
from pathlib import Path

import lyra

KINDS = {".jpg", ".jpeg", ".png", ".webp", ".gif"}


def main() -> int:
    parser = argparse.ArgumentParser(description="Describes each image of a folder on one line.")
    parser.add_argument("--model", default="lyra:nano", help="a checkpoint directory or a one-file model")
    parser.add_argument("folder", type=Path, help="a folder with images")
    parser.add_argument(
        "prompt", nargs="?", default="What do you see?", help="the question about each image"
    )
    parser.add_argument("--towers", help="a directory that is searched last for towers")
    parser.add_argument("--greedy", action="store_true", help="always the most likely token")
    parser.add_argument("--max-tokens", type=int, default=64, help="the most tokens of an answer")
    arguments = parser.parse_args()

    try:
        paths = sorted(path for path in arguments.folder.iterdir() if path.suffix.lower() in KINDS)
        sampling = "greedy" if arguments.greedy else "default"
        # Half a million pixels are enough for one line, and take a fraction of the time.
        with lyra.Model(arguments.model, towers=arguments.towers) as model, model.session(
            sampling=sampling, max_new_tokens=arguments.max_tokens, max_image_pixels=1 << 19
        ) as session:
            failures = sum(not describe(session, path, arguments.prompt) for path in paths)
    except (lyra.LyraError, OSError) as error:
        print(f"describe_folder.py: {error}", file=sys.stderr)
        return 1
    return 1 if failures else 0


def describe(session: lyra.Session, path: Path, prompt: str) -> bool:
    """Prints the image's line, or an error on stderr if the image cannot be read. Returns whether it succeeded."""
    session.reset()  # each image is a conversation of its own
    try:
        session.feed_image(path)
        session.feed_text(prompt)
        text = "".join(event.text for event in session.answer() if isinstance(event, lyra.Text))
    except lyra.LyraError as error:
        print(f"describe_folder.py: {error}", file=sys.stderr)
        return False
    print(path.name, " ".join(text.split()), sep="\t", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
