"""Statements and lists of words: to hear and write down, and to repeat."""

import itertools

from . import knowledge as k
from .held_out import is_held_out
from .numbers import ORDINALS, word
from .text import article, capital, sentence

# They sound like another word, number or letter, which only a sentence can tell. A list has the
# other: four, two, no, right, and the letters.
SOUND_ALIKES = "a an are bee for know oh sea see to write you".split()
NUMBERS = [word(number) for number in range(101)]
SLOTS = {
    "object": (k.OBJECTS, "an object"), "spot": (k.SPOTS, "a spot"), "room": (k.ROOMS, "a room"),
    "name": (k.NAMES, "a name"), "colour": (k.SHAPE_COLOURS, "a colour of shapes"),
    "a colour": ([article(colour) for colour in k.SHAPE_COLOURS], "the same with a or an"),
    "day": (k.DAYS, "a day"), "month": (k.MONTHS, "a month"), "season": (k.SEASONS, "a season"),
    "age": (NUMBERS[1:100], "a number, 1 to 99"),
    "number": (NUMBERS, "a number, 0 to 100"),
    "small": (NUMBERS[:21], "a number, 0 to 20"),
    "hour": (NUMBERS[1:13], "a number, 1 to 12"),
    "device": (k.SWITCHED, "what can be turned on"), "state": (["on", "off"], "on or off"),
    "way": (k.MOVED, "what can be opened"), "closed": (["open", "closed"], "open or closed"),
    "animal": (list(k.ANIMALS), "an animal"), "size": (k.SIZES, "a size"),
    "shape": (k.SHAPES, "a shape"), "adjective": (k.ADJECTIVES, "an adjective"),
    "nth": (ORDINALS, "first to twelfth"), "letter": (k.LETTERS, "a letter"),
    "weather": ("hot cold wet dry".split(), "hot, cold, wet or dry"),
    "when": (["Today", "Tomorrow"], "Today or Tomorrow"),
}
PATTERNS = [
    "The {object} is on the {spot}.", "The {object} is on the {spot} in the {room}.",
    "The {object} is {adjective}.", "The {object} of {name} is {colour}.",
    "{name} has {a colour} {object}.", "{name} comes on {day}.", "{name} comes in {month}.",
    "{name} is {age} years old.", "{name} is in the {room}.",
    "The {device} in the {room} is {state}.", "The {way} in the {room} is {closed}.",
    "It is {hour} o'clock.", "{when} is {day}.", "Yesterday was {day}.",
    "In {season} it is {weather}.", "In {month} it is {weather}.",
    "The {animal} is in the {room}.", "The {animal} is {adjective}.",
    "I see a {size} {colour} {shape}.",
    "The number is {number}.", "{small} and {number}.", "The letter is {letter}.",
    "It is the {nth} of {month}.",
]


def slots_of(pattern: str) -> list:
    return [name for name in SLOTS if "{" + name + "}" in pattern]


def statements(pattern: str):
    """All statements of a pattern."""
    names = slots_of(pattern)
    for values in itertools.product(*(SLOTS[name][0] for name in names)):
        yield capital(pattern.format(**dict(zip(names, values))))


def word_list(rng, words) -> str:
    """One to five words of the world, or numbers, or letters, in any order."""
    words = [each for each in words if each not in SOUND_ALIKES]
    draw = rng.random()
    if draw < 0.5:
        chosen = [rng.choice(words) for _ in range(rng.choice([1, 1, 1, 2, 3, 4]))]
    elif draw < 0.8:
        top = rng.choice([9, 9, 20, 100])
        chosen = [word(rng.randint(0, top)) for _ in range(rng.choice([1, 2, 3, 4, 5]))]
    else:
        chosen = [rng.choice(k.LETTERS) for _ in range(rng.choice([1, 1, 2, 3, 4]))]
    return sentence(" ".join(chosen))


def is_single(text: str) -> bool:
    """A word alone is never held out, since all words are trained."""
    return " " not in text.strip()


def allowed(text: str, held_out: bool) -> bool:
    return (is_held_out(text) and not is_single(text)) == held_out


def statement(rng, held_out=False) -> str:
    """A random statement, from those that are trained or from those that are held out."""
    while True:
        pattern = rng.choice(PATTERNS)
        values = {name: rng.choice(SLOTS[name][0]) for name in slots_of(pattern)}
        text = capital(pattern.format(**values))
        if allowed(text, held_out):
            return text


def heard(rng, words, questions, held_out=False) -> str:
    """Anything that may be read aloud to be written down.

    words: of the world
    questions: a function that gives a random question; questions are never held out
    """
    while True:
        draw = rng.random()
        if draw < 0.35 or held_out:
            return statement(rng, held_out)
        if draw < 0.7:
            text = word_list(rng, words)
        elif draw < 0.8:
            return rng.choice(k.PHRASES)
        else:
            return questions(rng)
        if allowed(text, False):
            return text
