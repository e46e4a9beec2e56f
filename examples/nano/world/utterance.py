"""What a synthesizer says: samples with the times of phones and words."""

import re
from dataclasses import dataclass

import numpy as np

RATE = 16000
TOKEN = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")


class SpeechError(Exception):
    """A text that a synthesizer cannot say, or whose words do not fit its sounds."""


@dataclass(frozen=True)
class Utterance:
    """Speech at 16 kHz.

    samples: float32, within -1 to 1
    phones: (symbol, start, end) in seconds, of `phones.PHONES`, without gaps from 0 to the end
    words: (word, start, end) in seconds, lower case, in order
    """

    samples: np.ndarray
    phones: tuple
    words: tuple

    @property
    def duration(self) -> float:
        return len(self.samples) / RATE

    @property
    def text(self) -> str:
        return " ".join(word for word, _, _ in self.words)

    def moved(self, samples, time) -> "Utterance":
        """The same labels over other samples.

        time: a function of an array of old times that gives the new times, in seconds
        """
        end = len(samples) / RATE

        def all_moved(labels):
            if not labels:
                return ()
            ends = np.clip(time(np.array([label[1:] for label in labels], float)), 0, end)
            return tuple(
                (label[0], float(a), float(b)) for label, (a, b) in zip(labels, ends) if b > a)

        phones = filled(all_moved(self.phones), end)
        return Utterance(np.asarray(samples, np.float32), phones, all_moved(self.words))


def tokens(text: str) -> list:
    """The words of a text: (word in lower case, start, end) in characters.

    Raises SpeechError for characters that the synthesizers read differently: digits and signs.
    """
    wrong = re.search(r"[^A-Za-z' ,.?!:;\n-]", text)
    if wrong:
        raise SpeechError(
            f"{text!r}: {wrong.group()!r} cannot be read aloud; write words, such as \"two\" for 2")
    found = [(match.group().lower(), *match.span()) for match in TOKEN.finditer(text)]
    if not found:
        raise SpeechError(f"{text!r}: there is no word to read aloud")
    return found


def filled(phones, end: float) -> tuple:
    """Phones without gaps or overlaps from 0 to the end: gaps become silence, and silences that
    touch become one."""
    found = []

    def add(symbol, start, stop):
        if stop <= start:
            return
        if found and found[-1][0] == symbol == "sil":
            start = found.pop()[1]
        found.append((symbol, start, stop))

    time = 0.0
    for symbol, start, stop in phones:
        start, stop = max(start, time), min(stop, end)
        add("sil", time, start)
        add(symbol, start, stop)
        time = max(time, stop)
    add("sil", time, end)
    return tuple(found)


def matched(words, text: str, voice: str) -> tuple:
    """A synthesizer's words with their times as the words of the text.

    A synthesizer may split a word ("I'm" into "I" and "'m"): pieces are joined by their letters.

    words: (word, start, end) as the synthesizer has them
    """
    found, rest = [], list(words)
    for token, _, _ in tokens(text):
        letters, start, end = "", None, 0.0
        while len(letters) < len(token.replace("'", "")) and rest:
            piece, begin, stop = rest.pop(0)
            letters += re.sub("[^a-z]", "", piece.lower())
            start, end = begin if start is None else start, stop
        if letters != token.replace("'", ""):
            raise SpeechError(f"{voice}: the words of {text!r} are not what was said: {words}")
        found.append((token, start, end))
    if rest:
        raise SpeechError(f"{voice}: more was said than {text!r}: {words}")
    return tuple(found)
