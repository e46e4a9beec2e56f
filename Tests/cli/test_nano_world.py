"""Nano's world: what training sets contain, what they never contain, and that WORLD.md is right."""

import hashlib
import io
import itertools
import json
import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from support import ROOT, lyra, read_safetensors

NANO = ROOT / "examples/nano"
sys.path.insert(0, str(NANO))

import make_data  # noqa: E402
import make_tokenizer  # noqa: E402
from world import (  # noqa: E402
    describe, digits, drawing, evaluation, examples, files, held_out, others, pictures, refusals, scenes, sentences,
    strangers, words)
from world import knowledge as k  # noqa: E402
from world.questions import FAMILIES  # noqa: E402
from world.text import UNKNOWN, spoken  # noqa: E402
from world.words import TRANSCRIBE  # noqa: E402

# More for a longer look: 200,000 take 20 s.
TEXTS = int(os.environ.get("NANO_TEXTS", "3000"))


@pytest.fixture(scope="module")
def texts():
    """What a training set of text is made of."""
    return [examples.text_exchange(examples.rng_of(7, "text", index)) for index in range(TEXTS)]


# MARK: WORLD.md


def test_the_description_is_what_the_code_says():
    assert (NANO / "WORLD.md").read_text() == describe.world()


def cells(line):
    return [cell.strip() for cell in line.strip("| \n").split(" | ")]


def rows_of(heading, head):
    """The rows of the table in WORLD.md that begins with the given head, after a heading."""
    text = (NANO / "WORLD.md").read_text().split(f"## {heading}\n", 1)[1]
    lines = text.split("| " + " | ".join(head) + " |\n", 1)[1].splitlines()[1:]
    end = next((index for index, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [cells(line) for line in lines[:end]]


def matcher(pattern):
    """A regular expression for a pattern of WORLD.md, whose slots are named groups."""
    parts = re.split(r"(\{[^}]*\})", pattern)
    names, text = set(), ""
    for part in parts:
        name = re.sub(r"\W", "_", part[1:-1])
        if not part.startswith("{"):
            text += re.escape(part)
        elif name in names:
            text += f"(?P={name})"
        else:
            names.add(name)
            text += f"(?P<{name}>.+)"
    return re.compile(text, re.IGNORECASE)


def fits(row, exchange):
    """Whether an exchange has the patterns of a question and an answer, with equal values in both."""
    for ask in row[0]:
        found = matcher(ask).fullmatch(exchange.question)
        if found:
            known = {name: re.escape(value) for name, value in found.groupdict().items()}
            answer = row[1]
            for name, value in known.items():
                answer = answer.replace("{" + name + "}", "\0" + value + "\0")
            pieces = answer.split("\0")
            text = "".join(
                piece if index % 2 else re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(piece))
                for index, piece in enumerate(pieces))
            if re.fullmatch(text, exchange.answer, re.IGNORECASE):
                return True
    return False


def test_every_question_has_a_pattern_of_the_description(texts):
    """Read as an outsider reads it: from the text of WORLD.md alone."""
    def asks(text):
        return [ask.replace(" (typed only)", "") for ask in text.split("<br>")]
    table = rows_of("Questions in words", ("kind", "question", "answer", "where"))
    rows = [(asks(ask), answer) for _, ask, answer, _ in table]
    listed = re.search(r"\nsocial \(.*?\): (.*)", (NANO / "WORLD.md").read_text()).group(1)
    rows += [([ask], answer) for ask, answer in (pair.split(" – ") for pair in listed.split("; "))]
    rows = [row for row in rows if row[0] != ["{question}"]]
    checked = 0
    for exchange in texts[:600]:
        if exchange.kind in ("sum", "count", "order", "fact", "command", "social"):
            assert any(fits(row, exchange) for row in rows), exchange
            checked += 1
    assert checked > 120


def test_facts_in_the_description_are_the_answers():
    text = (NANO / "WORLD.md").read_text()
    for family in FAMILIES:
        if family.rule == "listed below" and family.kind == "fact":
            line = re.search(rf"\n{re.escape(family.name)} \(.*?\): (.*)", text).group(1)
            facts = {spoken(fact) for fact in line.split("; ")}
            for case in family.cases:
                shown = [str(value) for slot, value in case.items()
                         if "{" + slot + "}" in family.answer + "".join(family.asks)]
                assert spoken(" ".join(shown)) in facts


# MARK: Words


def test_all_texts_are_words_of_the_world(texts):
    vocabulary = set(words.vocabulary())
    strange = {
        word for exchange in texts if exchange.kind not in ("unknown", "command") and exchange.is_spoken
        for text in (exchange.question, exchange.answer, exchange.context) for word in spoken(text).split()
    } - vocabulary
    assert not strange
    assert "`" not in " ".join(vocabulary) and not any(re.search(r"\d", word) for word in vocabulary)
    text = (NANO / "WORLD.md").read_text()
    listed = re.search(r"All (\d+) words, in lower case:\n\n(.*)\n", text)
    assert set(listed.group(2).split()) == vocabulary and int(listed.group(1)) == len(vocabulary)


def test_what_can_be_read_aloud_has_no_digits(texts):
    for exchange in texts:
        if exchange.is_spoken:
            assert not re.search(r"[^A-Za-z ,.?!':]", exchange.question + exchange.context), exchange


def test_strange_words_are_strange():
    vocabulary = set(words.vocabulary())
    trained, kept = ({word.lower() for group in groups.values() for word in group}
                     for groups in (strangers.TRAINED, strangers.HELD_OUT))
    assert not trained & vocabulary and not kept & vocabulary and not trained & kept


def test_sums_and_orders_are_right(texts):
    """Worked out again from the words."""
    numbers = {name: value for value, name in enumerate(sentences.NUMBERS)}
    for exchange in texts:
        found = re.fullmatch(r"(?:What is|How much is) (.+) (plus|minus) (.+)\?", exchange.question)
        if found and exchange.kind == "sum":
            a, sign, b = found.groups()
            assert numbers[exchange.answer[:-1].lower()] == numbers[a] + (1 if sign == "plus" else -1) * numbers[b]
        found = re.fullmatch(r"(?:Please )?[cC]ount from (.+) to (.+)\.", exchange.question)
        if found and exchange.kind == "count":
            first, last = (numbers[name] for name in found.groups())
            step = 1 if last > first else -1
            counted = [numbers[name] for name in exchange.answer[:-1].lower().split(", ")]
            assert counted == list(range(first, last + step, step))


# MARK: Held out


def sentences_of(text):
    return [spoken(each) for each in re.split(r"(?<=[.?!]) ", text) if each]


def test_training_has_nothing_that_is_held_out(texts):
    kept = {spoken(each["sentence"]) for each in evaluation.read("sentences")}
    commands = {each["answer"] for each in evaluation.read("commands")}
    refused = {spoken(each["question"]) for each in evaluation.read("refusals")}
    pictured = {spoken(scene_text(each)) for each in evaluation.read("scenes")}
    moving = {spoken(movement_text(each)) for each in evaluation.read("movements")}
    facts = {
        spoken(fact) for each in evaluation.read("stories") for fact in sentences_of(each["context"])
        if held_out.is_held_out(fact)}
    assert min(map(len, (kept, commands, refused, pictured, moving, facts))) >= 20
    for exchange in texts:
        assert spoken(exchange.question) not in refused, exchange
        assert exchange.answer not in commands, exchange
        assert spoken(exchange.context) not in pictured | moving, exchange
        for text in (exchange.question, exchange.answer, exchange.context):
            for each in sentences_of(text):
                assert each not in kept and each not in facts, exchange
                assert re.sub("^(repeat|say) ", "", each) not in kept, exchange


def test_drills_have_nothing_that_is_held_out(tmp_path):
    kept = {spoken(each["sentence"]) for each in evaluation.read("sentences")}
    for index in range(TEXTS // 6):
        item = examples.item(8, "drills", index, tmp_path)
        turns = [turn["value"] for turn in item["conversations"]]
        assert kept.isdisjoint(map(spoken, turns[1::2])), item
        for text in (turn["value"] for turn in item["conversations"]):
            for line in text.split("\n"):
                for each in sentences_of(line):
                    assert re.sub("^(repeat|say) ", "", each) not in kept, item
        for asked, answer in zip(turns[::2], turns[1::2]):
            # Questions are never held out: neither as questions, nor as sentences to write down.
            if asked.lower().startswith(("repeat", "say")) or asked.endswith(TRANSCRIBE) and "~" not in asked:
                assert not held_out.is_held_out(answer), item
        if item["kind"] == "story":
            facts = sentences_of(item["conversations"][0]["value"].split("\n")[0])
            # Facts without full stops cannot be told apart.
            assert not any(map(held_out.is_held_out, facts)) or len(facts) == 1, item


def test_trained_commands_statements_and_scenes_have_other_hashes(texts):
    """By the rule itself, not only by the fixed lists."""
    families = {family.kind: family for family in FAMILIES if family.held_by}
    for exchange in texts:
        if exchange.kind == "repeat":
            assert not held_out.is_held_out(exchange.answer), exchange
        if exchange.kind == "story":
            assert not any(map(held_out.is_held_out, sentences_of(exchange.context))), exchange
        if exchange.kind == "command" and not exchange.answer.startswith("go "):
            assert not held_out.is_held_out(exchange.answer), exchange
        if exchange.kind in ("picture", "digit", "video") and exchange.context:
            assert not held_out.is_held_out(exchange.context), exchange
    assert families


def test_pictures_and_refusals_of_training_have_nothing_that_is_held_out(tmp_path, monkeypatch):
    """Items as make_data makes them; what they show is recorded instead of drawn."""
    shown = []
    blank = np.zeros((112, 112, 3), np.uint8), {"shape": [0] * 16}

    def record(result):
        return lambda rng, *what: shown.append(what) or result
    monkeypatch.setattr(pictures, "scene", record(blank))
    monkeypatch.setattr(pictures, "digit", record(blank))
    monkeypatch.setattr(others, "picture", record(blank))
    monkeypatch.setattr(pictures, "video", record(([blank[0]], blank[1])))
    monkeypatch.setattr(examples, "save", lambda folder, name, data: name)
    monkeypatch.setattr(files, "png", lambda pixels: b"")
    monkeypatch.setattr(files, "avi", lambda frames, rate: b"")
    asked = [
        turn["value"].removeprefix("<image>\n") for kind in ("pictures", "videos", "refusals")
        for index in range(TEXTS // 6) for turn in examples.item(8, kind, index, tmp_path)["conversations"]]
    kinds = {what[0] for what in shown if isinstance(what[0], str)}
    assert kinds == set(others.TRAINED)
    scenes_shown = [what for what in shown if not isinstance(what[0], str)]
    assert len(scenes_shown) > TEXTS // 4
    nameless = 0
    for what in scenes_shown:
        if isinstance(what[0], tuple):
            text = scenes.scene_text(what[0])
        elif isinstance(what[0], scenes.Digit):
            if not what[0].has_name:
                # Not of the world, so not among what is held out.
                assert all(drawing.distance(what[0].colour, name) >= 60 for name in drawing.COLOURS)
                nameless += 1
                continue
            text = scenes.digit_text(what[0])
        else:
            text = scenes.movement_text(*what[:2])
        assert not held_out.is_held_out(text), text
    assert nameless > TEXTS // 100
    assert not {spoken(each) for each in asked} & {spoken(each["question"]) for each in evaluation.read("refusals")}


def test_every_word_is_trained(texts):
    """Combinations are held out; words are not."""
    missing = set(words.vocabulary())
    more = (examples.text_exchange(examples.rng_of(9, "text", index)) for index in range(50_000))
    for exchange in itertools.chain(texts, more):
        missing -= set(spoken(f"{exchange.question} {exchange.answer} {exchange.context}").split())
        if not missing:
            break
    assert not missing


def scene_text(stored):
    scene = evaluation.scene(stored)
    return scenes.digit_text(scene) if isinstance(scene, scenes.Digit) else scenes.scene_text(scene)


def movement_text(stored):
    return scenes.movement_text(scenes.Shape(*stored["shape"]), stored["direction"])


def test_the_fixed_files_are_held_out():
    assert all(held_out.is_held_out(each["sentence"]) for each in evaluation.read("sentences"))
    assert all(held_out.is_held_out(each["answer"]) for each in evaluation.read("commands"))
    assert all(held_out.is_held_out(scene_text(each)) for each in evaluation.read("scenes"))
    assert all(held_out.is_held_out(movement_text(each)) for each in evaluation.read("movements"))
    refused = evaluation.read("refusals")
    assert len({each["question"] for each in refused}) == 200
    assert {each["answer"] for each in refused} == {UNKNOWN}
    assert {each["kind"] for each in evaluation.read("other_pictures")} == set(others.HELD_OUT)
    assert not set(others.HELD_OUT) & set(others.TRAINED)
    vocabulary = set(words.vocabulary())
    human = evaluation.read("human")
    assert len(human) > 80 and all(set(each["text"].split()) <= vocabulary for each in human)


def test_a_hash_is_the_one_that_the_description_gives():
    """By hand: SHA-256 of the words, as a number, modulo 10."""
    for text, plain in (
            ("The key is on the table.", b"the key is on the table"), ("It's ONE, o'clock!", b"it's one o'clock")):
        assert held_out.is_held_out(text) == (int(hashlib.sha256(plain).hexdigest(), 16) % 10 == 0)


# MARK: Pictures and videos


def answer_by_looking(shapes, question):
    """What an outsider answers about a scene, by the rules of WORLD.md."""
    def a(*names):
        text = " ".join(names)
        return ("an " if text[0] in "aeiou" else "a ") + text
    sizes, colours, forms, places = zip(*shapes)
    if question in ("What do you see?", "What is in the picture?"):
        order = list(describe.k.PICTURE_PLACES)
        named = [a(*each[:3]) for each in sorted(shapes, key=lambda each: order.index(each[3]))]
        return ", ".join(named[:-1]) + (" and " if len(named) > 1 else "") + named[-1] + "."
    if question == "How many shapes do you see?":
        return ["one.", "two.", "three."][len(shapes) - 1]
    for pattern, answer in (
            (r"What colour is the (\w+)\?", lambda form: colours[forms.index(form)]),
            (r"Where is the (\w+)\?", lambda form: k.PICTURE_PLACES[places[forms.index(form)]]),
            (r"Is the (\w+) big or small\?", lambda form: sizes[forms.index(form)])):
        found = re.fullmatch(pattern, question)
        if found:
            form = found.group(1)
            return answer(form) + "." if form in forms else f"There is no {form}."
    found = re.fullmatch(r"Which shape is (\w+)\?", question)
    if found:
        colour = found.group(1)
        return f"the {forms[colours.index(colour)]}." if colour in colours else f"There is no {colour} shape."
    found = re.fullmatch(r"(Where is the|Is there an?) (\w+) (\w+)\?", question)
    if found and found.group(2) in describe.k.SHAPE_COLOURS:
        there = list(found.groups()[1:]) in [list(each[1:3]) for each in shapes]
        if found.group(1).startswith("Is"):
            return "yes." if there else "no."
        place = k.PICTURE_PLACES[places[forms.index(found.group(3))]] if there else ""
        return place + "." if there else f"There is no {found.group(2)} {found.group(3)}."
    found = re.fullmatch(r"Is there a (\w+)\?", question)
    if found:
        return "yes." if found.group(1) in forms else "no."
    where = re.fullmatch(r"What is (.+)\?", question).group(1)
    at = [index for index, place in enumerate(places) if k.PICTURE_PLACES[place] == where]
    return a(*shapes[at[0]][:3]) + "." if at else "nothing."


def test_answers_about_scenes_are_right():
    checked = 0
    for each in evaluation.read("scenes"):
        if "shapes" in each:
            assert answer_by_looking(each["shapes"], each["question"]).lower() == each["answer"].lower(), each
            checked += 1
    rng = random.Random(5)
    for _ in range(500):
        shapes = scenes.shapes(rng)
        exchange = scenes.ask_shapes(rng, shapes)
        plain = [(each.size, each.colour, each.shape, each.place) for each in shapes]
        assert answer_by_looking(plain, exchange.question).lower() == exchange.answer.lower(), (shapes, exchange)
    assert checked > 200


@pytest.mark.parametrize(
    "size, grid", [((192, 240), (3, 5)), ((250, 200), (5, 4)), ((112, 112), (4, 4)), ((90, 288), (2, 7))])
def test_a_side_of_whole_tokens_is_fitted_as_the_tower_does(size, grid):
    assert pictures.token_grid(*size) == grid


@pytest.mark.parametrize("place", k.PICTURE_PLACES)
def test_a_shape_is_drawn_where_its_labels_are(place):
    shape = scenes.Shape("big", "red", "circle", place)
    pixels, labels = pictures.scene(np.random.default_rng(1), [shape], background="plain")
    column, row = shape.cell
    centre = pixels[int((row + 0.5) / 3 * 112), int((column + 0.5) / 3 * 112)]
    assert np.abs(centre.astype(int) - drawing.COLOURS["red"]).max() <= 14
    red = np.abs(pixels.astype(int) - centre).max(axis=-1) < 20
    # The area of a circle whose radius is 0.11 to 0.13 of 112 pixels.
    assert np.pi * (0.11 * 112) ** 2 * 0.95 < red.sum() < np.pi * (0.13 * 112) ** 2 * 1.05
    tokens = np.array(labels["shape"]).reshape(4, 4) == pictures.LABELS["shape"].index("circle")
    shares = red.reshape(4, 28, 4, 28).mean(axis=(1, 3))
    assert tokens[shares > 0.08].all() and not tokens[shares < 0.02].any()
    assert {pictures.LABELS["place"][each] for each in labels["place"]} == {"background", place}


def test_colours_are_told_from_backgrounds():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        name = scenes.DIGIT_COLOURS[seed % 8]
        ground = drawing.background(rng, 112, 112, [name]).mean(axis=(0, 1))
        assert np.linalg.norm(ground - drawing.COLOURS[name]) > 70


def test_square_pictures_of_any_size_have_sixteen_tokens():
    assert {pictures.token_grid(side, side) for side in range(90, 301)} == {(4, 4)}
    assert {columns * rows for columns, rows in (
        pictures.token_grid(width, height) for width in range(90, 301, 7) for height in range(90, 301, 7)
        if 3 * width <= 4 * height and 3 * height <= 4 * width)} <= {15, 16, 20}


def test_the_model_is_configured_for_sixteen_tokens():
    """With other bounds, some square pictures get fewer tokens or more, and the labels of rows would be wrong."""
    found = list((NANO / "model").glob("**/preprocessor_config.json"))
    bounds = [(each["min_pixels"], each["max_pixels"]) for each in map(json.loads, map(read_text, found))
              if "min_pixels" in each]
    if not bounds:
        pytest.skip("examples/nano/model has no configuration of a vision tower")
    assert bounds == [(pictures.LEAST_PIXELS, pictures.MOST_PIXELS)]


def read_text(path):
    return path.read_text(encoding="utf-8")


def test_digits_differ():
    """No two digits have about the same pixels, in any of their forms."""
    x, y = drawing.grid(40, 40)
    x, y = (x - 20) / 34, (y - 20) / 34
    drawn = [
        (number, drawing.coverage(drawing.strokes(x, y, lines, 0.12) * 34))
        for number in range(10) for lines in digits.forms(number)]
    for index, (number, mask) in enumerate(drawn):
        for other, second in drawn[:index]:
            if number != other:
                assert np.minimum(mask, second).sum() / np.maximum(mask, second).sum() < 0.8, (number, other)


def test_a_moving_shape_goes_where_it_is_said():
    for direction in k.DIRECTIONS:
        shape = scenes.Shape("big", "blue", "star", "middle")
        frames, labels = pictures.video(np.random.default_rng(2), shape, direction)
        still = np.median(np.stack([frames[0], frames[1], frames[3]]), axis=0)
        centres = []
        for frame in frames:
            moved = np.abs(frame - still).sum(axis=-1) > 100
            away = np.abs(frame.astype(int) - drawing.COLOURS["blue"]).sum(axis=-1) < 60
            centres.append(np.argwhere(moved & away).mean(axis=0) if (moved & away).any() else None)
        first, last = centres[0], centres[3]
        down, right = last - first
        assert {"left": right < -30, "right": right > 30, "up": down < -30, "down": down > 30}[direction]
        assert len(labels["moves"]) == 32
        assert set(labels["moves"]) == {0, pictures.LABELS["moves"].index(direction)}


def test_files_are_read_by_others(tmp_path):
    """A PNG by Pillow and by lyra, an AVI by lyra: the same pixels and frames."""
    pixels, _ = pictures.scene(np.random.default_rng(3), scenes.shapes(random.Random(1)), 131, 97)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(files.png(pixels)))), pixels)
    shape = scenes.Shape("small", "green", "square", "middle")
    frames, _ = pictures.video(np.random.default_rng(4), shape, "up")
    (tmp_path / "up.avi").write_bytes(files.avi(frames))
    ended = lyra("features", tmp_path / "up.avi", "--as", "video", "--out", tmp_path / "up.safetensors")
    assert (ended.returncode, ended.stderr) == (0, "")
    features = read_safetensors(tmp_path / "up.safetensors")
    assert features["frames"].tolist() == [0, 1, 2, 3] and features["grid_thw"].tolist() == [2, 8, 8]
    # The first patch holds red of two frames, 14 × 14 pixels each, first; scaled as CLIP scales.
    red = features["patches"][0].reshape(3, 2, 14, 14)[0] * 0.26862954 + 0.48145466
    for time in range(2):
        assert np.abs(red[time] * 255 - frames[time][:14, :14, 0]).max() < 0.01


# MARK: Data sets


@pytest.mark.parametrize("kind", examples.KINDS)
def test_a_set_is_made_of_its_seed_alone(kind, tmp_path):
    made = []
    for name, seed in (("first", 3), ("second", 3), ("third", 4)):
        out = tmp_path / name
        assert make_data.main([kind, "--count", "2", "--seed", str(seed), "--out", str(out)]) == 0
        made.append({path.name: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()})
    assert made[0] == made[1] != made[2]


def test_items_have_the_layout_that_lyra_reads(tmp_path):
    for kind in examples.KINDS:
        assert make_data.main([kind, "--count", "6", "--out", str(tmp_path)]) == 0
        for line in (tmp_path / f"{kind}.jsonl").read_text().splitlines():
            item = json.loads(line)
            turns = item["conversations"]
            assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
            for medium in ("image", "video"):
                mark = f"<{medium}>"
                assert sum(turn["value"].count(mark) for turn in turns) == (medium in item)
                if medium in item:
                    assert (tmp_path / item[medium]).stat().st_size > 100
    # No set has written over the media of another.
    sets = [json.loads(line) for kind in examples.KINDS for line in (tmp_path / f"{kind}.jsonl").open()]
    media = [path for item in sets for path in (item.get("image"), item.get("video")) if path]
    assert len(set(media)) == len(media) == len(list((tmp_path / "media").iterdir()))
    labels = json.loads((tmp_path / "labels.json").read_text())
    for line in (tmp_path / "pictures.jsonl").read_text().splitlines():
        item = json.loads(line)
        with Image.open(tmp_path / item["image"]) as image:
            columns, rows = pictures.token_grid(*image.size)
        for head, packed in item["row_labels"].items():
            runs = [each if isinstance(each, list) else [each, 1] for each in packed]
            numbers = [number for number, count in runs for _ in range(count)]
            assert len(numbers) == columns * rows and 0 < max(numbers) < len(labels[head])


def test_held_out_sets_are_made(tmp_path, monkeypatch):
    read = evaluation.read
    monkeypatch.setattr(evaluation, "read", lambda name: read(name)[:4])
    for kind, count in (("text", 16), ("pictures", 4), ("videos", 4), ("refusals", 8)):
        assert make_data.main([kind, "--held-out", "--out", str(tmp_path)]) == 0
        assert len((tmp_path / f"{kind}.jsonl").read_text().splitlines()) == count


def test_wrong_usage_is_refused(tmp_path):
    command = [sys.executable, str(NANO / "make_data.py"), "text", "--out", str(tmp_path / "out"), "--count", "0"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2 and "--count 0: must be at least 1" in ended.stderr
    (tmp_path / "file").write_text("")
    assert make_data.main(["text", "--out", str(tmp_path / "file")]) == 1


# MARK: Tokenizer


@pytest.fixture(scope="module")
def merges():
    lines = (NANO / "model/merges.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#version: 0.2"
    return [tuple(line.split(" ")) for line in lines[1:]]


def test_the_tokenizer_files_belong_together(merges):
    for name, text in make_tokenizer.files(merges).items():
        assert (NANO / "model" / name).read_text(encoding="utf-8") == text
    vocabulary = json.loads((NANO / "model/vocab.json").read_text(encoding="utf-8"))
    assert set(make_tokenizer.LETTERS) <= set(vocabulary)
    assert len(vocabulary) + len(make_tokenizer.SPECIAL) <= 2000


def test_each_word_is_one_token_and_any_text_comes_back(merges):
    for word in words.written():
        if "'" not in word:
            assert len(make_tokenizer.encode(" " + word, merges)) == 1, word
            assert len(make_tokenizer.encode(" " + word.lower(), merges)) == 1, word
    letters = {letter: byte for byte, letter in enumerate(make_tokenizer.LETTERS)}
    for text in ("What colour is the piano?\n", " 21 + 4", "zyzzyva, queue!  \n\n x"):
        tokens = make_tokenizer.encode(text, merges)
        assert bytes(letters[letter] for token in tokens for letter in token).decode() == text


def test_the_refusals_of_training_are_of_every_kind():
    for kind in set(refusals.TRAINED_KINDS):
        assert refusals.refusal(random.Random(1), kind).answer == UNKNOWN
