"""eSpeak NG through its C library: formant and Klatt synthesis in many accents and variants."""

import _ctypes
import ctypes
import functools

import numpy as np

from . import phones
from .native import seed_random_numbers
from .signals import resampled
from .utterance import RATE, SpeechError, Utterance, filled, tokens

LIBRARY = "libespeak-ng.so.1"
# The libraries that it needs. They stay loaded when it is unloaded.
NEEDED = ("libpcaudio.so.0", "libsonic.so.0")
ACCENTS = {
    "en-gb": "gmw/en", "en-gb-scotland": "gmw/en-GB-scotland", "en-gb-x-gbclan":
    "gmw/en-GB-x-gbclan", "en-gb-x-gbcwmd": "gmw/en-GB-x-gbcwmd", "en-gb-x-rp": "gmw/en-GB-x-rp",
    "en-us": "gmw/en-US", "en-us-nyc": "gmw/en-US-nyc", "en-029": "gmw/en-029",
}
# Of speak_lib.h: AUDIO_OUTPUT_SYNCHRONOUS, phoneme events, espeakCHARS_UTF8.
SYNCHRONOUS, PHONEME_EVENTS, UTF8 = 2, 1, 1
WORD, PHONEME = 1, 7
RATE_PARAMETER, PITCH_PARAMETER, RANGE_PARAMETER = 1, 3, 4
BUFFER_MS = 2000
# A stop's closure takes 40 to 55 ms: by PocketSphinx's times of words that begin with stops.
STOPS, CLOSURE_SECONDS = frozenset("p b t d k g ch jh".split()), 0.045


class Identity(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int), ("unique", ctypes.c_uint), ("position", ctypes.c_int),
        ("length", ctypes.c_int), ("milliseconds", ctypes.c_int), ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p), ("identity", Identity)]


Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


@functools.cache
def is_installed() -> bool:
    try:
        for name in NEEDED:
            _pinned.append(ctypes.CDLL(name))
        library = ctypes.CDLL(LIBRARY)
        _ctypes.dlclose(library._handle)
    except OSError:
        return False
    return True


_pinned = []


def spoken(text: str, accent: str, variant: str, rate: int, pitch: int, width: int, seed: int):
    """→ samples int16, samples a second, and the events (type, position, length, sample, name).

    The library keeps the state of its oscillators and noise between utterances. It is loaded anew
    for each, so that an utterance depends on its arguments alone (2 ms).
    """
    if not is_installed():
        raise SpeechError("eSpeak NG is not installed; install Debian's libespeak-ng1")
    pieces, events = [], []

    def receive(samples, count, given):
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        place = 0
        while given[place].type != 0:
            event = given[place]
            name = event.identity.string.decode() if event.type == PHONEME else ""
            events.append((event.type, event.position, event.length, event.sample, name))
            place += 1
        return 0

    library = ctypes.CDLL(LIBRARY)
    callback = Callback(receive)
    try:
        samples_a_second = library.espeak_Initialize(SYNCHRONOUS, BUFFER_MS, None, PHONEME_EVENTS)
        name = ACCENTS[accent] + ("+" + variant if variant else "")
        if samples_a_second <= 0 or library.espeak_SetVoiceByName(name.encode()) != 0:
            raise SpeechError(f"eSpeak NG has no voice {name}; install Debian's espeak-ng-data")
        library.espeak_SetSynthCallback(callback)
        for parameter, value in (
                (RATE_PARAMETER, rate), (PITCH_PARAMETER, pitch), (RANGE_PARAMETER, width)):
            library.espeak_SetParameter(parameter, value, 0)
        seed_random_numbers(seed)
        data = text.encode()
        library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, UTF8, None, None)
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)
    return np.frombuffer(b"".join(pieces), np.int16), samples_a_second, events


def sounds(events, accent: str, ratio: float, end: float) -> list:
    """(phone, start, end) from the events, whose times are starts only."""
    found = []
    for kind, _, _, sample, name in events:
        if kind != PHONEME:
            continue
        try:
            phone = phones.of_espeak(name, accent)
        except KeyError:
            raise SpeechError(
                f"eSpeak NG's phoneme {name!r} of {accent} has no common phone") from None
        if phone:
            found.append((phone, sample * ratio))
    stops = [start for _, start in found[1:]] + [end]
    return [(phone, start, stop) for (phone, start), stop in zip(found, stops)]


def with_closures(heard) -> list:
    """Stops with the silence before their burst, as the other synthesizers have them.

    eSpeak NG's events are at the burst.
    """
    found = []
    for phone, start, stop in heard:
        if phone in STOPS and not found:
            start = max(0.0, start - CLOSURE_SECONDS)
        elif phone in STOPS:
            before, begin, end = found[-1]
            start = max(end - CLOSURE_SECONDS, (begin + end) / 2)
            found[-1] = (before, begin, start)
        found.append((phone, start, stop))
    return found


@functools.lru_cache(maxsize=10000)
def phone_count(word: str, accent: str) -> int:
    """How many sounds a word alone has."""
    _, _, events = spoken(word, accent, "", 175, 50, 50, 0)
    return max(1, sum(phone != "sil" for phone, _, _ in sounds(events, accent, 1, 1)))


def timed(text: str, events, heard, accent: str, ratio: float) -> list:
    """(word, start, end): from the word events, which name places in the text.

    eSpeak NG says some pairs as one word ("in the"). Their sounds are divided in proportion to
    the number of sounds of each word alone.
    """
    words = tokens(text)
    starts = {}
    for kind, position, length, sample, _ in events:
        inside = [i for i, (_, a, b) in enumerate(words) if a <= position - 1 < b]
        if kind == WORD and length > 0 and inside:
            starts.setdefault(inside[0], sample * ratio)
    if 0 not in starts:
        raise SpeechError(f"eSpeak NG ({accent}) names no time for the first word of {text!r}")
    groups = sorted(starts)
    moved = with_closures(heard)
    found = []
    for first, following in zip(groups, groups[1:] + [len(words)]):
        begin = starts[first]
        stop = starts.get(following, float("inf"))
        own = [
            place for place, (phone, a, _) in enumerate(heard)
            if phone != "sil" and begin - 1e-3 <= a < stop - 1e-3]
        members = [word for word, _, _ in words[first:following]]
        if len(own) < len(members):
            raise SpeechError(f"eSpeak NG ({accent}) has too few sounds for {members} of {text!r}")
        edges = [0, len(own)]
        if len(members) > 1:
            counts = np.cumsum([0] + [phone_count(word, accent) for word in members])
            edges = np.rint(counts * len(own) / counts[-1]).astype(int)
        for index in range(len(members)):
            # Each word has at least one sound.
            edges[index + 1] = min(
                max(edges[index + 1], edges[index] + 1), len(own) - (len(members) - 1 - index))
        for word, a, b in zip(members, edges, edges[1:]):
            found.append((word, moved[own[a]][1], moved[own[b - 1]][2]))
    return found


def say(text, accent="en-us", variant="", rate=175, pitch=50, width=50, seed=0) -> Utterance:
    """Reads a text aloud.

    rate: words a minute, 80 to 450
    pitch, width: of the voice and of its intonation, 0 to 100; a width of 0 is monotone
    """
    tokens(text)
    stored, samples_a_second, events = spoken(text, accent, variant, rate, pitch, width, seed)
    if not len(stored):
        raise SpeechError(f"eSpeak NG says nothing for {text!r}")
    samples, factor = resampled(stored.astype(np.float32) / 32768, RATE / samples_a_second)
    # Resampling can overshoot the loudest peaks.
    samples /= max(1, np.abs(samples).max())
    end = len(samples) / RATE
    ratio = factor / RATE
    heard = sounds(events, accent, ratio, end)
    words = tuple(timed(text, events, heard, accent, ratio))
    return Utterance(samples, filled(with_closures(heard), end), words)
