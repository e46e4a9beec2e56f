"""Antialiased forms, as distances to their edge, and backgrounds. Lengths are in pixels."""

import numpy as np

COLOURS = {
    "red": (220, 40, 40), "green": (40, 170, 60), "blue": (40, 80, 220), "yellow": (240, 220, 40),
    "purple": (150, 50, 180), "orange": (245, 140, 30), "black": (15, 15, 15),
    "white": (250, 250, 250),
}
# The colours of backgrounds: white to black, and pale or dark tints.
GROUNDS = (
    (245, 245, 245), (205, 205, 205), (130, 130, 130), (50, 50, 50), (12, 12, 12), (240, 230, 205),
    (205, 220, 235), (210, 228, 210), (238, 214, 218), (38, 44, 60), (70, 58, 48),
)
BACKGROUNDS = {
    "plain": "one colour",
    "gradient": "the colour becomes up to 30 of 255 lighter or darker from one side to the other",
    "grain": "noise on each pixel, with a standard deviation of 4 to 14 of 255",
    "stripes": "straight stripes 6 to 24 pixels apart, 8 to 18 of 255 lighter and darker",
    "checks": "squares of 5 to 16 pixels, 8 to 16 of 255 lighter and darker",
    "blobs": "soft clouds, up to 8 to 18 of 255 lighter and darker",
}
# The smallest distance between the colours of a background and of what is on it, in RGB.
CONTRAST = 110
# The smallest distance of a colour without a name from those that have one: more than twice what a shade is off.
NAMELESS_DISTANCE = 60


def grid(width, height):
    """The centres of all pixels: x and y, each [height, width]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return x + 0.5, y + 0.5


def circle(x, y, radius):
    return np.hypot(x, y) - radius


def polygon(x, y, points):
    """The distance to the edge of a polygon, negative inside."""
    distance = np.full(x.shape, np.inf, np.float32)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0)):
        distance = np.minimum(distance, segment(x, y, (ax, ay), (bx, by)))
        if ay != by:
            crosses = (ay > y) != (by > y)
            inside ^= crosses & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return np.where(inside, -distance, distance)


def segment(x, y, a, b):
    """The distance to a line from a to b."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    part = ((x - a[0]) * dx + (y - a[1]) * dy) / max(dx * dx + dy * dy, 1e-9)
    part = np.clip(part, 0, 1)
    return np.hypot(x - a[0] - part * dx, y - a[1] - part * dy)


def strokes(x, y, lines, thickness):
    """The distance to the edge of lines that are drawn with a round pen."""
    distance = np.full(x.shape, np.inf, np.float32)
    for line in lines:
        for a, b in zip(line[:-1], line[1:]):
            distance = np.minimum(distance, segment(x, y, a, b))
    return distance - thickness / 2


def regular(corners, radius, turn=0.0, inner=None):
    """The corners of a regular polygon whose first corner is on top, or of a star."""
    count = corners * (2 if inner else 1)
    angles = 2 * np.pi * np.arange(count) / count - np.pi / 2 + turn
    radii = np.full(count, radius, np.float64)
    if inner:
        radii[1::2] = inner
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def coverage(distance):
    """How much of each pixel is inside: 0 to 1."""
    return np.clip(0.5 - distance, 0, 1)


def paint(canvas, mask, colour):
    """Blends a colour onto a canvas, float [height, width, 3], where the mask is."""
    canvas += mask[..., None] * (np.asarray(colour, np.float32) - canvas)


def rgb(colour):
    """A colour by its name; RGB as it is."""
    return COLOURS.get(colour, colour)


def distance(one, other):
    return np.linalg.norm(np.subtract(rgb(one), rgb(other)))


def nameless(rng) -> tuple:
    """A colour that the world has no name for, far from all that have one. rng: Python's"""
    while True:
        found = tuple(rng.randrange(256) for _ in range(3))
        if all(distance(found, name) >= NAMELESS_DISTANCE for name in COLOURS):
            return found


def shade(rng, colour, spread=14):
    """A colour, a little off."""
    return np.clip(np.array(rgb(colour)) + rng.integers(-spread, spread + 1, 3), 0, 255)


def ground(rng, colours):
    """The colour of a background that differs clearly from the colours."""
    far = [
        each for each in GROUNDS
        if all(distance(each, colour) >= CONTRAST for colour in colours)]
    base = np.array(far[rng.integers(len(far))])
    return np.clip(base + rng.integers(-8, 9, 3), 0, 255).astype(np.float32)


def smooth(rng, width, height, cells=5):
    """Soft noise between -1 and 1, [height, width]."""
    coarse = rng.uniform(-1, 1, (cells, cells))
    rows = np.linspace(0, cells - 1, height)
    columns = np.linspace(0, cells - 1, width)
    coarse = np.stack([np.interp(columns, np.arange(cells), row) for row in coarse])
    return np.stack([np.interp(rows, np.arange(cells), column) for column in coarse.T], axis=1)


def background(rng, width, height, colours, kind=None):
    """A canvas, float [height, width, 3], on which the colours are clearly seen."""
    kind = kind or list(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))]
    x, y = grid(width, height)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    change = np.zeros((height, width), np.float32)
    if kind == "gradient":
        change = rng.uniform(-30, 30) * (along - along.min()) / np.ptp(along)
    elif kind == "stripes":
        change = rng.uniform(8, 18) * np.sign(np.sin(2 * np.pi * along / rng.uniform(6, 24)))
    elif kind == "checks":
        cell = rng.uniform(5, 16)
        change = rng.uniform(8, 16) * (2 * ((x // cell + y // cell) % 2) - 1)
    elif kind == "blobs":
        change = rng.uniform(8, 18) * smooth(rng, width, height)
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = ground(rng, colours)
    canvas += change[..., None]
    if kind == "grain":
        canvas += rng.normal(0, rng.uniform(4, 14), canvas.shape)
    return canvas


def pixels(canvas):
    """uint8 pixels of a canvas."""
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
