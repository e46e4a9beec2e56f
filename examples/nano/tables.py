#!/usr/bin/env python3
"""Makes the paper's tables with Nano: what its ideas do for a model that anyone can train.

    tables.py --results examples/nano/RESULTS.md    # everything that is missing
    tables.py --only regularizer extractor
    tables.py --steps 8 --limit 4                   # a trial of minutes

Tables of training compare short runs of one stage from one checkpoint: that of train.sh's attune, whose language model
has only read, so that all it learns of spoken questions is learned here. Only the table of tokens begins before stage
1, since each number of tokens has a projector of its own. Each run is repeated with
several seeds, which decide the order of the examples and the fresh adapter. Runs and answers that are there, with as
many updates and items, are not made again. Needs what train.sh needs and its directory, and for "kept" the Python
package lyra (bindings/python).
"""

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import evaluate

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Student's t for 95 %, by the number of seeds.
T95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}
BLOCKS, KEEPS = 4, (0.9, 0.8, 0.7)
# Frames of a speech token: a window has 300.
FRAMES = (20, 10, 5, 3)
WINDOW_FRAMES = 300
LENGTHS, DEPTHS = (2, 5, 10, 20), (0, 0.25, 0.5, 0.75, 1)
WINDOW_SECONDS = 6
# Folders of data, and the kind in each.
STAGE2 = {
    "transcribe-more": "transcribe", "questions": "questions", "picture-questions": "picture-questions",
    "video-questions": "video-questions"}
STAGE1 = {"transcribe": "transcribe"}


@dataclass(frozen=True)
class Figure:
    """A mean over seeds, with half the width of its 95 % interval."""

    values: tuple

    def __str__(self):
        if not self.values:
            return ""
        half = T95.get(len(self.values), 2.6) * stdev(self.values) / len(self.values) ** 0.5 if self.values[1:] else 0
        return f"{mean(self.values):.1f}" + (f" ± {half:.1f}" if half else "")

    def __sub__(self, other):
        """The differences seed by seed."""
        return Figure(tuple(a - b for a, b in zip(self.values, other.values)))


class Nano:
    """The checkpoint, the runs from it, and their answers."""

    def __init__(self, options):
        self.options, self.out = options, options.out / f"tables/{options.steps}"
        if options.limit:
            self.out = self.out.with_name(f"{options.steps}, {options.limit} items")
        # Before the language model heard anything, and before the speech tower and the projector learned together,
        # which train.sh makes without --kept.
        self.base, self.early = options.out / "runs/attune/model", options.out / "base"
        self.data = options.out / "data"
        self.sets = evaluate.Evaluation(argparse.Namespace(data=options.out / "evaluation"), [])
        needed = [self.base, options.out / "hearing", options.out / "nano"]
        folders = dict(STAGE2)
        if "tokens" in options.only:
            needed.append(self.early)
            folders |= STAGE1
        needed += (self.data / folder / f"{kind}.jsonl" for folder, kind in folders.items())
        for path in needed:
            if not path.exists():
                sys.exit(f"tables.py: {path}: not there; train.sh makes it")

    def call(self, *command):
        ended = subprocess.run([self.options.lyra, *map(str, command)], capture_output=True, text=True)
        if ended.returncode != 0:
            sys.exit(f"tables.py: lyra {command[0]} {command[1]}: {ended.stderr.strip()[-2000:]}")
        return ended.stdout

    def train(self, name, seed, *more, recipe="stage2", model=None, sets=STAGE2, steps=None, result="speech_lora"):
        """A short run; → its result, and the seconds of training."""
        run = self.out / "runs" / f"{name}-{seed}"
        if not (run / result).exists():
            print(f"== {name}, seed {seed}", file=sys.stderr, flush=True)
            files = [
                option for folder, kind in sets.items()
                for option in ("--data", self.data / folder / f"{kind}.jsonl")]
            self.call(
                "train", "--recipe", recipe if isinstance(recipe, Path) else HERE / f"recipes/{recipe}.toml",
                "--model", model or self.base, "--out", run, "--seed", seed, "--steps", steps or self.options.steps,
                "--threads", self.options.threads, "--save-every", 5, *files, *more)
        log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        return run / result, max(line.get("seconds", 0) for line in log)

    def usual(self, seed, *more, name="adapter", **options):
        """A short stage 2, with which several tables compare. train.sh's continues what the language model has heard,
        at a lower rate."""
        return self.train(name, seed, "--learning-rate", "1e-3", *more, **options)

    def recipe(self, regularizer) -> Path:
        """stage2.toml with another weight of the regularizer."""
        path = self.out / f"regularizer {regularizer}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (HERE / "recipes/stage2.toml").read_text()
        path.write_text(re.sub("^regularizer = .*", f"regularizer = {regularizer}", text, flags=re.M))
        return path

    def share(self, name, model, data, *more, form=None, path=None):
        """The percentage of exact answers to a held-out set, or to the set `path`."""
        kept = self.out / "answers" / f"{name}, {data.replace('/', ' ')}{f', {form}' if form else ''}.json"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            asked = ["--question", form] if form else []
            limit = ["--limit", self.options.limit] if self.options.limit else []
            self.call(
                "eval", "qa", "--model", model, "--data", path or self.sets.items(data), "--normalize", "none",
                "--max-tokens", 64, "--threads", self.options.threads, "--json", kept, *asked, *limit, *more)
        lines = json.loads(kept.read_text())["lines"]
        return 100 * sum(line["exact"] for line in lines) / len(lines)

    def over_seeds(self, measure):
        return Figure(tuple(measure(seed) for seed in self.options.seeds))


def table(head, rows) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [head, *rows]]
    return "\n".join([lines[0], "|---" + "|--:" * (len(head) - 1) + "|", *lines[1:]])


# MARK: The tables


def regularizer(nano) -> str:
    """The paper's Table 3."""
    rows = []
    # The recipe's own weight is 0.02, the paper's 0.5.
    runs = {
        "without": {"name": "no regularizer", "recipe": nano.recipe(0.0)}, "weight 0.02": {"name": "adapter"},
        "weight 0.5": {"name": "regularizer 0.5", "recipe": nano.recipe(0.5)}}
    for title, options in runs.items():
        name = options["name"]

        def asked(form):
            def measure(seed):
                adapter, _ = nano.usual(seed, **options)
                return nano.share(
                    f"{name}, seed {seed}", nano.base, "held-out/picture-questions", "--adapter-dir",
                    f"speech={adapter}", "--adapter", "speech", form=form)
            return nano.over_seeds(measure)

        typed, spoken = asked("typed"), asked("spoken")
        rows.append((title, typed, spoken, typed - spoken))
    return (
        "## Typed and spoken questions about pictures (Table 3)\n\n"
        "Exact answers in percent, with the adapter for both forms, after a short stage 2 without and with the latent "
        "cross-modality regularizer.\n\n"
        + table(("regularizer", "typed", "spoken", "typed − spoken"), rows))


def adapters(nano) -> str:
    """The paper's Table 6."""
    sets = (("held-out/questions", "spoken questions"), ("held-out/text", "typed text"),
            ("held-out/pictures", "typed, pictures"))
    rows = [("before stage 2", *(
        "" if "questions" in data else f"{nano.share('before', nano.base, data):.1f}" for data, _ in sets))]

    def adapter(seed):
        found, _ = nano.usual(seed)
        return nano.base, ("--adapter-dir", f"speech={found}")

    def full(seed):
        trained = [option for part in ("language_model", "embeddings", "projector") for option in ("--train", part)]
        found, _ = nano.usual(seed, "--adapter", "none", *trained, name="full", result="model")
        return found, ()

    for title, make in (("adapter", adapter), ("all weights", full)):
        def measure(data):
            def one(seed):
                model, more = make(seed)
                return nano.share(f"{title}, seed {seed}", model, data, *more)
            return nano.over_seeds(one)
        rows.append((title, *(measure(data) for data, _ in sets)))
    return (
        "## An adapter, or all weights (Table 6)\n\n"
        "Exact answers in percent after a short stage 2 that trains the adapter and the projector, or the whole "
        "language model and the projector. Typed questions are answered without the adapter, as sessions do.\n\n"
        + table(("stage 2 trains", *(title for _, title in sets)), rows))


def extractor(nano) -> str:
    """The paper's Tables 4b and 8."""
    rows = []
    for keep in (None, *KEEPS):
        pruning = ("--extractor", f"blocks={BLOCKS},keep={keep}") if keep else ()
        name = f"extractor {keep}" if keep else "adapter"

        def trained(seed):
            return nano.usual(seed, *pruning, name=name)

        def measure(data):
            def one(seed):
                adapter, _ = trained(seed)
                return nano.share(
                    f"{name}, seed {seed}", nano.base, data, "--adapter-dir", f"speech={adapter}", *pruning)
            return nano.over_seeds(one)

        rows.append((
            f"ρ = {keep}" if keep else "none", nano.over_seeds(lambda seed: trained(seed)[1]),
            measure("held-out/picture-questions"), measure("held-out/video-questions"), measure("held-out/questions")))
    return (
        f"## The extractor in training (Tables 4b and 8)\n\nA short stage 2 with the extractor (n = {BLOCKS}, which "
        "in 5 layers prunes after each of the first four), and answers with the same: seconds of training, exact "
        "answers in percent. Prompts of Nano are 20 to 150 tokens long; there is little to save.\n\n"
        + table(("extractor", "seconds", "pictures", "videos", "spoken questions"), rows))


def token_rates(nano) -> str:
    """What the paper chose 300 tokens for a window by."""
    rows = []
    for frames in FRAMES:
        base = rate_checkpoint(nano, frames)

        def measure(data):
            def one(seed):
                first, _ = nano.train(
                    f"stage 1, {frames} frames", seed, recipe="stage1", model=base, sets=STAGE1,
                    steps=2 * nano.options.steps, result="non_lora_trainables.bin")
                adapter, _ = nano.usual(
                    seed, "--speech-projector", first, name=f"stage 2, {frames} frames", model=base)
                return nano.share(
                    f"{frames} frames, seed {seed}", base, data, "--adapter-dir", f"speech={adapter}")
            return nano.over_seeds(one)

        rows.append((
            WINDOW_FRAMES // frames, measure("held-out/questions"), measure("held-out/transcribe")))
    return (
        "## Tokens of a window\n\nExact answers in percent after short stages 1 and 2. A window has "
        f"{WINDOW_FRAMES} frames of the speech tower; the paper's has 1500, of which it makes 100 to 1500 tokens.\n\n"
        + table(("tokens", "spoken questions", "transcripts"), rows))


def rate_checkpoint(nano, frames) -> Path:
    """The checkpoint with a fresh projector that joins another number of frames."""
    made = nano.out / f"base-{frames}"
    if made.exists():
        return made
    model, partial = nano.out / f"model-{frames}", nano.out / f"base-{frames}.new"
    for path in (model, partial):
        subprocess.run(["rm", "-rf", path], check=True)
    subprocess.run(["cp", "-rL", HERE / "model", model], check=True)
    path = model / "config.json"
    path.write_text(re.sub(
        r'"speech_encoder_ds_rate": \d+', f'"speech_encoder_ds_rate": {frames}', path.read_text()))
    nano.call("initialize", model, "-o", partial, "--seed", 1)
    import stages
    wanted = stages.whole_files(nano.early)["model.safetensors"]
    for file in partial.glob("*.safetensors"):
        tensors, metadata = stages.read_tensors(file)
        stages.write_tensors(
            file, {name: old if "mm_speech_projector" in name else wanted[name] for name, old in tensors.items()},
            metadata)
    subprocess.run(["rm", "-rf", partial / "model_zoo"], check=True)
    subprocess.run(["cp", "-rL", nano.early / "model_zoo", partial / "model_zoo"], check=True)
    partial.rename(made)
    return made


def needles(nano) -> str:
    """The paper's Figure 6."""
    haystack, hidden = needle_recordings(nano)
    rows = []
    for title, options in needle_models(nano):
        found = {}
        for number, (needle, question, answer) in enumerate(hidden):
            kept = nano.out / "answers" / f"needle, {title}, {number}.json"
            if not kept.exists():
                nano.call(
                    "eval", "needle", *options, "--haystack", haystack, "--needle", needle, "--question", question,
                    "--answer", answer, "--lengths", ",".join(str(WINDOW_SECONDS * length) for length in LENGTHS),
                    "--depths", ",".join(map(str, DEPTHS)), "--max-tokens", 24, "--threads", nano.options.threads,
                    "--json", kept)
            for result in json.loads(kept.read_text())["results"]:
                if "exact" in result:
                    found.setdefault((result["seconds"], result["depth"]), []).append(result["exact"])
        for length in LENGTHS:
            scores = [found.get((WINDOW_SECONDS * length, depth), []) for depth in DEPTHS]
            # The last is the mean of all; none where the memory did not suffice.
            shares = [f"{100 * mean(each):.0f}" if each else "" for each in (*scores, sum(scores, []))]
            rows.append((title, length, *shares))
    return (
        f"## A fact in a long recording (Figure 6)\n\nOne of {len(hidden)} facts among others, by the number of "
        "windows and by its depth (0: first, 1: last), read by a voice of training. The adapters are those of "
        "train.sh. Exact answers in percent.\n\n"
        + table(("model", "windows", *(f"depth {depth}" for depth in DEPTHS), "mean"), rows))


def needle_models(nano):
    speech = nano.options.out / "runs/stage2/speech_lora"
    long = nano.options.out / "runs/stage3/long_speech_lora"
    named = ("--model", nano.options.out / "hearing", "--adapter-dir")
    trained = (*named, f"long_speech={long}", "--adapter", "long_speech")
    return (
        ("stage 2", (*named, f"speech={speech}", "--adapter", "speech")), ("stage 3", trained),
        ("stage 3, extractor ρ = 0.7", (*trained, "--extractor", f"blocks={BLOCKS},keep=0.7")))


def needle_recordings(nano):
    """→ a folder of facts that one voice reads, and hidden facts as (file, question, answer)"""
    import random

    from world import knowledge, numbers, stories, voices
    from world.wav import write_wav

    folder = nano.out / "needle"
    rng = random.Random("needle")
    voice = "flite:rms"
    ages = rng.sample(range(1, 100), len(knowledge.NAMES))
    hidden = [
        (folder / f"{name}.wav", f"How old is {name}?", f"{numbers.word(age).capitalize()}.", name, numbers.word(age))
        for name, age in zip(knowledge.NAMES, ages)]
    if not (folder / "ready").exists():
        (folder / "haystack").mkdir(parents=True, exist_ok=True)
        # Nobody's age is among the others.
        others = [text for text, kind, _ in stories.facts(rng, stories.MOST) if kind != "age"]
        for index, text in enumerate(others):
            write_wav(folder / f"haystack/{index:02}.wav", voices.say(text, voice, index).samples)
        for path, _, _, name, age in hidden:
            write_wav(path, voices.say(f"{name} is {age} years old.", voice, 1).samples)
        (folder / "ready").touch()
    return folder / "haystack", [each[:3] for each in hidden]


def kept(nano) -> str:
    """The paper's Figure 5."""
    import kept as measured
    with measured.lyra.Model(nano.options.out / "nano") as model:
        tally = measured.recordings(model)
    blocks, keep = measured.EXTRACTOR
    return (
        f"## What the extractor keeps (Figure 5)\n\nSpeech tokens that are left after the last pruning (n = {blocks}, "
        f"ρ = {keep}), in percent, of recordings of {measured.FACTS} facts when one is asked about. The model was not "
        "trained with the extractor. One model, so no interval. A typed question about a picture has 16 media tokens; "
        "the extractor keeps at least 32.\n\n"
        + table(("tokens of", "kept"), [(what, f"{tally.percent(kind):.0f}") for kind, what in measured.KINDS.items()]))


TABLES = {
    "regularizer": regularizer, "adapters": adapters, "extractor": extractor, "tokens": token_rates,
    "needles": needles, "kept": kept,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], epilog="See the top of this file for examples.")
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--out", type=Path, default=ROOT / ".build/nano", help="the directory of train.sh")
    parser.add_argument("--lyra", type=Path, default=ROOT / ".build/lyra/bin/lyra")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=400, help="updates of a run")
    parser.add_argument("--limit", type=int, help="only the first items of each set")
    parser.add_argument("--results", type=Path, help="the file to write; standard output without it")
    options = parser.parse_args()
    if "kept" in options.only:
        import kept  # noqa: F401 - now, not after hours
    nano = Nano(options)
    seeds = ", ".join(map(str, options.seeds))
    parts = [
        "# The paper's tables, with Nano",
        f"Made by [tables.py](tables.py): runs of {options.steps} updates from one checkpoint, seeds {seeds}. Figures "
        "are means over the seeds with 95 % intervals (Student's t). Questions are those of [heldout](heldout)."]
    parts += [TABLES[name](nano) for name in options.only]
    text = "\n\n".join(parts) + "\n"
    if options.results:
        options.results.write_text(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
