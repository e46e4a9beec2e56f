"""Flite through its C library: voices made of recordings of people (statistical and diphone)."""

import ctypes
import functools

import numpy as np

from . import phones
from .native import seed_random_numbers
from .signals import resampled
from .utterance import RATE, SpeechError, Utterance, filled, matched, tokens

VOICES = ("awb", "rms", "slt", "kal16")
# In the order in which they must be loaded.
LIBRARIES = ("libflite.so.1", "libflite_usenglish.so.1", "libflite_cmulex.so.1")
Pointer = ctypes.c_void_p


class Wave(ctypes.Structure):
    """cst_wave of Flite."""

    _fields_ = [
        ("type", ctypes.c_char_p), ("rate", ctypes.c_int), ("count", ctypes.c_int),
        ("channels", ctypes.c_int), ("samples", ctypes.POINTER(ctypes.c_short))]


class VoiceHead(ctypes.Structure):
    """The first members of cst_voice."""

    _fields_ = [("name", ctypes.c_char_p), ("features", Pointer)]


# Function: its result and its parameters.
FUNCTIONS = {
    "flite_init": (ctypes.c_int,),
    "flite_synth_text": (Pointer, ctypes.c_char_p, Pointer),
    "utt_wave": (ctypes.POINTER(Wave), Pointer),
    "utt_relation": (Pointer, Pointer, ctypes.c_char_p),
    "relation_head": (Pointer, Pointer),
    "item_next": (Pointer, Pointer),
    "item_parent": (Pointer, Pointer),
    "item_as": (Pointer, Pointer, ctypes.c_char_p),
    "item_feat_string": (ctypes.c_char_p, Pointer, ctypes.c_char_p),
    "item_feat_float": (ctypes.c_float, Pointer, ctypes.c_char_p),
    "delete_utterance": (None, Pointer),
    "feat_set_float": (None, Pointer, ctypes.c_char_p, ctypes.c_float),
}


@functools.cache
def library():
    """Flite with the types of its functions; None if it is not installed."""
    try:
        loaded = [ctypes.CDLL(name, ctypes.RTLD_GLOBAL) for name in LIBRARIES][0]
        for name, (result, *parameters) in FUNCTIONS.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, parameters
        loaded.flite_init()
    except (OSError, AttributeError):
        return None
    return loaded


@functools.cache
def voice_of(name: str):
    """The pointer to a voice; None if it is not installed."""
    if library() is None:
        return None
    try:
        register = getattr(ctypes.CDLL(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
    except (OSError, AttributeError):
        return None
    register.restype, register.argtypes = Pointer, [ctypes.c_char_p]
    return register(None)


def is_installed() -> bool:
    return all(voice_of(name) for name in VOICES)


def segments(flite, utterance):
    """(phone, end, the word's item or None, the word) of each segment."""
    segment = flite.relation_head(flite.utt_relation(utterance, b"Segment"))
    while segment:
        symbol = flite.item_feat_string(segment, b"name").decode()
        item = flite.item_as(segment, b"SylStructure")
        for _ in range(2):
            item = flite.item_parent(item) if item else None
        word = flite.item_feat_string(item, b"name").decode() if item else ""
        yield phones.of_cmu(symbol), flite.item_feat_float(segment, b"end"), item, word
        segment = flite.item_next(segment)


def say(text: str, voice="rms", stretch=1.0, seed=0) -> Utterance:
    """Reads a text aloud.

    stretch: of all durations; 1.2 is slower
    """
    tokens(text)
    pointer, flite = voice_of(voice), library()
    if not pointer:
        raise SpeechError(f"Flite's voice {voice} is not installed; install Debian's libflite1")
    features = ctypes.cast(pointer, ctypes.POINTER(VoiceHead)).contents.features
    flite.feat_set_float(features, b"duration_stretch", stretch)
    seed_random_numbers(seed)
    utterance = flite.flite_synth_text(text.encode(), pointer)
    try:
        wave = flite.utt_wave(utterance).contents
        stored = np.ctypeslib.as_array(wave.samples, (wave.count,)).astype(np.float32) / 32768
        samples = stored if wave.rate == RATE else resampled(stored, RATE / wave.rate)[0]
        heard, words, last, start = [], [], None, 0.0
        for phone, end, item, word in segments(flite, utterance):
            heard.append((phone, start, end))
            if item and item == last:
                words[-1] = (word, words[-1][1], end)
            elif item:
                words.append((word, start, end))
            last, start = item, end
    finally:
        flite.delete_utterance(utterance)
    end = len(samples) / RATE
    # The last pause of a diphone voice is longer than its samples.
    return Utterance(samples, filled(heard, end), matched(words, text, f"flite {voice}"))
