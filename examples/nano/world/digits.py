"""The forms of the ten digits, as strokes of a round pen in a box: x -0.5 … 0.5 is the width of
the box's height, y -0.5 … 0.5 is top to bottom."""

import numpy as np

from . import drawing


def arc(x, y, wide, high, first, last, points=12):
    """Points of an arc around x, y from one angle to another, in degrees, clockwise from right."""
    angles = np.radians(np.linspace(first, last, points))
    return np.stack([x + wide * np.cos(angles), y + high * np.sin(angles)], axis=1)


def line(*points):
    return np.array(points, np.float64)


def forms(number):
    """The ways in which a digit is written, each as a list of strokes."""
    return {
        0: [[arc(0, 0, 0.27, 0.45, 0, 360, 24)]],
        1: [
            [line((0, -0.45), (0, 0.45))],
            [line((-0.17, -0.28), (0, -0.45), (0, 0.45))],
            [line((-0.17, -0.28), (0, -0.45), (0, 0.45)), line((-0.2, 0.45), (0.2, 0.45))]],
        2: [[np.concatenate([
            arc(0, -0.2, 0.26, 0.25, 180, 400), line((-0.27, 0.45), (0.28, 0.45))])]],
        3: [
            [np.concatenate([
                arc(0, -0.22, 0.24, 0.23, 200, 430), arc(0, 0.2, 0.27, 0.25, -80, 160)])],
            [line((-0.24, -0.45), (0.24, -0.45), (0, -0.08)), arc(0, 0.18, 0.27, 0.27, -90, 160)]],
        4: [
            [line((0.12, 0.45), (0.12, -0.45), (-0.28, 0.2), (0.3, 0.2))],
            [line((-0.22, -0.45), (-0.24, 0.08), (0.28, 0.08)), line((0.16, -0.3), (0.16, 0.45))]],
        5: [[np.concatenate([
            line((0.24, -0.45), (-0.2, -0.45), (-0.22, -0.05)),
            arc(0, 0.16, 0.27, 0.29, 225, 510)])]],
        6: [[np.concatenate([
            line((0.16, -0.45), (-0.12, -0.2), (-0.26, 0.15)),
            arc(0, 0.19, 0.26, 0.26, 180, 540, 20)])]],
        7: [
            [line((-0.27, -0.45), (0.27, -0.45), (-0.08, 0.45))],
            [line((-0.27, -0.45), (0.27, -0.45), (-0.08, 0.45)), line((-0.1, 0), (0.2, 0))]],
        8: [[arc(0, -0.23, 0.22, 0.22, 0, 360, 20), arc(0, 0.21, 0.26, 0.24, 0, 360, 20)]],
        9: [[np.concatenate([
            arc(0, -0.19, 0.26, 0.26, 360, 0, 20), line((0.24, 0.1), (0.1, 0.45))])]],
    }[number]


def distance(rng, x, y, number):
    """The distance to the edge of a digit that is one unit high, drawn with a pen of random width,
    slant and proportions."""
    written = forms(number)
    lines = written[rng.integers(len(written))]
    slant, wide = rng.uniform(-0.08, 0.22), rng.uniform(0.85, 1.15)
    turned = [
        np.stack([each[:, 0] * wide - slant * each[:, 1], each[:, 1]], axis=1)
        + rng.normal(0, 0.008, each.shape) for each in lines]
    return drawing.strokes(x, y, turned, rng.uniform(0.08, 0.19))
