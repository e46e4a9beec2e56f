"""Nano's stories: facts in order or stretched, what is asked about them, and the drills made of them."""

import itertools
import random
import re
import sys

from support import ROOT

sys.path.insert(0, str(ROOT / "examples/nano"))

from world import examples, stories  # noqa: E402
from world import knowledge as k  # noqa: E402
from world.text import UNKNOWN, spoken  # noqa: E402


def test_answers_about_stories_are_in_them():
    rng = random.Random(6)
    for _ in range(300):
        exchange = stories.story(rng, rng.randint(1, 26))
        facts = [spoken(each) for each in exchange.context.split(". ")]
        if exchange.answer == UNKNOWN:
            continue
        frame = "where is the which room in what does have colour of when how old come".split()
        asked = set(spoken(exchange.question).split()) - set(frame)
        told = set(spoken(exchange.answer).split()) - {"the"}
        assert any(asked <= set(fact.split()) and told <= set(fact.split()) for fact in facts), exchange


def test_drills_tell_stories_of_any_words():
    names, other_names = set(map(str.lower, k.NAMES)), 0
    for index in range(1500):
        first, second = examples.drill_item(random.Random(index), "", None)["conversations"][:2]
        context, _, question = first["value"].rpartition("\n")
        owner = re.fullmatch(r"what does (.+) have\??", question.lower())
        if not owner or owner[1] in names or second["value"] == UNKNOWN:
            continue
        other_names += 1
        context = told_once(context)
        assert f"{owner[1]} has {second['value'].lower().rstrip('.')}" in context.lower()
    assert other_names > 5


def told_once(text: str) -> str:
    """A stretched text with each word once, also one that follows itself in the text; another text as it is."""
    if not re.search(r"\b(\w+) \1 \1\b", text):
        return text
    return " ".join(word for word, _ in itertools.groupby(text.replace("~", " ").split()))


def test_stretched_texts_say_each_word_in_order():
    rng = random.Random(3)
    for _ in range(100):
        text = examples.heard(rng)
        runs = [
            " ".join(word for word, _ in itertools.groupby(each.replace("~", " ").split()))
            for each in (examples.stretched(rng, text), spoken(text))]
        assert runs[0] == runs[1]


def test_stretched_stories_have_the_answers():
    rng, answered = random.Random(8), 0
    for _ in range(60):
        first, *others = examples.slow_story(rng)
        assert not any(each.context for each in others)
        context = f" {told_once(first.context)} "
        for each in [first, *others]:
            if each.answer != UNKNOWN and not any(a == b for a, b in itertools.pairwise(each.answer.lower().split())):
                answered += 1
                told = spoken(each.answer).removeprefix("the ")
                assert f" {told} " in context, (each, context)
    assert answered > 150
