"""Writes the complete description of the world, WORLD.md, from the tables that make the data.

    python3 -m world.describe > WORLD.md
"""

from . import drawing, evaluation, others, pictures, refusals, scenes, sentences, stories
from . import knowledge as k
from . import strangers
from .describe_speech import speech_section
from .markdown import table
from .numbers import ORDINALS
from .questions import FAMILIES
from .text import UNKNOWN
from .words import REPEAT, TRANSCRIBE, vocabulary

INTRODUCTION = f"""\
# The world that Nano knows

This file is all that Nano knows. It lists each word, each pattern of a question and what the
answer is, word for word. It is written by `python3 -m world.describe` from
the tables that make the training data; a test compares them.

- `{{slots}}` in a pattern stand for the values that its row gives.
- A question can be typed as it is written here, or in lower case without punctuation, or it can be
  read aloud: a recording alone, without any typed text, is the question.
- An answer is exactly as it is written here: a capital letter, a full stop, numbers in words. Only
  commands have answers of another form, with digits.
- Numbers are read and written in words: 21 is "twenty one", 100 is "one hundred".
- To anything else the answer is "{UNKNOWN}"
- A prompt has media first: a picture or a video, then a recording, then typed text.
"""


def joined(words) -> str:
    return ", ".join(words)


def patterns(asks) -> str:
    return "<br>".join(asks)


def vocabulary_section() -> str:
    values = [
        ("days", k.DAYS), ("months", k.MONTHS), ("seasons", k.SEASONS), ("ordinals", ORDINALS),
        ("letters", k.LETTERS), ("rooms", k.ROOMS), ("objects", k.OBJECTS), ("spots", k.SPOTS),
        ("names", k.NAMES), ("animals", k.ANIMALS), ("what can be turned on", k.SWITCHED),
        ("what can be opened", k.MOVED), ("adjectives", k.ADJECTIVES),
        ("colours of things", k.COLOURS), ("colours of shapes", k.SHAPE_COLOURS),
        ("shapes", k.SHAPES), ("sizes", k.SIZES), ("directions", k.DIRECTIONS)]
    words = vocabulary()
    return (
        "## Words\n\n" + table(("what", "words"), [(name, joined(each)) for name, each in values])
        + f"\nAll {len(words)} words, in lower case:\n\n" + " ".join(words) + "\n")


def questions_section() -> str:
    rows = [
        (family.kind, patterns(family.asks)
         + "".join(f"<br>{ask} (typed only)" for ask in family.typed),
         family.answer, family.rule) for family in FAMILIES]
    text = "## Questions in words\n\n" + table(("kind", "question", "answer", "where"), rows)
    for family in FAMILIES:
        if family.rule == "listed below":
            used = [
                slot for slot in family.cases[0]
                if "{" + slot + "}" in family.answer + "".join(family.asks)]
            cases = "; ".join(
                " – ".join(str(case[slot]) for slot in used) for case in family.cases)
            text += f"\n{family.name} ({' – '.join(used)}): {cases}\n"
    return text


def statements_section() -> str:
    slots = [
        (f"`{{{name}}}`", meaning, joined(values) if len(values) < 12 else "as above")
        for name, (values, meaning) in sentences.SLOTS.items()]
    return (
        "## Statements: to write down and to repeat\n\n"
        f"Typed beside a recording: {' or '.join(map(repr_of, TRANSCRIBE))} The answer is the "
        "text of the recording as it is written, with capitals and punctuation. In text alone the "
        "words come first, in lower case without punctuation, then a line break and the prompt.\n\n"
        f"To repeat, typed or read aloud: {' or '.join(map(repr_of, REPEAT))} The answer is the "
        "statement.\n\n"
        "What may be heard: statements of these patterns; every question and command of this file; "
        "lists of 1 to 4 words of the world, 1 to 5 numbers, or 1 to 4 letters, in any order, with "
        "spaces between them, a capital letter and a full stop (\"Seven two nine.\"; none of the "
        f"words that sound like others: {joined(sentences.SOUND_ALIKES)}); and the phrases below."
        " Statements that are to be repeated have these patterns only.\n\n"
        + table(("pattern",), [(pattern,) for pattern in sentences.PATTERNS]) + "\n"
        + table(("slot", "what", "values"), slots) + "\nPhrases: " + " ".join(k.PHRASES) + "\n")


def repr_of(text: str) -> str:
    return f'"{text}"'


def stories_section() -> str:
    rows = [(fact, patterns(f"{ask} → {answer}" for ask, answer in asks))
            for fact, asks in stories.FACTS.values()]
    return (
        f"## Stories\n\n1 to {stories.MOST} facts are read aloud or typed, then one question is "
        "asked, read aloud in the same recording, or typed after it on a line of its own. An "
        "object is in one fact only; a person is in at most one fact of each kind. Asked about "
        f"something that no fact says, Nano answers \"{UNKNOWN}\" Slots have the values of the "
        "table above; the answer begins with a capital letter.\n\n"
        + table(("fact", "question → answer"), rows))


def pictures_section() -> str:
    def percent(pair, times=2):
        return " to ".join(f"{100 * times * each:g}" for each in pair)
    colours = joined(
        f"{name} {drawing.COLOURS[name]}" for name in scenes.DIGIT_COLOURS)
    grounds = joined(f"{kind} ({text})" for kind, text in drawing.BACKGROUNDS.items())
    shape_rows = [
        (patterns(asks), answer, otherwise or "–", note or "–")
        for asks, answer, otherwise, note in scenes.SHAPE_ASKS.values()]
    digit_rows = [(patterns(asks), answer) for asks, answer in scenes.DIGIT_ASKS.values()]
    video_rows = [(patterns(asks), answer) for asks, answer in scenes.VIDEO_ASKS.values()]
    return f"""\
## Pictures

1 to 3 shapes, or one digit. A picture is PNG, {pictures.SIDE} × {pictures.SIDE} pixels, or 90 to
300 pixels wide and high with sides at most 4 to 3.

- Shapes: circle, square, triangle (a corner on top), star (five points), filled with one colour,
  turned by at most 7° (a star 11°), with smooth edges and no outline.
- Colours (RGB, each ±14): {colours}. Black and white are colours of digits only.
- Sizes, as the width of a circle in parts of the picture's shorter side: small is
  {percent(pictures.RADII["small"])} %, big is {percent(pictures.RADII["big"])} %. Other shapes have
  about the same area as seen: corners are 1.25 times as far from the centre as a circle's edge.
- Places: the picture is 3 × 3 fields; a shape is in the middle of a field, off by at most
  {100 * pictures.OFFSETS["small"]:g} % (small) or {100 * pictures.OFFSETS["big"]:g} % (big) of the
  picture. The fields, row by row: {joined(k.PICTURE_PLACES)}.
- In a picture no two shapes have the same colour, the same form or the same place.
- Backgrounds: {grounds}.
  Their colours (RGB, ±8): {joined(map(str, drawing.GROUNDS))}; at least {drawing.CONTRAST} away,
  as the distance in RGB, from the colour of each shape.
- Digits: 0 to 9, one in a picture, written with a round pen 8 to 19 % as thick as the digit is
  high, 40 to 75 % as high as the picture, slanted by -0.08 to 0.22, near the middle.

Asked about shapes ({{place}} is "at the top left" and so on; {{size}}, {{colour}} and {{shape}} are
the words above; "A" is "An" before orange):

{table(("question", "answer", "answer if there is none", "where"), shape_rows)}
Asked about a digit ({{number}} is zero to nine):

{table(("question", "answer"), digit_rows)}
## Videos

One shape moves {joined(k.DIRECTIONS[:-1])} or {k.DIRECTIONS[-1]} on a still background, in a
straight line by {percent(pictures.TRAVEL, 1)} % of the width or height, with even speed. A video
has {pictures.FRAMES} frames, {pictures.RATE} in a second, {pictures.SIDE} × {pictures.SIDE} pixels
or square with sides of {pictures.VIDEO_SIDES[0]} to {pictures.VIDEO_SIDES[1]}, as AVI.

{table(("question", "answer"), video_rows)}"""


def unknown_section() -> str:
    trained = joined(word for group in strangers.TRAINED.values() for word in group)
    return f"""\
## Other things

The answer is "{UNKNOWN}" to questions whose words or things are not in this file, to the world's
words in questions that make no sense, to sums of numbers above 20 or with a result above 20 or
below 0, to a statement in which nothing is asked, to questions about a picture or a story that is
not there, to questions about pictures of other things, and to questions that do not fit a picture
of the world. In training those about shapes are: {" ".join(refusals.MISFIT[tuple])} Those about a
digit: {" ".join(refusals.MISFIT[scenes.Digit])} About both: questions with words from elsewhere.

Kinds of questions in training: the world's patterns with other words; the world's words mixed up;
questions about a picture or a story without it; other questions; sums beyond 0 to 20 and of tens;
statements, with nothing else. The patterns of the others:

{listed(refusals.FILLED + refusals.MISMATCHED + refusals.PICTURELESS + refusals.OTHER)}

Other words in training: {trained}.

Kinds of pictures in training: {joined(others.TRAINED)}. Asked: {" ".join(others.ASKS)}

The held-out questions have other words and mostly other patterns, the held-out pictures other
kinds; both are in `heldout/`.
"""


def listed(lines) -> str:
    return "\n".join(f"- {line}" for line in lines)


def held_out_section() -> str:
    rows = [
        (f"heldout/{name}.jsonl", len(evaluation.read(name)), meaning)
        for name, meaning in (
            ("questions", "questions whose facts are trained; the voices are what is new"),
            ("commands", "commands whose answers training never has"),
            ("sentences", "statements to hear, write down and repeat"),
            ("stories", "stories; the fact that is asked about is held out"),
            ("scenes", "pictures of shapes and digits, and a question about each"),
            ("movements", "videos, and a question about each"),
            ("refusals", "questions of other things"),
            ("other_pictures", "pictures of other things"),
            ("human", "recordings of a woman in Debian's asterisk-core-sounds-en-g722, and their "
             "words; never trained on"))]
    return f"""\
## What is held out

Facts, sums and orders are all trained. A statement, the answer of a command that sets or switches
something, the scene of a picture and the movement in a video are held out if SHA-256 of their text
(in lower case, letters, digits and apostrophes only, one space between words), read as one number
with the first byte highest, is divisible by 10. The text of a scene is "A big red circle at the
top. A small blue star in the middle.", in reading order; of a digit "The number seven in red."; of
a movement "A big red circle moves left.". A word alone is never held out.

{table(("file", "lines", "what"), rows)}"""


def world() -> str:
    return "\n".join((
        INTRODUCTION, vocabulary_section(), questions_section(), statements_section(),
        stories_section(), pictures_section(), speech_section(), unknown_section(),
        held_out_section()))


if __name__ == "__main__":
    print(world(), end="")
