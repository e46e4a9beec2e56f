"""Items of data sets: conversations of the world with their media, as `lyra train` reads them.

An item is made from a seed, a kind and an index alone, so that any part of a set can be made anew.
"""

import json
import random
from pathlib import Path

import numpy as np

from . import drawing, files, others, pictures, refusals, scenes, sentences, stories, words
from .held_out import is_exchange_held_out, is_held_out
from .questions import FAMILIES, WEIGHTS
from .text import UNKNOWN, Exchange, sentence, spoken

KINDS = ("text", "drills", "pictures", "videos", "refusals")


def rng_of(seed, kind, index) -> random.Random:
    return random.Random(f"{seed} {kind} {index}")


def numpy_rng(rng):
    return np.random.default_rng(rng.getrandbits(64))


# MARK: Text


def question(rng, kind=None, weights=WEIGHTS) -> Exchange:
    """A question of the families that training may contain; of one kind, or of a random one."""
    kind = kind or rng.choices(list(weights), list(weights.values()))[0]
    family = rng.choice([family for family in FAMILIES if family.kind == kind])
    while True:
        found = family.choose(rng)
        if not is_exchange_held_out(family, found):
            return found


def spoken_question(rng, weights=WEIGHTS) -> Exchange:
    """One that can be read aloud."""
    while True:
        found = question(rng, weights=weights)
        if found.is_spoken:
            return found


def heard(rng, held_out=False) -> str:
    return sentences.heard(
        rng, words.written(), lambda rng: spoken_question(rng).question, held_out)


def transcription(rng) -> Exchange:
    """A sentence: the words as they are heard, and its written form as the answer."""
    text = heard(rng)
    return Exchange("transcribe", rng.choice(words.TRANSCRIBE), text, context=spoken(text))


def repetition(rng, held_out=False) -> Exchange:
    statement = sentences.statement(rng, held_out)
    return Exchange("repeat", rng.choice(words.REPEAT).format(statement=statement), statement)


def scene_question(rng) -> Exchange:
    """A question about a scene that words describe."""
    draw = rng.random()
    if draw < 0.8:
        shapes = scenes.shapes(rng)
        found, context = scenes.ask_shapes(rng, shapes), scenes.scene_text(shapes)
    elif draw < 0.9:
        digit = scenes.digit(rng)
        found, context = scenes.ask_digit(rng, digit), scenes.digit_text(digit)
    else:
        moving = scenes.movement(rng)
        found, context = scenes.ask_video(rng, *moving), scenes.movement_text(*moving)
    return Exchange(found.kind, found.question, found.answer, context=context)


def story(rng) -> Exchange:
    return stories.story(rng, rng.choice([1, 2, 2, 3, 3, 4, 5, 6, 8]))


TEXT_SOURCES = {
    question: 8, transcription: 4, repetition: 1.5, scene_question: 3, story: 2.5,
    refusals.refusal: 2,
}


def text_exchange(rng) -> Exchange:
    return rng.choices(list(TEXT_SOURCES), list(TEXT_SOURCES.values()))[0](rng)


def copying(rng) -> Exchange:
    """Words in any order to repeat or to write down: only a model that copies can know them."""
    while True:
        text = sentence(" ".join(rng.choices(words.written(), k=rng.randint(2, 12))))
        if not is_held_out(text):
            break
    if rng.random() < 0.5:
        return Exchange("repeat", rng.choice(words.REPEAT).format(statement=text), text)
    return Exchange("transcribe", rng.choice(words.TRANSCRIBE), text, context=spoken(text))


def stretched(rng, text: str) -> str:
    """The words of a text as a speech tower hears them, a tenth of a second at a time: each word some times, and
    silence."""
    def silence(most):
        return "~" * rng.randint(0, most)

    said = [f" {word}" * rng.randint(1, 6) + silence(rng.choice([0, 0, 2])) for word in spoken(text).split()]
    return silence(5) + "".join(said) + silence(8)


def slow_exchange(rng) -> Exchange:
    """A question, or a sentence to write down, that comes stretched: a first exercise in hearing."""
    if rng.random() < 0.5:
        text = heard(rng)
        return Exchange("transcribe", rng.choice(words.TRANSCRIBE), text, context=stretched(rng, text), is_spoken=False)
    found = spoken_question(rng)
    return Exchange(found.kind, stretched(rng, found.question), found.answer, is_spoken=False)


def any_words(rng) -> dict:
    """Values of a story that may be any words of the world."""
    return stories.any_values(rng, words.written())


def about_a_story(rng) -> list:
    """Questions about different facts of a story. Most stories are short, and a third has any words."""
    draw = rng.choice([stories.values, stories.values, any_words])
    shortest, longest = rng.choice([(2, 5), (2, 5), (6, 10), (11, stories.MOST)])
    return about_facts(rng, stories.facts(rng, rng.randint(shortest, longest), draw=draw), draw)


def about_facts(rng, found, draw=stories.values, most=8) -> list:
    """Questions about different ones of these facts, at most so many: the more of a story is asked, the sooner a model
    learns to find a fact."""
    asked = [
        stories.ask(rng, found, draw=draw, about=about)
        for about in rng.sample(found, min(len(found), most))]
    # The context stands only before the first question.
    return [asked[0]] + [Exchange(each.kind, each.question, each.answer) for each in asked[1:]]


def slow_story(rng) -> list:
    """A story that comes stretched, and questions about it, the first one stretched too or not: what a long recording
    brings, and an exercise that takes a small part of its time."""
    draw = rng.choice([stories.values, stories.values, any_words])
    found = stories.facts(rng, rng.randint(*rng.choice([(1, 3), (2, 6), (4, 10), (8, 20)])), draw=draw)
    first, *others = about_facts(rng, found, draw)
    question = stretched(rng, first.question) if rng.random() < 0.5 else first.question
    slow = Exchange("slow story", question, first.answer, context=stretched(rng, first.context), is_spoken=False)
    return [slow] + others


def told_again(rng) -> tuple:
    """A story, and many questions with their answers in one turn: a model learns to find facts from millions of
    examples, and these are the shortest. → the texts of the human's turn and of the model's"""
    draw = rng.choice([stories.values, stories.values, any_words])
    found = stories.facts(rng, rng.randint(2, rng.choice([12, 12, stories.MOST])), draw=draw)
    asked = [stories.ask(rng, found, unknown=0.05, draw=draw) for _ in range(rng.randint(8, 24))]
    return asked_again(rng, spoken(asked[0].context) if rng.random() < 0.5 else asked[0].context, asked)


def seen_again(rng) -> tuple:
    """The same about shapes that words describe."""
    shapes = scenes.shapes(rng)
    asked = [scenes.ask_shapes(rng, shapes) for _ in range(rng.randint(8, 24))]
    return asked_again(rng, scenes.scene_text(shapes), asked)


def asked_again(rng, context: str, asked) -> tuple:
    plain = rng.random() < 0.5
    lines = [f"{spoken(each.question) if plain else each.question} {each.answer}" for each in asked]
    return f"{context}\nAsk and answer.", " ".join(lines)


def pairs(rng) -> tuple:
    """Pairs of words in any order, again and again: the second word of each has to be found. → the same two texts"""
    keys = rng.sample(words.vocabulary(), rng.randint(3, 14))
    told = [f"{key} {rng.choice(words.vocabulary())}." for key in keys]
    return f"{' '.join(told)}\nGo on.", " ".join(rng.choices(told, k=rng.randint(20, 50)))


def typed(rng, exchange: Exchange) -> str:
    """The text of the human's turn.

    Half of the questions and contexts are words as they are heard, without capitals and
    punctuation, so that the language model knows what speech will bring.
    """
    context, ask = exchange.context, exchange.question
    if exchange.is_spoken and exchange.kind != "transcribe" and rng.random() < 0.5:
        ask = spoken(ask)
    if context and exchange.kind == "story" and rng.random() < 0.5:
        context = spoken(context)
    return f"{context}\n{ask}" if context else ask


def turns(*pairs) -> list:
    """The conversation of questions and answers."""
    return [
        {"from": side, "value": text}
        for pair in pairs for side, text in zip(("human", "gpt"), pair)]


def text_item(rng, name, folder) -> dict:
    found = [text_exchange(rng)]
    # Some conversations have a second question; only the first may have a context.
    if rng.random() < 0.25:
        found.append(question(rng))
    pairs = [(typed(rng, each), each.answer) for each in found]
    return {"conversations": turns(*pairs), "kind": found[0].kind}


def drill_item(rng, name, folder) -> dict:
    """What takes the most practice: finding facts, hearing, copying, and sums."""
    draw = rng.random()
    told = ((0.12, "pairs", pairs), (0.32, "told again", told_again), (0.46, "seen again", seen_again))
    for limit, kind, make in told:
        if draw < limit:
            return {"conversations": turns(make(rng)), "kind": kind}
    if draw < 0.58:
        asked = about_a_story(rng)
    elif draw < 0.7:
        asked = slow_story(rng)
    elif draw < 0.8:
        asked = [slow_exchange(rng) for _ in range(2)]
    elif draw < 0.86:
        asked = [copying(rng) for _ in range(rng.randint(1, 3))]
    else:
        asked = [question(rng, rng.choice(["sum", "sum", "sum", "order"])) for _ in range(4)]
    pairs_of = [(typed(rng, each), each.answer) for each in asked]
    return {"conversations": turns(*pairs_of), "kind": asked[0].kind}


def refusal_item(rng, name, folder) -> dict:
    """A question or a picture of other things, or a question that does not fit its picture."""
    draw = rng.random()
    if draw < 0.45:
        found = refusals.refusal(rng)
        return {"conversations": turns((typed(rng, found), UNKNOWN)), "kind": "unknown"}
    if draw < 0.8:
        return other_picture_item(rng, name, folder, rng.choice(others.TRAINED))
    return misfit_item(rng, name, folder)


# MARK: Pictures and videos


def save(folder: Path, name: str, data: bytes) -> str:
    """Writes a media file. → its path from the data set's folder"""
    path = folder / "media" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"media/{name}"


def image_turns(mark, asked) -> list:
    pairs = [(each.question, each.answer) for each in asked]
    pairs[0] = (f"<{mark}>\n{pairs[0][0]}", pairs[0][1])
    return turns(*pairs)


def picture_scene(rng):
    """Shapes or a digit. Half of the digits have a colour without a name: otherwise a number and a colour that are
    never trained together would be learned as never together."""
    if rng.random() >= 0.3:
        return scenes.shapes(rng)
    found = scenes.digit(rng)
    return scenes.Digit(found.number, drawing.nameless(rng)) if rng.random() < 0.5 else found


def picture_item(rng, name, folder, scene=None, asked=None, questions=(3, 8)) -> dict:
    """A picture of shapes or of a digit, and how many questions: a tower takes longer for a picture than they do."""
    scene = scene or picture_scene(rng)
    is_digit = isinstance(scene, scenes.Digit)
    if asked is None:
        ask = scenes.ask_digit if is_digit else scenes.ask_shapes
        asked = [ask(rng, scene) for _ in range(rng.randint(*questions))]
    generator = numpy_rng(rng)
    draw = pictures.digit if is_digit else pictures.scene
    drawn, labels = draw(generator, scene, *pictures.random_size(generator))
    return {
        "conversations": image_turns("image", asked), "kind": asked[0].kind,
        "image": save(folder, f"{name}.png", files.png(drawn)),
        "row_labels": runs(labels)}


def other_picture_item(rng, name, folder, kind, ask=None) -> dict:
    generator = numpy_rng(rng)
    drawn, labels = others.picture(generator, kind, *pictures.random_size(generator))
    asked = Exchange("unknown picture", ask or rng.choice(others.ASKS), UNKNOWN)
    return {
        "conversations": image_turns("image", [asked]), "kind": asked.kind,
        "image": save(folder, f"{name}.png", files.png(drawn)),
        "row_labels": runs(labels)}


def misfit_item(rng, name, folder) -> dict:
    """A picture of the world with a question that it does not answer."""
    scene = scenes.digit(rng) if rng.random() < 0.3 else scenes.shapes(rng)
    if rng.random() < 0.6:
        question = refusals.refusal(rng, rng.choice(["filled", "other"])).question
    else:
        question = rng.choice(refusals.MISFIT[type(scene)])
    asked = [Exchange("unknown picture", question, UNKNOWN)]
    return picture_item(rng, name, folder, scene, asked)


def video_item(rng, name, folder, moving=None, asked=None) -> dict:
    shape, direction = moving or scenes.movement(rng)
    asked = asked or [scenes.ask_video(rng, shape, direction) for _ in range(rng.randint(1, 3))]
    generator = numpy_rng(rng)
    side = pictures.random_video_side(generator)
    frames, labels = pictures.video(generator, shape, direction, side, side)
    return {
        "conversations": image_turns("video", asked), "kind": "video",
        "video": save(folder, f"{name}.avi", files.avi(frames, pictures.RATE)),
        "row_labels": runs(labels)}


def runs(labels: dict) -> dict:
    """Labels of rows, with [label, count] for several equal ones."""
    packed = {}
    for head, numbers in labels.items():
        pieces = []
        for number in numbers:
            if pieces and pieces[-1][0] == number:
                pieces[-1][1] += 1
            else:
                pieces.append([number, 1])
        packed[head] = [piece[0] if piece[1] == 1 else piece for piece in pieces]
    return packed


# MARK: Sets


MAKERS = {
    "text": text_item, "drills": drill_item, "pictures": picture_item, "videos": video_item,
    "refusals": refusal_item,
}


def item(seed, kind, index, folder: Path) -> dict:
    """An item. Its media are named after it."""
    name = f"{kind}-{seed}-{index}"
    return {"id": name} | MAKERS[kind](rng_of(seed, kind, index), name, folder)


def write(path: Path, items) -> int:
    """Writes items as JSON lines. → how many"""
    count = 0
    partial = path.with_suffix(".partial")
    with open(partial, "w", encoding="utf-8") as file:
        for each in items:
            file.write(json.dumps(each, ensure_ascii=False) + "\n")
            count += 1
    partial.replace(path)
    return count
