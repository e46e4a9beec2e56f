"""Items of data sets with speech: recordings of the world's texts, as `lyra train` reads them.

An item is made from a seed, a kind and an index alone, in any process. Recordings are WAV files of
16 bits at 16 kHz (32 KB a second).

    tower              one or more texts in a window, with labels for each row and as sequences
    transcribe         a recording, and its words as the answer
    questions          a spoken question, and its answer
    picture-questions  the same about a picture
    video-questions    the same about a video
    answers            typed and spoken questions; the answer is read aloud too (`tgt_speech`)
    long               facts read aloud for 2 to 10 windows, asked about at the end
    human              clips of a woman, which are only evaluated
"""

import multiprocessing
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

from . import acoustics, evaluation, examples, labels, others, refusals, stories, voices, words
from .text import UNKNOWN, Exchange, sentence
from .utterance import RATE, SpeechError
from .wav import write_wav

KINDS = (
    "tower", "transcribe", "questions", "picture-questions", "video-questions", "answers", "long",
    "human")
WINDOW_SECONDS = 6.0
WINDOW_SAMPLES = int(WINDOW_SECONDS * RATE)
# A recording that would be longer than a window is said this much faster.
HASTES = (1.0, 1.2, 1.45, 1.8, 2.2)
LONG_WINDOWS = (2, 10)
# How many windows they have in training, with shares. Short ones, of which there can be most in the same time, teach to
# go through a recording from fact to fact.
TRAINED_WINDOWS = {(1, 2): 0.5, (2, 4): 0.3, LONG_WINDOWS: 0.2}
# How many of them are to be written down; about the others facts are asked, the more the sooner a model learns.
WRITTEN_DOWN = 0.5
# Seconds that a fact takes with the pause after it; a pause is 0.15 s to 2 s.
FACT_SECONDS = 2.9
PAUSES = (0.15, 2.0)
ATTEMPTS = 20
# How often a question is of each kind. Sums, and what comes before or after, take longest to learn from speech.
ASKED_ALOUD = {"sum": 5, "count": 1.5, "order": 5, "fact": 2.5, "command": 3, "social": 0.5}
# Of the tower's items, how many have several texts; seconds between them; the shortest text.
PACKED, GAPS, SHORTEST_SECONDS = 0.7, (0.1, 0.7), 0.6
CLIPS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")


class Conditions:
    """Who speaks and how it is recorded: in training, or in one of the evaluations.

    group: of voices: "trained", or a held-out one: "voices" or "synthesizer"
    snr: dB over noise of the kinds that are held out; None is a quiet room
    """

    def __init__(self, group="trained", snr=None, is_training=True):
        self.group, self.snr, self.is_training = group, snr, is_training

    def acoustics(self, rng) -> acoustics.Acoustics:
        if self.is_training:
            return acoustics.random_acoustics(rng)
        return acoustics.clean(rng) if self.snr is None else acoustics.noisy(rng, self.snr)


# MARK: Recordings


def record(rng, text: str, conditions: Conditions):
    """Reads a text aloud and records it. → the utterance and the voice

    A voice that cannot say the text is replaced, a recording that is too long is said faster.

    Raises SpeechError if the text cannot be said in a window.
    """
    reason = ""
    for attempt in range(ATTEMPTS):
        haste = HASTES[min(attempt // 2, len(HASTES) - 1)]
        voice, plan = voices.choose(rng, conditions.group), conditions.acoustics(rng)
        try:
            said = voices.say(text, voice, rng.getrandbits(31), haste)
        except SpeechError as error:
            reason = str(error)
            continue
        heard = acoustics.recorded(said, plan, rng)
        if heard.duration <= WINDOW_SECONDS:
            return heard, voice
        reason = f"{text!r} takes {heard.duration:.1f} s; a window has {WINDOW_SECONDS:g} s"
    raise SpeechError(reason)


def save(folder: Path, name: str, samples) -> str:
    """Writes a recording. → its path from the data set's folder"""
    path = folder / "media" / f"{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, samples)
    return f"media/{name}.wav"


def drawn(rng, draw, say):
    """An exchange and what `say` makes of it; those that cannot be said are drawn again."""
    for _ in range(ATTEMPTS):
        exchange = draw(rng)
        try:
            return exchange, say(exchange)
        except SpeechError as error:
            reason = error
    raise reason


# MARK: Items


def asked_aloud(rng) -> Exchange:
    """A question that training may speak: of the world, of other things, or a text to repeat."""
    part = rng.random()
    if part < 0.78:
        return examples.spoken_question(rng, ASKED_ALOUD)
    return refusals.refusal(rng) if part < 0.95 else examples.repetition(rng)


def tower_item(rng, name, folder, conditions, text=None) -> dict:
    """One text, or in training mostly as many as fill the window, each from another speaker: the
    tower takes as long for silence as for speech."""
    if text is None and rng.random() < PACKED:
        heard, voice = packed(rng, conditions)
    else:
        _, (heard, voice) = drawn(
            rng, lambda rng: text or examples.heard(rng),
            lambda text: record(rng, text, conditions))
    return {
        "speech": save(folder, name, heard.samples), "speech_asr": heard.text, "kind": "tower",
        "voice": voice, "row_labels": labels.row_labels(heard),
        "sequence_labels": labels.sequence_labels(heard)}


def packed(rng, conditions):
    """Several speakers one after the other in one room, in one window. → and their voices"""
    plan = acoustics.surroundings(conditions.acoustics(rng))
    generator = np.random.default_rng(rng.getrandbits(64))
    rest = WINDOW_SECONDS - plan.lead - plan.tail - 0.05
    said, gaps, names = [], [], []
    for _ in range(ATTEMPTS):
        text, gap = examples.heard(rng), rng.uniform(*GAPS)
        # About 13 letters a second.
        if len(text) / 13 > rest:
            continue
        voice = voices.choose(rng, conditions.group)
        try:
            spoken_text = voices.say(text, voice, rng.getrandbits(31))
        except SpeechError:
            continue
        speaker = acoustics.spoken_differently(
            spoken_text, conditions.acoustics(rng), generator)
        if speaker.duration + gap > rest:
            continue
        said.append(speaker)
        gaps.append(gap)
        names.append(voice)
        rest -= speaker.duration + gap
        if rest < SHORTEST_SECONDS:
            break
    if not said:
        raise SpeechError(f"none of {ATTEMPTS} texts fits a window")
    return acoustics.recorded(acoustics.joined(said, gaps), plan, rng), " ".join(names)


def transcribe_item(rng, name, folder, conditions, exchange=None) -> dict:
    exchange, (heard, voice) = drawn(
        rng, lambda rng: exchange or examples.transcription(rng),
        lambda exchange: record(rng, exchange.answer, conditions))
    return {
        "conversations": examples.turns((f"<speech>\n{exchange.question}", exchange.answer)),
        "speech": save(folder, name, heard.samples), "speech_asr": heard.text,
        "kind": "transcribe", "voice": voice}


def question_item(rng, name, folder, conditions, exchange=None) -> dict:
    exchange, (heard, voice) = drawn(
        rng, lambda rng: exchange or asked_aloud(rng),
        lambda exchange: record(rng, exchange.question, conditions))
    return {
        "conversations": examples.turns(("<speech>", exchange.answer)),
        "speech": save(folder, name, heard.samples), "speech_asr": heard.text,
        "kind": exchange.kind, "voice": voice}


def spoken_media_item(rng, name, folder, conditions, item) -> dict:
    """An item about a picture or a video of which the first question is spoken.

    item: with a typed question after "<image>" or "<video>"
    """
    # Labels of rows are for vision alone.
    item = {key: value for key, value in item.items() if key != "row_labels"}
    turns = [dict(turn) for turn in item["conversations"]]
    mark, question = turns[0]["value"].split("\n", 1)
    heard, voice = record(rng, question, conditions)
    turns[0]["value"] = f"{mark}\n<speech>"
    return item | {
        "conversations": turns, "speech": save(folder, name, heard.samples),
        "speech_asr": heard.text, "voice": voice}


def picture_item(rng, name, folder, conditions) -> dict:
    """A picture of the world; one in ten does not fit the question, and one in twenty is of other
    things."""
    part = rng.random()
    if part < 0.1:
        made = examples.misfit_item(rng, name, folder)
    elif part < 0.15:
        made = examples.other_picture_item(rng, name, folder, rng.choice(others.TRAINED))
    else:
        made = examples.picture_item(rng, name, folder, questions=(1, 3))
    return spoken_media_item(rng, name, folder, conditions, made)


def video_item(rng, name, folder, conditions) -> dict:
    return spoken_media_item(rng, name, folder, conditions, examples.video_item(rng, name, folder))


def is_read_aloud(exchange: Exchange) -> bool:
    """Whether the answer is words. Those to commands are for machines."""
    return exchange.kind != "command"


def answer_item(rng, name, folder, conditions) -> dict:
    """Half of the questions are typed and half are spoken."""
    is_spoken = rng.random() < 0.5

    def draw(rng):
        while True:
            found = asked_aloud(rng) if is_spoken else examples.text_exchange(rng)
            if is_read_aloud(found):
                return found

    def say(exchange):
        answer = voices.say_answer(exchange.answer)
        return answer, record(rng, exchange.question, conditions) if is_spoken else None

    exchange, (answer, recording) = drawn(rng, draw, say)
    item = {
        "tgt_speech": save(folder, f"{name}-answer", answer.samples), "kind": exchange.kind,
        "conversations": examples.turns((
            "<speech>" if is_spoken else examples.typed(rng, exchange), exchange.answer))}
    if is_spoken:
        heard, voice = recording
        item |= {
            "speech": save(folder, name, heard.samples), "speech_asr": heard.text, "voice": voice}
    return item


def long_item(rng, name, folder, conditions, windows=None, is_asked_aloud=None) -> dict:
    """Facts that one voice reads, and a question at the end, typed or spoken by anybody. In training other facts are
    asked about then, typed, or all are to be written down: the recording takes longer to hear than that."""
    held_out = not conditions.is_training
    windows = windows or rng.randint(*rng.choices(list(TRAINED_WINDOWS), TRAINED_WINDOWS.values())[0])
    seconds = windows * WINDOW_SECONDS - 0.1
    count = min(stories.MOST, max(1, int(seconds / FACT_SECONDS)))
    is_written_down = not held_out and is_asked_aloud is None and rng.random() < WRITTEN_DOWN
    aloud = not is_written_down and (rng.random() < 0.5 if is_asked_aloud is None else is_asked_aloud)

    def draw(rng):
        if held_out:
            return [stories.story(rng, count, held_out)]
        facts = stories.facts(rng, count)
        return [written_down(rng, facts)] if is_written_down else examples.about_facts(rng, facts)

    def say(asked):
        question = record(rng, asked[0].question, conditions) if aloud else None
        return read_story(rng, asked[0].context, conditions, seconds), question

    (first, *others), ((story, voice), question) = drawn(rng, draw, say)
    recordings, heard = [save(folder, name, story.samples)], [story.text]
    if aloud:
        recordings.append(save(folder, f"{name}-question", question[0].samples))
        heard.append(question[0].text)
    turns = [("<speech>\n<speech>" if aloud else f"<speech>\n{first.question}", first.answer)]
    turns += [(examples.typed(rng, each), each.answer) for each in others]
    return {
        "conversations": examples.turns(*turns), "long_speech": recordings,
        "speech_asr": heard, "kind": "long", "voice": voice, "windows": windows}


def written_down(rng, facts) -> Exchange:
    context = " ".join(text for text, _, _ in facts)
    return Exchange("transcribe", rng.choice(words.TRANSCRIBE), context, context=context)


def read_story(rng, context: str, conditions, seconds: float):
    """Reads sentences aloud with pauses that fill the seconds. → the utterance and the voice"""
    voice, seed = voices.choose(rng, conditions.group), rng.getrandbits(31)
    plan = conditions.acoustics(rng)
    generator = np.random.default_rng(rng.getrandbits(64))
    said = [
        acoustics.spoken_differently(voices.say(text, voice, seed), plan, generator)
        for text in re.split(r"(?<=\.) ", context)]
    rest = seconds - plan.lead - plan.tail - sum(each.duration for each in said)
    pause = rest / len(said)
    if pause < PAUSES[0]:
        raise SpeechError(f"{voice} cannot read {len(said)} sentences in {seconds:.1f} s")
    whole = acoustics.joined(said, [min(pause, PAUSES[1]) * rng.uniform(0.5, 1) for _ in said])
    return acoustics.recorded(whole, acoustics.surroundings(plan), rng), voice


MAKERS = {
    "tower": tower_item, "transcribe": transcribe_item, "questions": question_item,
    "picture-questions": picture_item, "video-questions": video_item, "answers": answer_item,
    "long": long_item,
}


def training_item(seed, kind, index, folder: Path) -> dict:
    """The item `index` of a training set."""
    name = f"{index // 1000:03d}/{kind}-{index}"
    made = MAKERS[kind](examples.rng_of(seed, kind, index), name, folder, Conditions())
    return {"id": f"{kind}-{seed}-{index}"} | made


# MARK: Evaluation

# The held-out sets of `evaluation` that each kind speaks.
HELD_OUT = {
    "transcribe": ("sentences",), "questions": ("questions", "commands", "refusals"),
    "picture-questions": ("scenes",), "video-questions": ("movements",),
    "tower": ("sentences",), "answers": (), "long": (),
}
LONG_COUNT = 60


def held_out_jobs(kind) -> list:
    """What a held-out set is made of: (the name of its file, the number in it, the line)."""
    if kind == "human":
        return [("human", index, line) for index, line in enumerate(evaluation.read("human"))]
    if kind == "long":
        return [("long", index, None) for index in range(LONG_COUNT)]
    if kind == "answers":
        # Answers are evaluated by speaking the answers to held-out questions.
        return [("questions", i, line) for i, line in enumerate(evaluation.read("questions"))]
    return [
        (name, index, line) for name in HELD_OUT[kind]
        for index, line in enumerate(evaluation.read(name))]


def held_out_item(kind, job, folder: Path, group: str, snr) -> dict:
    """An item of a held-out set: a held-out voice says what training never contains.

    group: "voices", "synthesizer", or "trained" to hear what a voice that is known costs
    """
    source, index, stored = job
    conditions = Conditions(group, snr, is_training=False)
    rng = examples.rng_of("held-out", f"{kind} {source} {group}", index)
    name = f"held-out-{kind}-{source}-{group}-{'quiet' if snr is None else f'{snr:g}dB'}-{index}"
    if kind == "human":
        return human_item(name, stored, folder)
    if kind == "long":
        made = long_item(rng, name, folder, conditions, LONG_WINDOWS[1], index % 2 == 0)
    elif kind in ("picture-questions", "video-questions"):
        typed = evaluation.media_item(source, stored, index, name, folder)
        made = spoken_media_item(rng, name, folder, conditions, typed)
    elif kind == "tower":
        made = tower_item(rng, name, folder, conditions, stored["sentence"])
    elif kind == "transcribe":
        exchange = Exchange("transcribe", words.TRANSCRIBE[0], stored["sentence"])
        made = transcribe_item(rng, name, folder, conditions, exchange)
    else:
        exchange = evaluation.exchange(stored) if "answer" in stored else Exchange(
            "unknown", stored["question"], UNKNOWN)
        made = question_item(rng, name, folder, conditions, exchange)
        if kind == "answers":
            answer = voices.say_answer(exchange.answer)
            made["tgt_speech"] = save(folder, f"{name}-answer", answer.samples)
    return {"id": name} | made


def human_item(name, stored, folder: Path) -> dict:
    """A clip of Debian's asterisk-core-sounds-en-g722 to write down."""
    path = CLIPS / f"{stored['clip']}.g722"
    if not path.is_file():
        raise SpeechError(f"{path} is missing; install Debian's asterisk-core-sounds-en-g722")
    if shutil.which("ffmpeg") is None:
        raise SpeechError("ffmpeg is missing; install Debian's ffmpeg")
    made = subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-f", "g722", "-i", str(path), "-f", "s16le", "-ar",
         str(RATE), "-ac", "1", "-"], capture_output=True)
    samples = np.frombuffer(made.stdout, "<i2").astype(np.float32) / 32768
    if made.returncode != 0 or not len(samples):
        raise SpeechError(f"ffmpeg cannot read {path}: {made.stderr.decode().strip()}")
    return {
        "id": name, "speech": save(folder, name, samples), "speech_asr": stored["text"],
        "conversations": examples.turns((
            f"<speech>\n{words.TRANSCRIBE[0]}", sentence(stored["text"]))),
        "kind": "human", "voice": "human"}


# MARK: Sets


def _training(job) -> dict:
    return training_item(*job)


def _held_out(job) -> dict:
    return held_out_item(*job)


def _calm():
    os.nice(5)


def items(kind, count, seed, folder: Path, processes=1, held_out=None, snr=None):
    """The items of a set, in order; recordings are written to the folder.

    held_out: None for a training set; else the group of voices of the evaluation set
    """
    if kind == "human" and held_out is None:
        raise SpeechError("clips of people are only evaluated: add --held-out")
    if held_out is None:
        work, jobs = _training, [(seed, kind, index, folder) for index in range(count)]
    else:
        work = _held_out
        jobs = [(kind, job, folder, held_out, snr) for job in held_out_jobs(kind)]
    if processes == 1:
        yield from map(work, jobs)
        return
    # New processes, since a synthesizer of this one cannot be used in a copy of it.
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_calm) as pool:
        yield from pool.imap(work, jobs, chunksize=8)
        # Lets the processes end by themselves, so that they end their synthesizers.
        pool.close()
        pool.join()
