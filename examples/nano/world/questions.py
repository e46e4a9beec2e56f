"""What can be asked in words alone, and what the right answer is."""

from . import knowledge as k
from .numbers import ORDINALS, word
from .text import Family, article


def sums():
    plus = tuple(
        {"a": word(a), "b": word(b), "c": word(a + b), "A": a, "B": b}
        for a in range(21) for b in range(21 - a))
    minus = tuple(
        {"a": word(a), "b": word(b), "c": word(a - b), "A": a, "B": b}
        for a in range(21) for b in range(a + 1))
    for sign, symbol, cases, rule in (
            ("plus", "+", plus, "{a} and {b} are 0 to 20 and so is the sum {c}"),
            ("minus", "-", minus, "{a} is 0 to 20, {b} is 0 to {a}, {c} is the difference")):
        asks = (
            f"What is {{a}} {sign} {{b}}?", f"How much is {{a}} {sign} {{b}}?")
        yield Family(
            "sum", sign, asks, "{c}.", cases, rule + "; {A} and {B} are digits",
            typed=(f"What is {{A}} {symbol} {{B}}?",))


def counting():
    cases = []
    for length in range(3, 9):
        for first in range(22 - length):
            up = [word(number) for number in range(first, first + length)]
            for numbers in (up, up[::-1]):
                cases.append(
                    {"a": numbers[0], "b": numbers[-1], "numbers": ", ".join(numbers)})
    yield Family(
        "count", "count", ("Count from {a} to {b}.", "Please count from {a} to {b}."),
        "{numbers}.", tuple(cases),
        "{a} and {b} are 0 to 20, two to seven apart; {numbers} are all from {a} to {b}, up or "
        "down, with commas between them")


def next_to(name, things, ring, one):
    """What comes after and before each thing, around a ring or on a line."""
    cases = []
    for index, thing in enumerate(things):
        if ring or index + 1 < len(things):
            after = things[(index + 1) % len(things)]
            cases.append({"thing": thing, "where": "after", "answer": after})
        if ring or index > 0:
            cases.append({"thing": thing, "where": "before", "answer": things[index - 1]})
    end = "the first comes after the last" if ring else "nothing is asked beyond the ends"
    return Family(
        "order", name,
        (f"Which {name} comes {{where}} {{thing}}?", f"What {name} is {{where}} {{thing}}?"),
        "{answer}.", tuple(cases), f"{{where}} is after or before; {{thing}} is {one}; {end}")


def order():
    yield next_to("day", k.DAYS, True, "a day of the week")
    yield next_to("month", k.MONTHS, True, "a month")
    yield next_to("season", k.SEASONS, True, "a season, in the order " + ", ".join(k.SEASONS))
    yield next_to("letter", k.LETTERS, False, "a letter, A to Z")
    yield next_to("number", [word(n) for n in range(101)], False, "a number, 0 to 100")
    hours = [f"{word(hour)} o'clock" for hour in range(1, 13)]
    yield next_to("hour", hours, True, "one o'clock to twelve o'clock")
    for name, things, whole in (("day", k.DAYS, "week"), ("month", k.MONTHS, "year")):
        yield Family(
            "order", f"{name} by number", (f"What is the {{nth}} {name} of the {whole}?",),
            "{thing}.",
            tuple({"nth": nth, "thing": thing} for nth, thing in zip(ORDINALS, things)),
            f"{{nth}} is {ORDINALS[0]} to {ORDINALS[len(things) - 1]}")
    yield Family(
        "order", "today", ("If today is {day}, which day is {when}?",), "{answer}.",
        tuple(
            {"day": day, "when": when, "answer": k.DAYS[(index + step) % 7]}
            for index, day in enumerate(k.DAYS)
            for when, step in (("tomorrow", 1), ("yesterday", -1))),
        "{when} is tomorrow or yesterday; {day} is a day of the week")


def facts():
    yield Family(
        "fact", "colours", ("What colour is {thing}?", "Which colour does {thing} have?"),
        "{colour}.",
        tuple({"thing": thing, "colour": colour} for thing, colour in k.THING_COLOURS.items()),
        "listed below")
    animals = tuple(
        {"animal": article(name), "sound": sound, "legs": word(legs), "home": home, "food": food}
        for name, (sound, legs, home, food) in k.ANIMALS.items())
    for name, ask, answer in (
            ("animals' sounds", "What does {animal} say?", "{sound}."),
            ("animals by sound", "Which animal says {sound}?", "{animal}."),
            ("animals' legs", "How many legs does {animal} have?", "{legs}."),
            ("animals' homes", "Where does {animal} live?", "{home}."),
            ("animals' food", "What does {animal} eat?", "{food}.")):
        yield Family("fact", name, (ask,), answer, animals, "listed below")
    yield Family(
        "fact", "opposites",
        ("What is the opposite of {one}?", "Tell me the opposite of {one}."), "{other}.",
        tuple(
            {"one": one, "other": other}
            for pair in k.OPPOSITES for one, other in (pair, pair[::-1])),
        "listed below")
    for name, table, ask in (
            ("counts", k.COUNTS, "How many {things} are in {whole}?"),
            ("parts", k.PARTS, "How many {things} does {whole} have?")):
        yield Family(
            "fact", name, (ask,), "{number}.",
            tuple(
                {"things": things, "whole": whole, "number": word(number)}
                for (things, whole), number in table.items()),
            "listed below")


def commands():
    yield Family(
        "command", "switch",
        ("Turn {state} the {device} in the {room}.", "Switch {state} the {room} {device}.",
         "Please turn the {device} in the {room} {state}."),
        "{device}.{state} {room}",
        tuple(
            {"device": device, "room": room, "state": state}
            for device in k.SWITCHED for room in k.ROOMS for state in ("on", "off")),
        "{state} is on or off; {device} is " + ", ".join(k.SWITCHED) + "; {room} is a room",
        held_by="answer")
    yield Family(
        "command", "open",
        ("{verb} the {thing} in the {room}.", "Please {verb} the {room} {thing}."),
        "{thing}.{verb} {room}",
        tuple(
            {"verb": verb, "thing": thing, "room": room}
            for verb in ("open", "close") for thing in k.MOVED for room in k.ROOMS),
        "{verb} is open or close; {thing} is " + ", ".join(k.MOVED) + "; {room} is a room",
        held_by="answer")
    yield Family(
        "command", "go", ("Go to the {place}.", "Drive to the {place}."), "go {place}",
        tuple({"place": place} for place in k.PLACES), "{place} is a room or the charger")
    yield Family(
        "command", "heat",
        ("Set the heater in the {room} to {number}.", "Heat the {room} to {number} degrees."),
        "heater.set {room} {digits}",
        tuple(
            {"room": room, "number": word(number), "digits": number}
            for room in k.ROOMS for number in range(10, 31)),
        "{room} is a room; {number} is 10 to 30 in words and {digits} the same in digits",
        held_by="answer")
    yield Family(
        "command", "timer", ("Set a timer for {number} {unit}.",), "timer.set {digits} {unit}",
        tuple(
            {"number": word(number), "digits": number, "unit": unit}
            for number in range(2, 61) for unit in ("minutes", "seconds")),
        "{number} is 2 to 60 in words and {digits} the same in digits; {unit} is minutes or "
        "seconds", held_by="answer")


SOCIAL = [
    ("Hello.", "Hello!"), ("Good morning.", "Good morning!"), ("Good evening.", "Good evening!"),
    ("Thank you.", "You are welcome."), ("Goodbye.", "Goodbye!"), ("Who are you?", "I am Nano."),
    ("What is your name?", "My name is Nano."), ("How are you?", "I am well, thank you."),
    ("What can you do?", "I can hear, see and speak."),
]


def social():
    yield Family(
        "social", "social", ("{question}",), "{answer}",
        tuple({"question": question, "answer": answer} for question, answer in SOCIAL),
        "listed below")


FAMILIES = tuple(
    family for make in (sums, counting, order, facts, commands, social) for family in make())
# How often each kind is drawn.
WEIGHTS = {"sum": 3, "count": 1.5, "order": 3, "fact": 3, "command": 4, "social": 0.5}
