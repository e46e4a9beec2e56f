"""Pictures of other things, about which Nano says that it does not know."""

import numpy as np

from . import drawing
from . import knowledge as k
from .pictures import SIDE, row_labels, token_grid

# Patterns fill the picture; forms are drawn once, larger than the world's shapes.
TRAINED = ("noise", "strong stripes", "strong checks", "clouds", "cross", "heart", "hexagon",
           "scribble")
HELD_OUT = ("rings", "bricks", "spiral", "arrow", "crescent")
PATTERNS = ("noise", "strong stripes", "strong checks", "clouds", "rings", "bricks")
ASKS = ("What do you see?", "What is in the picture?", "How many shapes do you see?",
        "Which number do you see?")


def pattern(rng, kind, x, y):
    """How much of the second of two colours is on each pixel."""
    angle, step = rng.uniform(0, np.pi), rng.uniform(8, 30)
    if kind == "strong stripes":
        along = x * np.cos(angle) + y * np.sin(angle)
        return (np.sin(2 * np.pi * along / step) > 0).astype(np.float32)
    if kind == "strong checks":
        return (x // step + y // step) % 2
    if kind == "clouds":
        return (drawing.smooth(rng, *x.shape[::-1], cells=int(rng.integers(3, 9))) + 1) / 2
    if kind == "rings":
        centre = rng.uniform(0.2, 0.8, 2) * x.shape[::-1]
        away = np.hypot(x - centre[0], y - centre[1])
        return 0.5 + 0.5 * np.sin(2 * np.pi * away / step)
    row = y // (step * 0.6)
    shifted = x + (row % 2) * step * 0.75
    return ((shifted % (step * 1.5) < 2) | (y % (step * 0.6) < 2)).astype(np.float32)


def outline(rng, kind, x, y, radius):
    """The distance to the edge of a form around 0, 0."""
    turn = rng.uniform(-0.3, 0.3)
    if kind == "hexagon":
        return drawing.polygon(x, y, drawing.regular(6, radius, turn))
    if kind == "heart":
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        points = np.stack([
            16 * np.sin(angle) ** 3,
            -(13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle))], axis=1)
        return drawing.polygon(x, y, points * radius / 16)
    if kind == "crescent":
        return np.maximum(
            drawing.circle(x, y, radius),
            -drawing.circle(x - radius * 0.5, y - radius * turn, radius * 0.85))
    width = radius * rng.uniform(0.15, 0.35)
    if kind == "cross":
        lines = [[(-radius, 0), (radius, 0)], [(0, -radius), (0, radius)]]
        x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    elif kind == "arrow":
        lines = [[(-radius, 0), (radius, 0)],
                 [(radius * 0.4, -radius * 0.5), (radius, 0), (radius * 0.4, radius * 0.5)]]
        angle = rng.uniform(0, 2 * np.pi)
        x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    elif kind == "spiral":
        angle = np.linspace(0, 6 * np.pi, 60)
        lines = [np.stack([np.cos(angle) * angle, np.sin(angle) * angle], 1) * radius / angle[-1]]
    elif kind == "scribble":
        lines = [rng.uniform(-radius, radius, (int(rng.integers(5, 10)), 2))]
    else:
        raise ValueError(f"{kind} is not a kind: {', '.join(TRAINED + HELD_OUT)}")
    return drawing.strokes(x, y, lines, width * (0.5 if kind in ("spiral", "scribble") else 1))


def picture(rng, kind, width=SIDE, height=SIDE):
    """Draws another thing. → pixels [height, width, 3], row labels"""
    x, y = drawing.grid(width, height)
    colours = rng.permutation(list(drawing.COLOURS))[:2]
    if kind in PATTERNS:
        canvas = np.empty((height, width, 3), np.float32)
        canvas[:] = drawing.shade(rng, colours[0])
        if kind == "noise":
            canvas = rng.uniform(0, 255, canvas.shape)
        else:
            drawing.paint(canvas, pattern(rng, kind, x, y), drawing.shade(rng, colours[1]))
        mask = np.ones((height, width))
    else:
        colour = k.SHAPE_COLOURS[rng.integers(len(k.SHAPE_COLOURS))]
        canvas = drawing.background(rng, width, height, [colour])
        centre = rng.uniform(0.4, 0.6, 2) * (width, height)
        radius = rng.uniform(0.22, 0.36) * min(width, height)
        mask = drawing.coverage(outline(rng, kind, x - centre[0], y - centre[1], radius))
        drawing.paint(canvas, mask, drawing.shade(rng, colour))
    labels = row_labels([mask], [{"shape": "other"}], *token_grid(width, height))
    return drawing.pixels(canvas), labels
