"""Labels of speech for training the speech tower: for each row of its output, and as sequences.

The tower's row i is centred on 20 × i ms: its input has a frame each 10 ms, centred on 10 × j ms,
and its second convolution takes every second one. A row's label is what sounds at its centre. A
window of 6 s has 300 rows. Labels reach half a second beyond the recording's end, where there is
silence; further rows have none, so that silence does not outweigh speech.
"""

import bisect
import math

from . import words
from .examples import runs
from .phones import INDEX, PHONES
from .utterance import Utterance

ROW_SECONDS = 0.02
ROWS = 300
ROWS_BEYOND = 25
# Cross-entropy leaves out rows with this label: words that are not of the world.
IGNORED = -100
LETTERS = " abcdefghijklmnopqrstuvwxyz'"
SILENCE = "<silence>"


def word_names() -> list:
    """The names of word labels: 0 is silence, then the world's words."""
    return [SILENCE, *words.vocabulary()]


def names() -> dict:
    """By head: the names of its labels. CTC's blank is not among them."""
    return {
        "phone": PHONES, "word": word_names(), "phones": PHONES[1:], "words": word_names()[1:],
        "letters": list(LETTERS)}


_word_index = {}


def word_index() -> dict:
    if not _word_index:
        _word_index.update((name, index) for index, name in enumerate(word_names()))
    return _word_index


def at_rows(intervals, rows: int, outside) -> list:
    """What sounds at each row's centre.

    intervals: (label, start, end) in order
    """
    starts = [start for _, start, _ in intervals]
    found = []
    for row in range(rows):
        time = row * ROW_SECONDS
        place = bisect.bisect_right(starts, time) - 1
        inside = place >= 0 and time < intervals[place][2]
        found.append(intervals[place][0] if inside else outside)
    return found


def row_labels(utterance: Utterance) -> dict:
    """The keys of `row_labels`: "phone" and "word", each a label for each row."""
    rows = min(ROWS, math.ceil(utterance.duration / ROW_SECONDS) + ROWS_BEYOND)
    index = word_index()
    phones = [(INDEX[phone], a, b) for phone, a, b in utterance.phones]
    said = [(index.get(word, IGNORED), a, b) for word, a, b in utterance.words]
    return runs({
        "phone": at_rows(phones, rows, INDEX["sil"]), "word": at_rows(said, rows, 0)})


def sequence_labels(utterance: Utterance) -> dict:
    """The keys of `sequence_labels`: "phones" without silence, "letters", and "words" if all
    words are of the world. Their numbers start at 0 for the first name."""
    index = word_index()
    found = {
        "phones": [INDEX[phone] - 1 for phone, _, _ in utterance.phones if phone != "sil"],
        "letters": [LETTERS.index(letter) for letter in utterance.text]}
    if all(word in index for word, _, _ in utterance.words):
        found["words"] = [index[word] - 1 for word, _, _ in utterance.words]
    return found
