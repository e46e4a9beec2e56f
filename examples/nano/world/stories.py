"""Facts that are read aloud in long recordings, and the questions about them."""

from . import knowledge as k
from .held_out import is_held_out
from .numbers import word
from .text import UNKNOWN, Exchange, article, capital

# By kind of fact: its sentence, and what can be asked about it with the answer.
FACTS = {
    "place": (
        "The {object} is on the {spot} in the {room}.",
        (("Where is the {object}?", "On the {spot} in the {room}."),
         ("Which room is the {object} in?", "The {room}."))),
    "own": (
        "{name} has {a colour} {object}.",
        (("What does {name} have?", "{a colour} {object}."),
         ("What colour is the {object} of {name}?", "{colour}."))),
    "day": ("{name} comes on {day}.", (("When does {name} come?", "On {day}."),)),
    "age": ("{name} is {age} years old.", (("How old is {name}?", "{age}."),)),
}
MOST = 26


def values(rng) -> dict:
    colour = rng.choice(k.SHAPE_COLOURS)
    return {
        "object": rng.choice(k.OBJECTS), "spot": rng.choice(k.SPOTS), "room": rng.choice(k.ROOMS),
        "name": rng.choice(k.NAMES), "day": rng.choice(k.DAYS), "age": word(rng.randint(1, 99)),
        "colour": colour, "a colour": article(colour)}


def any_values(rng, words) -> dict:
    """Any words in the slots, one or two where a number stands: only a model that copies can know
    what such facts say."""
    found = dict(zip(("object", "spot", "room", "name", "day", "colour"), rng.choices(words, k=6)))
    age = " ".join(rng.choices(words, k=rng.randint(1, 2)))
    return found | {"name": capital(found["name"]), "age": age, "a colour": article(found["colour"])}


def facts(rng, count: int, held_out=False, draw=values) -> list:
    """Facts that do not contradict each other: (sentence, kind, values), at most 26.

    An object is in one fact, and a person in at most one fact of each kind. `draw` draws the values.
    """
    if not 1 <= count <= MOST:
        raise ValueError(f"{count} facts; a story has 1 to {MOST}")
    found, used = [], set()
    while len(found) < count:
        kind, slots = rng.choice(list(FACTS)), draw(rng)
        text = FACTS[kind][0].format(**slots)
        keys = {
            "place": {slots["object"]}, "own": {slots["object"], ("own", slots["name"])},
            "day": {("day", slots["name"])}, "age": {("age", slots["name"])}}[kind]
        if used & keys or is_held_out(text) != held_out:
            continue
        used |= keys
        found.append((text, kind, slots))
    return found


def story(rng, count: int, held_out=False, unknown=0.1) -> Exchange:
    """Facts and one question about one of them; with the given share, about something else.

    held_out: whether the fact that is asked about is one of the held out; the others never are
    """
    while True:
        found = facts(rng, count)
        if not held_out:
            return ask(rng, found, unknown)
        asked = facts(rng, 1, held_out=True)[0]
        found[rng.randrange(count)] = asked
        if consistent(found):
            return exchange(found, asked, *rng.choice(FACTS[asked[1]][1]))


def ask(rng, found, unknown=0.1, draw=values, about=None) -> Exchange:
    """A question about one of the facts, or the given one; with the given share, about something else."""
    if rng.random() >= unknown:
        asked = about or rng.choice(found)
        return exchange(found, asked, *rng.choice(FACTS[asked[1]][1]))
    while True:
        _, kind, _ = rng.choice(found)
        question, slots = rng.choice(FACTS[kind][1])[0], draw(rng)
        asked_about = question.format(**slots)
        if all(asked_about != question.format(**other) for _, each, other in found if each == kind):
            return exchange(found, (None, kind, slots), question, UNKNOWN)


def exchange(found, asked, question: str, answer: str) -> Exchange:
    slots, context = asked[2], " ".join(text for text, _, _ in found)
    return Exchange(
        "story", question.format(**slots), capital(answer.format(**slots)), context=context)


def consistent(found) -> bool:
    """Whether no object is in two facts and no person in two of one kind."""
    objects = [slots["object"] for _, kind, slots in found if kind in ("place", "own")]
    people = [(kind, slots["name"]) for _, kind, slots in found if kind != "place"]
    return len(set(objects)) == len(objects) and len(set(people)) == len(people)
