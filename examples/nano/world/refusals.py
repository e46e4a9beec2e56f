"""Questions of other things. The answer to each is "I do not know."."""

from . import knowledge as k
from . import sentences, strangers
from .numbers import word
from .scenes import Digit
from .text import UNKNOWN, Exchange, article, capital
from .stories import FACTS
from .stories import values as story_values

# The world's own patterns with a word from elsewhere.
FILLED = [
    "What colour is {a thing}?", "Which colour does {a thing} have?", "What does {an animal} say?",
    "How many legs does {an animal} have?", "Where does {an animal} live?",
    "What does {an animal} eat?", "What is the opposite of {adjective}?",
    "Tell me the opposite of {adjective}.", "How old is {name}?", "When does {name} come?",
    "What does {name} have?", "Where is the {thing}?", "Turn on the {device} in the {room}.",
    "Switch off the {room} {device}.", "Open the {thing} in the {room}.", "Go to the {thing}.",
    "Which day comes after {name}?", "Which month comes before {town}?",
    "How many {thing}s are in a week?", "How many wheels does {a thing} have?",
]
# The world's own words, asked about what they do not have.
MISMATCHED = [
    "What colour is {day}?", "What colour is {month}?", "Which day comes after {colour}?",
    "Which month comes before {animal}?", "What is {colour} plus {number}?",
    "How much is {object} minus {number}?", "How old is the {room}?", "What does the {object} eat?",
    "How many legs does the {room} have?", "What is the opposite of {day}?",
    "Which animal says {colour}?", "How many days are in {a shape}?", "Where does the {spot} live?",
    "Count from {colour} to {day}.", "Which letter comes after {room}?",
    "Open the {object}.", "Go to the {colour}.", "Turn on the {animal}.",
]
# Asked without the story or the picture that they are about.
PICTURELESS = [
    "What do you see?", "What is in the picture?", "What colour is the {shape}?",
    "Which shape is {colour}?", "Where is the {colour} {shape}?", "Is the {shape} big or small?",
    "How many shapes do you see?", "Is there {a shape}?", "Which number do you see?",
    "What number is it?", "Where does it go?", "Which way does it move?", "What moves?",
]
# Asked about a picture of shapes, and about one of a digit.
MISFIT = {
    tuple: ("Which number do you see?", "What number is it?", "What colour is the number?"),
    Digit: ("How many shapes do you see?", "Where does it go?"),
}
# Questions of other kinds.
OTHER = [
    "Who made the {thing}?", "Do you like {a thing}?", "Tell me about the {thing}.",
    "What is {a thing}?", "Can you {verb}?", "How much does {a thing} cost?",
    "Who is {name}?", "Is {name} {a person}?", "What does {a person} do?", "Sing me a song.",
    "Tell me a story.", "Tell me a joke.", "Do you know {name}?", "Is the {thing} {adjective}?",
    "How big is {a thing}?", "Where is {town}?", "Have you been to {town}?", "Why is it raining?",
    "What is the weather in {town}?", "Who was the first {person}?", "Is {an animal} {adjective}?",
    "Show me {a thing}.", "What is inside the {thing}?", "Which {thing} is the best?",
    "Do you {verb} in the {room}?", "What did {name} say about the {thing}?",
]
# Only in the held-out questions.
HELD_OUT_KINDS = [
    "When did the {person} learn to {verb}?", "How far is it to {town}?",
    "What is the capital of {town}?", "Why do people {verb}?",
    "Which is better, {a thing} or {a 2}?",
    "How do I repair {a thing}?", "Where can I buy {a thing}?", "Play some music for {name}.",
    "Explain the {thing} to {a person}.", "Should {a person} {verb} every morning?",
    "What happens if {an animal} meets {a person}?", "Send a letter to {name}.",
    "Book a room in {town}.", "How long does it take to {verb}?", "What is the price of {a thing}?",
    "Read the news from {town}.", "Did {name} find the {thing}?", "Who invented the {thing}?",
    "How heavy is {an animal}?", "Could {name} become {a person}?",
    "What do you think about {town}?", "Is it healthy to {verb}?", "Describe {a thing}.",
    "Why was the {person} so {adjective}?",
]
SUMS = ["What is {sum}?", "How much is {sum}?"]
TRAINED_KINDS = (
    "filled", "filled", "mismatched", "pictureless", "storyless", "other", "other", "sum",
    "statement")


def slots(rng, pool) -> dict:
    drawn = {name: rng.choice(words) for name, words in pool.items()}
    drawn["thing 2"] = rng.choice([each for each in pool["thing"] if each != drawn["thing"]])
    own = {
        "room": k.ROOMS, "day": k.DAYS, "month": k.MONTHS, "colour": k.SHAPE_COLOURS,
        "object": k.OBJECTS, "spot": k.SPOTS, "shape": k.SHAPES}
    drawn |= {name: rng.choice(words) for name, words in own.items()}
    return drawn | {
        "number": word(rng.randint(0, 20)), "a thing": article(drawn["thing"]),
        "a 2": article(drawn["thing 2"]), "an animal": article(drawn["animal"]),
        "a person": article(drawn["person"]), "a shape": article(drawn["shape"])}


def refuse(question: str) -> Exchange:
    return Exchange("unknown", capital(question), UNKNOWN)


def refusal(rng, kind=None) -> Exchange:
    """A question for training."""
    kind = kind or rng.choice(TRAINED_KINDS)
    drawn = slots(rng, strangers.TRAINED)
    if kind == "mismatched":
        drawn["animal"] = rng.choice(list(k.ANIMALS))
    if kind == "storyless":
        asks = rng.choice(list(FACTS.values()))[1]
        return refuse(rng.choice(asks)[0].format(**story_values(rng)))
    if kind == "sum":
        return refuse(rng.choice(SUMS).format(sum=sum_beyond(rng)))
    if kind == "statement":
        # Nothing is asked.
        return refuse(sentences.statement(rng))
    patterns = {
        "filled": FILLED, "mismatched": MISMATCHED, "pictureless": PICTURELESS, "other": OTHER}
    return refuse(rng.choice(patterns[kind]).format(**drawn))


def sum_beyond(rng) -> str:
    """A sum of tens, or of 0 to 20 with a result above 20 or below 0."""
    sign = rng.choice(["plus", "minus"])
    a, b = 10 * rng.randint(3, 9), 10 * rng.randint(3, 9)
    if rng.random() < 0.6:
        b = rng.randint(1, 20)
        a = rng.randint(21 - b, 20) if sign == "plus" else rng.randint(0, b - 1)
    return f"{word(a)} {sign} {word(b)}"


def held_out_refusal(rng) -> Exchange:
    """A question whose words, and in three of four questions whose pattern, training has not."""
    drawn = slots(rng, strangers.HELD_OUT)
    pattern = rng.choice(HELD_OUT_KINDS if rng.random() < 0.75 else FILLED)
    return refuse(pattern.format(**drawn))
