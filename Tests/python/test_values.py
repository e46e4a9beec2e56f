"""Invalid values are refused with the name of the option, and never truncated."""

import pytest

import lyra

INT32 = 2**31 - 1


def refused(call, *parts):
    with pytest.raises(lyra.LyraError) as caught:
        call()
    assert caught.value.code == lyra.Status.ARGUMENT
    for part in parts:
        assert str(part) in str(caught.value)


@pytest.mark.parametrize(
    "name, value, most",
    [
        ("max_new_tokens", 2**32 + 3, INT32), ("max_new_tokens", -1, INT32), ("max_context_tokens", 2**31, INT32),
        ("top_k", 2**32 + 1, INT32), ("top_k", -1, INT32), ("seed", 2**64, 2**64 - 1), ("seed", -1, 2**64 - 1),
        ("max_image_pixels", 2**64 + 4000, 2**63 - 1), ("limit_pixels", 2**64 + 1, 2**63 - 1),
        ("max_memory_bytes", 2**64 + 1, 2**63 - 1),
    ])
def test_an_option_outside_its_range_is_named_with_the_range(model, name, value, most):
    refused(lambda: model.session(**{name: value}), f"{name} is {value}", f"0 to {most}")


@pytest.mark.parametrize(
    "name, value",
    [
        ("temperature", 1e-50), ("temperature", float("nan")), ("temperature", 1e39), ("temperature", -1),
        ("top_p", float("nan")), ("top_p", 1e-50), ("top_p", 1.5), ("min_p", float("inf")), ("min_p", -1e-40),
        ("repetition_penalty", 1e-60), ("repetition_penalty", 10**400), ("limit_seconds", float("nan")),
        ("limit_seconds", float("inf")), ("limit_seconds", -5e-324), ("max_memory_bytes", 2**63 - 1),
        ("limit_pixels", 2**63 - 1), ("max_image_pixels", 3135), ("max_image_pixels", 2**63 - 1),
        ("extractor", lyra.Extractor(1e-50, blocks=4)), ("extractor", lyra.Extractor(float("nan"), gap=1)),
        ("adapter", "none\0"), ("system_prompt", "Be\0brief."),
    ])
def test_a_number_that_does_not_fit_the_field_is_refused(model, name, value):
    refused(lambda: model.session(**{name: value}), "keep" if name == "extractor" else name)


def test_invalid_video_options_are_refused(session):
    for fps in (float("nan"), 1e-50, -1, 1001):
        refused(lambda: session.feed_video(b"", fps=fps), "fps" if fps == 1e-50 else "frames_per_second is")
    refused(lambda: session.feed_video(b"", max_frames=65537), "max_frames is 65537")


def test_threads_outside_their_range_are_named(checkpoint):
    refused(lambda: lyra.Model(checkpoint, threads=10**12), "threads is 1000000000000", f"0 to {INT32}")


def test_numbers_in_calls_are_not_truncated(session):
    refused(lambda: session.feed_audio([0.0], 2**32 + 16000), "rate is")
    refused(lambda: session.kept(2**32), "block is")
    refused(lambda: session.feed_video(b"", max_frames=2**32 + 1), "max_frames is")


@pytest.mark.parametrize("extractor", [(2**32 + 4, 0.7), lyra.Extractor(0.7, gap=2**32 + 7)])
def test_an_extractor_of_too_many_blocks_is_refused(model, extractor):
    refused(lambda: model.session(extractor=extractor), f"to {INT32}")


@pytest.mark.parametrize("extractor", [(4,), (4, 0.7, 1), 4, "on"])
def test_an_invalid_extractor_is_named_with_the_valid_forms(model, extractor):
    refused(lambda: model.session(extractor=extractor), repr(extractor), "(4, 0.7)")


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda m, s: m.session(adapter=None), "adapter"), (lambda m, s: m.session(adapter=3), "adapter"),
        (lambda m, s: m.session(system_prompt=3), "system_prompt"), (lambda m, s: s.feed_text(3), "text"),
        (lambda m, s: s.feed_text(None), "text"), (lambda m, s: m.session(max_new_tokens=None), "max_new_tokens"),
        (lambda m, s: m.session(top_k=1.5), "top_k"),
    ])
def test_a_value_of_a_wrong_type_is_named(model, session, call, name):
    with pytest.raises(TypeError, match=f"^{name} must be an? (int|str), not (None|int|float)$"):
        call(model, session)
