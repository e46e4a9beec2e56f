"""Values of options that begin with a dash, and values that were forgotten."""

import pytest

from support import answer, generate, is_wrong_usage, lyra, model_of


@pytest.mark.parametrize("text", ["-5 + 3", "-", "-x", "--not-an-option", "--json is what I type"])
def test_typed_text_may_begin_with_a_dash(text):
    assert answer("--prompt", text)["token_ids"] == answer(f"--prompt={text}")["token_ids"]


def test_a_system_prompt_may_begin_with_a_dash():
    given = answer("--prompt", "Hello", "--system", "-x")
    assert given["token_ids"] == answer("--prompt", "Hello", "--system=-x")["token_ids"]
    assert given["usage"]["prompt_tokens"] != answer("--prompt", "Hello")["usage"]["prompt_tokens"]


def test_a_negative_seed_is_the_unsigned_number_with_its_bits():
    def drawn(seed):
        options = ("--temperature", 100, "--top-k", 0, "--top-p", 1, "--seed", seed)
        return answer("--prompt", "Hello", *options)["token_ids"]

    assert drawn(-1) == drawn(2**64 - 1) != drawn(1)
    assert drawn(-2**63) == drawn(2**63)


@pytest.mark.parametrize("option, value", [
    ("--temperature", "-1"), ("--top-p", "-0.1"), ("--top-k", "-1"), ("--min-p", "-1"), ("--repetition-penalty", "-2"),
    ("--max-tokens", "-1"), ("--threads", "-1"), ("--max-frames", "-1"), ("--max-pixels", "-1"), ("--max-memory", "-1"),
    ("--seed", "-99999999999999999999")])
def test_a_number_below_its_range_is_an_invalid_value_and_not_an_unknown_option(option, value):
    ended = generate("--prompt", "x", option, value)
    is_wrong_usage(ended, option)
    assert "Unknown option" not in ended.stderr and "Missing value" not in ended.stderr


@pytest.mark.parametrize("option", ["--prompt", "--system"])
@pytest.mark.parametrize("follower", ["--json", "--model", "--max-tokens", "--help", "-h"])
def test_a_forgotten_text_is_reported_as_missing(option, follower):
    is_wrong_usage(lyra("generate", *model_of("a"), option, follower), f"Missing value for '{option}'")


@pytest.mark.parametrize("option", ["--prompt", "--system", "--seed", "--max-tokens", "--audio", "--speak"])
def test_a_value_that_is_missing_at_the_end_is_named(option):
    is_wrong_usage(generate("--prompt", "x", option), option)


@pytest.mark.parametrize("option", ["--seed", "--max-tokens", "--temperature", "--audio", "--speak"])
def test_an_option_is_not_taken_as_the_value_of_another(option):
    is_wrong_usage(generate("--prompt", "x", option, "--json"), option)


def test_the_text_of_an_option_can_be_typed_with_an_equals_sign():
    assert answer("--prompt=--json")["text"]


def test_questions_of_evaluations_may_begin_with_a_dash(tmp_path):
    ended = lyra("eval", "needle", *model_of("a"), "--haystack", tmp_path, "--needle", tmp_path / "no.wav",
                 "--question", "-1 + 2?", "--answer", "-x")
    assert ended.returncode == 1 and "no recordings" in ended.stderr
    is_wrong_usage(lyra("eval", "needle", "--question", "--answer", "x"), "Missing value for '--question'")
