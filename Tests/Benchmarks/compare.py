#!/usr/bin/env python3
"""Measures lyra and its peers in turns, with random weights of the same shapes. README.md explains the method."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median

import environment
from contenders import Failure, Lyra, Peer, log
from plan import SCRIPTS, SECTIONS, TITLES, plan
from results import with_section
from rounds import Rounds
from shape import LANGUAGE
from tables import markdown

ROOT = Path(__file__).resolve().parents[2]
# If more processors are busy before the start, the figures are not reliable.
BUSY = 0.3
# The paper's setting, and the shortest length of its Table 4.
EXTRACTOR, EXTRACTOR_TOKENS = "blocks=4,keep=0.7", 2048


def names(allowed):
    def parse(text):
        chosen = [name for name in text.split(",") if name]
        if not chosen or not set(chosen) <= set(allowed):
            raise argparse.ArgumentTypeError(f"'{text}' is not a list of {', '.join(allowed)}")
        return list(dict.fromkeys(chosen))
    return parse


def numbers(text):
    try:
        chosen = [int(number) for number in text.split(",")]
    except ValueError:
        chosen = []
    if not chosen or not all(1 <= number <= 32_000 for number in chosen):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of numbers in 1…32000")
    return chosen


def count(text):
    return (numbers(text) + [None])[0]


def peer_names(text):
    special = {"all": list(SCRIPTS), "none": []}
    return special[text] if text in special else names(SCRIPTS)(text)


def parser():
    result = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Progress goes to stderr, the table as Markdown to stdout.")
    add = result.add_argument
    add("--tool", metavar="FILE", default=os.environ.get("LYRA_TOOL", str(ROOT / ".build/lyra/bin/lyra")),
        help="lyra's command-line tool")
    add("--preset", choices=list(LANGUAGE), default="mini", help="the sizes of the networks; tiny is for a trial")
    add("--threads", metavar="N", type=count, default=2, help="threads of each contender")
    add("--rounds", metavar="N", type=count, default=3, help="measurements of each contender, in turns")
    add("--only", metavar="SECTIONS", type=names(SECTIONS), default=",".join(SECTIONS), help="the sections to measure")
    add("--weights", metavar="TYPES", type=names(["q8_0", "q4_0", "bf16"]), default="q8_0,q4_0,bf16",
        help="types of the weights")
    add("--precisions", metavar="NAMES", type=names(["exact", "fast"]), default="exact,fast",
        help="precisions of lyra")
    add("--prompts", metavar="TOKENS", type=numbers, default="512,4096", help="lengths of the prompts of prefill")
    add("--contexts", metavar="TOKENS", type=numbers, default="128,4096", help="tokens in the cache before decoding")
    add("--decoded", metavar="N", type=count, default=24, help="tokens to decode, and of the answer")
    add("--peers", metavar="NAMES", type=peer_names, default="all", help=f"all, none, or some of {', '.join(SCRIPTS)}")
    add("--venv", metavar="DIR", default=str(ROOT / ".build/peers"),
        help="virtual environment of the peers; made, and completed, when it is needed")
    add("--models", metavar="DIR", default=argparse.SUPPRESS,
        help="directory for random models, which are reused (default: models in --venv)")
    add("--patience", metavar="SECONDS", type=float, default=1800.0, help="time limit of an answer")
    add("--json", metavar="FILE", default=argparse.SUPPRESS, help="all samples as JSON, written after every step")
    add("--markdown", metavar="FILE", default=argparse.SUPPRESS, help="writes the table to this file, too")
    add("--results", metavar="FILE", default=argparse.SUPPRESS,
        help="a Markdown file that gets the table as this machine's section, in place of an earlier one")
    return result


def prepare(peers, venv, leave_out):
    """→ the peers that can run"""
    ready = []
    for name in peers:
        try:
            venv.prepare(name)
            ready.append(name)
        except Failure as why:
            leave_out(name, "all", why)
    return ready


def own_rows(lyra, options, section, weights, precision, leave_out, *arguments):
    """A section's rows of lyra's own benchmark, without peers: the medians of all rounds."""
    log(f"== {section}, {TITLES[weights]}, {precision}")
    try:
        runs = [lyra.bench(weights, precision, ["--only", section, *arguments]) for _ in range(options.rounds)]
    except Failure as why:
        leave_out(f"lyra {precision}", f"{section}, {TITLES[weights]}", why)
        return []
    return [{**rows[0], "value": median(row["value"] for row in rows)} for rows in zip(*runs)]


def extractor_rows(lyra, options, leave_out):
    """lyra's training steps on long examples, with the extractor and without: medians of all rounds."""
    size = ["--weights", "lora", "--tokens", str(EXTRACTOR_TOKENS), "--samples", "1", "--extractor", EXTRACTOR]
    log("== training with the extractor")
    try:
        runs = [lyra.train("f32", options.precisions[0], size) for _ in range(options.rounds)]
    except Failure as why:
        leave_out("lyra", "training with the extractor", why)
        return []
    return [{**rows[0], "value": median(row["value"] for row in rows)} for rows in zip(*runs)]


def compare(options):
    """→ the JSON object of the comparison"""
    result = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "machine": environment.machine(),
        "load_before": environment.load(), "preset": options.preset, "threads": options.threads,
        "rounds": options.rounds, "versions": {}, "features": {},
        "limits": [], "rows": [], "training": [], "answer": [],
        "notes": [], "left_out": []}
    venv = environment.Environment(options.venv)
    models = Path(options.models) if options.models else venv.folder / "models"

    def save():
        if options.json:
            Path(options.json).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")

    def start(name):
        arguments = [options.threads] if name == "PyTorch" else [options.threads, models]
        return Peer(name, SCRIPTS[name], arguments, venv.python, venv.folder, options.threads, options.patience)

    lyra = Lyra(options.tool, options.preset, options.threads, options.patience)
    rounds = Rounds(lyra, start, options.preset, options.rounds, result, save, venv.leave_out_tiles)
    result["versions"]["lyra"] = lyra.version()
    groups = plan(
        options.only, options.weights, options.precisions, options.prompts, options.contexts, options.decoded)
    ready = prepare(
        [name for name in options.peers if any(name in group.peers for group in groups)], venv, rounds.leave_out)
    if ready:
        models.mkdir(parents=True, exist_ok=True)
    result["notes"] += [
        f"{name} is compiled without its code for tiles, with which it crashed" for name in ready
        if venv.lacks_tiles(name)]
    if result["load_before"] > BUSY:
        result["notes"].append(
            f"the machine was not idle when this began: {result['load_before']:.1f} processors were busy")
    if "limits" in options.only:
        # The limits of the machine depend neither on the weights nor on the precision.
        kind, precision = options.weights[0], options.precisions[0]
        result["limits"] = own_rows(lyra, options, "memory,limits", kind, precision, rounds.leave_out)
        save()
    for group in groups:
        rounds.run(group, ready)
    if "training" in options.only:
        result["training"] = extractor_rows(lyra, options, rounds.leave_out)
        save()
    for kind in options.weights if "answer" in options.only else ():
        for precision in options.precisions:
            rows = own_rows(
                lyra, options, "answer", kind, precision, rounds.leave_out, "--decode-tokens", str(options.decoded))
            result["answer"] += [{**row, "weights": f"{TITLES[kind]}, {precision}"} for row in rows]
            save()
    return result


def main():
    options = parser().parse_args(namespace=argparse.Namespace(models=None, json=None, markdown=None, results=None))
    if options.results and not Path(options.results).absolute().parent.is_dir():
        sys.exit(f"compare.py: {options.results}: its folder is not there")
    try:
        result = compare(options)
    except (Failure, OSError) as why:
        sys.exit(f"compare.py: {why}")
    except KeyboardInterrupt:
        sys.exit("compare.py: interrupted; the file of --json has the samples so far")
    text = markdown(result)
    print(text, end="")
    if options.markdown:
        Path(options.markdown).write_text(text)
    measured = (
        result["limits"] or result["training"] or result["answer"] or any(row["samples"] for row in result["rows"]))
    if not measured:
        sys.exit("compare.py: nothing was measured")
    if options.results:
        path = Path(options.results)
        path.write_text(with_section(path.read_text() if path.exists() else "", result["machine"], text))


if __name__ == "__main__":
    main()
