"""What is in a picture or a video, and what can be asked about it. No pixels here."""

from dataclasses import dataclass

from . import knowledge as k
from .held_out import is_held_out
from .numbers import word
from .text import Exchange, article, capital, listing, sentence

DIGIT_COLOURS = k.SHAPE_COLOURS + ["black", "white"]


@dataclass(frozen=True)
class Shape:
    size: str
    colour: str
    shape: str
    place: str

    @property
    def name(self) -> str:
        return f"{self.size} {self.colour} {self.shape}"

    @property
    def cell(self) -> tuple:
        """Column and row, 0 to 2."""
        index = list(k.PICTURE_PLACES).index(self.place)
        return index % 3, index // 3


@dataclass(frozen=True)
class Digit:
    """A digit and its colour: a name, or RGB if the world has no name for it. No question asks for a colour in RGB."""

    number: int
    colour: "str | tuple"

    @property
    def has_name(self) -> bool:
        return isinstance(self.colour, str)


def random_shapes(rng, count=None) -> tuple:
    """One to three shapes in different places, no two of one colour or one form.

    They are in reading order: row by row, in a row from left to right.
    """
    count = count or rng.choice([1, 1, 2, 2, 3])
    places = rng.sample(sorted(k.PICTURE_PLACES), count)
    shapes = rng.sample(k.SHAPES, count)
    colours = rng.sample(k.SHAPE_COLOURS, count)
    found = [
        Shape(rng.choice(k.SIZES), colour, shape, place)
        for colour, shape, place in zip(colours, shapes, places)]
    return tuple(sorted(found, key=lambda each: each.cell[::-1]))


def scene_text(shapes) -> str:
    """The scene in words: "A big red circle at the top. A small blue star in the middle."."""
    return " ".join(
        sentence(f"{article(each.name)} {k.PICTURE_PLACES[each.place]}") for each in shapes)


def movement_text(shape: Shape, direction: str) -> str:
    return sentence(f"{article(shape.name)} moves {direction}")


def digit_text(digit: Digit) -> str:
    return sentence(f"the number {word(digit.number)} in {digit.colour}")


def shapes(rng, held_out=False, count=None) -> tuple:
    """A random scene, from those that are trained or from those that are held out."""
    while True:
        found = random_shapes(rng, count)
        if is_held_out(scene_text(found)) == held_out:
            return found


def movement(rng, held_out=False) -> tuple:
    """A random shape and the direction in which it moves."""
    while True:
        shape, direction = random_shapes(rng, 1)[0], rng.choice(k.DIRECTIONS)
        # The place is not part of what is held out: the shape moves through several.
        if is_held_out(movement_text(shape, direction)) == held_out:
            return shape, direction


def digit(rng, held_out=False) -> Digit:
    """A random digit. In training each number is equally frequent, also those of which many colours are held out."""
    number = rng.randint(0, 9)
    while True:
        found = Digit(number, rng.choice(DIGIT_COLOURS))
        if is_held_out(digit_text(found)) == held_out:
            return found
        if held_out:
            number = rng.randint(0, 9)


# What is asked about shapes. Pattern, answer, and the answer if there is no such shape.
NAME = "the shape's size, colour and form with \"a\""
SHAPE_ASKS = {
    "see": (
        ("What do you see?", "What is in the picture?"),
        "A {size} {colour} {shape}.", "",
        "all shapes in reading order: rows from the top, in a row from the left; two are joined by "
        "\" and \", three by \", \" and \" and \""),
    "colour": (
        ("What colour is the {shape}?",), "{colour}.", "There is no {shape}.", ""),
    "form": (
        ("Which shape is {colour}?",), "The {shape}.", "There is no {colour} shape.", ""),
    "where": (
        ("Where is the {shape}?",), "{place}.", "There is no {shape}.",
        "{place} is one of: " + ", ".join(k.PICTURE_PLACES.values())),
    "where exactly": (
        ("Where is the {colour} {shape}?",), "{place}.", "There is no {colour} {shape}.", ""),
    "size": (
        ("Is the {shape} big or small?",), "{size}.", "There is no {shape}.", ""),
    "count": (("How many shapes do you see?",), "{count}.", "", "{count} is one, two or three"),
    "is there": (("Is there a {shape}?",), "Yes.", "No.", ""),
    "is there exactly": (
        ("Is there {a colour} {shape}?",), "Yes.", "No.", "{a colour} is the colour with a or an"),
    "what is": (("What is {place}?",), "A {size} {colour} {shape}.", "Nothing.", ""),
}
DIGIT_ASKS = {
    "number": (("Which number do you see?", "What number is it?"), "{number}."),
    "see": (("What do you see?",), "The number {number}."),
    "colour": (("What colour is the number?",), "{colour}."),
}
VIDEO_ASKS = {
    "way": (("Where does it go?", "Which way does it move?"), "{direction}."),
    "what": (("What moves?",), "A {size} {colour} {shape}."),
}


def ask_shapes(rng, shapes, name=None) -> Exchange:
    """A random question about a scene. One in four is about something that is not there."""
    name = name or rng.choice(list(SHAPE_ASKS))
    asks, answer, otherwise, _ = SHAPE_ASKS[name]
    if name == "see":
        values, answer = {}, capital(listing(article(each.name) for each in shapes)) + "."
    elif name == "count":
        values = {"count": word(len(shapes))}
    else:
        values, present = about(rng, shapes, name)
        answer = answer if present else otherwise
    question = rng.choice(asks).format(**values)
    answer = capital(answer.format(**values).replace("A orange", "An orange"))
    return Exchange("picture", question, answer)


def about(rng, shapes, name) -> tuple:
    """The slots of a question, and whether the shapes have what it is about."""
    one = rng.choice(shapes)
    values = {"size": one.size, "colour": one.colour, "shape": one.shape, "place": one.place}
    present = rng.random() < (0.5 if name.startswith("is there") else 0.75)
    if not present:
        if name in ("form", "where exactly", "is there exactly"):
            used = [each.colour for each in shapes]
            values["colour"] = rng.choice([c for c in k.SHAPE_COLOURS if c not in used])
        elif name == "what is":
            used = [each.place for each in shapes]
            values["place"] = rng.choice([p for p in k.PICTURE_PLACES if p not in used])
        else:
            used = [each.shape for each in shapes]
            values["shape"] = rng.choice([s for s in k.SHAPES if s not in used])
    values["place"] = k.PICTURE_PLACES[values["place"]]
    values["a colour"] = article(values["colour"])
    return values, present


def ask_digit(rng, digit: Digit, name=None) -> Exchange:
    names = [each for each in DIGIT_ASKS if digit.has_name or each != "colour"]
    asks, answer = DIGIT_ASKS[name or rng.choice(names)]
    values = {"number": word(digit.number), "colour": digit.colour}
    return Exchange("digit", rng.choice(asks), capital(answer.format(**values)))


def ask_video(rng, shape: Shape, direction: str, name=None) -> Exchange:
    # The direction is what only a video shows, so it is asked most.
    name = name or rng.choice(["way", "way", "what"])
    asks, answer = VIDEO_ASKS[name]
    values = {
        "size": shape.size, "colour": shape.colour, "shape": shape.shape, "direction": direction}
    return Exchange("video", rng.choice(asks), capital(answer.format(**values)))
