#!/usr/bin/env python3
"""Measures what a Nano says aloud: how well it is understood, and how soon and how fast it comes.

    evaluate_speech.py nano-q8_0.gguf

Asks the held-out typed questions of which the answer is spoken. Three listeners write the answers down: the model
itself, PocketSphinx, and PocketSphinx the same texts as eSpeak NG reads them. Then asks held-out questions aloud, and
measures the time from the end of a question to the first sound. Needs the Python package lyra (bindings/python) and
the packages of packages.txt.
"""

import argparse
import json
import statistics
import sys
import time
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import evaluate
import lyra
from world import listener, voices
from world.text import spoken
from world.utterance import RATE
from world.wav import write_wav


@dataclass(frozen=True)
class Said:
    """An answer: its text, its sound, the seconds until the sound began, and until it ended."""

    text: str
    samples: np.ndarray
    first: float
    whole: float

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


def ask(model, *feeds, **options) -> Said:
    """Asks with the default adapter of the model; each feed is a function of the session."""
    with model.session(sampling="greedy", max_new_tokens=96, **options) as session:
        for feed in feeds:
            feed(session)
        text, pieces, first, begin = [], [], None, time.perf_counter()
        for event in session.answer():
            if isinstance(event, lyra.Text):
                text.append(event.text)
            elif isinstance(event, lyra.Audio):
                first = first or time.perf_counter() - begin
                pieces.append(np.asarray(event.samples, np.float32))
        whole = time.perf_counter() - begin
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return Said("".join(text).strip(), samples, first or whole, whole)


def hears(model, samples) -> str:
    """What the model writes down of a recording."""
    return ask(
        model, lambda session: session.feed_audio(samples, rate=RATE),
        lambda session: session.feed_text(evaluate.PROMPT)).text


def rate_of(heard, said) -> float:
    return 100 * listener.word_error_rate([spoken(text) for text in heard], [spoken(text) for text in said])


def items(data: Path, name: str, count: int) -> list:
    """Evenly spread items of a held-out set of which the answer is spoken."""
    path = evaluate.Evaluation(argparse.Namespace(data=data), []).items(name)
    kept = [line for line in map(json.loads, path.read_text().splitlines()) if line.get("kind") != "command"]
    count = min(count, len(kept))
    return [kept[index * len(kept) // count] for index in range(count)]


def recording(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def intelligibility(model, data: Path, count: int, keep: Path | None) -> None:
    questions = [line["conversations"][0]["value"] for line in items(data, "held-out/text", count)]
    answers = [ask(model, lambda session: session.feed_text(question), speak=True) for question in questions]
    texts = [said.text for said in answers]
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        for index, said in enumerate(answers):
            write_wav(keep / f"{index}.wav", said.samples)
        (keep / "texts.json").write_text(json.dumps(texts, indent=1))
    own = rate_of([hears(model, said.samples) for said in answers], texts)
    other = rate_of(listener.hear([said.samples for said in answers]), texts)
    read = rate_of(listener.hear([voices.say_answer(text).samples for text in texts]), texts)
    silent = sum(said.seconds < 0.15 for said in answers)
    words = sum(len(spoken(text).split()) for text in texts)
    print(f"{len(texts)} spoken answers, {words} words, {silent} of them silent")
    print(f"word error rate by the model itself      {own:5.1f} %   (< 8 %)")
    print(f"word error rate by PocketSphinx          {other:5.1f} %   (at most 2 x the next)")
    print(f"the same texts, read by eSpeak NG        {read:5.1f} %")


def speed(model, data: Path, count: int) -> None:
    first, times = [], []
    for line in items(data, "held-out/questions", count):
        path = data / "held-out" / line["speech"]
        said = ask(model, lambda session: session.feed_audio(recording(path), rate=RATE), speak=True)
        if said.seconds > 0:
            first.append(said.first)
            times.append(said.seconds / said.whole)
    if not first:
        print("no answer to a spoken question has any sound")
        return
    print(f"from a spoken question's end to the first sound: median {1000 * statistics.median(first):.0f} ms, "
          f"the slowest tenth {1000 * np.quantile(first, 0.9):.0f} ms   (< 150 ms)")
    print(f"speed: {statistics.median(times):.0f} x real time, the slowest tenth {np.quantile(times, 0.1):.0f} x   "
          "(> 10 x)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default="lyra:nano", help="a checkpoint or a file")
    parser.add_argument("--data", type=Path, default=evaluate.ROOT / ".build/nano/evaluation")
    parser.add_argument("--count", type=int, default=150, help="questions of each kind")
    parser.add_argument("--keep", type=Path, help="a folder for the spoken answers")
    options = parser.parse_args()
    with lyra.Model(options.model) as model:
        intelligibility(model, options.data, options.count, options.keep)
        speed(model, options.data, min(60, options.count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
