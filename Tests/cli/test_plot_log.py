"""`plot-log`: the curves of training logs."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from support import fails, is_wrong_usage, lyra

SVG = "{http://www.w3.org/2000/svg}"


def write_log(path, steps=200, scale=1.0, **more):
    path.parent.mkdir(exist_ok=True)
    lines = []
    for step in range(1, steps + 1):
        loss = scale * (3 * np.exp(-step / 50) + 0.1)
        lines.append({"step": step, "loss": loss, "learning_rate": 1e-4 * step / steps, "seconds": step / 2, **more})
        if step % 50 == 0:
            lines.append({"step": step, "validation_loss": loss + 0.2})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def draw(*arguments):
    ended = lyra("plot-log", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ElementTree.fromstring(ended.stdout)


def texts(svg):
    return [element.text for element in svg.iter(f"{SVG}text")]


def lines(svg):
    """→ points of each line but those of the legend, by color and opacity"""
    found = {}
    for element in svg.iter(f"{SVG}polyline"):
        points = [tuple(map(float, point.split(","))) for point in element.get("points").split()]
        if len(points) > 2:
            found[element.get("stroke"), element.get("opacity")] = np.array(points)
    return found


def test_one_run_has_its_loss_parts_validation_and_learning_rate(tmp_path):
    log = write_log(tmp_path / "run.jsonl", cross_entropy=0.5, lcmr=0.25)
    svg = draw(log, "--smoothing", 0)
    assert {"run", "run: 200 steps", "loss", "cross-entropy", "LCMR", "validation loss", "learning rate", "step",
            "200"} <= set(texts(svg))
    assert "CTC" not in texts(svg)
    curves = list(lines(svg).values())
    assert len(curves) == 4
    loss = curves[0]
    # x is linear in the step, y in the loss, downwards.
    expected = 3 * np.exp(-np.arange(1, 201) / 50) + 0.1
    assert np.allclose(np.diff(loss[:, 0]), np.diff(loss[:, 0])[0], atol=0.011)
    slope = (loss[0, 1] - loss[-1, 1]) / (expected[0] - expected[-1])
    assert slope < 0 and np.allclose(loss[:, 1] - loss[0, 1], slope * (expected - expected[0]), atol=0.03)
    assert len(list(svg.iter(f"{SVG}circle"))) == 4 + 2, "validations, and two dots in the legend"


def test_smoothed_lines_lie_over_pale_ones(tmp_path):
    drawn = lines(draw(write_log(tmp_path / "run.jsonl")))
    (color,) = {color for color, opacity in drawn if opacity == "0.3"}
    pale, smooth = drawn[color, "0.3"], drawn[color, "1"]
    assert np.all(smooth[1:, 1] < pale[1:, 1]), "a falling loss is below its mean, further down"


def test_several_runs_have_a_color_and_a_name_each(tmp_path):
    first = write_log(tmp_path / "a/log.jsonl", ctc=1.0)
    second = write_log(tmp_path / "b/log.jsonl", scale=2.0, ctc=2.0)
    svg = draw(first, second)
    assert {"a/log", "b/log", "a/log, validation", "CTC", "learning rate"} <= set(texts(svg))
    assert len({color for color, _ in lines(svg)}) == 2
    assert {"left", "right"} <= set(texts(draw(first, second, "--name", "left", "--name", "right")))


def test_losses_can_be_logarithmic_and_over_seconds(tmp_path):
    log = tmp_path / "run.jsonl"
    log.write_text("".join(json.dumps({"step": n, "loss": 10.0 ** -n, "seconds": 2.0 * n}) + "\n" for n in range(5)))
    svg = draw(log, "--log-scale", "--over", "seconds", "--smoothing", 0, "--title", "Mine")
    assert {"Mine", "seconds", "8"} <= set(texts(svg))
    (curve,) = lines(svg).values()
    assert np.allclose(np.diff(curve, axis=0), np.diff(curve, axis=0)[0], atol=0.02), "a straight line"


def test_a_file_is_written_only_if_the_log_can_be_read(tmp_path):
    out = tmp_path / "curve.svg"
    ended = lyra("plot-log", write_log(tmp_path / "run.jsonl"), "-o", out)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    before = out.read_text()
    assert before == lyra("plot-log", tmp_path / "run.jsonl").stdout
    for content, part in [("", "not a training log"), ('{"loss": 1}\n', "not a training log"), ("x\n", "line 1"),
                          ("[1]\n", "not a training log")]:
        (tmp_path / "bad.jsonl").write_text(content)
        fails(lyra("plot-log", tmp_path / "bad.jsonl", "-o", out), tmp_path / "bad.jsonl", part)
    assert out.read_text() == before
    fails(lyra("plot-log", tmp_path / "nowhere.jsonl"), "nowhere.jsonl")
    timeless = tmp_path / "timeless.jsonl"
    timeless.write_text('{"step": 1, "loss": 1}\n')
    fails(lyra("plot-log", timeless, "--over", "seconds"), timeless, "seconds")


@pytest.mark.parametrize("value", ["1e308", "-1e308", "1e-320", "0", "-1", "null"])
def test_any_number_can_be_drawn(value, tmp_path):
    log = tmp_path / "run.jsonl"
    log.write_text('{"step": 1, "loss": 1, "learning_rate": %s}\n{"step": %s, "loss": %s}\n' % (value, value, value))
    for arguments in ((), ("--log-scale",)):
        assert "loss" in texts(draw(log, *arguments))


def test_wrong_usage_is_64(tmp_path):
    is_wrong_usage(lyra("plot-log"))
    is_wrong_usage(lyra("plot-log", "x", "--smoothing", 1), "--smoothing")
    is_wrong_usage(lyra("plot-log", "x", "y", "--name", "one"), "--name")
