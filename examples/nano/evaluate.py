#!/usr/bin/env python3
"""Measures a Nano on its held-out sets, and says beside each figure what it must reach.

    evaluate.py nano-q8_0.gguf                      # everything; makes the sets the first time
    evaluate.py nano --only commands pictures       # some figures
    evaluate.py nano --limit 50 -- --extractor blocks=4,keep=0.7

What follows `--` goes to `lyra eval`. Needs the tool, and the packages of packages.txt.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROMPT = "Write down what you hear."


@dataclass(frozen=True)
class Figure:
    """A figure of the evaluation.

    data: the folder and the kind of the set; the folder's options for make_data.py are in FOLDERS
    kinds: of the items that count; none for all
    without: kinds of items that do not count
    form: how questions are asked, for `lyra eval qa`; "wer" for the word error rate
    bar: percent; a word error rate must be under it, other figures over it; None is only reported
    """

    name: str
    data: str
    bar: float | None
    form: str = "given"
    kinds: tuple = ()
    without: tuple = ()


FOLDERS = {
    "held-out": (), "synthesizer": ("--voices", "synthesizer"), "20dB": ("--snr", "20"),
}
FIGURES = (
    Figure("transcription", "held-out/transcribe", 5, "wer"),
    Figure("transcription, other synthesizer", "synthesizer/transcribe", 25, "wer"),
    Figure("transcription, noise 20 dB", "20dB/transcribe", 8, "wer"),
    Figure("transcription, human", "held-out/human", None, "wer"),
    Figure("spoken questions", "held-out/questions", 95, without=("command", "unknown")),
    Figure(
        "spoken questions, other synthesizer", "synthesizer/questions", None,
        without=("command", "unknown")),
    Figure("commands", "held-out/questions", 97, kinds=("command",)),
    Figure("pictures, asked aloud", "held-out/picture-questions", 90),
    Figure("pictures, typed", "held-out/pictures", 92),
    Figure("moving shapes, asked aloud", "held-out/video-questions", 85),
    Figure("moving shapes, typed", "held-out/videos", 85),
    Figure("long recordings", "held-out/long", 85),
    Figure("other things, asked aloud", "held-out/questions", 90, kinds=("unknown",)),
    Figure("other things, typed, and pictures", "held-out/refusals", 90),
    Figure("typed text", "held-out/text", None),
)


def interval(share: float, count: int) -> tuple:
    """Wilson's 95 % interval of a share."""
    z = 1.96
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(
        share * (1 - share) / count + z * z / (4 * count * count))
    return centre - half, centre + half


class Evaluation:
    def __init__(self, options, more):
        self.options, self.more = options, more
        self.results = {}

    def items(self, data: str) -> Path:
        """The file of a held-out set, which is made if it is not there."""
        folder, kind = data.split("/")
        path = self.options.data / folder / f"{kind}.jsonl"
        if not path.exists():
            subprocess.run(
                [sys.executable, HERE / "make_data.py", kind, "--held-out", *FOLDERS[folder],
                 "--processes", "2", "--out", path.parent], check=True)
        return path

    def run(self, data: str, form: str) -> dict:
        """The JSON of `lyra eval` about a set; each set is asked once."""
        if (data, form) in self.results:
            return self.results[data, form]
        path = self.items(data)
        command = ["wer", "--manifest", path, "--prompt", PROMPT, "--normalizer", "whisper"] if form == "wer" else [
            "qa", "--data", path, "--normalize", "none"]
        limit = ["--limit", str(self.options.limit)] if self.options.limit else []
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            ended = subprocess.run(
                [self.options.lyra, "eval", *command, "--model", self.options.model, "--max-tokens",
                 "96", "--json", report, *limit, *self.more], stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True)
            if ended.returncode != 0:
                sys.exit(f"evaluate.py: lyra eval {command[0]} {path}: {ended.stderr.strip()}")
            self.results[data, form] = json.loads(report.read_text())
        return self.results[data, form]

    def measure(self, figure: Figure) -> dict:
        report = self.run(figure.data, figure.form)
        if figure.form == "wer":
            return {"name": figure.name, "percent": 100 * report["wer"], "count": report["words"]}
        scores = [
            line["exact"] for line in report["lines"]
            if line["kind"] in (figure.kinds or [line["kind"]])
            and line["kind"] not in figure.without]
        if not scores:
            return {"name": figure.name, "percent": None, "count": 0}
        share = sum(scores) / len(scores)
        low, high = interval(share, len(scores))
        return {
            "name": figure.name, "percent": 100 * share, "low": 100 * low, "high": 100 * high,
            "count": len(scores)}


def row(figure: Figure, made: dict) -> str:
    """A line of the table: the figure, its interval or the number of words, and the bar."""
    if made["percent"] is None:
        return f"| {figure.name} | no items | | |"
    is_wer = figure.form == "wer"
    what = f"{made['count']} words" if is_wer else f"{made['low']:.1f} to {made['high']:.1f} %"
    if figure.bar is None:
        bar = ""
    else:
        holds = made["percent"] < figure.bar if is_wer else made["percent"] > figure.bar
        bar = f"{'<' if is_wer else '>'} {figure.bar:g} %{'' if holds else ' (missed)'}"
    unit = "word error rate" if is_wer else f"exact, of {made['count']}"
    return f"| {figure.name} | {made['percent']:.1f} % {unit} | {what} | {bar} |"


def main() -> int:
    arguments, more = sys.argv[1:], []
    if "--" in arguments:
        place = arguments.index("--")
        arguments, more = arguments[:place], arguments[place + 1:]
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], epilog="See the top of this file for examples.")
    parser.add_argument("model", help="a checkpoint or a file, as for lyra's --model")
    parser.add_argument("--lyra", type=Path, default=ROOT / ".build/lyra/bin/lyra")
    parser.add_argument(
        "--data", type=Path, default=ROOT / ".build/nano/evaluation", help="where the sets are")
    parser.add_argument("--only", nargs="+", help="figures whose names begin so")
    parser.add_argument("--limit", type=int, help="only the first items of each set")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    evaluation, measured = Evaluation(options, more), []
    print("| figure | measured | 95 % interval | bar |\n|---|--:|--:|--:|", flush=True)
    for figure in FIGURES:
        if options.only and not figure.name.startswith(tuple(options.only)):
            continue
        measured.append(evaluation.measure(figure))
        print(row(figure, measured[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
