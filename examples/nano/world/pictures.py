"""Draws scenes, digits and moving shapes, with labels for what a vision tower sees where."""

import math

import numpy as np

from . import digits, drawing
from . import knowledge as k
from .scenes import Digit, Shape

SIDE = 112
# A tower's token is a square of 28 pixels of the resized picture. These bounds make 4 × 4 tokens
# of every square picture.
TOKEN, LEAST_PIXELS, MOST_PIXELS = 28, 10192, 15680
# Half of a shape's width, in parts of the picture's shorter side.
RADII = {"small": (0.06, 0.075), "big": (0.11, 0.13)}
# How far a shape's centre is from the middle of its place, at most.
OFFSETS = {"small": 0.03, "big": 0.012}
# How far a moving shape goes, in parts of the width or the height.
TRAVEL = (0.4, 0.6)
FRAMES, RATE = 4, 2
# Sides of videos. Smaller ones have fewer tokens.
VIDEO_SIDES = 98, 224

# Labels of rows, by head: what the numbers mean. The first is where nothing is.
LABELS = {
    "colour": ["background"] + k.SHAPE_COLOURS + ["black", "white"],
    "shape": ["background"] + k.SHAPES + [f"digit {n}" for n in range(10)] + ["other"],
    "place": ["background"] + list(k.PICTURE_PLACES),
    "size": ["background"] + k.SIZES,
    "moves": ["background"] + k.DIRECTIONS,
}
# A token has a shape's label if the shape covers this part of it.
LEAST_COVERAGE = 0.05


def random_size(rng):
    """Width and height in pixels: mostly 112 × 112, else 90 to 300."""
    draw = rng.random()
    if draw < 0.6:
        return SIDE, SIDE
    side = int(rng.integers(90, 301))
    if draw < 0.85:
        return side, side
    return side, int(np.clip(side * rng.uniform(0.75, 1.33), 90, 300))


def random_video_side(rng):
    """Mostly 112 pixels."""
    return SIDE if rng.random() < 0.6 else int(rng.integers(VIDEO_SIDES[0], VIDEO_SIDES[1] + 1))


def token_grid(width, height):
    """Columns and rows of a picture's tokens: Qwen2-VL's smart_resize with the bounds above, in its order of
    operations, which decides where a side is a whole number of tokens."""
    sides = width, height
    fitted = [max(TOKEN, round(side / TOKEN) * TOKEN) for side in sides]
    if fitted[0] * fitted[1] > MOST_PIXELS:
        beta = math.sqrt(width * height / MOST_PIXELS)
        fitted = [max(TOKEN, math.floor(side / beta / TOKEN) * TOKEN) for side in sides]
    elif fitted[0] * fitted[1] < LEAST_PIXELS:
        beta = math.sqrt(LEAST_PIXELS / (width * height))
        fitted = [math.ceil(side * beta / TOKEN) * TOKEN for side in sides]
    return fitted[0] // TOKEN, fitted[1] // TOKEN


def token_coverage(mask, columns, rows):
    """How much of each token a mask [height, width] covers: [rows, columns]."""
    height, width = mask.shape
    x = np.arange(width) * columns // width
    y = np.arange(height) * rows // height
    sums, counts = np.zeros((rows, columns)), np.zeros((rows, columns))
    np.add.at(sums, (y[:, None], x[None, :]), mask)
    np.add.at(counts, (y[:, None], x[None, :]), 1)
    return sums / counts


def row_labels(masks, values, columns, rows):
    """Labels of each token, row by row.

    masks: of each thing in the picture
    values: of each thing, its label's name by head
    """
    cover = np.stack([token_coverage(mask, columns, rows).ravel() for mask in masks])
    shown = np.where(cover >= LEAST_COVERAGE, cover, 0)
    for index, each in enumerate(cover):
        # Also the smallest thing has a token, where most of it is.
        best = each.argmax()
        shown[index, best] = max(shown[index, best], each[best])
    owner = np.where(shown.max(axis=0) > 0, shown.argmax(axis=0), -1)
    labels = {}
    for head in values[0]:
        numbers = [LABELS[head].index(each[head]) for each in values]
        labels[head] = [0 if thing < 0 else numbers[thing] for thing in owner]
    return labels


def form(rng, x, y, shape, radius):
    """The distance to the edge of a shape around 0, 0, slightly turned."""
    turn = rng.uniform(-0.2, 0.2)
    if shape == "circle":
        return drawing.circle(x, y, radius)
    if shape == "square":
        return drawing.polygon(
            x, y, drawing.regular(4, radius * 1.25, np.pi / 4 + turn * 0.6))
    if shape == "triangle":
        return drawing.polygon(x, y, drawing.regular(3, radius * 1.25, turn * 0.6))
    if shape == "star":
        outer = radius * 1.25
        return drawing.polygon(
            x, y, drawing.regular(5, outer, turn, inner=outer * rng.uniform(0.38, 0.48)))
    raise ValueError(f"{shape} is not a shape of the world: {', '.join(k.SHAPES)}")


def random_radius(rng, size, width, height):
    return rng.uniform(*RADII[size]) * min(width, height)


def scene(rng, shapes, width=SIDE, height=SIDE, background=None):
    """Draws shapes. → pixels [height, width, 3], row labels"""
    canvas = drawing.background(rng, width, height, [each.colour for each in shapes], background)
    x, y = drawing.grid(width, height)
    masks, values = [], []
    for each in shapes:
        offset = OFFSETS[each.size]
        column, row = each.cell
        left = ((column + 0.5) / 3 + rng.uniform(-offset, offset)) * width
        top = ((row + 0.5) / 3 + rng.uniform(-offset, offset)) * height
        radius = random_radius(rng, each.size, width, height)
        mask = drawing.coverage(form(rng, x - left, y - top, each.shape, radius))
        drawing.paint(canvas, mask, drawing.shade(rng, each.colour))
        masks.append(mask)
        values.append({
            "colour": each.colour, "shape": each.shape, "place": each.place, "size": each.size})
    return drawing.pixels(canvas), row_labels(masks, values, *token_grid(width, height))


def digit(rng, digit: Digit, width=SIDE, height=SIDE, background=None):
    """Draws a digit near the middle. → pixels, row labels"""
    canvas = drawing.background(rng, width, height, [digit.colour], background)
    x, y = drawing.grid(width, height)
    size = rng.uniform(0.4, 0.75) * min(width, height)
    left, top = rng.uniform(0.42, 0.58, 2) * (width, height)
    distance = digits.distance(rng, (x - left) / size, (y - top) / size, digit.number)
    mask = drawing.coverage(distance * size)
    drawing.paint(canvas, mask, drawing.shade(rng, digit.colour))
    value = {"shape": f"digit {digit.number}"}
    if digit.has_name:
        value["colour"] = digit.colour
    return drawing.pixels(canvas), row_labels([mask], [value], *token_grid(width, height))


def video(rng, shape: Shape, direction, width=SIDE, height=SIDE):
    """Draws a shape that moves on a still background.

    → four frames [height, width, 3], row labels of the two pairs of frames, which a tower joins
    """
    canvas = drawing.background(rng, width, height, [shape.colour])
    x, y = drawing.grid(width, height)
    radius = random_radius(rng, shape.size, width, height)
    colour, seed = drawing.shade(rng, shape.colour), int(rng.integers(1 << 30))
    travel, across = rng.uniform(*TRAVEL), rng.uniform(0.2, 0.8)
    start = rng.uniform(0.17, 0.83 - travel)
    frames, masks = [], []
    for part in np.linspace(0, 1, FRAMES):
        place = start + travel * (part if direction in ("right", "down") else 1 - part)
        across_x = direction in ("left", "right")
        left, top = (place, across) if across_x else (across, place)
        distance = form(
            np.random.default_rng(seed), x - left * width, y - top * height, shape.shape, radius)
        mask, frame = drawing.coverage(distance), canvas.copy()
        drawing.paint(frame, mask, colour)
        frames.append(drawing.pixels(frame))
        masks.append(mask)
    value = {
        "colour": shape.colour, "shape": shape.shape, "size": shape.size, "moves": direction}
    labels = {head: [] for head in value}
    for pair in range(0, FRAMES, 2):
        # The path of the shape in the pair: where it is in either frame.
        mask = np.maximum(masks[pair], masks[pair + 1])
        for head, numbers in row_labels([mask], [value], *token_grid(width, height)).items():
            labels[head] += numbers
    return frames, labels
