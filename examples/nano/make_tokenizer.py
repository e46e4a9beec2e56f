#!/usr/bin/env python3
"""Makes Nano's tokenizer: a byte-level BPE in Qwen2's layout, from the world's own text.

    make_tokenizer.py [--out model]

Merges are learned until every word of the world, with the space before it, is one token, and also
the words that often begin a text and those that each prompt has. Any other text can be encoded as
well, since every byte is a token. Writes vocab.json, merges.txt, added_tokens.json and
tokenizer_config.json.
"""

import argparse
import collections
import json
import re
import sys
from pathlib import Path

from world import examples, words
from world.questions import FAMILIES
from world.text import capital

# Qwen2's pattern, for text of ASCII.
PRE_TOKENS = re.compile(
    r"'(?:[sStTmMdD]|[rRvV][eE]|[lL][lL])|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]|"
    r" ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
]
# What each prompt has: the words of the chat template and the default system prompt.
FRAME = "system\nYou are a helpful assistant.\nuser\nassistant\n"
LIMIT = 2000
SAMPLES = 20000
# A word begins texts often if it begins so many of the samples.
OFTEN = 40


def byte_letters() -> list:
    """The character that stands for each byte in the files: GPT-2's table."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters, added = {}, 0
    for byte in range(256):
        if byte in shown:
            letters[byte] = chr(byte)
        else:
            letters[byte] = chr(256 + added)
            added += 1
    return [letters[byte] for byte in range(256)]


LETTERS = byte_letters()


def mapped(text: str) -> str:
    """The characters that stand for a text's bytes."""
    return "".join(LETTERS[byte] for byte in text.encode())


def pieces(text: str) -> list:
    return [mapped(each) for each in PRE_TOKENS.findall(text)]


def sample() -> collections.Counter:
    """How often each piece occurs in text as training has it."""
    counts = collections.Counter()
    rng = examples.rng_of(0, "tokenizer", 0)
    for _ in range(SAMPLES):
        found = examples.text_exchange(rng)
        for text in (FRAME, examples.typed(rng, found), found.answer):
            counts.update(pieces(text))
    return counts


def goal(counts) -> set:
    """What must be one token: each word of the world after a space, as it is written and in lower
    case, what often begins a text, such as "What", the parts of commands' answers, and of each
    prompt."""
    spaced = {" " + form for word in words.written() for form in (word, word.lower())}
    first = {capital(word) for word in words.vocabulary()} | set(words.vocabulary())
    first = {word for word in first if counts[mapped(word)] >= OFTEN}
    answers = {
        exchange.answer for family in FAMILIES if family.kind == "command"
        for exchange in family.exchanges()}
    return {piece for text in spaced | first | answers | {FRAME} for piece in pieces(text)}


def learn(counts, wanted) -> list:
    """Merges in their order: most frequent first, ties by name, until all wanted pieces are whole.

    Words outside the goal do not count, so that no token is spent on words of questions that have
    no answer. White space and signs count.
    """
    table = {
        piece: list(piece) for piece in counts.keys() | wanted
        if piece in wanted or not any(letter.isalpha() and letter.isascii() for letter in piece)}
    merges = []
    while any(len(table[piece]) > 1 for piece in wanted):
        pairs = collections.Counter()
        for piece, parts in table.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += max(counts[piece], 1)
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for piece, parts in table.items():
            table[piece] = merged(parts, best)
    return merges


def merged(parts, pair) -> list:
    """The parts with each occurrence of a pair joined."""
    result, index = [], 0
    while index < len(parts):
        if tuple(parts[index:index + 2]) == pair:
            result.append(pair[0] + pair[1])
            index += 2
        else:
            result.append(parts[index])
            index += 1
    return result


def encode(text: str, merges: list) -> list:
    """The tokens of a text, by the merges in their order."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    tokens = []
    for piece in pieces(text):
        parts = list(piece)
        while True:
            known = [pair for pair in zip(parts, parts[1:]) if pair in ranks]
            if not known:
                break
            parts = merged(parts, min(known, key=ranks.get))
        tokens += parts
    return tokens


def files(merges) -> dict:
    """The text of each file by its name."""
    # In GPT-2's order: bytes that can be shown first.
    tokens = sorted(LETTERS) + [first + second for first, second in merges]
    if len(tokens) != len(set(tokens)):
        raise ValueError("two merges make the same token")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    added = {token: len(tokens) + index for index, token in enumerate(SPECIAL)}
    if len(tokens) + len(added) > LIMIT:
        raise ValueError(f"{len(tokens) + len(added)} tokens; at most {LIMIT} are wanted")
    config = {
        "add_prefix_space": False, "bos_token": None, "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>", "unk_token": None, "errors": "replace",
        "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer",
        "model_max_length": 32768, "clean_up_tokenization_spaces": False,
        "added_tokens_decoder": {
            str(index): {
                "content": token, "lstrip": False, "normalized": False, "rstrip": False,
                "single_word": False, "special": True}
            for token, index in added.items()},
    }
    lines = ["#version: 0.2"] + [" ".join(pair) for pair in merges]
    return {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n",
        "merges.txt": "\n".join(lines) + "\n",
        "added_tokens.json": json.dumps(added, indent=1) + "\n",
        "tokenizer_config.json": json.dumps(config, indent=1) + "\n",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "model")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    counts = sample()
    made = files(learn(counts, goal(counts)))
    for name, text in made.items():
        (out / name).write_text(text, encoding="utf-8")
    total = len(json.loads(made["vocab.json"])) + len(SPECIAL)
    print(f"{out}: {total} tokens, {len(SPECIAL)} of them special")
    return 0


if __name__ == "__main__":
    sys.exit(main())
