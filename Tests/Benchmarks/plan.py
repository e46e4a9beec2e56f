"""The plan of the comparison: groups of measurements that share their models."""

import re
from dataclasses import dataclass, field

from shape import TRAINING_SAMPLES, TRAINING_TOKENS

SECTIONS = ("limits", "prefill", "decode", "encoder", "vision", "generator", "vocoder", "training", "answer")
# The rows of lyra's benchmark: the network, and the start of the row's description.
LYRA_ROWS = {
    "prefill": ("language model", "prefill"),
    "decode": ("language model", "decode"),
    "encoder": ("speech encoder", ""),
    "vision": ("vision encoder", ""),
    "generator": ("speech generator", ""),
    "vocoder": ("vocoder", ""),
    "training": ("training", "step"),
}
# What the tables call them.
TITLES = {"q8_0": "Q8_0", "q4_0": "Q4_0", "bf16": "BF16", "f32": "F32"}
SCRIPTS = {
    "llama.cpp": "peers_llama.py", "whisper.cpp": "peers_whisper.py", "PyTorch": "peers_torch.py",
    "CTranslate2": "peers_ctranslate2.py"}
# The types of the other networks' weights: only the language model has four bits.
PART_WEIGHTS = ("q8_0", "bf16")
UNITS = 100
# The seconds of speech of the units, if lyra's row does not state them.
SPEECH_SECONDS = 26.0


@dataclass
class Measure:
    section: str
    what: str
    unit: str
    # Whether a larger value is the better one.
    higher: bool
    # The request to a peer.
    request: dict
    # A request before it, which is not timed.
    prepare: dict | None = None

    def row_in(self, rows):
        """lyra's row of this measurement, or None."""
        part, start = LYRA_ROWS[self.section]
        return next(
            (row for row in rows if row["part"].split(",")[0] == part and row["what"].startswith(start)), None)

    def request_like(self, row):
        """The request for as much work as lyra did, according to its row or, if None, by default."""
        if self.section != "vocoder":
            return self.request
        said = re.match(r"([0-9.]+) s of speech", row["what"]) if row else None
        return {**self.request, "seconds": float(said[1]) if said else SPEECH_SECONDS}


@dataclass
class Case:
    """The measurements of one run of lyra."""

    measures: list
    options: list
    # The method of the contender lyra that runs it.
    run: str = "bench"


@dataclass
class Group:
    """Cases with one set of weights: lyra with each precision, and the peers with the models that they load."""

    title: str
    # The type in the rows, and the type in which lyra stores the other networks.
    weights: str
    dtype: str
    precisions: list
    cases: list
    peers: dict = field(default_factory=dict)


def plan(sections, weights, precisions, prompts, contexts, decoded):
    """→ the groups in the order of measurement.

    prompts: the lengths of prompts for prefill; contexts: the numbers of tokens before decoding; decoded: the number of
    decoded tokens.
    """
    parts = [kind for kind in weights if kind in PART_WEIGHTS]
    groups = []
    if cases := language_cases(sections, prompts, contexts, decoded):
        groups += [language(kind, precisions, cases) for kind in weights]
    if "encoder" in sections:
        groups += [encoder(kind, precisions) for kind in parts]
    if "vision" in sections:
        groups += [vision(kind, precisions) for kind in parts]
    if "generator" in sections:
        groups += [generator(kind, precisions) for kind in parts]
    if "vocoder" in sections:
        groups.append(vocoder(precisions))
    if "training" in sections:
        groups.append(training(precisions))
    return groups


def language(kind, precisions, cases):
    requests = [measure.request for case in cases for measure in case.measures]
    longest = max(request.get("after", 0) + request["tokens"] for request in requests)
    # Peers warm up on 33 tokens, and llama.cpp pads a context to 256.
    peers = {"llama.cpp": {"weights": kind, "context": (max(longest, 64) + 255) // 256 * 256}}
    if kind == "bf16":
        peers["PyTorch"] = {"part": "language", "weights": kind}
    if kind == "q8_0":
        peers["CTranslate2"] = {"weights": kind}
    return Group(f"language model, {TITLES[kind]}", kind, kind, precisions, cases, peers)


def encoder(kind, precisions):
    measure = Measure("encoder", "encode 30 s of speech", "s", False, {"do": "encode"})
    peers = {"whisper.cpp": {"weights": kind}}
    if kind == "bf16":
        peers["PyTorch"] = {"part": "encoder", "weights": kind}
    cases = [Case([measure], ["--only", "encoder"])]
    return Group(f"speech encoder, {TITLES[kind]}", kind, kind, precisions, cases, peers)


def vision(kind, precisions):
    measure = Measure("vision", "encode an image of 1024 × 768", "s", False, {"do": "see"})
    peers = {"PyTorch": {"part": "vision", "weights": kind}} if kind == "bf16" else {}
    cases = [Case([measure], ["--only", "vision"])]
    return Group(f"vision encoder, {TITLES[kind]}", kind, kind, precisions, cases, peers)


def generator(kind, precisions):
    # As many tokens as lyra's benchmark takes the mean of.
    measure = Measure("generator", "units of one token", "ms", False, {"do": "generate", "tokens": 4})
    peers = {"PyTorch": {"part": "generator", "weights": kind}} if kind == "bf16" else {}
    cases = [Case([measure], ["--only", "generator"])]
    return Group(f"speech generator, {TITLES[kind]}", kind, kind, precisions, cases, peers)


def vocoder(precisions):
    measure = Measure("vocoder", f"speech of {UNITS} units", "× real time", True, {"do": "vocode", "units": UNITS})
    cases = [Case([measure], ["--only", "vocoder"])]
    return Group("vocoder, F32", "f32", "bf16", precisions, cases, {"PyTorch": {"part": "vocoder", "weights": "f32"}})


def training(precisions):
    size, cases = ["--tokens", str(TRAINING_TOKENS), "--samples", str(TRAINING_SAMPLES)], []
    for what, trained in (("LoRA", "lora"), ("all weights", "all")):
        measure = Measure(
            "training", f"training step, {what}", "s", False, {"do": "train"}, {"do": "choose", "trained": trained})
        cases.append(Case([measure], ["--weights", trained, *size], "train"))
    return Group("training, F32", "f32", "f32", precisions, cases, {"PyTorch": {"part": "training", "weights": "f32"}})


def language_cases(sections, prompts, contexts, decoded):
    prompts = prompts if "prefill" in sections else []
    contexts = contexts if "decode" in sections else []
    cases = []
    for index in range(max(len(prompts), len(contexts))):
        measures, options = [], []
        for tokens in prompts[index:index + 1]:
            measures.append(Measure(
                "prefill", f"prefill {tokens}", "tokens/s", True, {"do": "prefill", "tokens": tokens}))
            options += ["--prompt-tokens", str(tokens)]
        for after in contexts[index:index + 1]:
            measures.append(Measure(
                "decode", f"decode after {after}", "tokens/s", True,
                {"do": "decode", "after": after, "tokens": decoded}, {"do": "hold", "after": after}))
            options += ["--decode-after", str(after), "--decode-tokens", str(decoded)]
        only = ",".join(measure.section for measure in measures)
        cases.append(Case(measures, ["--only", only, *options]))
    return cases
