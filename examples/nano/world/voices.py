"""The voices that read the world's texts aloud, and which of them training never hears.

    utterance = say("Turn on the light.", "espeak:en-us+f2", seed=7)

A voice's name is its synthesizer, a colon, and what the synthesizer calls it. The seed chooses how
fast and how high the voice speaks. The same arguments give the same samples on the same machine.
"""

import functools
import json
import random
import re
from pathlib import Path

from . import espeak, festival, flite
from .utterance import SpeechError, Utterance

HELD_OUT_FILE = Path(__file__).resolve().parents[1] / "heldout" / "voices.json"
# eSpeak NG's variants that sound like people; "" is the accent's own voice. PocketSphinx
# understands each better than half of the words with the accent en-us: see check_voices.py.
VARIANTS = (
    ",m1,m2,m3,m4,m5,m6,m7,m8,f1,f2,f3,f4,f5,klatt,klatt2,klatt4,Alex,Andrea,Andy,Annie,adam,"
    "anika,antonio,aunty,belinda,benjamin,caleb,david,Denis,Diogo,ed,edward,Gene,grandma,"
    "grandpa,Henrique,Hugo,iven,Jacky,john,linda,Mario,max,Michael,michel,miguel,Mike,Nguyen,"
    "pablo,paul,pedro,quincy,rob,robert,sandro,steph,victor").split(",")
# How often training hears a synthesizer. Flite's voices and Festival's are recordings of people.
WEIGHTS = {"espeak": 0.55, "flite": 0.3, "festival": 0.15}
# Words a minute of eSpeak NG: slowest and fastest; the same range as stretches of the others.
SPEEDS = (130, 205)
STRETCHES = (0.85, 1.3)
# Hz. The diphone voices of Festival.
PITCHES = (85, 150)
PACKAGES = {
    "espeak": ("eSpeak NG", espeak.is_installed, "libespeak-ng1 and espeak-ng-data"),
    "flite": ("Flite", flite.is_installed, "libflite1"),
    "festival": (
        "Festival", festival.is_installed,
        "festival, festvox-kallpc16k, festvox-kdlpc16k and festvox-us-slt-hts"),
}


@functools.cache
def every_voice() -> tuple:
    """The names of all voices, whether they are installed or not."""
    return (
        *(f"espeak:{accent}" + (f"+{variant}" if variant else "")
          for accent in espeak.ACCENTS for variant in VARIANTS),
        *(f"flite:{name}" for name in flite.VOICES),
        *(f"festival:{name}" for name in festival.VOICES))


@functools.cache
def held_out() -> dict:
    """heldout/voices.json, by the name of a group: its voices."""
    rules = json.loads(HELD_OUT_FILE.read_text())
    variants, pairs = rules["espeak_variants"], rules["espeak_accents_with_variants"]
    return {
        "voices": tuple(
            voice for voice in every_voice()
            if any(voice.startswith("espeak:") and voice.endswith(f"+{each}") for each in variants)
            or any(voice == f"espeak:{accent}+{variant}" for accent, variant in pairs)),
        "synthesizer": tuple(rules["synthesizer"]),
    }


@functools.cache
def trained() -> tuple:
    """The voices that training and tuning may use."""
    kept = set(held_out()["voices"]) | set(held_out()["synthesizer"])
    return tuple(voice for voice in every_voice() if voice not in kept)


def synthesizer_of(voice: str) -> str:
    return voice.split(":")[0]


def installed(voices) -> tuple:
    """Those whose synthesizer is installed."""
    return tuple(voice for voice in voices if PACKAGES[synthesizer_of(voice)][1]())


def missing() -> list:
    """A sentence for each synthesizer that is not installed: its name and its packages."""
    return [
        f"{name} is not installed; its voices are left out. Install Debian's {packages}."
        for name, is_installed, packages in PACKAGES.values() if not is_installed()]


@functools.cache
def choices(group: str) -> dict:
    """The installed voices of a group by synthesizer: "trained", "voices" or "synthesizer"."""
    voices = installed(trained() if group == "trained" else held_out()[group])
    if not voices:
        raise SpeechError("no synthesizer is installed. " + " ".join(missing()))
    names = dict.fromkeys(map(synthesizer_of, voices))
    return {name: [each for each in voices if synthesizer_of(each) == name] for name in names}


def choose(rng: random.Random, group="trained") -> str:
    """A random installed voice of a group."""
    found = choices(group)
    if group != "trained":
        return rng.choice([voice for voices in found.values() for voice in voices])
    name = rng.choices(list(found), [WEIGHTS[each] for each in found])[0]
    return rng.choice(found[name])


def say(text: str, voice: str, seed: int, haste=1.0) -> Utterance:
    """Reads a text aloud.

    voice: one of `every_voice()`
    seed: chooses how fast and how high the voice speaks
    haste: multiplies the speed

    Raises SpeechError if there is no such voice, or if the text has digits or signs.
    """
    if voice not in every_voice():
        raise SpeechError(f"there is no voice {voice!r}; see voices.every_voice()")
    rng = random.Random(f"{seed} {voice} {text}")
    synthesizer, name = voice.split(":")
    if synthesizer == "espeak":
        accent, _, variant = name.partition("+")
        return espeak.say(
            text, accent, variant, rate=round(min(450, rng.uniform(*SPEEDS) * haste)),
            pitch=rng.randint(25, 75), width=rng.randint(20, 80), seed=rng.getrandbits(31))
    stretch = rng.uniform(*STRETCHES) / haste
    if synthesizer == "flite":
        return flite.say(text, name, stretch, rng.getrandbits(31))
    return festival.say(text, name, stretch, rng.uniform(*PITCHES) if name != "slt-hts" else 0)


# The voice of spoken answers: monotone, F0 about 100 Hz, always the same speed. PocketSphinx
# understands eSpeak NG's Klatt synthesis best of its monotone voices.
ANSWER_VOICE = {
    "accent": "en-us", "variant": "klatt", "rate": 160, "pitch": 60, "width": 0, "seed": 0}


def say_answer(text: str) -> Utterance:
    """Reads an answer aloud in the one voice that the vocoder learns."""
    return espeak.say(speakable(text), **ANSWER_VOICE)


def speakable(text: str) -> str:
    """A text without what voices cannot read: quotation marks and brackets."""
    return re.sub(r"[\"()\[\]]", "", text).replace("\u2019", "'")
