"""The sampling options. Tests compare tokens, because different tokens can give the same text."""

import pytest

from support import answer

# More varied than the fixture's own defaults, which nearly always take the likeliest token.
VARIED = ("--prompt", "Hello", "--temperature", "2", "--top-k", "0", "--top-p", "1")


def tokens(*arguments):
    return answer(*arguments)["token_ids"]


def test_a_seed_gives_the_same_answer_again():
    assert tokens(*VARIED, "--seed", 7) == tokens(*VARIED, "--seed", 7)


def test_another_seed_gives_another_answer():
    assert tokens(*VARIED, "--seed", 7) != tokens(*VARIED, "--seed", 8)


def test_without_a_seed_answers_differ():
    assert tokens(*VARIED) != tokens(*VARIED)


def test_temperature_0_gives_the_same_answer_again_whatever_the_seed():
    assert tokens("--prompt", "Hello", "--seed", 1) == tokens("--prompt", "Hello", "--seed", 2)


@pytest.mark.parametrize(
    "option", [("--top-k", "1"), ("--top-p", "0"), ("--min-p", "1")], ids=lambda option: option[0])
def test_the_narrowest_choice_is_the_greedy_one(option):
    assert tokens(*VARIED, "--seed", 5, *option) == tokens("--prompt", "Hello")


def test_a_repetition_penalty_changes_a_greedy_answer():
    long = ("--prompt", "Hello", "--max-tokens", 100)
    plain, penalized = tokens(*long), tokens(*long, "--repetition-penalty", 3)
    assert len(set(penalized)) > len(set(plain))
